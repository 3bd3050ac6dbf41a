package engine

// Versions are even numbers that grow with every change of any key. A key whose
// time is over counts as one more than its last change, whether it has been
// removed yet or not.

// versionOf returns what WATCH has of a key: it differs after any change.
func (e *Engine) versionOf(key []byte) uint64 {
	en := e.keys[string(key)]
	switch {
	case en == nil:
		return e.gone.version(key)
	case e.isOver(en):
		return en.version | 1
	}
	return en.version
}

// maxGraves is how many removed keys have their versions remembered.
const maxGraves = 4096

// maxGrave is the longest key that is remembered, in bytes. Longer ones are
// forgotten at once: those that are gone must not fill the memory.
const maxGrave = 512

// graves are the versions of keys that are gone. When there are too many, the
// oldest is forgotten, and then counts as changed: with all that are unknown it
// has the version of the last one forgotten.
type graves struct {
	versions map[string]uint64
	order    []grave // a ring; a key may be in it more than once
	next     int
	floor    uint64
}

type grave struct {
	key     string
	version uint64
}

func (g *graves) reset(floor uint64) {
	if g.versions == nil || len(g.versions) > 0 {
		g.versions = map[string]uint64{}
	}
	g.order, g.next, g.floor = g.order[:0], 0, floor
}

func (g *graves) version(key []byte) uint64 {
	if v, ok := g.versions[string(key)]; ok {
		return v
	}
	return g.floor
}

func (g *graves) put(key string, version uint64) {
	if len(key) > maxGrave {
		g.floor = max(g.floor, version)
		return
	}
	g.versions[key] = version
	if len(g.order) < maxGraves {
		g.order = append(g.order, grave{key, version})
		return
	}
	old := g.order[g.next]
	g.order[g.next] = grave{key, version}
	g.next = (g.next + 1) % maxGraves
	if g.versions[old.key] == old.version { // else it was removed again since
		delete(g.versions, old.key)
		g.floor = max(g.floor, old.version)
	}
}
