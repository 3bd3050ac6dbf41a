import assert from "node:assert/strict";
import test from "node:test";

import { ScriptedEdge, next } from "../testedge/scripted.mjs";

/** Runs f with an edge and a connected session on it, in both protocols. */
function scripted(name, f) {
  for (const protocol of ["msgpack", "json"]) {
    test(`${name} (${protocol})`, async () => {
      const edge = await ScriptedEdge.listen(protocol);
      const roomd = edge.connect();
      try {
        await f(edge, roomd);
      } finally {
        roomd.close();
        await edge.close();
      }
    });
  }
}

/** A connected session in one room. */
async function inRoom(edge, roomd, joined = {}, ...more) {
  const conn = await edge.welcomed();
  const joining = roomd.join("chat", "lounge");
  await conn.joined(joined, ...more);
  return { conn, room: await joining };
}

scripted("what comes with the join's answer waits for the handlers", async (edge, roomd) => {
  const conn = await edge.welcomed();
  const joining = roomd.join("chat", "lounge", { from: "test" });
  const frame = await conn.joined({ seq: 4 }, [8, 1, 4, 1, "history", ["a"]], [7, 1, 5, "said", "b"]);
  assert.deepEqual(frame.slice(2), ["chat", "lounge", { from: "test" }]);
  const room = await joining;
  const heard = [];
  room.on("history", (data, meta) => heard.push([data, meta.private]));
  await next((fn) => room.on("said", (data, meta) => (heard.push([data, meta.seq]), fn())));
  assert.deepEqual(heard, [[["a"], true], ["b", 5]]);
});

scripted("a refused join rejects with its code", async (edge, roomd) => {
  const joining = roomd.join("chat", "lounge");
  const conn = await edge.welcomed();
  const [, ref] = await conn.frame();
  conn.send([2, ref, null, ["room_full", "100 are here"]]);
  await assert.rejects(joining, { name: "RoomdError", code: "room_full", text: "100 are here" });
});

scripted("a leave that came too fast is sent again", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const leaving = room.leave();
  const [type, ref, number] = await conn.frame();
  assert.deepEqual([type, number], [3, 1]);
  conn.send([0, "rate_limited", "", 3, 1]);
  assert.deepEqual(await conn.frame(), [3, ref, 1]);
  conn.send([3, 1, "left", "", ref]);
  await leaving;
  assert.equal(room.left.code, "left");
});

scripted("a room left while the connection was broken and joined again has its old seat", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  assert.equal(room.resumed, false);
  conn.cut();
  await next((fn) => roomd.on("reconnecting", fn));
  await room.leave();
  const joining = roomd.join("chat", "lounge");
  roomd.reconnectNow();
  const frame = await (await edge.welcomed()).joined({ resumed: true });
  assert.equal(frame[5] ?? null, null, "no position: this Room has seen nothing yet");
  assert.equal((await joining).resumed, true);
});

scripted("rooms are listed", async (edge, roomd) => {
  const conn = await edge.welcomed();
  const listing = roomd.list("chat");
  const [type, ref, kind] = await conn.frame();
  assert.deepEqual([type, kind], [6, "chat"]);
  conn.send([6, ref, [["chat", "lounge", 3, 100, { topic: "x" }], ["chat", "empty"]]]);
  assert.deepEqual(await listing, [
    { kind: "chat", id: "lounge", members: 3, seats: 100, meta: { topic: "x" } },
    { kind: "chat", id: "empty", members: 0, seats: 0, meta: null },
  ]);
});

