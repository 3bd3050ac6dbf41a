package engine

import (
	"iter"
	"maps"
)

// A Spec describes a command.
type Spec struct {
	Name     string // in small letters
	Arity    int    // arguments, the name included; at least -Arity if negative
	Write    bool   // it may change something
	Blocking bool   // it may have to wait
	Internal bool   // not for clients: front ends have their own
	// Where the keys are among the arguments: from First to Last, which counts
	// from the end if negative, every Step-th. First is zero if there are none or
	// only KeysOf knows.
	First, Last, Step int

	waits kind // what a blocking command waits for under its keys

	run  func(*call)                          // nil for the one that runs others
	keys func(argv [][]byte) ([][]byte, bool) // where First does not say it
}

// table has all commands by name.
var table = index(keySpecs, expireSpecs, stringSpecs, hashSpecs, setSpecs, listSpecs, sortedSpecs, otherSpecs)

func index(tables ...[]Spec) map[string]*Spec {
	all := map[string]*Spec{}
	for _, t := range tables {
		for i := range t {
			all[t[i].Name] = &t[i]
		}
	}
	return all
}

// Lookup returns what there is to know about a command, whose name is in any
// case; nil if there is none of that name. Nobody may change it.
func Lookup(name []byte) *Spec {
	var buf [24]byte
	if len(name) > len(buf) {
		return nil
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return table[string(buf[:len(name)])]
}

// Specs returns all commands, in no particular order. Nobody may change them.
func Specs() iter.Seq[*Spec] { return maps.Values(table) }

func (s *Spec) takes(argc int) bool {
	return argc == s.Arity || s.Arity < 0 && argc >= -s.Arity
}

// KeysOf returns the keys that a command works on, with those of the commands in
// it for EXEC. ok is false if there is no such command or it has the wrong number
// of arguments.
func KeysOf(argv [][]byte) (keys [][]byte, ok bool) {
	if len(argv) == 0 {
		return nil, false
	}
	s := Lookup(argv[0])
	switch {
	case s == nil || !s.takes(len(argv)):
		return nil, false
	case s.run == nil:
		return execKeys(argv)
	case s.keys != nil:
		return s.keys(argv)
	case s.First == 0:
		return nil, true
	}
	last := s.Last
	if last < 0 {
		last += len(argv)
	}
	for i := s.First; i <= last; i += s.Step {
		keys = append(keys, argv[i])
	}
	return keys, true
}
