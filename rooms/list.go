package rooms

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"roomd/bus"

	"github.com/vmihailenco/msgpack/v5"
)

// A Query says which rooms List returns.
type Query struct {
	Kind  string // empty: all kinds
	Limit int    // zero means 100, at most 1000
}

// A Listing is a room as lists show it.
type Listing struct {
	Kind, ID string
	Members  int            // those who are away included
	Seats    int            // 0: no limit
	Meta     map[string]any // what Room.SetMeta was given; nil for dormant rooms
	Dormant  bool           // not in memory; it comes back when somebody joins

	meta []byte
}

const (
	defaultListed = 100
	maxListed     = 1000
	listEvery     = time.Second     // how old a list may be
	dormantEvery  = 2 * time.Second // the same for dormant rooms, which cost more
	listTimeout   = time.Second     // how long a list waits for other workers
	promiseFor    = 5 * time.Second // how long a seat that open gave out is kept free
)

// A listCache keeps what was gathered for a while, so that many who watch a
// lobby cost as much as one.
type listCache struct {
	mu      sync.Mutex // held while gathering: those who ask meanwhile share the result
	live    map[string]list
	dormant map[string]list

	opening sync.Mutex // one openAny at a time; guards what follows
	first   map[*Kind]*Room
	scanned map[*Kind]time.Time
}

type list struct {
	at    time.Time
	rooms []Listing
}

// List returns rooms of all workers: the live ones with most members first,
// then dormant ones. It may be a second old, and a worker that does not answer
// within a second is left out.
func (w *Worker) List(ctx context.Context, q Query) ([]Listing, error) {
	limit := q.limit()
	live, err := w.gather(ctx, q.Kind)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(live[:min(len(live), limit)])
	for i := range all {
		all[i].Meta = metaMap(all[i].meta)
	}
	if len(live) >= limit {
		return all, nil
	}
	dormant, err := w.dormant(ctx, q.Kind)
	if err != nil {
		return nil, err
	}
	isLive := make(map[string]bool, len(live))
	for _, l := range live {
		isLive[bus.Key(l.Kind, l.ID)] = true
	}
	for _, l := range dormant {
		if len(all) < limit && !isLive[bus.Key(l.Kind, l.ID)] {
			all = append(all, l)
		}
	}
	return all, nil
}

func (q *Query) limit() int {
	if q.Limit <= 0 {
		return defaultListed
	}
	return min(q.Limit, maxListed)
}

// gather returns the live rooms of all workers.
func (w *Worker) gather(ctx context.Context, kind string) ([]Listing, error) {
	c := &w.lists
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.live[kind]; ok && time.Since(l.at) < listEvery {
		return l.rooms, nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	lists := make(chan []Listing)
	asked := 0
	for _, node := range w.nodes.List("worker") {
		if node.Name == w.conn.Name() {
			continue
		}
		asked++
		go func() { lists <- w.listOf(ctx, node.Name, kind) }()
	}
	rooms := w.localList(kind)
	for range asked {
		rooms = append(rooms, <-lists...)
	}
	rooms = sorted(rooms)
	if c.live == nil || len(c.live) > len(w.kinds)+1 {
		c.live = make(map[string]list)
	}
	c.live[kind] = list{time.Now(), rooms}
	return rooms, nil
}

// sorted puts the fullest rooms first and cuts what nobody can ask for.
func sorted(rooms []Listing) []Listing {
	slices.SortFunc(rooms, func(a, b Listing) int {
		return cmp.Or(b.Members-a.Members, strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
	})
	return slices.Clip(rooms[:min(len(rooms), maxListed)])
}

// hidden reports whether a kind is roomd's own, such as that of the shards of
// shared data. No list shows what is of it.
func hidden(kind string) bool { return strings.HasPrefix(kind, "_") }

// localList returns the rooms of this worker.
func (w *Worker) localList(kind string) []Listing {
	var rooms []Listing
	w.mu.RLock()
	for _, r := range w.rooms {
		if (kind == "" || r.kind.Name == kind) && !hidden(r.kind.Name) {
			rooms = append(rooms, Listing{
				Kind: r.kind.Name, ID: r.ID(), Members: int(r.size.Load()), Seats: r.kind.Seats, meta: r.metaBytes(),
			})
		}
	}
	w.mu.RUnlock()
	return sorted(rooms)
}

// listOf asks another worker; one that does not answer has nothing to show.
func (w *Worker) listOf(ctx context.Context, worker, kind string) []Listing {
	answer, err := w.conn.Request(ctx, w.conn.Subjects().Worker(worker, "list"), bus.AppendString(nil, kind))
	if err != nil {
		return nil
	}
	rd := bus.NewReader(answer)
	var rooms []Listing
	for rd.More() {
		l := Listing{Kind: rd.String(), ID: rd.String(), Members: int(rd.Uint32()), Seats: int(rd.Uint32()), meta: rd.Bytes()}
		rooms = append(rooms, l)
	}
	if rd.Err() != nil {
		return nil
	}
	return rooms
}

// answerLocalList is the other side of listOf: kind → rooms.
func (w *Worker) answerLocalList(_ context.Context, body []byte) ([]byte, error) {
	var b []byte
	for _, l := range w.localList(bus.NewReader(body).String()) {
		b = bus.AppendString(bus.AppendString(b, l.Kind), l.ID)
		b = bus.AppendUint(bus.AppendUint(b, uint64(l.Members)), uint64(l.Seats))
		b = bus.AppendString(b, l.meta)
	}
	return b, nil
}

// answerList serves edges: kind and limit → [[kind, id, members, seats, meta], …]
// in msgpack, live rooms only.
func (w *Worker) answerList(ctx context.Context, body []byte) ([]byte, error) {
	rd := bus.NewReader(body)
	q := Query{Kind: rd.String(), Limit: int(rd.Uint32())}
	if rd.Err() != nil {
		return nil, bus.Errorf(bus.BadFrame, "malformed request")
	}
	rooms, err := w.gather(ctx, q.Kind)
	if err != nil {
		return nil, err
	}
	rows := make([][5]any, 0, min(len(rooms), q.limit()))
	for _, l := range rooms[:cap(rows)] {
		meta := msgpack.RawMessage(l.meta)
		if len(meta) == 0 {
			meta = msgpack.RawMessage{0xc0}
		}
		rows = append(rows, [5]any{l.Kind, l.ID, l.Members, l.Seats, meta})
	}
	return msgpack.Marshal(rows)
}

// dormant returns rooms that have a record, live or not.
func (w *Worker) dormant(ctx context.Context, kind string) ([]Listing, error) {
	c := &w.lists
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.dormant[kind]; ok && time.Since(l.at) < dormantEvery {
		return l.rooms, nil
	}
	kinds := []string{kind}
	if kind == "" {
		kinds = kinds[:0]
		for name := range w.kinds {
			kinds = append(kinds, name)
		}
		slices.Sort(kinds)
	}
	var rooms []Listing
	for _, name := range kinds {
		k := w.kinds[name]
		if k == nil || hidden(name) {
			continue // hosted by others; they know its seats
		}
		keys, err := w.store.Keys(ctx, name, maxListed)
		if err != nil {
			return nil, err
		}
		slices.Sort(keys)
		for _, key := range keys {
			if name, id, ok := bus.SplitKey(key); ok {
				rooms = append(rooms, Listing{Kind: name, ID: id, Seats: k.Seats, Dormant: true})
			}
		}
	}
	if c.dormant == nil || len(c.dormant) > len(w.kinds)+1 {
		c.dormant = make(map[string]list)
	}
	c.dormant[kind] = list{time.Now(), rooms}
	return rooms, nil
}
