package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"roomd/loadtest/target"
)

// options are the command line of one run.
type options struct {
	scenario string
	kind     string // of the rooms

	url, admin  string
	spawn       bool
	binary      string
	serverFlags []string
	serverCPUs  []int
	clientCPUs  []int

	clients, rooms int
	members        int // per room; idle and storm give this instead of rooms
	rate           float64
	size           int
	replies        bool
	slow           int
	rounds         int
	spread         time.Duration
	cost           costOptions
	takeover       takeoverOptions
	opens          opensOptions
	chaos          chaosOptions
	kv             kvOptions
	kvChaos        kvChaosOptions

	warmup, length time.Duration
	find           bool
	limit          time.Duration // p99 that find accepts
	step           time.Duration

	json    bool
	html    string
	dialing int // clients connecting at once, per shard
	loops   int
}

// broadcasts reports whether commands of this scenario become broadcasts.
func (o *options) broadcasts() bool {
	return o.scenario == "chat" || o.scenario == "churn" || o.scenario == "plaza" || o.scenario == "takeover" && o.keepsBooks()
}

// timesReturns reports whether the latencies of this scenario are those of coming
// back into a room.
func (o *options) timesReturns() bool { return o.scenario == "storm" }

// A scenario is what loadtest can do.
type scenario struct {
	name, kind string
	what       string
	flags      func(*options, *flag.FlagSet)
	work       func(*shard) workload
	run        func(*test) error

	do      func(*test, context.Context) error // instead of work and run, with no server and fleet yet
	cluster bool                               // starts its servers itself
}

var scenarios = []scenario{
	{name: "idle", kind: "chat", what: "connect and sit in rooms: memory per connection, connects and joins a second",
		flags: idleFlags, work: func(sh *shard) workload { return silent{sh} }, run: runSteady},
	{name: "echo", kind: "echo", what: "command → reply, through the bus and a room",
		flags: echoFlags, work: func(sh *shard) workload { return echoing{silent{sh}} }, run: runLoad},
	{name: "chat", kind: "echo", what: "messages to all members of a room",
		flags: chatFlags, work: func(sh *shard) workload { return casting{silent{sh}, sh.fleet.o.replies} }, run: runLoad},
	{name: "plaza", kind: "plaza", what: "everybody walks: state as patches at 20 Hz",
		flags: plazaFlags, work: func(sh *shard) workload { return strolling{silent{sh}} }, run: runLoad},
	{name: "churn", kind: "echo", what: "clients talk, lose their connection, leave and come back",
		flags: churnFlags, work: func(sh *shard) workload { return churning{casting{silent{sh}, true}} }, run: runLoad},
	{name: "storm", kind: "echo", what: "all clients are cut off at once and come back",
		flags: stormFlags, work: func(sh *shard) workload { return silent{sh} }, run: runStorm},
	{name: "cost", kind: "echo", what: "what Commit costs: echo with and without it, side by side",
		flags: costFlags, do: doCost},
	{name: "takeover", kind: "ledger", what: "a worker of a cluster dies, hangs or drains: how long its rooms are away",
		flags: takeoverFlags, do: doTakeover, cluster: true},
	{name: "opens", kind: "echo", what: "new rooms of a cluster, all joined at the same moment",
		flags: opensFlags, do: doOpens, cluster: true},
	{name: "chaos", what: "everything is killed, hung, drained and cut off by a seeded schedule; every promise is checked",
		flags: chaosFlags, do: doChaos, cluster: true},
	{name: "kv", what: "the Redis in it: how fast, beside redis-server", flags: kvFlags, do: doKV, cluster: true},
	{name: "kvchaos", what: "the Redis in it: workers, edges, the NATS leader and clients are killed; what was acknowledged is there, and nothing twice",
		flags: kvChaosFlags, do: doKVChaos, cluster: true},
}

const usage = `loadtest puts load on a roomd server on this machine and checks every answer.

  go run ./loadtest SCENARIO [flags]        (loadtest SCENARIO -h lists the flags)

`

const usageEnd = `
Without -spawn the server must run already: go run ./cmd/roomd
Exit status: 0 fine; 1 something was lost, doubled or reordered, or the test could
not be done; 2 wrong command line.
`

// errUsage is wrapped by errors about the command line.
var errUsage = errors.New("see -h")

