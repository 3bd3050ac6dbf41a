import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import test from "node:test";

import { applyPatch, codecs, decodeAll, encode } from "../roomd/values.js";

const bytes = (...list) => Uint8Array.from(list);
const hex = (b) => Buffer.from(b).toString("hex");

const values = {
  null: null, true: true, false: false,
  "fixint": 0, "largest fixint": 127, "negative fixint": -32,
  "uint8": 128, "uint8 end": 255, "uint16": 256, "uint16 end": 65535, "uint32": 65536, "uint32 end": 2 ** 32 - 1,
  "int8": -33, "int8 end": -128, "int16": -129, "int16 end": -32768, "int32": -32769, "int32 end": -(2 ** 31),
  "uint64": 2 ** 32, "largest safe": Number.MAX_SAFE_INTEGER, "int64": -(2 ** 31) - 1, "smallest safe": Number.MIN_SAFE_INTEGER,
  "bigint": 2n ** 63n + 1n, "negative bigint": -(2n ** 60n),
  "float": 1.5, "minus zero": -0, "huge": 1e300, "infinity": Infinity, "nan": NaN,
  "empty string": "", "string": "grüße 🏡 \u0000", "bom": "\ufeffx", "str8": "x".repeat(200), "str16": "ä".repeat(1000), "str32": "x".repeat(70000),
  "bin8": bytes(1, 2, 3), "bin16": new Uint8Array(300), "bin32": new Uint8Array(70000),
  "array": [1, [2, []], "x"], "array16": Array.from({ length: 20 }, (_, i) => i), "array32": new Array(70000).fill(0),
  "map": { a: 1, b: { c: [null] } }, "map16": Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, i])),
};

for (const [name, value] of Object.entries(values)) {
  test(`MessagePack brings ${name} back`, () => {
    assert.deepEqual(decodeAll(encode(value)), [value]);
  });
}

test("integers take the shortest form", () => {
  const want = { 0: "00", 127: "7f", 128: "cc80", 256: "cd0100", 65536: "ce00010000", 4294967296: "cf0000000100000000", "-1": "ff", "-33": "d0df", "-129": "d1ff7f" };
  for (const [n, form] of Object.entries(want)) assert.equal(hex(encode(Number(n))), form);
});

test("undefined is null, and left out of maps", () => {
  assert.deepEqual(decodeAll(encode([undefined, { a: undefined, b: 1 }])), [[null, { b: 1 }]]);
});

test("Maps are maps, and integer keys become decimal strings", () => {
  assert.deepEqual(decodeAll(encode(new Map([[7, "x"], ["y", 1]]))), [{ 7: "x", y: 1 }]);
});

test("a key named __proto__ is data", () => {
  const evil = new Map([["__proto__", { admin: true }]]);
  const [value] = decodeAll(encode(evil));
  assert.equal(value.admin, undefined);
  assert.deepEqual(Object.keys(value), ["__proto__"]);
  const patched = applyPatch({}, decodeAll(encode(new Map([["__proto__", [{ admin: true }]]])))[0]);
  assert.equal(patched.admin, undefined);
});

test("values back to back are told apart", () => {
  assert.deepEqual(decodeAll(bytes(...encode([1, "a"]), ...encode(null), ...encode({}))), [[1, "a"], null, {}]);
});

test("a view into a larger buffer is decoded where it stands", () => {
  const whole = bytes(0xff, ...encode({ x: 1.25, y: 70000 }), 0xff);
  assert.deepEqual(decodeAll(whole.subarray(1, -1)), [{ x: 1.25, y: 70000 }]);
});

const malformed = {
  "every form cut off": Object.values(values).map((v) => encode(v)).filter((b) => b.length > 1).map((b) => b.subarray(0, -1)),
  "an array of four billion": [bytes(0xdd, 0xff, 0xff, 0xff, 0xff)],
  "a map of four billion": [bytes(0xdf, 0xff, 0xff, 0xff, 0xff)],
  "a string past the end": [bytes(0xdb, 0xff, 0xff, 0xff, 0xff, 0x61)],
  "bad UTF-8": [bytes(0xa2, 0xc3, 0x28), bytes(0xd9, 20, ...new Array(20).fill(0xff))],
  "the reserved byte": [bytes(0xc1)],
  "extension types": [bytes(0xd4, 1, 0), bytes(0xd6, 0xff, 0, 0, 0, 0), bytes(0xc7, 1, 1, 0), bytes(0xc9, 0, 0, 0, 1, 1, 0)],
  "keys that are no names": [bytes(0x81, 0xc0, 1), bytes(0x81, 0x90, 1), bytes(0x81, 0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0, 1)],
  "nesting without end": [new Uint8Array(100_000).fill(0x91), new Uint8Array(100_000).fill(0x81)],
};

for (const [name, list] of Object.entries(malformed)) {
  test(`${name}: refused with bad_frame`, () => {
    for (const b of list) assert.throws(() => decodeAll(b), { name: "RoomdError", code: "bad_frame" }, hex(b.subarray(0, 20)));
  });
}

