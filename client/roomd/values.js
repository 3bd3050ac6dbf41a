// Values on the wire: MessagePack, JSON, and the patches that turn one state
// into the next. Knows nothing of frames.

const maxDepth = 64; // nesting of a value; more is an attack or a mistake

/** What a room or an edge refuses, by its code (PROTOCOL.md, "Error codes"). */
export class RoomdError extends Error {
  /** @param {string} code @param {string} [message] */
  constructor(code, message) {
    super(message ? `${code}: ${message}` : code);
    this.name = "RoomdError";
    /** @type {string} what went wrong, for programs */
    this.code = code;
    /** @type {string} what went wrong, for people; may be empty */
    this.text = message ?? "";
  }
}

/** @param {string} why @returns {never} */
export function malformed(why) {
  throw new RoomdError("bad_frame", why);
}

// ---------------------------------------------------------------- MessagePack

const utf8 = new TextEncoder();
const utf8Strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #end = 0;

  done() {
    return this.#bytes.slice(0, this.#end);
  }

  /** Makes room for n bytes and returns where they start. @param {number} n */
  #grow(n) {
    const start = this.#end;
    this.#end += n;
    if (this.#end > this.#bytes.length) {
      const bigger = new Uint8Array(Math.max(this.#end, 2 * this.#bytes.length));
      bigger.set(this.#bytes);
      this.#bytes = bigger;
      this.#view = new DataView(bigger.buffer);
    }
    return start;
  }

  /** @param {number} tag */
  #tag(tag) {
    const at = this.#grow(1);
    this.#bytes[at] = tag;
  }

  /** A tag and an unsigned number of 1, 2 or 4 bytes. @param {number} tag @param {number} size @param {number} n */
  #tagged(tag, size, n) {
    const at = this.#grow(1 + size);
    this.#bytes[at] = tag;
    if (size === 1) this.#view.setUint8(at + 1, n);
    else if (size === 2) this.#view.setUint16(at + 1, n);
    else this.#view.setUint32(at + 1, n);
  }

  /** A length; each tag is -1 where the format has no such form. @param {number} n @param {number} fix @param {number} fixMax @param {number} tag8 @param {number} tag16 */
  #length(n, fix, fixMax, tag8, tag16) {
    if (n <= fixMax) this.#tag(fix | n);
    else if (n < 0x100 && tag8 >= 0) this.#tagged(tag8, 1, n);
    else if (n < 0x10000) this.#tagged(tag16, 2, n);
    else this.#tagged(tag16 + 1, 4, n);
  }

  /** @param {string} s */
  #string(s) {
    const bytes = utf8.encode(s);
    this.#length(bytes.length, 0xa0, 31, 0xd9, 0xda);
    this.#raw(bytes);
  }

  /** @param {Uint8Array} bytes */
  #raw(bytes) {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** @param {number} n */
  #number(n) {
    if (!Number.isSafeInteger(n) || Object.is(n, -0)) {
      const at = this.#grow(9);
      this.#bytes[at] = 0xcb;
      this.#view.setFloat64(at + 1, n);
    } else if (n >= -32 && n < 128) this.#tag(n & 0xff);
    else if (n >= 0 && n < 0x100) this.#tagged(0xcc, 1, n);
    else if (n >= 0 && n < 0x10000) this.#tagged(0xcd, 2, n);
    else if (n >= 0 && n < 0x100000000) this.#tagged(0xce, 4, n);
    else if (n < 0 && n >= -0x80) this.#tagged(0xd0, 1, n);
    else if (n < 0 && n >= -0x8000) this.#tagged(0xd1, 2, n);
    else if (n < 0 && n >= -0x80000000) this.#tagged(0xd2, 4, n);
    else this.#bigint(BigInt(n));
  }

  /** @param {bigint} n */
  #bigint(n) {
    if (n >= 2n ** 64n || n < -(2n ** 63n)) throw new RangeError(`${n} has more than 64 bits`);
    const at = this.#grow(9);
    this.#bytes[at] = n < 0n ? 0xd3 : 0xcf;
    this.#view.setBigInt64(at + 1, BigInt.asIntN(64, n));
  }

  /** @param {any} v @param {number} depth */
  value(v, depth) {
    if (depth > maxDepth) throw new RangeError("value is nested too deeply");
    if (v === null || v === undefined) this.#tag(0xc0);
    else if (v === true) this.#tag(0xc3);
    else if (v === false) this.#tag(0xc2);
    else if (typeof v === "number") this.#number(v);
    else if (typeof v === "string") this.#string(v);
    else if (typeof v === "bigint") this.#bigint(v);
    else if (v instanceof Uint8Array) {
      this.#length(v.length, 0, -1, 0xc4, 0xc5);
      this.#raw(v);
    } else if (Array.isArray(v)) {
      this.#length(v.length, 0x90, 15, -1, 0xdc);
      for (const item of v) this.value(item, depth + 1);
    } else if (typeof v === "object") this.#map(v, depth);
    else throw new TypeError(`a ${typeof v} cannot be sent`);
  }

  /** @param {object} v @param {number} depth */
  #map(v, depth) {
    const entries = v instanceof Map ? [...v] : Object.entries(v).filter(([, item]) => item !== undefined);
    this.#length(entries.length, 0x80, 15, -1, 0xde);
    for (const [key, item] of entries) {
      this.value(key, depth + 1);
      this.value(item, depth + 1);
    }
  }
}

