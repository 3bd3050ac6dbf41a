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
  const binary = process.env.REDIS_SERVER;
  const server = binary
    ? await RedisServer.start(binary, port, password, url)
    : await Server.start({ flags: ["-redis", `127.0.0.1:${port}`, "-redis-password", password] });
  // A test that fails while the server restarts must not leave one behind.
  let last = Promise.resolve();
  const inTurn = (step) => (last = last.catch(() => {}).then(step));
  return {
    url,
    stop: () => inTurn(() => server.remove()),
    restart: () => inTurn(async () => {
      await server.kill("SIGKILL");
      await server.run();
    }),
  };
}

/** A real redis-server that writes through to its disk, with the methods of Server. */
class RedisServer {
  static async start(binary, port, password, url) {
    const server = new RedisServer();
    server.dir = mkdtempSync(join(tmpdir(), "roomd-test-"));
    process.once("exit", () => server.process?.kill("SIGKILL"));
    server.run = async () => {
      const args = ["--port", port, "--dir", server.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--requirepass", password];
      server.process = spawn(binary, args, { stdio: "ignore" });
      const probe = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
      probe.on("error", () => {}); // until it listens
      await probe.ping();
      await probe.quit();
    };
    await server.run();
    return server;
  }

  async kill(signal) {
    const exited = once(this.process, "exit");
    this.process.kill(signal);
    await exited;
  }

  async remove() {
    await this.kill("SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }
}
