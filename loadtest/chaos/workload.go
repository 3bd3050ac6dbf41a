package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// This file says which kinds of room there are to load, what each promises, and
// which rooms of a run are of which kind.

// A workload is a kind of room that can be checked.
type workload struct {
	kind   string
	d      Durability
	synced bool // its state goes to members; see synced.go in cmd/roomd
	share  int  // of twenty rooms
}

// A lossy kind may lose its interval. Faults and replies are not timed to the
// millisecond: a fifth is added.
const slackInterval = 600 * time.Millisecond

var workloads = []workload{
	{kind: "ledger", d: Durability{Strict: true}, share: 5},
	{kind: "ledger-interval", d: Durability{Interval: slackInterval}, share: 2},
	{kind: "ledger-none", share: 1},
	{kind: "synced", d: Durability{Strict: true}, synced: true, share: 5},
	{kind: "synced-brief", d: Durability{Strict: true, Brief: true}, synced: true, share: 3},
	{kind: "synced-interval", d: Durability{Interval: slackInterval}, synced: true, share: 3},
	{kind: "synced-none", synced: true, share: 1},
}

// Kinds are the kinds of room that can be loaded and checked.
func Kinds() []string {
	var names []string
	for i := range workloads {
		names = append(names, workloads[i].kind)
	}
	return names
}

// ParseKinds refuses kinds that cannot be checked. No names are all kinds.
func ParseKinds(names []string) ([]string, error) {
	if len(names) == 0 {
		return Kinds(), nil
	}
	for _, name := range names {
		if !slices.Contains(Kinds(), name) {
			return nil, fmt.Errorf("rooms of kind %q cannot be checked, only those of %s", name, strings.Join(Kinds(), ", "))
		}
	}
	return names, nil
}

// A plot is what one room of a run is to be.
type plot struct {
	*workload
	quiet bool // commands come rarely, and members go away together; synced only
}

// deal says what each room is: which kind follows from the seed. Each kind has
// its share, and a room if there are enough; every other synced room of a kind is
// quiet.
func deal(seed uint64, kinds []string, rooms int) []plot {
	rng := rand.New(rand.NewPCG(seed, dealing))
	var first, rest []*workload
	for i := range workloads {
		w := &workloads[i]
		if !slices.Contains(kinds, w.kind) {
			continue
		}
		first = append(first, w)
		for range w.share - 1 {
			rest = append(rest, w)
		}
	}
	for _, deck := range [][]*workload{first, rest} {
		rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	}
	deck := slices.Concat(first, rest)
	turns := make(map[*workload]int)
	plots := make([]plot, rooms)
	for i := range plots {
		w := deck[i%len(deck)]
		if turns[w] == 0 {
			turns[w] = rng.IntN(2)
		}
		turns[w]++
		plots[i] = plot{workload: w, quiet: w.synced && turns[w]%2 == 0}
	}
	return plots
}

// Streams of random numbers, all from the run's seed. The load of room i has
// stream i + 2, its visitors have stream visiting + i; the plan has 1.
const (
	dealing  = 1 << 32
	visiting = 1 << 33
)