class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  more() {
    return this.at < this.bytes.length;
  }

  /** Takes n bytes and returns where they start. @param {number} n */
  #take(n) {
    const start = this.at;
    if (n > this.bytes.length - start) malformed("the value is cut off");
    this.at = start + n;
    return start;
  }

  /** @param {number} depth @returns {any} */
  value(depth) {
    const tag = this.bytes[this.#take(1)];
    if (tag < 0x80) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    if (tag < 0x90) return this.#map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.#array(tag & 0x0f, depth);
    if (tag < 0xc0) return this.#string(tag & 0x1f);
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return this.#binary(this.#uint(1 << (tag - 0xc4)));
      case 0xca: return this.view.getFloat32(this.#take(4));
      case 0xcb: return this.view.getFloat64(this.#take(8));
      case 0xcc: case 0xcd: case 0xce: return this.#uint(1 << (tag - 0xcc));
      case 0xcf: return safe(this.view.getBigUint64(this.#take(8)));
      case 0xd0: return this.view.getInt8(this.#take(1));
      case 0xd1: return this.view.getInt16(this.#take(2));
      case 0xd2: return this.view.getInt32(this.#take(4));
      case 0xd3: return safe(this.view.getBigInt64(this.#take(8)));
      case 0xd9: case 0xda: case 0xdb: return this.#string(this.#uint(1 << (tag - 0xd9)));
      case 0xdc: case 0xdd: return this.#array(this.#uint(2 << (tag - 0xdc)), depth);
      case 0xde: case 0xdf: return this.#map(this.#uint(2 << (tag - 0xde)), depth);
      default: return malformed(`tag 0x${tag.toString(16)} is not used by this protocol`);
    }
  }

  /** @param {number} size bytes: 1, 2 or 4 */
  #uint(size) {
    const at = this.#take(size);
    if (size === 1) return this.bytes[at];
    return size === 2 ? this.view.getUint16(at) : this.view.getUint32(at);
  }

  /** @param {number} n */
  #binary(n) {
    const at = this.#take(n);
    return this.bytes.slice(at, at + n);
  }

  /** @param {number} n @returns {string} */
  #string(n) {
    const start = this.#take(n);
    if (n <= 16) { // most strings are short and ASCII, where this beats the decoder's call
      let s = "";
      let i = start;
      for (; i < this.at && this.bytes[i] < 0x80; i++) s += String.fromCharCode(this.bytes[i]);
      if (i === this.at) return s;
    }
    try {
      return utf8Strict.decode(this.bytes.subarray(start, this.at));
    } catch {
      return malformed("a string is not UTF-8");
    }
  }

  /** Checks a count before anything is made: each item takes at least a byte. @param {number} items @param {number} depth */
  #enter(items, depth) {
    if (depth > maxDepth) malformed("the value is nested too deeply");
    if (items > this.bytes.length - this.at) malformed("the value is cut off");
  }

  /** @param {number} n @param {number} depth */
  #array(n, depth) {
    this.#enter(n, depth);
    const items = new Array(n);
    for (let i = 0; i < n; i++) items[i] = this.value(depth + 1);
    return items;
  }

  /** @param {number} n @param {number} depth */
  #map(n, depth) {
    this.#enter(2 * n, depth);
    /** @type {Record<string, any>} */
    const map = {};
    for (let i = 0; i < n; i++) {
      const key = this.value(depth + 1);
      if (typeof key !== "string" && !isInteger(key)) malformed("a map key is neither string nor integer");
      put(map, String(key), this.value(depth + 1));
    }
    return map;
  }
}

/** A 64-bit integer as a number where that is exact. @param {bigint} n */
function safe(n) {
  const number = Number(n);
  return Number.isSafeInteger(number) ? number : n;
}

/** Sets a key that came from outside, so that "__proto__" is one like any other. @param {any} map @param {string} key @param {any} v */
function put(map, key, v) {
  if (key === "__proto__") Object.defineProperty(map, key, { value: v, writable: true, enumerable: true, configurable: true });
  else map[key] = v;
}

/**
 * Encodes a value as MessagePack: null and undefined, booleans, numbers (safe
 * integers as integers, all others as float64), bigints up to 64 bits, strings,
 * Uint8Array, arrays, Maps and plain objects (keys that are undefined are left
 * out). Throws a TypeError or RangeError for what has no place in it.
 * @param {any} v
 */
export function encode(v) {
  const w = new Writer();
  w.value(v, 0);
  return w.done();
}

/**
 * Decodes the MessagePack values that stand back to back in bytes. Maps become
 * plain objects, their integer keys decimal strings; integers past 2^53 become
 * bigints. Throws a RoomdError bad_frame for anything malformed.
 * @param {Uint8Array} bytes @returns {any[]}
 */
export function decodeAll(bytes) {
  const r = new Reader(bytes);
  const values = [];
  while (r.more()) values.push(r.value(0));
  return values;
}

// ----------------------------------------------------------------------- JSON

/** @this {any} @param {string} key @param {any} v */
function toJSON(key, v) {
  const original = this[key]; // Node's Buffer has its own idea of JSON, which came first
  if (original instanceof Uint8Array) {
    let s = "";
    for (const byte of original) s += String.fromCharCode(byte);
    return { $bin: btoa(s) };
  }
  return v instanceof Map ? Object.fromEntries(v) : v;
}

/** @param {string} _ @param {any} v */
function fromJSON(_, v) {
  if (v === null || typeof v !== "object" || typeof v.$bin !== "string" || Object.keys(v).length !== 1) return v;
  return Uint8Array.from(atob(v.$bin), (c) => c.charCodeAt(0));
}

/** JSON.parse takes any depth, but who goes through the value afterwards may not. @param {string} line */
function checkDepth(line) {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const c = line.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++; // a backslash: the next one is no end
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x5b || c === 0x7b) {
      if (++depth > maxDepth + 1) malformed("the value is nested too deeply");
    } else if (c === 0x5d || c === 0x7d) depth--;
  }
}

