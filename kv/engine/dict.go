package engine

// A dict has elements by name, in an order: new ones go to the end, and the last
// takes the place of one that is removed. Whoever goes through it from the end to
// the beginning meets every element that is there all the time. Two dicts that
// were changed in the same way have the same order.
type dict[V any] struct {
	items []item[V]
	index map[string]int32 // by name; nil while there are few
	names int              // bytes
}

type item[V any] struct {
	val  V
	name string
}

// fewItems is how many elements are looked through without an index.
const fewItems = 16

func (d *dict[V]) len() int { return len(d.items) }

// reserve makes room for n elements in an empty dict.
func (d *dict[V]) reserve(n int) {
	d.items = make([]item[V], 0, n)
	if n > fewItems {
		d.index = make(map[string]int32, n)
	}
}

// find returns where an element is, -1 if it is not there.
func (d *dict[V]) find(name []byte) int {
	if d.index != nil {
		if i, ok := d.index[string(name)]; ok {
			return int(i)
		}
		return -1
	}
	for i := range d.items {
		if d.items[i].name == string(name) {
			return i
		}
	}
	return -1
}

func (d *dict[V]) has(name []byte) bool { return d.find(name) >= 0 }

// findText is find.
func (d *dict[V]) findText(name string) int {
	if d.index != nil {
		if i, ok := d.index[name]; ok {
			return int(i)
		}
		return -1
	}
	for i := range d.items {
		if d.items[i].name == name {
			return i
		}
	}
	return -1
}

// add adds an element that is not there.
func (d *dict[V]) add(name string, val V) {
	d.items = append(d.items, item[V]{val, name})
	d.names += len(name)
	if d.index != nil {
		d.index[name] = int32(len(d.items) - 1)
	} else if len(d.items) > fewItems {
		d.reindex()
	}
}

// remove removes the element at a place.
func (d *dict[V]) remove(i int) {
	last := len(d.items) - 1
	name := d.items[i].name
	d.names -= len(name)
	d.items[i] = d.items[last]
	d.items[last] = item[V]{}
	before := cap(d.items)
	d.items = shrunk(d.items[:last])
	if d.index == nil {
		return
	}
	if last <= fewItems/2 {
		d.index = nil
		return
	}
	if cap(d.items) < before { // a map never gives memory back
		d.reindex()
		return
	}
	delete(d.index, name)
	if i < last {
		d.index[d.items[i].name] = int32(i)
	}
}

func (d *dict[V]) reindex() {
	d.index = make(map[string]int32, 2*len(d.items))
	for i := range d.items {
		d.index[d.items[i].name] = int32(i)
	}
}

// itemBytes is about what an element costs beside its name and what its value
// points to: its item with room to grow and its place in the index.
const itemBytes = 96
