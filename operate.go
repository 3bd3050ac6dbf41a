package roomd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"roomd/bus"
)

// The commands for operators: they ask the nodes of a system, over its NATS.
const (
	commandNodes = "nodes"
	commandDrain = "drain"
)

// operators says what each command is for, and its arguments.
var operators = map[string]string{
	commandNodes: `roomd nodes [flags] lists the living nodes: their names, roles, loads and states.

`,
	commandDrain: `roomd drain [flags] NODE has the process of a node leave in order, as SIGTERM
does, and waits until it is gone: rooms move to other workers, clients are told
to come back at another edge. NODE is a name from roomd nodes, or the beginning
of one, such as the -name that the node was started with.

`,
}

// An operation is the command line of an operator's command.
type operation struct {
	command string
	node    string // of drain
	nats    string
	creds   string
	prefix  string
	timeout time.Duration
}

func (o *operation) flags(out io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("roomd "+o.command, flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&o.nats, "nats", "", "`URL` of the NATS server that the nodes use; several with commas between")
	f.StringVar(&o.creds, "nats-creds", "", "`file` with NATS credentials")
	f.StringVar(&o.prefix, "prefix", "r", "first `token` of every NATS subject, as the nodes have it")
	if o.command == commandDrain {
		f.DurationVar(&o.timeout, "timeout", time.Minute, "how long to wait until the node is gone")
	}
	return f
}

// parseOperation reads an operator's command; args[0] is its name.
func parseOperation(args []string, lookup func(string) (string, bool), out io.Writer) (operation, error) {
	o := operation{command: args[0]}
	args = args[1:]
	if o.command == commandDrain && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.node, args = args[0], args[1:]
	}
	f := o.flags(io.Discard) // errors come back as values, and are printed once
	if _, err := fromEnvironment(f, lookup); err != nil {
		return o, err
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(out)
			fmt.Fprint(out, operators[o.command])
			f.PrintDefaults()
		}
		return o, err
	}
	rest := f.Args()
	if o.command == commandDrain && o.node == "" && len(rest) > 0 {
		o.node, rest = rest[0], rest[1:]
	}
	switch {
	case len(rest) > 0:
		return o, fmt.Errorf("unexpected argument %q", rest[0])
	case o.command == commandDrain && o.node == "":
		return o, errors.New("roomd drain needs the name of a node; roomd nodes lists them")
	case o.node != "" && !bus.ValidNode(o.node):
		return o, fmt.Errorf("%q cannot be the name of a node; roomd nodes lists them", o.node)
	case o.nats == "":
		return o, fmt.Errorf("roomd %s needs -nats: the NATS server that the nodes use. "+
			"A roomd with NATS inside can be asked if it was started with -nats-listen; without, end it with SIGTERM", o.command)
	case o.timeout < 0:
		return o, fmt.Errorf("-timeout %v: want 0 or more", o.timeout)
	}
	return o, nil
}

// operate runs an operator's command and returns the exit code.
func operate(ctx context.Context, args []string) int {
	o, err := parseOperation(args, os.LookupEnv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(os.Stderr, "roomd: %v\nTry roomd %s -help.\n", err, args[0])
		return 2
	}
	if err := o.run(ctx, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "roomd: %s\n", o.explain(err))
		return 1
	}
	return 0
}

func (o *operation) run(ctx context.Context, out io.Writer) error {
	quiet := slog.New(slog.DiscardHandler) // errors are returned, and the way there is nobody's business
	conn, err := bus.Open(ctx, bus.Config{
		URL: o.nats, Credentials: o.creds, Prefix: o.prefix, Log: quiet, Name: "operator-" + runToken(),
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	a, err := newAsker(conn)
	if err != nil {
		return err
	}
	defer a.close()
	if o.command == commandNodes {
		return o.list(ctx, a, out)
	}
	return o.drain(ctx, a, out)
}

func (o *operation) explain(err error) string {
	text := withoutPasswords(err.Error(), o.nats)
	if strings.Contains(text, "reach NATS") {
		text += "\n  is a NATS server running there? A roomd with NATS inside takes connections only with -nats-listen"
	}
	return text
}

func (o *operation) list(ctx context.Context, a *asker, out io.Writer) error {
	all, err := a.everyone(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return o.nobody()
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tROLE\tLOAD\tSTATE")
	type row struct {
		nodeState
		state string
	}
	var rows []row
	for _, p := range all {
		for _, n := range p.nodes {
			rows = append(rows, row{n, p.state})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.name, b.name) })
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.name, r.role, r.loadText(), r.state)
	}
	return table.Flush()
}

