// Two Socket.IO servers that know each other only through Redis, with
// @socket.io/redis-adapter, and real Socket.IO clients at both.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis5";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connectTo } from "socket.io-client";

import { startServer } from "./server.mjs";
import { Inbox, unused, until } from "./wait.mjs";

const bytes = Buffer.from([0, 1, 254, 255]);

/** How a Socket.IO server reaches Redis: a client to publish, one to subscribe, and their end. */
const libraries = {
  async ioredis(url) {
    const [pub, sub] = [new Redis(url), new Redis(url)];
    return { pub, sub, end: () => Promise.all([pub.quit(), sub.quit()]) };
  },
  async "node-redis"(url) {
    const [pub, sub] = await Promise.all([createClient({ url }).connect(), createClient({ url }).connect()]);
    return { pub, sub, end: () => Promise.all([pub.close(), sub.close()]) };
  },
};

let server;

before(async () => { server = await startServer(); });
after(() => server?.stop());

/** A Socket.IO server on a free port, that is a member of the system called key. */
async function startNode(library, key) {
  const redis = await libraries[library](server.url);
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(redis.pub, redis.sub, { key }) });
  io.on("connection", (socket) => {
    socket.data.name = socket.handshake.auth.name;
    socket.on("join", (room, done) => { socket.join(room); done(); });
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return {
    io,
    url: `http://127.0.0.1:${http.address().port}`,
    async close() {
      await io.close();
      await redis.end();
    },
  };
}

/** A client that keeps what it was sent: an event's name and its arguments. */
async function startClient(node, name) {
  const socket = connectTo(node.url, { auth: { name }, transports: ["websocket"], reconnection: false });
  const got = new Inbox();
  socket.onAny((...event) => { if (typeof event.at(-1) !== "function") got.put(...event); });
  await once(socket, "connect");
  return { socket, got, id: socket.id, join: (room) => socket.emitWithAck("join", room) };
}

for (const [libraryA, libraryB] of [["ioredis", "ioredis"], ["node-redis", "node-redis"], ["ioredis", "node-redis"]]) {
  describe(`Socket.IO on ${libraryA} and ${libraryB}`, () => {
    let a, b; // the servers
    let ann, ben, cat; // ann is at a, ben and cat are at b

    before(async () => {
      const key = unused("socket.io");
      [a, b] = await Promise.all([startNode(libraryA, key), startNode(libraryB, key)]);
      for (const node of [a, b]) await until(async () => (await node.io.of("/").adapter.serverCount()) === 2);
      [ann, ben, cat] = await Promise.all([startClient(a, "ann"), startClient(b, "ben"), startClient(b, "cat")]);
    });
    after(async () => {
      for (const client of [ann, ben, cat]) client?.socket.disconnect();
      await Promise.all([a?.close(), b?.close()]);
    });

    /** Has everybody sent a last event, and checks that each got just the expected ones before it. */
    async function sent(expected) {
      const last = unused("last");
      a.io.emit(last, 0);
      for (const [name, client] of Object.entries({ ann, ben, cat })) {
        const events = [];
        for (let event = await client.got.take(); event[0] !== last; event = await client.got.take()) events.push(event);
        assert.deepEqual(events, expected[name] ?? [], name);
      }
    }

    test("a broadcast reaches everybody at both servers once, with its bytes", async () => {
      a.io.emit("hello", "all", { n: 1 }, bytes);
      const event = ["hello", "all", { n: 1 }, bytes];
      await sent({ ann: [event], ben: [event], cat: [event] });
    });

    test("a hundred broadcasts arrive in order", async () => {
      const events = Array.from({ length: 100 }, (_, i) => ["n", i]);
      for (const event of events) a.io.emit(...event);
      await sent({ ann: events, ben: events, cat: events });
    });

    test("a room has its members at both servers, and nobody else", async () => {
      await Promise.all([ann.join("red"), ben.join("red")]);
      a.io.to("red").emit("to", "red");
      await sent({ ann: [["to", "red"]], ben: [["to", "red"]] });
      a.io.to("red").except(ann.id).emit("not", "ann");
      await sent({ ben: [["not", "ann"]] });
      a.io.to(cat.id).emit("only", "cat");
      await sent({ cat: [["only", "cat"]] });
      a.io.local.emit("here", "only");
      await sent({ ann: [["here", "only"]] });
    });

    test("one server puts another's clients into rooms and takes them out", async () => {
      a.io.in(cat.id).socketsJoin(["blue", "green"]);
      await until(async () => (await a.io.of("/").adapter.allRooms()).has("blue"));
      a.io.to("blue").to("green").emit("to", "both");
      await sent({ cat: [["to", "both"]] });
      a.io.in("blue").socketsLeave("blue");
      await until(async () => !(await a.io.of("/").adapter.allRooms()).has("blue"));
      a.io.to("blue").emit("to", "blue");
      await sent({});
    });

    test("fetchSockets sees the clients of both servers", async () => {
      for (const node of [a, b]) {
        const found = (await node.io.fetchSockets()).map((socket) => [socket.id, socket.data.name]);
        assert.deepEqual(found.sort(), [[ann.id, "ann"], [ben.id, "ben"], [cat.id, "cat"]].sort());
      }
      const [found] = await a.io.in(ben.id).fetchSockets();
      assert.deepEqual([...found.rooms].sort(), [ben.id, "red"].sort());
    });

    test("serverSideEmit reaches the other server, whose answer comes back", async () => {
      const heard = new Inbox();
      b.io.on("question", (text, answer) => { heard.put(text); answer("from b"); });
      assert.deepEqual(await a.io.serverSideEmitWithAck("question", "who?"), ["from b"]);
      assert.equal(await heard.take(), "who?");
      a.io.on("told", heard.put);
      b.io.serverSideEmit("told", "once");
      assert.equal(await heard.take(), "once");
    });

    test("a broadcast that wants answers gets one from every client", async () => {
      for (const [name, client] of Object.entries({ ann, ben, cat })) {
        client.socket.once("name?", (text, answer) => answer(`${text} ${name}`));
      }
      const answers = await a.io.timeout(3000).emitWithAck("name?", "I am");
      assert.deepEqual(answers.sort(), ["I am ann", "I am ben", "I am cat"]);
    });

    test("one server disconnects a client of the other", async () => {
      const gone = once(cat.socket, "disconnect");
      a.io.in(cat.id).disconnectSockets();
      assert.deepEqual((await gone)[0], "io server disconnect");
      assert.equal((await a.io.fetchSockets()).length, 2);
    });

    test("a server that closes is no longer counted, and the other goes on", async () => {
      ben.socket.disconnect();
      await b.close();
      b = undefined;
      await until(async () => (await a.io.of("/").adapter.serverCount()) === 1);
      assert.deepEqual((await a.io.fetchSockets()).map((socket) => socket.id), [ann.id]);
    });
  });
}