scripted("commands are numbered from joined's n and replies find their command", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { n: 5 });
  const [one, two] = [room.send("say", "a"), room.send("say", "b")];
  assert.deepEqual(await conn.frame(), [4, 1, 6, "say", "a", 5]);
  assert.deepEqual(await conn.frame(), [4, 1, 7, "say", "b", 5]);
  conn.send([4, 1, 7, null, ["forbidden", "no"]], [4, 1, 6, { at: 1 }]);
  await assert.rejects(two, { code: "forbidden" });
  assert.deepEqual(await one, { at: 1 });
  const three = room.send("say", "c");
  assert.deepEqual(await conn.frame(), [4, 1, 8, "say", "c", 7]);
  conn.send([4, 1, 8]);
  assert.equal(await three, null);
  assert.equal(room.cast("walk", [1, 2]), true);
  assert.deepEqual(await conn.frame(), [4, 1, 0, "walk", [1, 2]]);
});

scripted("at most 64 commands are without a reply, the others wait for their turn", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const all = Array.from({ length: 70 }, (_, i) => room.send("say", i));
  for (let n = 1; n <= 64; n++) assert.equal((await conn.frame())[2], n);
  room.cast("mark");
  assert.equal((await conn.frame())[3], "mark", "the 65th was not held back");
  for (let n = 1; n <= 70; n++) {
    conn.send([4, 1, n, n]);
    if (n + 64 <= 70) assert.equal((await conn.frame())[2], n + 64);
  }
  assert.equal((await Promise.all(all)).length, 70);
});

scripted("after a cut the session resumes, joins since its position and sends unanswered commands again", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { seq: 3, count: 1, ver: 2, state: { a: 1 } });
  const answers = [room.send("say", "a"), room.send("say", "b")];
  const heard = next((fn) => room.on("said", fn));
  conn.send([7, 1, 4, "said", "x"], [11, 1, 3, { a: 1 }], [4, 1, 1, "first"]);
  await heard;
  conn.cut();
  const lost = next((fn) => roomd.on("reconnecting", fn));
  assert.equal((await lost)[0].attempt, 1);
  const queued = room.send("say", "c");
  assert.equal(room.cast("walk"), false);

  const again = await edge.welcomed();
  assert.equal(again.hello.resume, "R1");
  const rejoined = next((fn) => room.onJoined(fn));
  const frame = await again.joined({ room: 9, epoch: 1, seq: 4, count: 1, ver: 3, n: 2, resumed: true, recovered: true, members: undefined }, [7, 9, 5, "said", "y"]);
  assert.deepEqual(frame[5], [1, 4, 1, 3, 7]);
  assert.deepEqual((await rejoined)[0], { resumed: true, recovered: true });
  assert.deepEqual(room.members.get(7), { id: 7, user: "Ann", away: false }, "who is here is still known");
  assert.deepEqual(await again.frame(), [4, 9, 2, "say", "b", 1]);
  assert.deepEqual(await again.frame(), [4, 9, 3, "say", "c", 1]);
  again.send([4, 9, 2, 2], [4, 9, 3, 3]);
  assert.deepEqual(await Promise.all([...answers, queued]), ["first", 2, 3]);
});

scripted("frames that are there already are ignored", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { seq: 3, count: 1, ver: 5, state: 1 });
  const heard = [];
  room.on("said", (data) => heard.push(data));
  conn.send([7, 1, 3, "said", "old"], [8, 1, 3, 1, "said", "old"], [11, 1, 5, 10], [7, 1, 4, "said", "new"], [8, 1, 4, 2, "said", "mine"], [11, 1, 6, 1], [4, 1, 99, "no such command"]);
  await next((fn) => room.onState((state) => state === 2 && fn()));
  assert.deepEqual(heard, ["new", "mine"]);
});

for (const [name, frame] of Object.entries({ broadcast: [7, 1, 3, "said", "x"], presence: [9, 1, 3, 2], "private message": [8, 1, 1, 3, "said", "x"] })) {
  scripted(`a gap before a ${name} breaks the connection and resumes before it`, async (edge, roomd) => {
    const { conn, room } = await inRoom(edge, roomd, { seq: 1, count: 1 });
    const heard = [];
    room.on("said", (data) => heard.push(data));
    conn.send(frame);
    await conn.closed;
    const again = await edge.welcomed();
    assert.deepEqual((await again.joined({ seq: 1, count: 1, resumed: true, recovered: true }))[5], [1, 1, 1, 0, 7]);
    assert.deepEqual(heard, []);
  });
}

