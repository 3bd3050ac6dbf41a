// ioredis: version 5, which most services (and Colyseus) use, and version 6,
// which speaks RESP3.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Redis as Redis6 } from "ioredis";
import { Redis as Redis5 } from "ioredis5";

import { startServer } from "./server.mjs";
import { Inbox, unused } from "./wait.mjs";

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

let server;

before(async () => { server = await startServer(); });
after(() => server?.stop());

for (const [version, Redis] of [["ioredis 5", Redis5], ["ioredis 6", Redis6]]) {
  describe(version, () => {
    const clients = [];
    let redis;

    const connect = (options = {}) => {
      const client = new Redis(server.url, options);
      clients.push(client);
      return client;
    };
    before(() => { redis = connect(); });
    after(() => Promise.all(clients.map((client) => client.quit())));

    test("strings keep every byte, expire, and count", async () => {
      const key = unused("key");
      assert.equal(await redis.set(key, everyByte), "OK");
      assert.deepEqual(await redis.getBuffer(key), everyByte);
      assert.equal(await redis.set(key, "x", "NX"), null);
      assert.equal(await redis.set(key, "x", "EX", 100, "XX"), "OK");
      assert.ok((await redis.ttl(key)) > 90);
      assert.equal(await redis.setex(key, 50, "7"), "OK");
      assert.equal(await redis.incr(key), 8);
      assert.equal(await redis.decrby(key, 10), -2);
      assert.ok((await redis.pttl(key)) > 40_000, "INCR keeps the expiry");
      assert.equal(await redis.persist(key), 1);
      assert.equal(await redis.ttl(key), -1);
      assert.equal(await redis.getdel(key), "-2");
      assert.equal(await redis.exists(key), 0);
      assert.deepEqual(await redis.mget(key, unused("none")), [null, null]);
    });

    test("hashes come and go as objects", async () => {
      const key = unused("hash");
      assert.equal(await redis.hset(key, { a: "1", "b c": "", ü: "3" }), 3);
      assert.deepEqual({ ...(await redis.hgetall(key)) }, { a: "1", "b c": "", ü: "3" });
      assert.deepEqual(await redis.hmget(key, "a", "none", "ü"), ["1", null, "3"]);
      assert.equal(await redis.hincrby(key, "a", 41), 42);
      assert.equal(await redis.hexists(key, "b c"), 1);
      assert.equal(await redis.hdel(key, "a", "none"), 1);
      assert.equal(await redis.hlen(key), 2);
      assert.deepEqual({ ...(await redis.hgetall(unused("none"))) }, {});
    });

    test("sets and sorted sets", async () => {
      const [a, b, board] = [unused("set"), unused("set"), unused("board")];
      assert.equal(await redis.sadd(a, "x", "y", "z"), 3);
      assert.equal(await redis.sadd(b, "y", "z", "w"), 3);
      assert.deepEqual((await redis.sinter(a, b)).sort(), ["y", "z"]);
      assert.equal(await redis.sismember(a, "w"), 0);
      assert.equal(await redis.zadd(board, 30, "cat", 10, "ann", 20.5, "ben"), 3);
      assert.equal(await redis.zincrby(board, 15, "ann"), "25");
      assert.deepEqual(await redis.zrevrange(board, 0, 1, "WITHSCORES").then((list) => list.flat().map(String)), ["cat", "30", "ann", "25"]);
      assert.deepEqual(await redis.zrangebyscore(board, "(20.5", "+inf"), ["ann", "cat"]);
      assert.deepEqual(await redis.zpopmin(board).then((list) => list.flat().map(String)), ["ben", "20.5"]);
    });

    test("a BRPOP gets what is pushed while it waits, a hundred times in a row", async () => {
      const queue = unused("queue");
      const waiter = connect();
      for (let i = 0; i < 100; i++) {
        const popped = waiter.brpop(unused("empty"), queue, 30);
        await redis.lpush(queue, `job ${i}`);
        assert.deepEqual(await popped, [queue, `job ${i}`]);
      }
      assert.equal(await redis.llen(queue), 0);
    });

    test("a BRPOP with nothing to pop gives null after its timeout, not before", async () => {
      const start = performance.now();
      assert.equal(await connect().brpop(unused("empty"), 0.2), null);
      assert.ok(performance.now() - start >= 195);
    });

    test("pub/sub by name and by pattern, in the order published", async () => {
      const topic = unused("topic");
      const [subscriber, got] = [connect(), new Inbox()];
      subscriber.on("message", (channel, text) => got.put(channel, text));
      subscriber.on("pmessage", (pattern, channel, text) => got.put(pattern, channel, text));
      assert.equal(await subscriber.subscribe(`${topic}.a`, `${topic}.b`), 2);
      assert.equal(await subscriber.psubscribe(`${topic}.[xy]*`), 3);
      assert.deepEqual(await redis.pubsub("NUMSUB", `${topic}.a`, `${topic}.x`).then((list) => list.map(String)), [`${topic}.a`, "1", `${topic}.x`, "0"]);
      assert.deepEqual((await redis.pubsub("CHANNELS", `${topic}.*`)).sort(), [`${topic}.a`, `${topic}.b`]);
      for (const [channel, receivers] of [["a", 1], ["x1", 1], ["z", 0], ["b", 1], ["y", 1]]) {
        assert.equal(await redis.publish(`${topic}.${channel}`, `to ${channel}`), receivers, channel);
      }
      assert.deepEqual(await got.takeAll(4), [
        [`${topic}.a`, "to a"],
        [`${topic}.[xy]*`, `${topic}.x1`, "to x1"],
        [`${topic}.b`, "to b"],
        [`${topic}.[xy]*`, `${topic}.y`, "to y"],
      ]);
      assert.equal(await subscriber.unsubscribe(`${topic}.a`), 2);
      assert.equal(await redis.publish(`${topic}.a`, "nobody"), 0);
    });

    test("channels and messages are any bytes", async () => {
      const channel = Buffer.concat([Buffer.from(unused("raw")), everyByte]);
      const [subscriber, got] = [connect(), new Inbox()];
      subscriber.on("messageBuffer", (...message) => got.put(...message));
      subscriber.on("pmessageBuffer", (...message) => got.put(...message));
      await subscriber.subscribe(channel);
      await redis.publish(channel, everyByte);
      assert.deepEqual(await got.take(), [channel, everyByte]);
      await subscriber.unsubscribe(channel);
      const pattern = unused("raw*");
      await subscriber.psubscribe(pattern);
      await redis.publish(pattern, everyByte);
      assert.deepEqual((await got.take())[2], everyByte);
    });

    test("MULTI runs as one, and an error inside stops nothing", async () => {
      const key = unused("key");
      const results = await redis.multi().set(key, "1").lpush(key, "x").incr(key).get(key).exec();
      assert.deepEqual(results.map(([err, value]) => err?.message ?? value), [
        "OK", "WRONGTYPE Operation against a key holding the wrong kind of value", 2, "2",
      ]);
      await assert.rejects(redis.multi().set(key, "9").call("NOSUCH").exec(), /EXECABORT/);
      assert.equal(await redis.get(key), "2");
    });

    test("EXEC does nothing if a watched key has changed", async () => {
      const key = unused("key");
      const watcher = connect();
      const transfer = () => watcher.multi().set(key, "mine").exec();
      await watcher.watch(key);
      await redis.set(key, "theirs");
      assert.equal(await transfer(), null);
      assert.equal(await redis.get(key), "theirs");
      await watcher.watch(key);
      assert.deepEqual(await transfer(), [[null, "OK"]]);
      await watcher.watch(key);
      await redis.set(key, "theirs");
      await watcher.unwatch();
      assert.deepEqual(await transfer(), [[null, "OK"]]);
    });

    test("a pipeline answers in order, errors in their places", async () => {
      const key = unused("key");
      const pipeline = redis.pipeline();
      for (let i = 0; i < 1000; i++) pipeline.incr(key);
      pipeline.hget(key, "field").get(key);
      const results = await pipeline.exec();
      assert.deepEqual(results.slice(0, 1000).map(([, value]) => value), Array.from({ length: 1000 }, (_, i) => i + 1));
      assert.match(results[1000][0].message, /^WRONGTYPE/);
      assert.deepEqual(results[1001], [null, "1000"]);
    });

    test("scanStream, sscanStream and hscanStream find everything that matches", async () => {
      const prefix = unused("scan");
      const names = Array.from({ length: 1000 }, (_, i) => `${prefix}:${i}`);
      await redis.mset(names.flatMap((name) => [name, ""]));
      await redis.sadd(`${prefix} set`, names);
      await redis.hset(`${prefix} hash`, names.flatMap((name) => [name, "v"]));
      const read = async (stream) => new Set((await stream.toArray()).flat());
      const match = { match: `${prefix}:*`, count: 100 };
      const all = new Set(names);
      assert.deepEqual(await read(redis.scanStream(match)), all);
      assert.deepEqual(await read(redis.sscanStream(`${prefix} set`, match)), all);
      assert.deepEqual(await read(redis.hscanStream(`${prefix} hash`, match)), new Set([...names, "v"]));
      assert.deepEqual(await read(redis.scanStream({ match: `${prefix}*`, type: "hash" })), new Set([`${prefix} hash`]));
    });

    test("a hundred clients at once lose no increment", async () => {
      const key = unused("hot");
      const many = Array.from({ length: 100 }, () => connect());
      const seen = await Promise.all(many.flatMap((client) => Array.from({ length: 20 }, () => client.incr(key))));
      assert.equal(new Set(seen).size, 2000);
      assert.equal(await redis.get(key), "2000");
    });
  });
}
