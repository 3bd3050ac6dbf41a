// Two Colyseus servers that know each other only through Redis, with Colyseus's
// own presence and driver, and real Colyseus clients at both.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Client } from "@colyseus/sdk";

import { startServer } from "./server.mjs";
import { Inbox, unused, until } from "./wait.mjs";

let redis;
let a, b; // the Colyseus servers
let ann, ben; // clients that know a and b

before(async () => {
  redis = await startServer();
  [a, b] = await Promise.all([startColyseus(), startColyseus()]);
  [ann, ben] = [a, b].map((node) => new Client(`http://127.0.0.1:${node.port}`));
});
after(async () => {
  await Promise.all([a?.end(), b?.end()]);
  await redis?.stop();
});

/** A Colyseus server in a process of its own; ask runs one of its methods. */
async function startColyseus() {
  const child = fork(new URL("colyseus-server.mjs", import.meta.url), {
    // Colyseus makes a second room if the first is not there after this many seconds.
    env: { ...process.env, REDIS_URL: redis.url, NODE_ENV: "production", COLYSEUS_MAX_CONCURRENT_CREATE_ROOM_WAIT_TIME: "2" },
    execArgv: [],
  });
  const answers = new Map();
  const exited = once(child, "exit");
  const [{ port, processId }] = await Promise.race([once(child, "message"), exited.then(() => { throw new Error("no Colyseus started"); })]);
  child.on("message", ({ id, result, error }) => {
    const { resolve, reject } = answers.get(id);
    answers.delete(id);
    if (error) reject(new Error(error));
    else resolve(result);
  });
  let asked = 0;
  return {
    port,
    processId,
    ask: (method, ...args) => new Promise((resolve, reject) => {
      answers.set(++asked, { resolve, reject });
      child.send({ id: asked, method, args });
    }),
    async end(signal = "SIGKILL") {
      child.kill(signal);
      await exited;
    },
  };
}

/** A room as a client sees it, with an inbox for each kind of message. */
function heardIn(room) {
  const heard = { said: new Inbox(), news: new Inbox() };
  room.onMessage("said", heard.said.put);
  room.onMessage("news", heard.news.put);
  return heard;
}

const gone = (room) => until(async () => (await a.ask("query", { roomId: room.roomId })).length === 0);

test("both servers know of each other", async () => {
  for (const node of [a, b]) {
    const known = await until(async () => {
      const processes = await node.ask("processes");
      return processes.length >= 2 && processes.map(({ processId }) => processId);
    });
    assert.ok(known.includes(a.processId) && known.includes(b.processId));
    const channels = await node.ask("presence", "channels", "p:*");
    assert.ok(channels.includes(`p:${a.processId}`) && channels.includes(`p:${b.processId}`));
  }
});

test("a client of one server has a room made on the other, and one of the other joins it", async () => {
  const game = unused("game");
  const annsRoom = await ann.joinOrCreate("hall", { game, host: b.processId });
  const [annsWords, state] = [heardIn(annsRoom), new Inbox()];
  annsRoom.onStateChange(({ visits, host }) => state.put({ visits, host }));
  const bensRoom = await ben.join("hall", { game });
  const bensWords = heardIn(bensRoom);
  assert.equal(bensRoom.roomId, annsRoom.roomId);

  for (const node of [a, b]) {
    const [listed, ...more] = await node.ask("query", { name: "hall", game });
    assert.deepEqual(more, []);
    assert.equal(listed.roomId, annsRoom.roomId);
    assert.equal(listed.processId, b.processId);
    assert.equal(listed.clients, 2);
  }
  annsRoom.send("say", "hi");
  bensRoom.send("say", "ho");
  for (const words of [annsWords, bensWords]) {
    assert.deepEqual((await words.said.takeAll(2)).sort(), [[annsRoom.sessionId, "hi"], [bensRoom.sessionId, "ho"]].sort());
  }
  for (let seen = await state.take(); seen.visits < 2; seen = await state.take()) assert.equal(seen.host, b.processId);
  assert.equal(await a.ask("callRoom", annsRoom.roomId, "hasReachedMaxClients"), false, "a calls a room that b has");

  await Promise.all([annsRoom.leave(), bensRoom.leave()]);
  await gone(annsRoom);
});

test("forty clients that come at once to both servers find one room", async () => {
  const game = unused("game");
  const rooms = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? ann : ben).joinOrCreate("hall", { game })));
  assert.equal(new Set(rooms.map((room) => room.roomId)).size, 1);
  assert.equal(Number(await a.ask("presence", "hget", "visits", game)), 40);
  await Promise.all(rooms.map((room) => room.leave()));
  await gone(rooms[0]);
});