// parse reads the command line. Help is written to out.
func parse(args []string, out io.Writer) (*options, *scenario, error) {
	if len(args) == 0 || isHelp(args[0]) {
		fmt.Fprint(out, usage)
		for _, s := range scenarios {
			fmt.Fprintf(out, "  %-8s %s\n", s.name, s.what)
		}
		fmt.Fprint(out, usageEnd)
		if len(args) == 0 {
			return nil, nil, fmt.Errorf("say which scenario: %s (%w)", names(), errUsage)
		}
		return nil, nil, flag.ErrHelp
	}
	s := lookup(args[0])
	if s == nil {
		return nil, nil, fmt.Errorf("there is no scenario %q, only %s (%w)", args[0], names(), errUsage)
	}
	o := &options{scenario: s.name, kind: s.kind}
	f := flag.NewFlagSet("loadtest "+s.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	if !s.cluster {
		serverFlags(o, f)
	}
	commonFlags(o, f)
	s.flags(o, f)
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(out, "loadtest %s: %s\n\n", s.name, s.what)
			f.SetOutput(out)
			f.PrintDefaults()
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("%w (loadtest %s -h lists the flags; %w)", err, s.name, errUsage)
	}
	if f.NArg() > 0 {
		return nil, nil, fmt.Errorf("what is %q? Flags come after the scenario and begin with - (%w)", f.Arg(0), errUsage)
	}
	if err := o.check(); err != nil {
		return nil, nil, fmt.Errorf("%w (loadtest %s -h lists the flags; %w)", err, s.name, errUsage)
	}
	return o, s, nil
}

func isHelp(arg string) bool {
	return arg == "-h" || arg == "-help" || arg == "--help" || arg == "help"
}

func lookup(name string) *scenario {
	for i := range scenarios {
		if scenarios[i].name == name {
			return &scenarios[i]
		}
	}
	return nil
}

func names() string {
	var list []string
	for _, s := range scenarios {
		list = append(list, s.name)
	}
	return strings.Join(list, ", ")
}

// serverFlags say which server the load is for.
func serverFlags(o *options, f *flag.FlagSet) {
	f.StringVar(&o.url, "url", "ws://127.0.0.1:8080/ws", "where clients connect; loopback only")
	f.StringVar(&o.admin, "admin", "http://127.0.0.1:9090", "the server's admin port, for what it used; \"\" for none")
	f.BoolVar(&o.spawn, "spawn", false, "build and start a server for this test, and end it afterwards")
	f.Func("server-flags", "with -spawn: more flags for the server, separated by spaces", func(s string) error {
		o.serverFlags = strings.Fields(s)
		return nil
	})
	f.Func("server-cpus", "with -spawn: cores of the server, as 0 or 0,2 or 0-3", cpuList(&o.serverCPUs))
}

func commonFlags(o *options, f *flag.FlagSet) {
	f.StringVar(&o.binary, "server", "", "when a server is started: a built roomd to start instead of building one")
	f.Func("client-cpus", "cores of the load generator", cpuList(&o.clientCPUs))
	f.DurationVar(&o.length, "for", 10*time.Second, "how long to measure")
	f.DurationVar(&o.warmup, "warmup", 2*time.Second, "how long to run before measuring")
	f.BoolVar(&o.json, "json", false, "print the result as one JSON object")
	f.StringVar(&o.html, "html", "", "write a page with the result to this `file`")
	f.IntVar(&o.loops, "loops", 0, "event loops of the generator; 0: one for every two cores it may use, or one a core of -client-cpus")
	f.IntVar(&o.dialing, "dialing", 256, "clients that may be connecting at the same time, per loop")
}

func idleFlags(o *options, f *flag.FlagSet) {
	f.IntVar(&o.clients, "clients", 1000, "clients")
	f.IntVar(&o.members, "members", 10, "clients per room")
	f.StringVar(&o.kind, "kind", o.kind, "kind of the rooms")
}

func stormFlags(o *options, f *flag.FlagSet) {
	f.IntVar(&o.clients, "clients", 2000, "clients")
	f.IntVar(&o.members, "members", 10, "clients per room")
	f.IntVar(&o.rounds, "rounds", 3, "how often all are cut off")
	f.DurationVar(&o.spread, "spread", 0, "come back at random within this time; 0: all at once")
	f.StringVar(&o.kind, "kind", o.kind, "kind of the rooms")
}

func rateFlags(o *options, f *flag.FlagSet, clients, rooms int, rate float64, of string) {
	f.IntVar(&o.clients, "clients", clients, "clients")
	f.IntVar(&o.rooms, "rooms", rooms, "rooms they are spread over")
	f.Float64Var(&o.rate, "rate", rate, of+" a second, over all rooms")
	f.StringVar(&o.kind, "kind", o.kind, "kind of the rooms")
}

func findFlags(o *options, f *flag.FlagSet, limit time.Duration) {
	f.BoolVar(&o.find, "find", false, "look for the highest rate that holds -p99, from -rate on")
	f.DurationVar(&o.limit, "p99", limit, "with -find: the latency that 99 of 100 must keep")
	f.DurationVar(&o.step, "step", 5*time.Second, "with -find: how long to measure each rate")
}