scripted("a patch out of turn is ignored until a whole state comes", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { ver: 1, state: { x: 1 } });
  const seen = [];
  room.onState((state, whole) => seen.push([structuredClone(state), whole]));
  conn.send([11, 1, 2, { x: 1 }], [11, 1, 4, { x: 100 }], [10, 1, 7, { x: 5 }], [11, 1, 8, { x: 1 }]);
  await next((fn) => room.onState((state) => state.x === 6 && fn()));
  assert.deepEqual(seen, [[{ x: 1 }, true], [{ x: 2 }, false], [{ x: 5 }, true], [{ x: 6 }, false]]);
});

scripted("a patch that does not fit breaks the connection, and a whole state mends it", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { ver: 1, state: { x: 1 } });
  const failed = next((fn) => roomd.on("error", fn));
  conn.send([11, 1, 2, { y: 1 }]);
  assert.equal((await failed)[0].code, "bad_frame");
  const again = await edge.welcomed();
  await again.joined({ ver: 3, state: { x: 9 }, resumed: true });
  await next((fn) => room.onState((state) => state.x === 9 && fn()));
});

scripted("presence keeps the members", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const diffs = [];
  room.onPresence((diff) => diffs.push(diff));
  conn.send([9, 1, 1, 3, [[8, "Ben"], [9, "Cy"]]], [9, 1, 2, 3, [], [], [8]], [9, 1, 3, 2, [], [9], [], [8]]);
  await next((fn) => room.onPresence(() => diffs.length === 3 && fn()));
  assert.deepEqual(diffs.map((d) => [d.joined.map((m) => m.user), d.left.map((m) => m.user), d.away, d.back]), [[["Ben", "Cy"], [], [], []], [[], [], [8], []], [[], ["Cy"], [], [8]]]);
  assert.deepEqual([...room.members.values()].map((m) => [m.user, m.away]), [["Ann", false], ["Ben", false]]);
  assert.equal(room.size, 2);
});

scripted("a room that went back renumbers what it has not taken in", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { n: 10, seq: 50 });
  const answers = [room.send("say", "a"), room.send("say", "b")];
  for (const n of [11, 12]) assert.equal((await conn.frame())[2], n);
  const noticed = next((fn) => room.onNotice(fn));
  conn.send([12, 1, "reset", 2, 20, 0, 65000, 9, 2, [[9, "Ann", false], [3, "Ben", true]], 10, true]);
  assert.deepEqual(await noticed, ["reset"]);
  assert.deepEqual([room.member, room.size, [...room.members.keys()]], [9, 2, [9, 3]]);
  assert.deepEqual((await conn.frame()).slice(2), [65001, "say", "a", 65000]);
  assert.deepEqual((await conn.frame()).slice(2), [65002, "say", "b", 65000]);
  const heard = next((fn) => room.on("said", fn));
  conn.send([4, 1, 11, null, ["out_of_order"]], [4, 1, 65001, 1], [4, 1, 65002, 2], [7, 1, 21, "said", "x"]);
  assert.deepEqual(await Promise.all(answers), [1, 2]);
  await heard;
});

scripted("after a reset what had happened keeps its number, and a new seat ends what was sent under the old", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { n: 10 });
  const answers = [room.send("say", "a"), room.send("say", "b")];
  for (const n of [11, 12]) assert.equal((await conn.frame())[2], n);
  conn.send([12, 1, "reset", 2, 20, 0, 65000, 7, 1, [[7, "Ann", false]], 11, true]);
  assert.deepEqual((await conn.frame()).slice(2), [11, "say", "a", 10]);
  assert.deepEqual((await conn.frame()).slice(2), [65001, "say", "b", 10]);
  conn.send([4, 1, 11, 1]);
  assert.equal(await answers[0], 1);
  conn.send([12, 1, "reset", 3, 0, 0, 130000, 7, 1, [[7, "Ann", false]]]);
  await assert.rejects(answers[1], { code: "timeout" });
  const last = room.send("say", "c");
  assert.deepEqual((await conn.frame()).slice(2), [130001, "say", "c", 130000]);
  conn.send([4, 1, 130001, 3]);
  assert.equal(await last, 3);
});

