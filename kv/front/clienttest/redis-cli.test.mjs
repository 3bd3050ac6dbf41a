// redis-cli, as people and scripts use it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { startServer } from "./server.mjs";
import { Inbox, unused } from "./wait.mjs";

let server;

before(async () => { server = await startServer(); });
after(() => server?.stop());

/** Runs redis-cli to its end and returns what it has printed; input goes to its standard input, which it must read then. */
async function cli(args, input) {
  const child = spawn("redis-cli", ["-u", server.url, ...args], { stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"] });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (printed += text));
  child.stdin?.end(input);
  const [code] = await once(child, "close");
  assert.equal(code, 0, printed);
  return printed;
}

/** A command as it goes over the wire. */
const wire = (...args) => `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join("")}`;

test("commands answer as Redis's own client shows them", async () => {
  const key = unused("key");
  assert.equal(await cli(["PING"]), "PONG\n");
  assert.equal(await cli(["SET", key, "grün"]), "OK\n");
  assert.equal(await cli(["GET", key]), "grün\n");
  assert.equal(await cli(["--no-raw", "STRLEN", key]), "(integer) 5\n");
  assert.equal(await cli(["--no-raw", "GET", unused("none")]), "(nil)\n");
  assert.match(await cli(["LPUSH", key, "x"]), /^WRONGTYPE Operation against a key holding the wrong kind of value/);
  assert.match(await cli(["GETT", key]), /^ERR unknown command 'GETT', with args beginning with: '/);
  assert.match(await cli(["INFO"]), /^redis_version:\d+\.\d+\.\d+\r?$/m);
});

test("-x stores standard input byte for byte", async () => {
  const key = unused("key");
  const text = "two\nlines\0 and a zero";
  await cli(["-x", "SET", key], text);
  assert.equal(await cli(["GET", key]), `${text}\n`);
});

test("-3 gets maps, sets, doubles and nulls", async () => {
  const [hash, set, sorted] = [unused("hash"), unused("set"), unused("sorted")];
  const show = (...args) => cli(["-3", "--no-raw", ...args]);
  await cli(["HSET", hash, "field", "value"]);
  await cli(["SADD", set, "member"]);
  await cli(["ZADD", sorted, "1.5", "member"]);
  assert.equal(await show("HGETALL", hash), '1# "field" => "value"\n');
  assert.equal(await show("SMEMBERS", set), '1~ "member"\n');
  assert.equal(await show("ZSCORE", sorted, "member"), "(double) 1.5\n");
  assert.equal(await show("GET", unused("none")), "(nil)\n");
});

test("--pipe loads ten thousand commands and counts their replies", async () => {
  const key = unused("mass");
  const commands = Array.from({ length: 10_000 }, (_, i) => wire("HSET", key, `field ${i}`, `value\r\n${i}`));
  const printed = await cli(["--pipe"], commands.join(""));
  assert.match(printed, /errors: 0, replies: 10000/);
  assert.equal(await cli(["HLEN", key]), "10000\n");
  assert.equal(await cli(["HGET", key, "field 9999"]), "value\r\n9999\n");
});

test("--scan finds every key of a pattern and no other", async () => {
  const prefix = unused("scan");
  const keys = Array.from({ length: 500 }, (_, i) => `${prefix}:${i}`);
  await cli(["--pipe"], keys.map((key) => wire("SET", key, "")).join(""));
  const found = new Set((await cli(["--scan", "--pattern", `${prefix}:*`])).trimEnd().split("\n"));
  assert.deepEqual([...found].sort(), keys.sort());
});

test("MULTI queues, EXEC answers for all, DISCARD forgets", async () => {
  const key = unused("key");
  const script = [`MULTI`, `INCR ${key}`, `INCRBY ${key} 41`, `EXEC`, `MULTI`, `DEL ${key}`, `DISCARD`, `GET ${key}`];
  const printed = await cli([], script.join("\n"));
  assert.deepEqual(printed.trimEnd().split("\n"), ["OK", "QUEUED", "QUEUED", "1", "42", "OK", "QUEUED", "OK", "42"]);
});

test("SUBSCRIBE and PSUBSCRIBE print what is published", async (t) => {
  for (const [command, ...flags] of [["SUBSCRIBE"], ["SUBSCRIBE", "-3"], ["PSUBSCRIBE"]]) {
    const channel = unused("news");
    const name = command === "SUBSCRIBE" ? channel : `${channel}*`;
    const lines = new Inbox();
    const child = spawn("redis-cli", ["-u", server.url, ...flags, command, name], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill("SIGKILL"));
    createInterface({ input: child.stdout }).on("line", lines.put);
    assert.deepEqual(await lines.takeAll(3), [command.toLowerCase(), name, "1"]);
    assert.equal(await cli(["PUBLISH", channel, "hello"]), "1\n");
    const expected = command === "SUBSCRIBE" ? ["message", channel, "hello"] : ["pmessage", name, channel, "hello"];
    assert.deepEqual(await lines.takeAll(expected.length), expected);
    const closed = once(child, "close");
    child.kill();
    await closed;
  }
});
