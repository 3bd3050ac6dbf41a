// The server is killed and comes back: clients connect again by themselves,
// give their password again, subscribe again, and find what had been
// acknowledged.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient } from "redis";

import { startServer } from "./server.mjs";
import { Inbox, unused, until } from "./wait.mjs";

const retryMillis = 50;

let server;

before(async () => { server = await startServer({ password: "swordfish" }); });
after(() => server?.stop());

/** An ioredis client in the shape that the test uses. */
function viaIoredis(Redis) {
  const client = new Redis(server.url, { retryStrategy: () => retryMillis, maxRetriesPerRequest: null });
  client.on("error", () => {}); // while the server is away
  return {
    client,
    subscribe: (channel, got) => client.on("message", (_, text) => got.put(text)).subscribe(channel),
    publish: (channel, text) => client.publish(channel, text),
    push: (queue, element) => client.lpush(queue, element),
    pop: (queue) => client.brpop(queue, 0).then(([, element]) => element),
    end: () => client.disconnect(),
  };
}

async function viaNodeRedis() {
  const client = createClient({ url: server.url, socket: { reconnectStrategy: () => retryMillis } });
  client.on("error", () => {});
  await client.connect();
  return {
    client,
    subscribe: (channel, got) => client.subscribe(channel, (text) => got.put(text)),
    publish: (channel, text) => client.publish(channel, text),
    push: (queue, element) => client.lPush(queue, element),
    // It sends no command twice by itself, as ioredis does.
    pop: async (queue) => {
      const pop = () => client.brPop(queue, 0);
      const back = new Promise((resolve) => client.once("ready", resolve));
      return (await pop().catch(() => back.then(pop))).element;
    },
    end: () => client.destroy(),
  };
}

test("a wrong password is refused", async (t) => {
  if (!server.restart) return t.skip("a server elsewhere has its own password");
  const wrong = server.url.replace("swordfish", "salmon");
  for (const Redis of [Redis5, Redis6]) {
    const client = new Redis(wrong, { lazyConnect: true, retryStrategy: () => null });
    t.after(() => client.disconnect());
    const errors = new Inbox();
    client.on("error", errors.put);
    await assert.rejects(client.connect().then(() => client.get("key")));
    assert.match((await errors.take()).message, /^(WRONGPASS|NOAUTH)/);
  }
  for (const RESP of [2, 3]) {
    const client = createClient({ url: wrong, RESP, socket: { reconnectStrategy: false } });
    client.on("error", () => {});
    await assert.rejects(client.connect(), /WRONGPASS/);
  }
});

test("clients go on after the server was killed and started again", async (t) => {
  if (!server.restart) return t.skip("a server elsewhere is not restarted");
  const kinds = { "ioredis 5": () => viaIoredis(Redis5), "ioredis 6": () => viaIoredis(Redis6), "node-redis": viaNodeRedis };
  const parties = await Promise.all(Object.entries(kinds).map(async ([name, connect]) => {
    const [writer, subscriber, waiter, got] = [await connect(), await connect(), await connect(), new Inbox()];
    t.after(() => [writer, subscriber, waiter].forEach((one) => one.end()));
    const [key, channel, queue] = [unused("key"), unused("channel"), unused("queue")];
    await subscriber.subscribe(channel, got);
    await writer.client.set(key, name);
    await writer.client.incr(`${key} count`);
    return { name, writer, waiter, got, key, channel, queue, popped: waiter.pop(queue) };
  }));

  await server.restart();

  for (const { name, writer, got, key, channel, queue, popped } of parties) {
    assert.equal(await writer.client.get(key), name, `${name}: what was written is there`);
    assert.equal(await writer.client.incr(`${key} count`), 2, name);
    await until(async () => (await writer.publish(channel, `to ${name}`)) === 1);
    assert.equal(await got.take(), `to ${name}`, `${name}: subscribed again`);
    await writer.push(queue, `for ${name}`);
    assert.equal(await popped, `for ${name}`, `${name}: a pop that had waited waits again`);
  }
});
