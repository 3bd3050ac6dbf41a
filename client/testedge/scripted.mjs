// An edge that says and hears exactly what a test tells it, so that moments
// which a real edge reaches rarely can be had at will.

import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";

import { connect } from "../roomd.js";
import { codecs } from "../roomd/values.js";

export class ScriptedEdge {
  #codec;
  #waiting = [];
  #conns = [];

  static async listen(protocol = "msgpack") {
    const edge = new ScriptedEdge();
    edge.protocol = protocol;
    edge.#codec = codecs[protocol];
    edge.server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: (offered) => offered.has(edge.#codec.subprotocol) && edge.#codec.subprotocol });
    edge.server.on("connection", (socket) => {
      const conn = new ScriptedConn(socket, edge.#codec);
      const taker = edge.#waiting.shift();
      taker ? taker(conn) : edge.#conns.push(conn);
    });
    await once(edge.server, "listening");
    return edge;
  }

  /** The next connection a client makes. */
  conn() {
    return this.#conns.length ? Promise.resolve(this.#conns.shift()) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next connection, its hello answered. */
  async welcomed(welcome = {}) {
    const conn = await this.conn();
    const [type, hello] = await conn.frame();
    if (type !== 1) throw new Error(`the first frame was of type ${type}`);
    conn.hello = hello;
    conn.send([1, { session: "S1", resume: "R1", user: hello.user ?? "Ann", ping: 25, ...welcome }]);
    return conn;
  }

  connect(options = {}) {
    return connect(`ws://127.0.0.1:${this.server.address().port}/ws`, { user: "Ann", protocol: this.protocol, WebSocket, ...options });
  }

  close() {
    for (const socket of this.server.clients) socket.terminate();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

class ScriptedConn {
  #codec;
  #frames = [];
  #waiting = [];

  constructor(socket, codec) {
    this.socket = socket;
    this.#codec = codec;
    this.closed = once(socket, "close");
    socket.on("message", (data, isBinary) => {
      const message = isBinary ? new Uint8Array(data).buffer : data.toString();
      for (const frame of codec.decode(message)) {
        const taker = this.#waiting.shift();
        taker ? taker(frame) : this.#frames.push(frame);
      }
    });
  }

  /** The next frame from the client. */
  frame() {
    return this.#frames.length ? Promise.resolve(this.#frames.shift()) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Sends frames, all in one WebSocket message. */
  send(...frames) {
    if (this.#codec === codecs.json) this.socket.send(frames.map((f) => this.#codec.encode(f)).join("\n"));
    else this.socket.send(Buffer.concat(frames.map((f) => this.#codec.encode(f))));
  }

  /** Answers the join that comes next, and sends what else is given behind the answer. */
  async joined(joined = {}, ...more) {
    const frame = await this.frame();
    if (frame[0] !== 2) throw new Error(`wanted a join, got ${JSON.stringify(frame)}`);
    this.send([2, frame[1], { room: 1, kind: frame[2], id: frame[3] || "r1", member: 7, epoch: 1, seq: 0, count: 0, ver: 0, n: 0, size: 1, members: [[7, "Ann", false]], ...joined }], ...more);
    return frame;
  }

  bye(code, message, retry, status) {
    this.send([13, code, message, retry]);
    this.socket.close(status);
  }

  cut() {
    this.socket.terminate();
  }
}

/** The next call of one of a Room's or Session's on-methods, as a promise of its arguments. */
export function next(subscribe) {
  return new Promise((resolve) => {
    const off = subscribe((...args) => {
      off?.();
      resolve(args);
    });
  });
}
