package patch_test

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"roomd/rooms/patch"
)

type avatar struct {
	X    int    `msgpack:"x"`
	Y    int    `msgpack:"y"`
	Name string `msgpack:"name"`
}

// encode is what a worker does with a room's state: encode it, and bring it to
// canonical form.
func encode(avatars map[int]avatar) []byte {
	raw, err := msgpack.Marshal(avatars)
	if err != nil {
		panic(err)
	}
	state, err := patch.Canonical(nil, raw)
	if err != nil {
		panic(err)
	}
	return state
}

func Example() {
	old := encode(map[int]avatar{1: {10, 10, "Ada"}, 2: {50, 50, "Bob"}, 3: {90, 90, "Cyd"}})
	new := encode(map[int]avatar{1: {13, 8, "Ada"}, 2: {50, 55, "Bob"}, 3: {91, 91, "Cyd"}})

	p, err := patch.Diff(nil, old, new)
	if err != nil {
		panic(err)
	}
	fmt.Printf("state of %d bytes, patch of %d: % x\n", len(new), len(p), p)

	// A client that has the old state:
	state, err := patch.Apply(nil, old, p)
	if err != nil {
		panic(err)
	}
	var avatars map[int]avatar
	if err := msgpack.Unmarshal(state, &avatars); err != nil {
		panic(err)
	}
	fmt.Println(avatars[1], avatars[2], avatars[3])

	p, err = patch.Diff(nil, new, new)
	fmt.Println("nothing changed:", len(p), err)
	// Output:
	// state of 52 bytes, patch of 18: 93 a1 79 a1 78 83 01 92 fe 03 02 92 05 00 03 92 01 01
	// {13 8 Ada} {50 55 Bob} {91 91 Cyd}
	// nothing changed: 0 <nil>
}
