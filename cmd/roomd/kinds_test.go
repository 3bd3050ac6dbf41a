package main

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"testing"
	"time"

	"roomd/rooms"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

func TestWalkKeepsItsSpeedAndArrives(t *testing.T) {
	p := &plaza{Avatars: map[uint32]*avatar{7: {X: 100, Y: 100}}, walks: map[uint32]*walk{}}
	if err := p.walk(7, [2]float64{100 + 2*walkSpeed, 100}); err != nil {
		t.Fatal(err)
	}
	for i := range 40 { // two seconds at 20 Hz
		if err := p.Tick(nil, 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if got, want := p.Avatars[7].X, 100+int(walkSpeed*0.05)*(i+1); got != want {
			t.Fatalf("after tick %d x = %d, want %d", i+1, got, want)
		}
	}
	if len(p.walks) != 0 {
		t.Errorf("%d avatars are on their way, want 0: it has arrived", len(p.walks))
	}
}

func TestWalkTurnsAroundWhereItIs(t *testing.T) {
	p := &plaza{Avatars: map[uint32]*avatar{7: {X: 500, Y: 500}}, walks: map[uint32]*walk{}}
	steps := []struct {
		to   [2]float64
		x, y int
	}{
		{[2]float64{1000, 500}, 620, 500},
		{[2]float64{620, 0}, 620, 380},
		{[2]float64{620, 380}, 620, 380}, // here: it stands
	}
	for _, s := range steps {
		if err := p.walk(7, s.to); err != nil {
			t.Fatal(err)
		}
		if err := p.Tick(nil, 500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if a := p.Avatars[7]; a.X != s.x || a.Y != s.y {
			t.Errorf("walk to %v for half a second: at %d, %d, want %d, %d", s.to, a.X, a.Y, s.x, s.y)
		}
	}
}

func TestWalkStaysOnTheMapAndNeverGoesFasterThanItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &avatar{X: rapid.IntRange(0, mapWidth).Draw(t, "x"), Y: rapid.IntRange(0, mapHeight).Draw(t, "y")}
		p := &plaza{Avatars: map[uint32]*avatar{1: a}, walks: map[uint32]*walk{}}
		for range 20 {
			to := [2]float64{rapid.Float64().Draw(t, "to x"), rapid.Float64().Draw(t, "to y")}
			if err := p.walk(1, to); err != nil {
				t.Fatalf("walk(%v) = %v", to, err)
			}
			before := *a
			dt := time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "dt"))
			if err := p.Tick(nil, dt); err != nil {
				t.Fatal(err)
			}
			if a.X < 0 || a.X > mapWidth || a.Y < 0 || a.Y > mapHeight {
				t.Fatalf("at %d, %d: off the map", a.X, a.Y)
			}
			gone := math.Hypot(float64(a.X-before.X), float64(a.Y-before.Y))
			if most := walkSpeed*dt.Seconds() + 2; gone > most { // 2: rounding at both ends
				t.Fatalf("went %.1f units in %v, at most %.1f are possible", gone, dt, most)
			}
		}
	})
}

func TestWalkRefusesWhatIsNoPlace(t *testing.T) {
	p := &plaza{Avatars: map[uint32]*avatar{1: {}}, walks: map[uint32]*walk{}}
	if err := p.walk(1, [2]float64{math.NaN(), 1}); err == nil {
		t.Error("walk to NaN: no error")
	}
	if err := p.walk(2, [2]float64{1, 1}); err == nil {
		t.Error("walk of a member without avatar: no error")
	}
}

func TestEntrancesAreOnTheMapAndApart(t *testing.T) {
	type place struct{ x, y int }
	taken := map[place]uint32{}
	for member := uint32(1); member <= 200; member++ {
		x, y := entrance(member)
		if x < 0 || x > mapWidth || y < 0 || y > mapHeight {
			t.Errorf("entrance(%d) = %d, %d: off the map", member, x, y)
		}
		if other, ok := taken[place{x, y}]; ok {
			t.Errorf("entrance(%d) = entrance(%d)", member, other)
		}
		taken[place{x, y}] = member
	}
}

func TestAvatarIsAnArrayForClients(t *testing.T) {
	b, err := msgpack.Marshal(&avatar{X: 10, Y: 20, Hue: 30, Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := msgpack.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if want := "[10 20 30 Ann]"; fmt.Sprint(got) != want {
		t.Errorf("avatar = %v, want %s", got, want)
	}
}

func TestChatRemembersTheLastLines(t *testing.T) {
	var c chat
	for i := range 3 * maxLines {
		c.remember(line{Text: fmt.Sprint(i)})
		if n := len(c.Lines); n != min(i+1, maxLines) {
			t.Fatalf("after %d lines %d are kept", i+1, n)
		}
		if last := c.Lines[len(c.Lines)-1].Text; last != fmt.Sprint(i) {
			t.Fatalf("the last line is %q, want %d", last, i)
		}
	}
	if first := c.Lines[0].Text; first != fmt.Sprint(2*maxLines) {
		t.Errorf("the first line kept is %q, want %d", first, 2*maxLines)
	}
}

func TestLobbyListsRoomsForPeopleHoweverManyAreForTests(t *testing.T) {
	there := []rooms.Listing{
		{Kind: "lobby", ID: "main", Members: 3},
		{Kind: "chat", ID: "lounge", Members: 2, Seats: 100},
		{Kind: "plaza", ID: "garden", Dormant: true},
	}
	for i := range 2 * maxListed {
		there = append(there, rooms.Listing{Kind: "ledger", ID: fmt.Sprint(i), Members: 100}, rooms.Listing{Kind: "echo", ID: fmt.Sprint(i), Members: 100})
	}
	list := func(_ context.Context, q rooms.Query) (some []rooms.Listing, err error) {
		for _, l := range there {
			if l.Kind == q.Kind && len(some) < q.Limit {
				some = append(some, l)
			}
		}
		return some, nil
	}
	var lobbyOf *lobby
	for _, k := range kinds() {
		if k.Name == "lobby" {
			lobbyOf = k.New().(*lobby)
		}
	}
	got, err := gather(t.Context(), lobbyOf.kinds, list)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["chat.lounge"].Members != 2 || got["chat.lounge"].Seats != 100 || !got["plaza.garden"].Dormant {
		t.Errorf("gather = %+v", got)
	}
}

func TestPagesAreEmbedded(t *testing.T) {
	for _, name := range []string{"index.html", "app.js", "style.css", "icon.svg"} {
		if _, err := fs.Stat(web, "web/"+name); err != nil {
			t.Error(err)
		}
	}
}
