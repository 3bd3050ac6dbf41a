// node-redis (the package is called redis), versions 5 and 6, in RESP2 and RESP3.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createClient as createClient6 } from "redis";
import { createClient as createClient5 } from "redis5";

import { startServer } from "./server.mjs";
import { Inbox, unused } from "./wait.mjs";

let server;

before(async () => { server = await startServer(); });
after(() => server?.stop());

for (const [version, createClient] of [["node-redis 5", createClient5], ["node-redis 6", createClient6]]) {
  for (const RESP of [2, 3]) {
    describe(`${version}, RESP${RESP}`, () => {
      const clients = [];
      let redis;

      const connect = async (options = {}) => {
        const client = createClient({ url: server.url, RESP, ...options });
        clients.push(client);
        return client.connect();
      };
      before(async () => { redis = await connect({ name: "tester" }); });
      after(() => Promise.all(clients.map((client) => client.close())));

      test("strings", async () => {
        const key = unused("key");
        assert.equal(await redis.set(key, "1", { expiration: { type: "EX", value: 100 } }), "OK");
        assert.equal(await redis.set(key, "2", { condition: "NX" }), null);
        assert.equal(await redis.incrBy(key, 41), 42);
        assert.ok((await redis.ttl(key)) > 90);
        assert.equal(await redis.getDel(key), "42");
        assert.equal(await redis.get(key), null);
        assert.deepEqual(await redis.mGet([key, unused("none")]), [null, null]);
        await assert.rejects(redis.sendCommand(["NOSUCH", "a"]), { message: "ERR unknown command 'NOSUCH', with args beginning with: 'a' " });
      });

      test("hashes, sets and lists", async () => {
        const [hash, set, list] = [unused("hash"), unused("set"), unused("list")];
        assert.equal(await redis.hSet(hash, { a: "1", ü: "2" }), 2);
        assert.deepEqual({ ...(await redis.hGetAll(hash)) }, { a: "1", ü: "2" });
        assert.equal(await redis.hIncrBy(hash, "a", 5), 6);
        assert.deepEqual(await redis.hmGet(hash, ["a", "none"]), ["6", null]);
        assert.equal(await redis.sAdd(set, ["x", "y"]), 2);
        assert.deepEqual([...(await redis.sMembers(set))].sort(), ["x", "y"]);
        assert.equal(await redis.sIsMember(set, "x"), 1);
        assert.equal(await redis.rPush(list, ["a", "b", "c"]), 3);
        assert.deepEqual(await redis.lRange(list, 0, -1), ["a", "b", "c"]);
        await assert.rejects(redis.get(list), /^(Simple|)Error: WRONGTYPE Operation against a key holding the wrong kind of value/);
      });

      test("scores are numbers, infinite ones too", async () => {
        const board = unused("board");
        assert.equal(await redis.zAdd(board, [{ score: 1.5, value: "ann" }, { score: Infinity, value: "ben" }]), 2);
        assert.equal(await redis.zScore(board, "ann"), 1.5);
        assert.equal(await redis.zScore(board, "none"), null);
        assert.deepEqual(await redis.zRangeWithScores(board, 0, -1), [{ value: "ann", score: 1.5 }, { value: "ben", score: Infinity }]);
        assert.deepEqual(await redis.zPopMin(board), { value: "ann", score: 1.5 });
      });

      test("a blocked pop is woken by a push, and ends by itself", async () => {
        const [queue, waiter] = [unused("queue"), await connect()];
        for (let i = 0; i < 20; i++) {
          const popped = waiter.blPop([unused("empty"), queue], 30);
          await redis.rPush(queue, `job ${i}`);
          assert.deepEqual({ ...(await popped) }, { key: queue, element: `job ${i}` });
        }
        assert.equal(await waiter.brPop(queue, 0.1), null);
      });

      test("subscriptions by name and by pattern, as text and as bytes", async () => {
        const [topic, subscriber, got] = [unused("topic"), await connect(), new Inbox()];
        const bytes = Buffer.from([0, 255, 13, 10]);
        await subscriber.subscribe(`${topic}.a`, (text, channel) => got.put(channel, text));
        await subscriber.pSubscribe(`${topic}.*`, (message, channel) => got.put(channel.toString(), message), true);
        assert.equal(await redis.publish(`${topic}.a`, "text"), 2);
        assert.equal(await redis.publish(`${topic}.b`, bytes), 1);
        assert.deepEqual(await got.takeAll(3), [[`${topic}.a`, "text"], [`${topic}.a`, Buffer.from("text")], [`${topic}.b`, bytes]]);
        assert.deepEqual({ ...(await redis.pubSubNumSub([`${topic}.a`])) }, { [`${topic}.a`]: 1 });
        await subscriber.unsubscribe(`${topic}.a`);
        await subscriber.pUnsubscribe();
        assert.equal(await redis.publish(`${topic}.a`, "nobody"), 0);
        assert.equal(await subscriber.exists(unused("none")), 0, "a client without subscriptions runs commands again");
      });

      test("MULTI, and WATCH against others", async () => {
        const key = unused("key");
        assert.deepEqual(await redis.multi().set(key, "1").incr(key).hSet(`${key} hash`, "a", "b").exec(), ["OK", 2, 1]);
        const watcher = await connect();
        await watcher.watch(key);
        await redis.set(key, "theirs");
        await assert.rejects(watcher.multi().set(key, "mine").exec(), { name: /WatchError|Error/, message: /WATCH|aborted/i });
        assert.equal(await redis.get(key), "theirs");
      });

      test("commands of one turn go out together and are answered in order", async () => {
        const key = unused("key");
        const answers = await Promise.all(Array.from({ length: 500 }, () => redis.incr(key)));
        assert.deepEqual(answers, Array.from({ length: 500 }, (_, i) => i + 1));
      });

      test("scanIterator and hScanIterator find everything that matches", async () => {
        const prefix = unused("scan");
        const names = Array.from({ length: 300 }, (_, i) => `${prefix}:${i}`);
        await redis.mSet(names.map((name) => [name, ""]));
        await redis.hSet(`${prefix} hash`, names.map((name) => [name, "v"]));
        const found = [];
        for await (const keys of redis.scanIterator({ MATCH: `${prefix}:*`, COUNT: 50 })) found.push(...keys);
        assert.deepEqual(new Set(found), new Set(names));
        const fields = [];
        for await (const entries of redis.hScanIterator(`${prefix} hash`)) fields.push(...entries.map((entry) => entry.field));
        assert.deepEqual(new Set(fields), new Set(names));
      });
    });
  }
}
