package main

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"roomd/rooms"
)

// The map, in units that are pixels on a screen of that size.
const (
	mapWidth, mapHeight = 1600, 900
	walkSpeed           = 240.0 // units a second
	maxSpeech           = 140   // characters
)

// stamps are what can be shown over one's head, next to words.
var stamps = []string{"👋", "❤️", "😂", "🎉", "👍", "🌟", "🍀", "☕"}

// plaza is a map to walk about on. Members say where they want to go; the room
// walks them there, and everybody gets the state 20 times a second:
//
//	walk [x, y]      no answer; the avatar goes there
//	speak "hello"    →  spoke {member, text} to all
//	stamp "👋"       →  stamped {member, stamp} to all
type plaza struct {
	Avatars map[uint32]*avatar `msgpack:"avatars"` // by member
	walks   map[uint32]*walk   // those on their way; they stop when the room moves to another worker
}

// An avatar is what the map shows of a member: the array [x, y, hue, name].
type avatar struct {
	//lint:ignore U1000 tells the encoder
	_msgpack struct{} `msgpack:",as_array"`
	X, Y     int      // units
	Hue      int      // 0 to 359
	Name     string
}

// A walk is the way of an avatar to where its member wants it.
type walk struct {
	x, y     float64 // where it is, more precisely than the map shows
	toX, toY float64
}

func plazaKind() rooms.Kind {
	return rooms.Kind{
		Name:     "plaza",
		New:      func() rooms.Handler { return &plaza{Avatars: map[uint32]*avatar{}, walks: map[uint32]*walk{}} },
		Seats:    1000,
		TickRate: 20,
		Sync:     50 * time.Millisecond,
	}
}

func (p *plaza) State() any { return p }

func (p *plaza) Join(_ *rooms.Room, m *rooms.Member) error {
	x, y := entrance(m.ID())
	p.Avatars[m.ID()] = &avatar{X: x, Y: y, Hue: int(m.ID()*137) % 360, Name: m.User()}
	return nil
}

func (p *plaza) Leave(_ *rooms.Room, m *rooms.Member, _ rooms.Reason) {
	delete(p.Avatars, m.ID())
	delete(p.walks, m.ID())
}

func (p *plaza) Receive(r *rooms.Room, m *rooms.Member, msg *rooms.Message) error {
	switch msg.Event {
	case "walk":
		return rooms.On(msg, func(to [2]float64) error { return p.walk(m.ID(), to) })
	case "speak":
		return rooms.On(msg, func(text string) error {
			if text = strings.TrimSpace(text); text == "" || utf8.RuneCountInString(text) > maxSpeech {
				return rooms.Errorf(rooms.BadData, "a speech has 1 to %d characters", maxSpeech)
			}
			r.Broadcast("spoke", spoke{m.ID(), text})
			return nil
		})
	case "stamp":
		return rooms.On(msg, func(stamp string) error {
			if !slices.Contains(stamps, stamp) {
				return rooms.Errorf(rooms.BadData, "no such stamp")
			}
			r.Broadcast("stamped", stamped{m.ID(), stamp})
			return nil
		})
	}
	return rooms.Errorf(rooms.UnknownEvent, "a plaza knows walk, speak and stamp")
}

type spoke struct {
	Member uint32 `msgpack:"member"`
	Text   string `msgpack:"text"`
}

type stamped struct {
	Member uint32 `msgpack:"member"`
	Stamp  string `msgpack:"stamp"`
}

func (p *plaza) Tick(_ *rooms.Room, dt time.Duration) error {
	for member, w := range p.walks {
		arrived := w.advance(walkSpeed * dt.Seconds())
		a := p.Avatars[member]
		a.X, a.Y = int(math.Round(w.x)), int(math.Round(w.y))
		if arrived {
			delete(p.walks, member)
		}
	}
	return nil
}

// walk sends a member's avatar on its way to a place, or to the nearest one on
// the map.
func (p *plaza) walk(member uint32, to [2]float64) error {
	a := p.Avatars[member]
	if a == nil {
		return rooms.Errorf(rooms.Forbidden, "no avatar") // its seat is older than what was restored
	}
	if math.IsNaN(to[0]) || math.IsNaN(to[1]) {
		return rooms.Errorf(rooms.BadData, "no place")
	}
	w := p.walks[member]
	if w == nil {
		w = &walk{x: float64(a.X), y: float64(a.Y)}
		p.walks[member] = w
	}
	w.toX, w.toY = within(to[0], mapWidth), within(to[1], mapHeight)
	return nil
}

// advance goes a distance towards the goal, in a straight line, and reports
// whether it is reached.
func (w *walk) advance(distance float64) bool {
	dx, dy := w.toX-w.x, w.toY-w.y
	left := math.Hypot(dx, dy)
	if left <= distance {
		w.x, w.y = w.toX, w.toY
		return true
	}
	w.x += dx / left * distance
	w.y += dy / left * distance
	return false
}

// within returns the place nearest to v from 0 to limit.
func within(v, limit float64) float64 { return min(max(v, 0), limit) }

// entrance is where a member's avatar appears: around the square in the middle
// of the map, spread so that newcomers don't stand on one another.
func entrance(member uint32) (x, y int) {
	const goldenAngle = 2.399963
	turn := float64(member) * goldenAngle
	far := 130 + 30*float64(member%9)
	return int(800 + far*math.Cos(turn)), int(440 + 0.85*far*math.Sin(turn))
}