test("random bytes are decoded or refused, nothing else", () => {
  let seed = 12345;
  const random = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 8;
  for (let round = 0; round < 20_000; round++) {
    const b = Uint8Array.from({ length: 1 + (random() % 40) }, random);
    try {
      decodeAll(b);
    } catch (err) {
      assert.equal(err.code, "bad_frame", hex(b));
    }
  }
});

test("what has no place in MessagePack is refused by the encoder", () => {
  const endless = [];
  endless.push(endless);
  for (const v of [() => {}, Symbol("x"), 2n ** 64n, endless]) assert.throws(() => encode(v), /TypeError|RangeError/);
});

test("JSON carries bytes as $bin, both ways", () => {
  const frame = [4, 1, 1, "draw", { pixels: bytes(0, 200, 255), buffer: Buffer.from([1, 2]) }];
  const text = codecs.json.encode(frame);
  assert.equal(text, '[4,1,1,"draw",{"pixels":{"$bin":"AMj/"},"buffer":{"$bin":"AQI="}}]');
  assert.deepEqual(codecs.json.decode(`${text}\n[5,0]`), [[4, 1, 1, "draw", { pixels: bytes(0, 200, 255), buffer: bytes(1, 2) }], [5, 0]]);
});

test("a message of the wrong sort or no JSON is refused with bad_frame", () => {
  assert.throws(() => codecs.json.decode(new ArrayBuffer(1)), { code: "bad_frame" });
  assert.throws(() => codecs.msgpack.decode("[]"), { code: "bad_frame" });
  assert.throws(() => codecs.json.decode("[1"), { code: "bad_frame" });
});

const patches = {
  "the example of PROTOCOL.md": [{ players: { 7: { x: 10, y: 4 } } }, { players: { 7: { x: 3 }, 9: [{ x: 0, y: 0 }] } }, { players: { 7: { x: 13, y: 4 }, 9: { x: 0, y: 0 } } }],
  "a new whole": [{ a: 1 }, [[1, 2]], [1, 2]],
  "a key removed": [{ a: 1, b: 2 }, { a: null }, { b: 2 }],
  "null put": [{ a: 1 }, { a: [null] }, { a: null }],
  "an array appended to": [[1, 2], { 2: [3], 3: [4] }, [1, 2, 3, 4]],
  "an array that moves on": [[1, 2, 3], { "-2": 1, 2: [4] }, [2, 3, 4]],
  "an array cut": [[1, 2, 3], { "-1": 1 }, [1]],
  "dropped, cut, appended": [[1, 2, 3, 4], { "-2": 1, "-1": 2, 0: 5, 2: [9] }, [7, 3, 9]],
  "more than ten elements": [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], { 2: 1, 10: 2, 12: [3] }, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3]],
  "past 2^53": [{ a: Number.MAX_SAFE_INTEGER }, { a: 2 }, { a: 2n ** 53n + 1n }],
  "back from beyond 2^53": [{ a: 2n ** 53n + 1n }, { a: -2 }, { a: Number.MAX_SAFE_INTEGER }],
};

for (const [name, [before, patch, after]] of Object.entries(patches)) {
  test(`patch: ${name}`, () => {
    assert.deepEqual(applyPatch(structuredClone(before), patch), after);
  });
}

const misfits = {
  "a delta on a string": [{ a: "x" }, { a: 1 }], "a delta on a float": [{ a: 1.5 }, { a: 1 }], "a delta on nothing": [{}, { a: 1 }],
  "a descent into nothing": [{}, { a: { b: [1] } }], "a descent into a number": [{ a: 1 }, { a: { b: [1] } }],
  "an index past the end": [[1], { 2: [1] }], "a change of no element": [[1], { 1: 1 }], "an index that is none": [[1], { x: [1] }],
  "a drop of too many": [[1], { "-2": 2 }], "a longer length": [[1], { "-1": 2 }],
  "no patch": [1, "x"], "null on top": [{}, null], "an empty array": [{}, []], "bytes": [{}, bytes(1)], "a method": [{}, { toString: 1 }],
};

for (const [name, [state, patch]] of Object.entries(misfits)) {
  test(`patch that does not fit: ${name}`, () => {
    assert.throws(() => applyPatch(structuredClone(state), patch), { code: "bad_frame" });
  });
}

const vectors = new URL("../../rooms/patch/testdata/vectors.json", import.meta.url);

const thisIsACheckout = existsSync(vectors) || "the vectors of rooms/patch are not there: this is no checkout of roomd";
const list = existsSync(vectors) ? JSON.parse(readFileSync(vectors, "utf8")) : [];

test("the vectors of rooms/patch: each patch turns the old state into the new one", { skip: thisIsACheckout !== true && thisIsACheckout }, () => {
  assert.ok(list.length > 20);
  for (const v of list) {
    assert.deepEqual(applyPatch(structuredClone(v.old), v.patch), v.new, v.name);
    const [old, patch] = decodeAll(bytes(...encode(v.old), ...encode(v.patch)));
    assert.deepEqual(applyPatch(old, patch), v.new, `${v.name}, in MessagePack`);
  }
});
