// The client against a real server: the one ROOMD_URL names, such as
// ws://127.0.0.1:8080/ws with the kinds of cmd/roomd, or else one of its own.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";

import { connect } from "../roomd.js";
import { Server } from "../testedge/server.mjs";
import { next } from "../testedge/scripted.mjs";

let url = process.env.ROOMD_URL;
let server;

before(async () => {
  if (url) return;
  server = await Server.start();
  url = `${server.url}/ws`;
});

after(() => server?.remove());

let socket; // the newest one any client has opened

class Watched extends WebSocket {
  constructor(...args) {
    super(...args);
    socket = this;
  }
}

for (const protocol of ["msgpack", "json"]) {
  const live = (name, f) => test(`${name} (${protocol})`, { timeout: 60_000 }, async () => {
    const sessions = [];
    const enter = (user) => (sessions.push(connect(url, { user, protocol, WebSocket: Watched })), sessions.at(-1));
    try {
      await f(enter);
    } finally {
      for (const roomd of sessions) roomd.close();
    }
  });

  live("a hundred commands get their own replies", async (enter) => {
    const room = await enter("Ann").join("echo", randomUUID());
    const data = Array.from({ length: 100 }, (_, i) => ({ i, text: "grüße 🏡", list: [1.5, null, true, 0 - i], bytes: Uint8Array.of(i, 255) }));
    assert.deepEqual(await Promise.all(data.map((x) => room.send("echo", x))), data);
  });

  live("all members get the same messages in the same order", async (enter) => {
    const id = randomUUID();
    const rooms = await Promise.all(["Ann", "Ben", "Cy"].map((user) => enter(user).join("echo", id)));
    const heard = rooms.map(() => []);
    const done = rooms.map((room, i) => next((fn) => room.on("cast", (data) => heard[i].push(data) === 60 && fn())));
    for (let i = 0; i < 20; i++) for (const [who, room] of rooms.entries()) room.cast("cast", [who, i]);
    await Promise.all(done);
    assert.deepEqual(heard[1], heard[0]);
    assert.deepEqual(heard[2], heard[0]);
    for (const who of [0, 1, 2]) assert.deepEqual(heard[0].filter(([w]) => w === who).map(([, i]) => i), [...Array(20).keys()]);
  });

  live("a cut in the middle of commands and messages loses and repeats nothing", async (enter) => {
    const id = randomUUID();
    const steady = await enter("Ann").join("chat", id);
    const ben = enter("Ben");
    ben.on("reconnecting", () => ben.reconnectNow());
    const room = await ben.join("chat", id);
    const heard = [];
    room.on("said", ({ text }) => heard.push(text));
    const sent = [];
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 10; i++) sent.push(room.send("say", `ben ${round}.${i}`), steady.send("say", `ann ${round}.${i}`));
      const back = next((fn) => room.onJoined(fn));
      socket.terminate(); // Ben's, the newest
      assert.deepEqual((await back)[0], { resumed: true, recovered: true });
    }
    await Promise.all(sent);
    await room.send("say", "end");
    for (const who of ["ann", "ben"]) {
      const want = Array.from({ length: 50 }, (_, i) => `${who} ${Math.floor(i / 10)}.${i % 10}`);
      assert.deepEqual(heard.filter((text) => text.startsWith(who)), want);
    }
  });

  live("state follows by patches", async (enter) => {
    const id = randomUUID();
    const [ann, ben] = [await enter("Ann").join("plaza", id), await enter("Ben").join("plaza", id)];
    let patches = 0;
    ben.onState((_, whole) => { patches += whole ? 0 : 1; });
    const arrived = next((fn) => ben.onState(({ avatars }) => {
      const [x, y, , name] = avatars[ann.member] ?? [];
      if (x === 300 && y === 200 && name === "Ann") fn();
    }));
    assert.equal(ann.cast("walk", [300, 200]), true);
    await arrived;
    assert.ok(patches > 3, `${patches} patches`);
    assert.deepEqual(Object.keys(ben.state.avatars).map(Number), [ann.member, ben.member]);
  });

  live("presence tells who comes and goes", async (enter) => {
    const id = randomUUID();
    const ann = await enter("Ann").join("chat", id);
    const came = next((fn) => ann.onPresence(({ joined }) => joined.some((m) => m.user === "Ben") && fn()));
    const ben = await enter("Ben").join("chat", id);
    await came;
    assert.deepEqual([...ann.members.values()].map((m) => m.user).sort(), ["Ann", "Ben"]);
    const gone = next((fn) => ann.onPresence(({ left }) => left.some((m) => m.user === "Ben") && fn()));
    await ben.leave();
    await gone;
    assert.equal(ann.size, 1);
  });

  live("what is refused has its documented code", async (enter) => {
    const roomd = enter("Ann");
    const room = await roomd.join("chat", randomUUID());
    await assert.rejects(roomd.join("no-such-kind", "x"), { code: "unknown_kind" });
    await assert.rejects(roomd.join("Chat!", "x"), { code: "bad_name" });
    await assert.rejects(roomd.join("chat", "a.*>"), { code: "bad_name" });
    await assert.rejects(roomd.join("chat", room.id), { code: "already_joined" });
    await assert.rejects(room.send("sing", "la"), { code: "unknown_event" });
    await assert.rejects(room.send("say", 5), { code: "bad_data" });
    await assert.rejects(room.send("say", "x".repeat(20_000)), { code: "too_large" });
    assert.equal(await room.send("say", "still here"), null);
  });

  live("open rooms are listed", async (enter) => {
    const roomd = enter("Ann");
    const id = randomUUID();
    await roomd.join("echo", id);
    const list = await roomd.list("echo", 1000);
    assert.deepEqual(list.find((r) => r.id === id), { kind: "echo", id, members: 1, seats: 0, meta: null });
  });
}
