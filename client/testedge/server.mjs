// The real server: built from this checkout, on free ports, with its data in a
// folder of its own.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const startMillis = 30_000; // for a server on a busy machine
const repo = new URL("../../", import.meta.url).pathname;

/** A port nobody uses right now. */
export async function freePort() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A roomd that can be killed and started again on the same port and data. */
export class Server {
  #process = null;
  #exited = null;
  #output = "";

  /**
   * Starts the binary in the folder cwd, with more flags if given; without a
   * binary, the one that ROOMD_BINARY names, or one that it builds.
   */
  static async start({ binary = process.env.ROOMD_BINARY, cwd, flags = [] } = {}) {
    const server = new Server();
    server.flags = flags;
    server.dir = mkdtempSync(join(tmpdir(), "roomd-test-"));
    server.cwd = cwd;
    server.binary = binary ?? join(server.dir, "roomd");
    if (!binary) execFileSync("go", ["build", "-o", server.binary, "./cmd/roomd"], { cwd: repo, stdio: "inherit" });
    process.once("exit", () => server.#process?.kill("SIGKILL")); // a test that is broken off leaves no server behind
    server.port = await freePort();
    server.adminPort = await freePort();
    await server.run();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts the process and waits until it serves. */
  async run() {
    const args = ["-addr", `127.0.0.1:${this.port}`, "-admin", `127.0.0.1:${this.adminPort}`, "-data", join(this.dir, "data"), ...this.flags];
    this.#process = spawn(this.binary, args, { cwd: this.cwd, stdio: ["ignore", "pipe", "pipe"] });
    this.#exited = once(this.#process, "exit");
    for (const stream of [this.#process.stdout, this.#process.stderr]) stream.on("data", (text) => (this.#output += text));
    const deadline = Date.now() + startMillis;
    for (;;) {
      const ready = await fetch(`http://127.0.0.1:${this.adminPort}/readyz`).then((r) => r.ok, () => false);
      if (ready) return;
      if (this.#process.exitCode !== null || Date.now() > deadline) throw new Error(`roomd did not start:\n${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Ends the process with a signal and waits for its end. */
  async kill(signal) {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) this.#process.kill(signal);
    await this.#exited;
  }

  /** What the processes have printed. */
  get output() {
    return this.#output;
  }

  async remove() {
    await this.kill("SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }
}