func echoFlags(o *options, f *flag.FlagSet) {
	rateFlags(o, f, 1000, 100, 5000, "commands")
	f.IntVar(&o.size, "size", 64, "bytes of a command's data")
	findFlags(o, f, 50*time.Millisecond)
}

func chatFlags(o *options, f *flag.FlagSet) {
	rateFlags(o, f, 1000, 100, 200, "messages")
	f.IntVar(&o.size, "size", 128, "bytes of a message's data")
	f.BoolVar(&o.replies, "replies", false, "number the commands, so that each gets a reply too")
	f.IntVar(&o.slow, "slow", 0, "so many of the clients read 1 KB a second only")
	findFlags(o, f, 100*time.Millisecond)
}

func plazaFlags(o *options, f *flag.FlagSet) {
	rateFlags(o, f, 50, 1, 0, "walks")
	f.Lookup("rate").Usage = "walks a second, over all rooms; 0: one a second for each client"
}

func churnFlags(o *options, f *flag.FlagSet) {
	rateFlags(o, f, 500, 50, 200, "acts (half speak, 3 of 10 lose their connection, 2 of 10 leave)")
	f.IntVar(&o.size, "size", 64, "bytes of a message's data")
}

// check completes o and refuses what cannot be.
func (o *options) check() error {
	if o.scenario == "plaza" && o.rate == 0 {
		o.rate = float64(o.clients)
	}
	if o.members > 0 {
		o.rooms = (o.clients + o.members - 1) / o.members
	}
	switch o.scenario {
	case "cost":
		if err := o.checkCost(); err != nil {
			return err
		}
	case "takeover":
		if err := o.checkTakeover(); err != nil {
			return err
		}
	case "opens":
		if err := o.checkOpens(); err != nil {
			return err
		}
	case "chaos":
		if err := o.checkChaos(); err != nil {
			return err
		}
	case "kv":
		if err := o.checkKV(); err != nil {
			return err
		}
	case "kvchaos":
		if err := o.checkKVChaos(); err != nil {
			return err
		}
	}
	steady := o.scenario == "idle" || o.scenario == "storm"
	switch {
	case o.clients < 1:
		return errors.New("-clients must be at least 1")
	case steady && o.members < 1:
		return errors.New("-members must be at least 1")
	case o.rooms < 1 || o.rooms > o.clients:
		return fmt.Errorf("-rooms must be 1 to %d, the number of clients", o.clients)
	case !steady && (o.rate <= 0 || o.rate > 10e6):
		return errors.New("-rate must be above 0 and at most 10 million")
	case o.size != 0 && (o.size < payloadHead || o.size > maxSize-16):
		return fmt.Errorf("-size must be %d to %d", payloadHead, maxSize-16)
	case o.slow < 0 || o.slow >= o.clients:
		return errors.New("-slow must leave at least one client that reads")
	case o.length <= 0 || o.length > time.Hour || o.warmup < 0 || o.warmup > time.Hour:
		return errors.New("-for and -warmup must be above 0 and at most 1h")
	case o.find && (o.limit <= 0 || o.step <= 0):
		return errors.New("-p99 and -step must be above 0")
	case o.scenario == "storm" && (o.rounds < 1 || o.rounds > 1000):
		return errors.New("-rounds must be 1 to 1000")
	case len(o.serverCPUs) > 0 && !o.spawn:
		return errors.New("-server-cpus needs -spawn: a server that runs already stays where it is")
	case o.dialing < 1 || o.loops < 0 || o.loops > 256:
		return errors.New("-dialing must be at least 1, -loops at most 256")
	}
	if o.loops == 0 {
		o.loops = len(o.clientCPUs)
	}
	if o.loops == 0 {
		o.loops = max(1, runtime.GOMAXPROCS(0)/2)
	}
	o.loops = min(o.loops, o.rooms)
	return nil
}

// pin moves this process to the cores it was given, if any.
func (o *options) pin() error {
	if len(o.clientCPUs) == 0 {
		return nil
	}
	return target.PinSelf(o.clientCPUs)
}

// cpuList reads a list of cores, as 0 or 0,2 or 0-3.
func cpuList(cpus *[]int) func(string) error {
	return func(s string) error {
		for part := range strings.SplitSeq(s, ",") {
			from, to, isRange := strings.Cut(part, "-")
			if !isRange {
				to = from
			}
			a, err := strconv.Atoi(from)
			if err != nil {
				return errors.New("cores are numbers, as 0 or 0,2 or 0-3")
			}
			b, err := strconv.Atoi(to)
			if err != nil || a < 0 || b < a || b > 1023 {
				return errors.New("cores are numbers up to 1023, as 0 or 0,2 or 0-3")
			}
			for ; a <= b; a++ {
				*cpus = append(*cpus, a)
			}
		}
		return nil
	}
}