func (n *nodeState) loadText() string {
	what := "rooms"
	if n.role == roleEdge {
		what = "clients"
	}
	if n.load == 1 {
		what = what[:len(what)-1]
	}
	return fmt.Sprintf("%d %s", n.load, what)
}

func (o *operation) nobody() error {
	return fmt.Errorf("no node answers at %s with prefix %q; are nodes running, with this -nats and -prefix?", withoutPasswords(o.nats, o.nats), o.prefix)
}

// goneEvery is how often a node that leaves is asked whether it is still there.
const goneEvery = 50 * time.Millisecond

// drain has a node leave, and waits until nobody answers by its name.
func (o *operation) drain(ctx context.Context, a *asker, out io.Writer) error {
	name, err := o.find(ctx, a)
	if err != nil {
		return err
	}
	began := time.Now()
	p, err := a.one(ctx, drainSubject(a.conn.Subjects(), name))
	switch {
	case errors.Is(err, errNobody):
		return fmt.Errorf("%s went before it could be asked", name)
	case err != nil:
		return fmt.Errorf("ask %s to leave: %w", name, err)
	case p.state == "draining":
		fmt.Fprintf(out, "%s is leaving already\n", p)
	default:
		fmt.Fprintf(out, "%s leaves\n", p)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for {
		now, err := a.one(ctx, stateSubject(a.conn.Subjects(), name))
		switch {
		case errors.Is(err, errNobody), p.inside && !a.conn.Connected():
			fmt.Fprintf(out, "gone after %.1f s\n", time.Since(began).Seconds())
			return nil
		case err == nil:
			p = now
		}
		select {
		case <-time.After(goneEvery):
		case <-ctx.Done():
			return fmt.Errorf("after %.1f s it is not gone yet: %s (%s). It goes on leaving; drain it again to wait for longer",
				time.Since(began).Seconds(), p, p.state)
		}
	}
}

func (p processState) String() string {
	texts := make([]string, len(p.nodes))
	for i, n := range p.nodes {
		texts[i] = fmt.Sprintf("%s with %s", n.name, n.loadText())
	}
	return strings.Join(texts, " and ")
}

// find returns the full name of the node that the operator means.
func (o *operation) find(ctx context.Context, a *asker) (string, error) {
	_, err := a.one(ctx, stateSubject(a.conn.Subjects(), o.node))
	if err == nil {
		return o.node, nil // though it may be too busy to be heard among all
	}
	if !errors.Is(err, errNobody) {
		return "", fmt.Errorf("ask %s: %w", o.node, err)
	}
	all, err := a.everyone(ctx)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", o.nobody()
	}
	found := meant(o.node, all)
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no node is called %q; there are %s", o.node, names(all))
	case 1:
		return found[0].nodes[0].name, nil
	}
	return "", fmt.Errorf("%q can be any of %s; say more of the name", o.node, names(found))
}

// meant returns the processes that a name may mean: those that were started
// with it as -name, or, if there are none, those with a name that begins so.
func meant(name string, all []processState) []processState {
	with := func(fits func(node string) bool) (found []processState) {
		for _, p := range all {
			if slices.ContainsFunc(p.nodes, func(n nodeState) bool { return fits(n.name) }) {
				found = append(found, p)
			}
		}
		return found
	}
	found := with(func(node string) bool {
		token, ok := strings.CutPrefix(node, name+"-")
		return ok && !strings.Contains(token, "-")
	})
	if len(found) > 0 {
		return found
	}
	return with(func(node string) bool { return strings.HasPrefix(node, name) })
}

func names(all []processState) string {
	var list []string
	for _, p := range all {
		for _, n := range p.nodes {
			list = append(list, n.name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
