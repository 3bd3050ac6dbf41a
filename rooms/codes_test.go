package rooms

import (
	"testing"

	"roomd/bus"
)

// Edges and clients act on the codes that roomd itself says: a kick for replaced
// would end the client's session, a reply of unavailable would be sent again for
// ever, a success would be believed for an error without a code.
func TestAuthorsCannotSayReservedCodes(t *testing.T) {
	b := startBus(t)
	b.worker(t, "w1", Config{}, Kind{Name: "any", New: func() Handler {
		return &scene{
			join: func(r *Room, m *Member) error {
				var code string
				if err := m.Options(&code); err != nil || code == "" {
					return err
				}
				return Errorf(code, "text")
			},
			receive: func(r *Room, m *Member, msg *Message) error {
				return On(msg, func(code string) error {
					switch msg.Event {
					case "kick":
						m.Kick(code, "text")
					case "close":
						r.Close(code)
					default:
						return Errorf(code, "text")
					}
					return nil
				})
			},
		}
	}})
	e := b.edge(t, "e1")
	key := e.open("any", "a")
	stays, n := e.join(key, "Ann").To, uint64(0)
	for _, code := range []string{
		"replaced", "unavailable", "timeout", "out_of_order", "rate_limited", "in_flight", "not_joined", "left",
		"unauthorized", "bad_token", "closed", "", "Not a code", "my.own", "forbidden",
	} {
		want := bus.Internal
		if code == "my.own" || code == "forbidden" {
			want = code
		}
		n++
		if it := e.call(key, stays, n, "refuse", pack(code)); it.Code != want {
			t.Errorf("reply with code %q came as %q, want %q", code, it.Code, want)
		}
		if code != "" {
			if it := e.joinAs(key, bus.Command{User: "Ben", Options: pack(code)}); it.Op != bus.ItemRefused || it.Code != want {
				t.Errorf("join refused with code %q came as %+v, want %q", code, it, want)
			}
		}
		switch code {
		case "my.own", "forbidden", "closed":
			want = code
		default:
			want = bus.Kicked
		}
		kicked := e.join(key, "Ben").To
		e.send(key, bus.Command{Op: bus.OpSend, Member: kicked, Event: []byte("kick"), Data: pack(code)})
		if it := e.awaitOp(bus.ItemLeft); it.To != kicked || it.Code != want {
			t.Errorf("kick with code %q came as %q, want %q", code, it.Code, want)
		}
	}
	e.send(key, bus.Command{Op: bus.OpSend, Member: stays, Event: []byte("close"), Data: pack("replaced")})
	if it := e.awaitOp(bus.ItemClosed); it.Code != bus.Closed {
		t.Errorf("room closed with %q, want closed", it.Code)
	}
}
