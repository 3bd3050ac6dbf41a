// The server whose Redis front is tested: REDIS_URL if set; else a real
// redis-server if REDIS_SERVER names its binary, to see that the tests are
// right; else roomd, built from this checkout.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";

import { freePort, Server } from "../../../client/testedge/server.mjs";

// The test runner ends a file that takes too long by SIGTERM: then, too, the
// server has to go.
process.once("SIGTERM", () => process.exit(1));

/**
 * Starts the server, which wants the password if one is given. Its restart
 * kills it and starts it again, on the same port and data; there is none for a
 * server elsewhere.
 */
export async function startServer({ password = "" } = {}) {
  if (process.env.REDIS_URL) return { url: process.env.REDIS_URL, stop: async () => {} };
  const port = await freePort();
  const url = `redis://${password && `:${password}@`}127.0.0.1:${port}`;
  if (process.env.REDIS_SERVER) return startRedis(process.env.REDIS_SERVER, port, password, url);
  const roomd = await Server.start({ flags: ["-redis", `127.0.0.1:${port}`, "-redis-password", password] });
  return {
    url,
    stop: () => roomd.remove(),
    async restart() {
      await roomd.kill("SIGKILL");
      await roomd.run();
    },
  };
}

async function startRedis(binary, port, password, url) {
  const dir = mkdtempSync(join(tmpdir(), "roomd-test-"));
  const args = ["--port", port, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--requirepass", password];
  let child;
  process.once("exit", () => child?.kill("SIGKILL"));
  const run = async () => {
    child = spawn(binary, args, { stdio: "ignore" });
    const probe = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
    probe.on("error", () => {}); // until it listens
    await probe.ping();
    await probe.quit();
  };
  const kill = async () => {
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  await run();
  return {
    url,
    async stop() {
      await kill();
      rmSync(dir, { recursive: true, force: true });
    },
    async restart() {
      await kill();
      await run();
    },
  };
}