test("a full room is passed over on either server", async () => {
  const options = { game: unused("game"), maxClients: 1 };
  const rooms = [];
  for (const client of [ann, ben, ann, ben]) rooms.push(await client.joinOrCreate("hall", options));
  assert.equal(new Set(rooms.map((room) => room.roomId)).size, 4);
  assert.equal((await b.ask("query", { name: "hall", game: options.game, locked: true })).length, 4);
  await Promise.all(rooms.map((room) => room.leave()));
  for (const room of rooms) await gone(room);
});

test("rooms on different servers hear each other by presence", async () => {
  const game = unused("game");
  const [here, there] = await Promise.all([
    ann.create("hall", { game, host: a.processId }),
    ben.create("hall", { game, host: b.processId }),
  ]);
  const [annHears, benHears] = [heardIn(here), heardIn(there)];
  for (let i = 0; i < 50; i++) here.send("tell all games", `news ${i}`);
  const news = Array.from({ length: 50 }, (_, i) => `news ${i}`);
  assert.deepEqual(await annHears.news.takeAll(50), news);
  assert.deepEqual(await benHears.news.takeAll(50), news);
  await Promise.all([here.leave(), there.leave()]);
  await Promise.all([gone(here), gone(there)]);
});

test("counters, sets, hashes and queues of presence are shared by both servers", async () => {
  const [on, key] = [(node, method, ...args) => node.ask("presence", method, ...args), unused("key")];
  const both = (times, method, ...args) => Promise.all([a, b].flatMap((node) => Array.from({ length: times }, () => on(node, method, ...args))));

  const counts = await both(100, "incr", key);
  assert.equal(new Set(counts).size, 200);
  assert.equal(await on(a, "decr", key), 199);
  await both(50, "hincrby", `${key} hash`, "field", 2);
  assert.equal(await on(b, "hget", `${key} hash`, "field"), "200");
  assert.equal(await on(a, "hincrbyex", `${key} hash`, "field", 1, 100), 201);
  assert.deepEqual(await on(b, "hgetall", `${key} hash`), { field: "201" });
  assert.equal(await on(a, "hset", `${key} hash`, "other", "x"), true);
  assert.equal(await on(b, "hlen", `${key} hash`), 2);
  assert.equal(await on(b, "hdel", `${key} hash`, "other"), true);

  await on(a, "sadd", `${key} set`, "ann");
  await on(b, "sadd", `${key} set`, "ben");
  await on(b, "sadd", `${key} other`, "ben");
  assert.deepEqual((await on(a, "smembers", `${key} set`)).sort(), ["ann", "ben"]);
  assert.deepEqual(await on(a, "sinter", `${key} set`, `${key} other`), ["ben"]);
  assert.equal(await on(b, "sismember", `${key} set`, "ann"), 1);
  assert.equal(await on(b, "srem", `${key} set`, "ann"), 1);
  assert.equal(await on(a, "scard", `${key} set`), 1);

  await on(a, "setex", `${key} text`, "short-lived", 100);
  assert.equal(await on(b, "get", `${key} text`), "short-lived");
  await on(b, "del", `${key} text`);
  assert.equal(await on(a, "exists", `${key} text`), false);

  const popped = on(a, "brpop", `${key} queue`, 0);
  await on(b, "lpush", `${key} queue`, "job");
  assert.deepEqual(await popped, [`${key} queue`, "job"]);
  assert.equal(await on(b, "brpop", `${key} queue`, 0.1), null);
  assert.equal(await on(b, "rpush", `${key} queue`, "1", "2"), 2);
  assert.deepEqual([await on(a, "lpop", `${key} queue`), await on(a, "llen", `${key} queue`)], ["1", 1]);
});

test("a killed server's rooms are made anew on the other", async () => {
  const game = unused("game");
  const lost = await ben.create("hall", { game, host: b.processId });
  lost.reconnection.enabled = false; // what was in b is lost with it
  await b.end();
  const found = await ann.joinOrCreate("hall", { game });
  assert.notEqual(found.roomId, lost.roomId);
  const listed = await a.ask("query", { game });
  assert.deepEqual(listed.map(({ processId }) => processId), [a.processId]);
  await found.leave();
  await gone(found);
});

test("a server that shuts down in order leaves nothing behind", async () => {
  await a.ask("shutDown");
  b = await startColyseus();
  const processes = await b.ask("processes");
  assert.ok(!processes.some(({ processId }) => processId === a.processId));
});
