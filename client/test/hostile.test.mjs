// What an edge may send, and what may not harm a client whatever is sent: frames
// that are mutated at random, in both protocols. The client takes in what it can
// and answers the rest with its own error, "bad_frame", and a new connection. It
// never throws, and every promise settles.
//
// ROOMD_FUZZ_SEED and ROOMD_FUZZ_ROUNDS are for other frames, and more of them.

import assert from "node:assert/strict";
import test from "node:test";

import { RoomdError, connect } from "../roomd.js";
import { codecs } from "../roomd/values.js";

const firstSeed = Number(process.env.ROOMD_FUZZ_SEED ?? 1);
const rounds = Number(process.env.ROOMD_FUZZ_ROUNDS ?? 400);
const framesPerRound = 24;

/** Numbers that a seed decides (mulberry32). */
class Chance {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** An integer below n. */
  below(n) {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  of(list) {
    return list[this.below(list.length)];
  }
}

/** A socket without a network: the test is its other side. */
class Socket {
  static last;
  sent = [];
  closed = false;

  constructor() {
    Socket.last = this;
  }

  send(message) {
    assert.ok(!this.closed, "sent on a closed socket");
    this.sent.push(message);
  }

  close() {
    this.closed = true;
  }

  /** Hands the client a message, if it still listens. */
  say(message) {
    this.onmessage?.({ data: message });
  }
}

const odd = [null, true, false, -1, 0, 1, 2, 1.5, 2 ** 53, 1e300, "", "x", "left", "__proto__", "bad_token", "reset", [], [[]], [null], [1, 2, 3], {}, { a: 1 }, { toString: 1 },
  { "-1": 1 }, { "-2": 9 }, Uint8Array.of(1, 255), [[1, "Ann", false], [2]], { members: 1 }, { room: 1 }, 2n ** 60n];

const nan = [NaN, Infinity, -0];

/** A frame that fits: types as in PROTOCOL.md, numbers as they would be next. */
function fitting(chance, at) {
  const room = chance.of([1, 1, 1, 1, 2, 0]);
  switch (chance.below(13)) {
    case 0: return [0, chance.of(["rate_limited", "bad_frame", "bad_token"]), "why", chance.of([3, 4, 6]), room];
    case 1: return [1, { session: chance.of(["S1", "S2"]), resume: "R", user: "Ann", ping: 25 }];
    case 2: return [2, chance.of([1, 2, 3]), joined(at)];
    case 3: return [3, room, "left", "", chance.of([0, 1, 2])];
    case 4: return [4, 1, chance.of([1, 2, 3]), { at: 1 }, chance.of([undefined, null, ["forbidden", "no"], ["out_of_order", ""], ["unavailable"]])].slice(0, chance.of([3, 4, 5]));
    case 5: return [5, 0, 1_700_000_000_000];
    case 6: return [6, chance.of([2, 3]), [["chat", "lounge", 3, 100, { topic: "x" }], ["chat", "empty"]]];
    case 7: return [7, room, ++at.seq, "said", { text: "x" }];
    case 8: return [8, room, at.seq, ++at.count, "whisper", [1]];
    case 9: return [9, room, ++at.seq, 3, [[7, "Ann"], [8, "Cy"]], [9], [7], [7]];
    case 10: return [10, room, (at.ver = 5), { a: 1, list: [1, 2], map: { 7: { x: 1 } } }];
    case 11: return [11, room, ++at.ver, chance.of([{ a: 1 }, { list: { 2: [3] } }, { map: { 7: { x: 1 } } }, ["x", { map: { 7: [1] } }], [{ b: 1 }], { list: { "-2": 1 } }])];
    default: return [12, room, chance.of(["reset", "paused", "resumed"]), 2, at.seq, at.count, 3, 9, 2, [[9, "Bob"]], 1, true];
  }
}

const joined = (at) => ({ room: 1, kind: "chat", id: "lounge", member: 9, epoch: 1, seq: at.seq, count: at.count, ver: at.ver, n: 0, seats: 8, size: 2, members: [[7, "Ann"], [9, "Bob"]], state: { a: 0, list: [], map: { 7: { x: 0 } } }, resumed: true, recovered: true });

/** The value with something in it replaced, left out or put in. */
function mutated(chance, value, oddities) {
  if (Array.isArray(value) && value.length > 0 && chance.below(5) > 0) {
    const copy = [...value];
    const i = chance.below(copy.length);
    switch (chance.below(8)) {
      case 0: copy.splice(i, 1); break;
      case 1: copy.splice(i, 0, chance.of(oddities)); break;
      case 2: copy.length = i; break;
      default: copy[i] = mutated(chance, copy[i], oddities);
    }
    return copy;
  }
  if (value !== null && typeof value === "object" && !(value instanceof Uint8Array) && Object.keys(value).length > 0 && chance.below(5) > 0) {
    const copy = { ...value };
    const key = chance.of(Object.keys(copy));
    if (chance.below(4) === 0) delete copy[key];
    else copy[key] = mutated(chance, copy[key], oddities);
    return copy;
  }
  return chance.of(oddities);
}

/** The bytes, or the text, with some of them changed. */
function broken(chance, message) {
  if (typeof message === "string") {
    const at = chance.below(message.length + 1);
    return message.slice(0, at) + chance.of(["", "[", "]", "\"", "\n", "{\"$bin\":\"%\"}", ",", "9".repeat(30), "\ud800"]) + message.slice(at + chance.below(4));
  }
  const bytes = [...message];
  for (let n = 1 + chance.below(3); n > 0 && bytes.length > 0; n--) {
    const at = chance.below(bytes.length);
    switch (chance.below(4)) {
      case 0: bytes.length = at; break;
      case 1: bytes.splice(at, 0, chance.below(256)); break;
      default: bytes[at] = chance.below(256);
    }
  }
  return Uint8Array.from(bytes);
}

/** One message of a WebSocket, mostly not as it should be. */
function message(chance, codec, at) {
  const json = codec === codecs.json;
  const oddities = json ? odd.filter((v) => typeof v !== "bigint") : [...odd, ...nan];
  const frames = Array.from({ length: 1 + chance.below(3) }, () => {
    let frame = fitting(chance, at);
    for (let n = chance.below(3); n > 0; n--) frame = mutated(chance, frame, oddities);
    return codec.encode(frame);
  });
  let whole = json ? frames.join("\n") : Uint8Array.from(frames.flatMap((f) => [...f]));
  if (chance.below(4) === 0) whole = broken(chance, whole);
  if (chance.below(200) === 0) return json ? new ArrayBuffer(3) : "[7,1]"; // of the other sort
  return json ? whole : whole.buffer;
}

/** Whether a promise has settled, and how; seen a moment later. */
function watch(promise, name, outcomes) {
  outcomes.set(name, "open");
  promise.then(() => outcomes.set(name, "ok"), (err) => outcomes.set(name, err));
}

const moment = () => new Promise((resolve) => setTimeout(resolve));

/** Has a session live through a round of messages. */
async function round(protocol, seed) {
  const roomd = connect("ws://edge.invalid/ws", { user: "Ann", protocol, WebSocket: Socket });
  try {
    await live(roomd, protocol, new Chance(seed));
  } finally {
    roomd.close();
  }
}

async function live(roomd, protocol, chance) {
  const codec = codecs[protocol];
  const outcomes = new Map();
  await null; // it connects in a microtask
  const say = (frame) => Socket.last.say(protocol === "json" ? codec.encode(frame) : codec.encode(frame).buffer);
  const open = () => {
    Socket.last.onopen?.();
    say([1, { session: "S1", resume: "R1", user: "Ann", ping: 25 }]);
  };
  open();
  const at = { seq: 3, count: 1, ver: 2 };
  const joining = roomd.join("chat", "lounge");
  watch(joining, "join", outcomes);
  let room;
  if (chance.below(4) > 0) {
    say([2, 1, joined(at)]);
    room = await joining;
    await moment(); // from now on frames do not wait for handlers
    watch(room.send("say", 1), "send 1", outcomes);
    watch(room.send("say", 2), "send 2", outcomes);
    for (const listen of ["onPresence", "onState", "onNotice", "onJoined", "onLeft"]) room[listen](() => {});
  }
  watch(roomd.list("chat"), "list", outcomes);
  for (let n = 0; n < framesPerRound; n++) {
    Socket.last.say(message(chance, codec, at));
    if (Socket.last.closed || !roomd.connected) {
      roomd.reconnectNow();
      open();
    }
    if (room && !room.left) {
      assert.ok(room.members instanceof Map, "members are no Map");
      for (const name of ["member", "size", "seats", "_number"]) assert.ok(Number.isSafeInteger(room[name]), `${name} is ${room[name]}`);
    }
  }
  await moment();
  roomd.close();
  await moment();
  for (const [name, outcome] of outcomes) {
    assert.notEqual(outcome, "open", `${name} never settles`);
    assert.ok(outcome === "ok" || outcome instanceof RoomdError, `${name} failed with ${outcome?.stack ?? outcome}`);
  }
  for (const m of Socket.last.sent) codec.decode(typeof m === "string" ? m : m.buffer); // what it says is well formed
}

for (const protocol of ["msgpack", "json"]) {
  test(`no frame of an edge makes the client fail with anything but its own error (${protocol})`, async (t) => {
    const failures = [];
    const stray = (err) => failures.push(err);
    process.on("uncaughtException", stray);
    process.on("unhandledRejection", stray);
    t.after(() => {
      process.off("uncaughtException", stray);
      process.off("unhandledRejection", stray);
    });
    for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
      try {
        await round(protocol, seed);
        if (failures.length > 0) throw failures[0];
      } catch (err) {
        err.message = `ROOMD_FUZZ_SEED=${seed} ROOMD_FUZZ_ROUNDS=1: ${err.message}`;
        throw err;
      }
    }
  });
}

test("the decoders return values or throw bad_frame, whatever they get", () => {
  const chance = new Chance(firstSeed);
  for (const codec of Object.values(codecs)) {
    for (let round = 0; round < 10 * rounds; round++) {
      let m = message(chance, codec, { seq: 1, count: 1, ver: 1 });
      for (let n = chance.below(4); n > 0; n--) {
        m = typeof m === "string" ? broken(chance, m) : broken(chance, new Uint8Array(m)).buffer;
      }
      try {
        assert.ok(Array.isArray(codec.decode(m)));
      } catch (err) {
        assert.ok(err instanceof RoomdError && err.code === "bad_frame", `${err.stack} of ${typeof m === "string" ? m : Buffer.from(m).toString("hex")}`);
      }
    }
  }
});

test("a text or a value nested without end is refused, not run into", () => {
  const deep = "[".repeat(200_000) + "]".repeat(200_000);
  assert.throws(() => codecs.json.decode(deep), { code: "bad_frame" });
  const maps = '{"a":'.repeat(20_000) + "1" + "}".repeat(20_000);
  assert.throws(() => codecs.json.decode(maps), { code: "bad_frame" });
});