scripted("when the seat is lost, what was sent fails with timeout and what was not is sent under the new one", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd, { n: 10 });
  const sent = assert.rejects(room.send("say", "a"), { code: "timeout" });
  await conn.frame();
  conn.cut();
  await next((fn) => roomd.on("reconnecting", fn));
  const waiting = room.send("say", "b");
  const again = await edge.welcomed();
  await again.joined({ member: 8, n: 0 });
  await sent;
  assert.deepEqual((await again.frame()).slice(2), [1, "say", "b", 0]);
  again.send([4, 1, 1, "ok"]);
  assert.equal(await waiting, "ok");
  assert.equal(room.member, 8);
});

scripted("a command that did not get in is sent again with those behind it, in order", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const answers = [room.send("say", "a"), room.send("say", "b"), room.send("say", "c")];
  for (const n of [1, 2, 3]) assert.equal((await conn.frame())[2], n);
  conn.send([4, 1, 1, 1], [4, 1, 2, null, ["timeout"]], [4, 1, 3, null, ["out_of_order"]]);
  for (const n of [2, 3]) assert.equal((await conn.frame())[2], n);
  conn.send([4, 1, 2, 2], [4, 1, 3, 3]);
  assert.deepEqual(await Promise.all(answers), [1, 2, 3]);
});

scripted("what a limit refuses is refused for good, and does not hold up what follows", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const [one, two] = [assert.rejects(room.send("say", "a"), { code: "rate_limited" }), room.send("say", "b")];
  for (const n of [1, 2]) assert.equal((await conn.frame())[2], n);
  conn.send([4, 1, 1, null, ["rate_limited"]], [4, 1, 2, "ok"]);
  await one;
  assert.equal(await two, "ok");
});

scripted("a command whose reply the room has forgotten is not sent for ever", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const lost = assert.rejects(room.send("say", "a"), { code: "out_of_order" });
  await conn.frame();
  conn.cut();
  const again = await edge.welcomed();
  await again.joined({ n: 1, resumed: true, recovered: true });
  await again.frame();
  again.send([4, 1, 1, null, ["out_of_order"]]);
  await lost;
});

scripted("a number that the room does not take, again and again, is cleared up by joining again", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const answer = room.send("say", "a");
  for (let i = 0; i < 3; i++) {
    assert.equal((await conn.frame())[2], 1);
    conn.send([4, 1, 1, null, ["out_of_order"]]);
  }
  await conn.closed;
  const again = await edge.welcomed();
  await again.joined({ n: 3, resumed: true, recovered: true });
  assert.equal((await again.frame())[2], 1, "what the room may have applied keeps its number");
  again.send([4, 1, 1, "done before"]);
  assert.equal(await answer, "done before");
});

for (const how of ["bye", "error frame"]) {
  scripted(`a refused resume token starts over with a plain hello (${how})`, async (edge, roomd) => {
    const { conn, room } = await inRoom(edge, roomd, { seq: 9 });
    const sent = assert.rejects(room.send("say", "a"), { code: "timeout" });
    await conn.frame();
    conn.cut();
    const refused = await edge.conn();
    assert.equal((await refused.frame())[1].resume, "R1");
    if (how === "bye") refused.bye("bad_token", "expired", -1, 4101);
    else (refused.send([0, "bad_token", "expired", 1]), refused.socket.close(4101));
    const again = await edge.welcomed({ session: "S2", resume: "R2" });
    assert.equal(again.hello.resume ?? null, null);
    assert.equal((await again.joined({ member: 8 }))[5], null, "a new session has no position");
    await sent;
  });
}

