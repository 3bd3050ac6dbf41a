package kv

import (
	"bytes"
	"slices"
	"sort"

	"roomd/bus"
	"roomd/kv/engine"
	"roomd/kv/resp"
)

// A session is what a shard knows of a store that uses it. The first group is
// committed, and taken over by the next owner of the shard.
type session struct {
	id   uint64
	over uint64  // everything up to this number has its answer
	kept []*kept // replies that may not have arrived, by number

	inbox   string // empty: not heard of yet
	tenure  uint64
	seen    int64 // milliseconds since 1970
	waiting map[uint64]*engine.Waiter
	listens map[listened]int
	marked  bool   // the next entry has something of it
	turn    uint64 // when it was last answered
	out     int    // where, in Shard.outs
}

// A kept is the reply to something that must not be done twice.
type kept struct {
	number   uint64
	kind     keptKind
	unlogged bool // since the last entry
	reply    []byte
	said     int64 // milliseconds since 1970; 0: not by this owner
}

type keptKind byte

const (
	keptReply     keptKind = 1 + iota
	keptWithdrawn          // what was handed over was given back
	handedLeft             // an element from the left of a list, not confirmed
	handedRight
	handedSorted // a member of a sorted set
)

// keptAs says whether what a command has taken is to be confirmed.
func keptAs(name []byte) keptKind {
	switch {
	case bytes.EqualFold(name, []byte("BLPOP")):
		return handedLeft
	case bytes.EqualFold(name, []byte("BRPOP")):
		return handedRight
	case bytes.EqualFold(name, []byte("BZPOPMIN")):
		return handedSorted
	}
	return keptReply
}

func (k keptKind) item() byte {
	switch k {
	case keptReply:
		return itemReply
	case keptWithdrawn:
		return itemWithdrawn
	}
	return itemHanded
}

func (k *kept) item() byte { return k.kind.item() }

func (k *kept) handed() bool { return k.kind >= handedLeft }

// giveBack returns the command that undoes a blocking pop.
func (k *kept) giveBack() (argv [][]byte, ok bool) {
	v, _, err := resp.Parse(k.reply)
	if err != nil || len(v.Elems) < 2 {
		return nil, false
	}
	key, value := v.Elems[0].Text, v.Elems[1].Text
	switch {
	case k.kind == handedLeft:
		return [][]byte{[]byte("LPUSH"), key, value}, true
	case k.kind == handedRight:
		return [][]byte{[]byte("RPUSH"), key, value}, true
	case k.kind == handedSorted && len(v.Elems) == 3:
		return [][]byte{[]byte("ZADD"), key, v.Elems[2].Text, value}, true
	}
	return nil, false
}

func (s *Shard) newSession(id uint64) *session {
	c := &session{id: id, tenure: s.tenure()}
	s.sessions[id] = c
	return c
}

func (c *session) heard(now int64, inbox string) {
	c.seen = max(c.seen, now)
	if c.inbox != inbox {
		c.inbox, c.turn = inbox, 0
	}
}

func (c *session) place(n uint64) int {
	return sort.Search(len(c.kept), func(i int) bool { return c.kept[i].number >= n })
}

// behind returns the place of the first reply to a number after n.
func (c *session) behind(n uint64) int {
	return sort.Search(len(c.kept), func(i int) bool { return c.kept[i].number > n })
}

func (c *session) find(n uint64) *kept {
	if i := c.place(n); i < len(c.kept) && c.kept[i].number == n {
		return c.kept[i]
	}
	return nil
}

func (c *session) keep(n uint64, kind keptKind, reply []byte) *kept {
	k := c.find(n)
	if k == nil {
		k = &kept{number: n}
		c.kept = slices.Insert(c.kept, c.place(n), k)
	}
	k.kind, k.reply = kind, reply
	return k
}

// holds reports whether the session has something that was not confirmed.
func (c *session) holds() bool {
	return slices.ContainsFunc(c.kept, (*kept).handed)
}

// appendTo appends what is committed of a session: all, or what the last entry
// lacks.
func (c *session) appendTo(b []byte, all bool) []byte {
	b = bus.AppendUint(bus.AppendUint(b, c.id), c.over)
	n := 0
	for _, k := range c.kept {
		if all || k.unlogged {
			n++
		}
	}
	b = bus.AppendUint(b, uint64(n))
	for _, k := range c.kept {
		if all || k.unlogged {
			b = append(bus.AppendUint(b, k.number), byte(k.kind))
			b = bus.AppendString(b, k.reply)
		}
	}
	return b
}

// loadSession reads what appendTo has written.
func (s *Shard) loadSession(rd *bus.Reader) {
	id, over := rd.Uint(), rd.Uint()
	if rd.Err() != nil {
		return
	}
	c := s.sessions[id]
	if c == nil {
		c = s.newSession(id)
	}
	for range rd.Count() {
		n, kind, reply := rd.Uint(), keptKind(rd.Byte()), rd.Bytes()
		if rd.Err() == nil {
			c.keep(n, kind, bytes.Clone(reply))
		}
	}
	c.over = max(c.over, over)
	// What was handed over by then is there still if it could not be given back.
	done := c.behind(c.over)
	stay := slices.DeleteFunc(slices.Clone(c.kept[:done]), func(k *kept) bool { return !k.handed() })
	c.kept = slices.Replace(c.kept, 0, done, stay...)
}

// listeners count who listens to what. They are not committed: after a takeover
// the sessions tell the new owner.
type listeners struct {
	shard    *Shard
	channels map[string]int
	patterns map[string]int
}

// A listened is a channel or a pattern.
type listened struct {
	pattern bool
	name    string
}

func (l *listeners) of(pattern bool) map[string]int {
	if pattern {
		return l.patterns
	}
	return l.channels
}

// set has a session listen with n subscriptions.
func (l *listeners) set(c *session, pattern bool, name string, n int) {
	what := listened{pattern, name}
	if c.listens == nil {
		c.listens = make(map[listened]int)
	}
	all := l.of(pattern)
	if all[name] += n - c.listens[what]; all[name] <= 0 {
		delete(all, name)
	}
	if c.listens[what] = n; n == 0 {
		delete(c.listens, what)
	}
}

func (l *listeners) drop(c *session) {
	for what := range c.listens {
		l.set(c, what.pattern, what.name, 0)
	}
}

// Publish is for the engine. The message goes out whoever is known to listen:
// after a takeover not everybody has said so yet.
func (l *listeners) Publish(channel, message []byte) (receivers int) {
	s := l.shard
	s.told++
	out := s.out(s.subjects.News(string(channel)))
	out.b = appendNews(out.b, news{moment{s.epoch, s.told}, channel, message})
	receivers = l.channels[string(channel)]
	for pattern, n := range l.patterns {
		if engine.Match([]byte(pattern), channel) {
			receivers += n
		}
	}
	return receivers
}

// Channels is for the engine.
func (l *listeners) Channels() []string {
	names := make([]string, 0, len(l.channels))
	for name := range l.channels {
		names = append(names, name)
	}
	return names
}

// NumSub is for the engine.
func (l *listeners) NumSub(channel []byte) int { return l.channels[string(channel)] }

// NumPat is for the engine: different patterns, as Redis counts them.
func (l *listeners) NumPat() int { return len(l.patterns) }
