package engine

import "strconv"

// Commands without keys, and those that clients do not send.
var otherSpecs = []Spec{
	{Name: "ping", Arity: -1, run: ping},
	{Name: "echo", Arity: 2, run: func(c *call) { c.bulk(c.argv[1]) }},
	{Name: "time", Arity: 1, run: timeNow},
	{Name: "publish", Arity: 3, run: publish},
	{Name: "pubsub", Arity: -2, run: pubsub},
	{Name: "watch", Arity: -2, Internal: true, First: 1, Last: -1, Step: 1, run: watch},
	{Name: "exec", Arity: -2, Write: true, Internal: true},
	{Name: "hold", Arity: 4, Write: true, Blocking: true, waits: kindLock, Internal: true, First: 1, Last: 1, Step: 1, run: hold},
	{Name: "renew", Arity: 4, Write: true, Internal: true, First: 1, Last: 1, Step: 1, run: renewHold},
	{Name: "unhold", Arity: 3, Write: true, Internal: true, First: 1, Last: 1, Step: 1, run: unhold},
}

func ping(c *call) {
	switch len(c.argv) {
	case 1:
		c.status("PONG")
	case 2:
		c.bulk(c.argv[1])
	default:
		c.wrongArity()
	}
}

func timeNow(c *call) {
	c.array(2)
	c.text(strconv.FormatInt(c.e.now/1000, 10))
	c.text(strconv.FormatInt(c.e.now%1000*1000, 10))
}

func publish(c *call) {
	n := 0
	if c.e.ch != nil {
		n = c.e.ch.Publish(c.argv[1], c.argv[2])
	}
	c.int(n)
}

func pubsub(c *call) {
	ch := c.e.ch
	if ch == nil {
		ch = silence{}
	}
	argc := len(c.argv)
	switch sub := c.argv[1]; {
	case is(sub, "CHANNELS") && argc <= 3:
		all := ch.Channels()
		if argc == 3 {
			matching := make([]string, 0, len(all))
			for _, name := range all {
				if Match(c.argv[2], []byte(name)) {
					matching = append(matching, name)
				}
			}
			all = matching
		}
		c.array(len(all))
		for _, name := range all {
			c.text(name)
		}
	case is(sub, "NUMSUB"):
		c.array(2 * (argc - 2))
		for _, name := range c.argv[2:] {
			c.bulk(name)
			c.int(ch.NumSub(name))
		}
	case is(sub, "NUMPAT") && argc == 2:
		c.int(ch.NumPat())
	case is(sub, "NUMPAT"):
		c.fail("ERR wrong number of arguments for 'pubsub|numpat' command")
	case is(sub, "CHANNELS"):
		c.fail("ERR unknown subcommand or wrong number of arguments for '" + string(sub) + "'. Try PUBSUB HELP.")
	default:
		c.fail("ERR unknown subcommand '" + Quoted(sub) + "'. Try PUBSUB HELP.")
	}
}

// silence is when nobody listens.
type silence struct{}

func (silence) Publish([]byte, []byte) int { return 0 }
func (silence) Channels() []string         { return nil }
func (silence) NumSub([]byte) int          { return 0 }
func (silence) NumPat() int                { return 0 }