scripted("a bye's retry says when to come back, -1 not to", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const lost = next((fn) => roomd.on("reconnecting", fn));
  conn.bye("shutdown", "the edge leaves", 0, 4000);
  assert.deepEqual((await lost)[0], { attempt: 1, delay: 0, code: "shutdown", message: "the edge leaves" });
  const again = await edge.welcomed();
  await again.joined({ resumed: true, recovered: true });
  const closed = next((fn) => roomd.on("closed", fn));
  again.bye("shutdown", "for good", -1, 4000);
  assert.deepEqual((await closed)[0], { code: "shutdown", message: "for good" });
  assert.deepEqual(room.left, { code: "shutdown", message: "for good" });
  await assert.rejects(room.send("say"), { code: "shutdown" });
  await assert.rejects(roomd.join("chat"), { code: "closed" });
});

scripted("codes from 4100 are the end", async (edge, roomd) => {
  const { conn } = await inRoom(edge, roomd);
  const closed = next((fn) => roomd.on("closed", fn));
  conn.socket.close(4102, "replaced");
  assert.equal((await closed)[0].code, "replaced");
});

scripted("a seat taken away ends the room and not the session", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const waiting = assert.rejects(room.send("say"), { code: "kicked" });
  const left = next((fn) => room.onLeft(fn));
  conn.send([3, 1, "kicked", "be nice"]);
  assert.deepEqual((await left)[0], { code: "kicked", message: "be nice" });
  await waiting;
  assert.equal(roomd.connected, true);
});

scripted("leave waits for the edge's word", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const leaving = room.leave();
  const [type, ref, number] = await conn.frame();
  assert.deepEqual([type, number], [3, 1]);
  conn.send([3, 1, "left", "", ref]);
  await leaving;
  assert.equal(room.left.code, "left");
});

scripted("close leaves the rooms", async (edge, roomd) => {
  const { conn } = await inRoom(edge, roomd);
  roomd.close();
  assert.deepEqual((await conn.frame()).filter((_, i) => i !== 1), [3, 1]);
  await conn.closed;
});

scripted("a room that cannot be joined again for a moment is asked for again; one that refuses is lost", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  conn.cut();
  const again = await edge.welcomed();
  let frame = await again.frame();
  again.send([2, frame[1], null, ["unavailable", "no worker"]]);
  frame = await again.frame();
  assert.equal(frame[0], 2);
  const left = next((fn) => room.onLeft(fn));
  again.send([2, frame[1], null, ["room_full"]]);
  assert.equal((await left)[0].code, "room_full");
});

scripted("garbage from the edge breaks the connection and nothing else", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  roomd.on("error", () => {});
  conn.socket.send(edge.protocol === "json" ? "{nonsense" : Buffer.from([0xc1]));
  await conn.closed;
  const again = await edge.welcomed();
  await again.joined({ resumed: true, recovered: true });
  assert.equal(room.left, null);
});

scripted("a silent edge is asked for a sign of life", async (edge) => {
  const conn = await edge.welcomed({ ping: 1 });
  assert.equal((await conn.frame())[0], 5);
});

scripted("unknown frames and trailing elements are ignored", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const heard = next((fn) => room.on("said", fn));
  conn.send([99, 1, "later"], [7, 1, 1, "said", "x", "later"]);
  assert.equal((await heard)[0], "x");
});

scripted("an error about a cast is an event", async (edge, roomd) => {
  const { conn, room } = await inRoom(edge, roomd);
  const failed = next((fn) => roomd.on("error", fn));
  conn.send([0, "rate_limited", "200 a second", 4, 1]);
  const [err] = await failed;
  assert.deepEqual([err.code, err.type, err.room], ["rate_limited", 4, room]);
});