/** How frames become WebSocket messages and back, by subprotocol. */
export const codecs = {
  msgpack: {
    subprotocol: "roomd.v1.msgpack",
    encode,
    /** @param {any} message @returns {any[]} */
    decode(message) {
      if (typeof message === "string") malformed("a text message on a binary connection");
      return decodeAll(new Uint8Array(message));
    },
  },
  json: {
    subprotocol: "roomd.v1.json",
    /** @param {any} frame */
    encode: (frame) => JSON.stringify(frame, toJSON),
    /** @param {any} message @returns {any[]} */
    decode(message) {
      if (typeof message !== "string") malformed("a binary message on a text connection");
      const lines = message.split("\n").filter((/** @type {string} */ line) => line !== "");
      lines.forEach(checkDepth);
      try {
        return lines.map((/** @type {string} */ line) => line.includes('"$bin"') ? JSON.parse(line, fromJSON) : JSON.parse(line));
      } catch (err) {
        return malformed(String(err));
      }
    },
  },
};

// -------------------------------------------------------------------- patches

/**
 * Applies a patch (PROTOCOL.md, "State and patches") and returns the new
 * value. Maps and arrays inside value are changed in place. Throws a RoomdError
 * bad_frame if the patch does not fit, and then leaves value half changed.
 * @param {any} value @param {any} patch @returns {any}
 */
