// Package patch turns two encodings of a room's state into the difference
// between them, and applies such a difference. It is pure: bytes in, bytes out.
//
// A state is one msgpack value. The worker encodes it after each batch, brings
// it to canonical form ([Canonical]: Go's maps come out in random order), and
// compares it with the last one ([Diff]); whoever holds the old state gets the
// new one with [Apply]. Where nothing changed the patch is empty, and nothing is
// sent. [Next] measures and checks a msgpack value that is only passed on.
//
// # The format
//
// A patch is a msgpack value too, called a node, and changes the state at one
// place, the root to begin with. In JSON, where keys are strings:
//
//	3                  add 3 to the integer here
//	["Bob"]            put "Bob" here (an array of exactly one: set)
//	null               remove the key that led here
//	{"x": 3, "y": -2}  go into the map or array here; for each key, a node
//	[3, -2]            the same by position (an array of two nodes or more: list)
//	["x", "y", {...}]  the same, with names for rows (two or more, the first a
//	                   string: table)
//
// Nodes are never strings, floats or bools, so the kind of a node shows in its
// type, its length and its first element.
//
// Add. The sum fits int64, and clients that count with floats are exact: Diff
// gives a delta only where both values are within ±(2^53-1). A delta of 0
// changes nothing, whatever is here: it is the filler in lists and rows.
//
//	{"score": 10}  +  {"score": 3}  =  {"score": 13}
//
// Set. Any value by any other, of any type. It is also how a key is inserted and
// an element appended; all other nodes need something to be here. Floats,
// strings, bools, bins, nils and timestamps are always set.
//
//	{"a": 1}  +  {"b": [2]}    =  {"a": 1, "b": 2}
//	{"a": 1}  +  {"b": [[2]]}  =  {"a": 1, "b": [2]}
//	{"a": 1}  +  [[]]          =  []
//
// Remove. In maps only.
//
//	{"a": 1, "b": 2}  +  {"a": null}  =  {"b": 2}
//
// Into a map. Keys are integers or strings, in msgpack 7 is not "7". The order
// of the keys means nothing.
//
//	{"a": {"x": 1}, "b": 5}  +  {"a": {"x": 1}, "b": -1}  =  {"a": {"x": 2}, "b": 4}
//
// Into an array. Keys are indices, and two that are not and have plain numbers
// instead of nodes: -2, how many elements to drop from the front, and -1, how
// many to keep of those that are left. Wherever they stand, -2 is done first,
// then -1, then the indices, which count from the front after the drop, in
// ascending order. The index just behind the last element appends.
//
//	["a", "b", "c"]  +  {"2": ["d"], "-2": 1}             =  ["b", "c", "d"]
//	[1, 2, 3, 4, 5]  +  {"0": 8, "-1": 2, "-2": 1}        =  [10, 3]
//	["a", "b"]       +  {"1": ["x"], "2": ["y"]}          =  ["a", "x", "y"]
//
// List. Its i-th node is for element i of an array.
//
//	[100, 200, 300]  +  [1, 0, -5]     =  [101, 200, 295]
//	[100, 200]       +  [1, 1, ["x"]]  =  [101, 201, "x"]
//
// Table. Its last element is the node that is meant, a map or a list. The
// strings before, at most 14, are field names for that node's children: a list
// among them that meets a map is a row, and has the node for the i-th name at
// its place i. A row may be shorter than the names; one beyond them has only
// zeros (a row has two places at least, as a list has). Children that are no
// rows are as ever, and grandchildren have nothing to do with the names. So
// what a hundred moving avatars cost does not depend on how their fields are
// called:
//
//	{"1": {"x": 10, "y": 20, "hp": 9},  +  ["x", "y", {"1": [3, -2],       =
//	 "2": {"x": 30, "y": 40, "hp": 9},                 "2": [0, 5],
//	 "3": {"x": 50, "y": 60, "hp": 9},                 "3": {"hp": -9},
//	 "4": {"x": 70, "y": 80, "hp": 9}}                 "4": null}]
//
//	{"1": {"x": 13, "y": 18, "hp": 9},
//	 "2": {"x": 30, "y": 45, "hp": 9},
//	 "3": {"x": 50, "y": 60, "hp": 0}}
//
// An array that drops elements and has rows is ["x", "y", {"-2": 1, "0": [3, 1]}],
// and one whose every element changes ["x", "y", [[3, 1], [2, 2], [5, -1]]].
//
// # Writing a client
//
// testdata/apply.mjs is all of it in 80 lines of JavaScript.
// testdata/vectors.json has old states, new states and patches by name, in JSON,
// to test a client with. A patch that does not fit (a key that isn't there, a
// delta on a string) means that a patch was missed: ask for the whole state, as
// after it nothing can be trusted. In JSON, a map with the keys 7 and "7" can't
// be told from one that has only one of them; don't make such states.
//
// # What you can rely on
//
// Apply(old, Diff(old, new)) is new, byte for byte. A patch is at most a byte
// longer than the new state. Diff and Apply take time linear in their input (but
// for nesting: at most [MaxDepth] times that) and never panic.
//
// # What you can't
//
// The patch is small, not the smallest. What is taken out of an array's front or
// put at its end is cheap; an element taken out of the middle shifts all that
// follow, and each is patched or set. Keep what comes and goes in a map by id.
package patch
