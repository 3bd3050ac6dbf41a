// How a client applies a patch: the whole of it, for JavaScript values decoded
// from JSON or msgpack, with maps as plain objects. The format is described in
// doc.go. Checked against vectors.json by the package's tests.

// apply returns the state that patch makes of state. State is changed in place,
// and must not be used further when apply throws: ask for the whole state then.
// "Nothing changed" is the absence of a patch, so there is no patch for it.
export function apply(state, patch) {
  return change(state, patch, null);
}

// change returns what one node makes of one value. Rows are the names that a
// list on an object is read by; they come from the table around it.
function change(value, node, rows) {
  if (typeof node === "number") {
    if (node === 0) return value;
    if (typeof value !== "number") throw misfit("delta on what is no integer");
    return value + node;
  }
  if (!Array.isArray(node)) return edit(value, node, null, null);
  if (node.length === 1) return node[0];
  if (typeof node[0] !== "string") return edit(value, node, rows, null);
  return edit(value, node[node.length - 1], null, node.slice(0, -1));
}

// edit changes an array or object by a map node or a list; names are for the
// rows among the node's children.
function edit(value, node, rows, names) {
  if (node === null || typeof node !== "object") throw misfit("no node");
  if (Array.isArray(value)) return editArray(value, node, names);
  if (value === null || typeof value !== "object") throw misfit("descent into a scalar");
  let changes = Object.entries(node);
  if (Array.isArray(node)) {
    if (rows === null) throw misfit("list on a map");
    changes = rows.map((name, i) => [name, node[i] ?? (i in node ? null : 0)]);
  }
  for (const [key, child] of changes) {
    if (child === 0) continue;
    const there = Object.hasOwn(value, key); // "__proto__" is a key like any other
    if (!there && !isSet(child)) throw misfit("no such key: " + key);
    if (child === null) delete value[key];
    else put(value, key, change(there ? value[key] : undefined, child, names));
  }
  return value;
}

function editArray(value, node, names) {
  const drop = node[-2] ?? 0;
  if (drop > value.length) throw misfit("drops more than there is");
  if (drop > 0) value.splice(0, drop);
  const length = node[-1] ?? value.length;
  if (length > value.length) throw misfit("truncates to more than there is");
  value.length = length;
  // Object.entries gives indices in ascending order, whatever order they came in.
  for (const [key, child] of Object.entries(node)) {
    const i = Number(key);
    if (i < 0 || child === 0) continue;
    if (i > value.length || (i === value.length && !isSet(child))) throw misfit("no such index: " + i);
    value[i] = change(value[i], child, names);
  }
  return value;
}

function isSet(node) {
  return Array.isArray(node) && node.length === 1;
}

function put(object, key, value) {
  if (key !== "__proto__") object[key] = value;
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

function misfit(why) {
  return new Error("patch does not fit the state: " + why);
}