export function applyPatch(value, patch) {
  return applyNode(value, patch, null);
}

/** rows are the names that lists in the place of a map are read by, null outside of tables. @param {any} value @param {any} node @param {string[] | null} rows @returns {any} */
function applyNode(value, node, rows) {
  if (typeof node === "number" || typeof node === "bigint") return add(value, node);
  if (!Array.isArray(node)) return edit(value, isMap(node) ? node : malformed("not a patch"), null, null);
  if (isSet(node)) return node[0];
  if (typeof node[0] === "string") return edit(value, node[node.length - 1], null, node.slice(0, -1)); // a table
  return edit(value, node.length > 0 ? node : malformed("a patch is an empty array"), rows, null);
}

/** Goes down into value; names are for the rows among node's children. @param {any} value @param {any} node @param {string[] | null} rows @param {string[] | null} names */
function edit(value, node, rows, names) {
  const isList = Array.isArray(node);
  if (!isList && !isMap(node)) malformed("a table ends in neither map nor array");
  if (Array.isArray(value)) return editArray(value, node, names);
  if (!isMap(value)) malformed("a patch goes down into what is neither map nor array");
  if (!isList) {
    for (const key of Object.keys(node)) editKey(value, key, node[key], names);
  } else if (rows) {
    for (const [i, child] of node.entries()) {
      if (child === 0) continue;
      editKey(value, rows[i] ?? malformed("a row is longer than its table's names"), child, null);
    }
  } else malformed("a list on a map");
  return value;
}

/** @param {any} map @param {string} key @param {any} node @param {string[] | null} names */
function editKey(map, key, node, names) {
  if (!isSet(node) && !Object.hasOwn(map, key)) malformed(`a patch changes key "${key}", which is not there`);
  if (node === null) delete map[key];
  else put(map, key, applyNode(map[key], node, names));
}

/** @param {any[]} list @param {any} node @param {string[] | null} names */
function editArray(list, node, names) {
  if (!Array.isArray(node)) {
    list.splice(0, count(node["-2"] ?? 0, list));
    list.length = count(node["-1"] ?? list.length, list);
  }
  for (const key of Object.keys(node)) { // the engine lists indices in rising order
    const child = node[key];
    if (key === "-1" || key === "-2" || (child === 0 && Array.isArray(node))) continue;
    const i = Number(key);
    if (!Number.isInteger(i) || i < 0 || i > list.length) malformed(`a patch changes element ${key} of ${list.length}`);
    if (i === list.length && !isSet(child)) malformed("a patch changes an element that is not there");
    list[i] = applyNode(list[i], child, names);
  }
  return list;
}

/** A number of elements to drop or keep. @param {any} n @param {any[]} list @returns {number} */
function count(n, list) {
  return Number.isInteger(n) && n >= 0 && n <= list.length ? n : malformed("a patch drops or keeps more than there is");
}

/** @param {any} value @param {number | bigint} delta */
function add(value, delta) {
  if (Number(delta) === 0) return value;
  if (!isInteger(value) || !isInteger(delta)) malformed("a patch adds to what is no integer, or what is none");
  const sum = Number(value) + Number(delta);
  return Number.isSafeInteger(sum) && typeof value === "number" ? sum : safe(BigInt(value) + BigInt(delta));
}

/** @param {any} v */
function isInteger(v) {
  return typeof v === "bigint" || Number.isInteger(v);
}

/** Whether a value is a map, neither list nor bytes. @param {any} v @returns {boolean} */
export function isMap(v) {
  return v !== null && typeof v === "object" && !Array.isArray(v) && !(v instanceof Uint8Array);
}

/** Whether a node is [v], the only one that may stand where nothing is yet. @param {any} node */
function isSet(node) {
  return Array.isArray(node) && node.length === 1;
}
