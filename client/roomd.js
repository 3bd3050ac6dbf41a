// The roomd client for JavaScript: an ES module for browsers and Node 20 or
// later, without a build step and without dependencies. It speaks version 1 of
// the protocol in PROTOCOL.md.
//
//     import { connect } from "/roomd.js";
//
//     const roomd = connect("/ws", { user: "Ann" });
//     const room = await roomd.join("chat", "lounge");
//     room.on("said", ({ from, text }) => console.log(from, text));
//     await room.send("say", "hello");
//
// What you can rely on: a broken connection is taken up again by itself, with
// the same session and, within the kind's linger, the same seats; messages
// arrive once and in order, or the room's "joined" event says that some were
// missed (recovered: false); a command is applied at most once however often
// the connection breaks, and its promise settles when its fate is known.
//
// What you can't: cast() is lost with the connection, and a session ends with
// the page, since its resume token is kept in memory only.

import { checkFrame } from "./roomd/frames.js";
import { Emitter, Room, backoff } from "./roomd/room.js";
import { RoomdError, codecs, malformed } from "./roomd/values.js";

export { Room, RoomdError };

const helloMillis = 10_000; // to open a socket and be welcomed
const pongMillis = 10_000; // to answer a ping
/** Codes after which a join may succeed a little later. */
const passing = new Set(["unavailable", "overloaded", "rate_limited", "timeout"]);

const longestMillis = 5_000; // between two tries to connect
const steadyMillis = 2_000; // a connection that lasted so long was a success

/**
 * @typedef {object} Options
 * @property {string} [user] name of an anonymous user, where that is allowed
 * @property {string} [token] what the deployment's login gave
 * @property {"msgpack" | "json"} [protocol] "msgpack" unless said otherwise
 * @property {any} [WebSocket] the WebSocket class, where there is no global one (Node 20: package ws)
 */

/**
 * Opens a session. It returns at once; connecting, and connecting again, goes
 * on behind it until close() or until an edge says not to come back.
 * @param {string} url of the edge, ws: or http:, in browsers also relative: "/ws"
 * @param {Options} [options]
 */
export function connect(url, options = {}) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace("http", "ws");
  return new Session(absolute.href, options);
}

/**
 * A client's identity towards edges, over as many connections as it takes. Its
 * events:
 *
 * - "open" ({session, user, ping, resumed}): connected; rooms are on their way back
 * - "reconnecting" ({attempt, delay, code, message}): the connection broke, or
 *   could not be made; the next attempt comes in delay milliseconds
 * - "closed" ({code, message}): over for good
 * - "error" (RoomdError, with type and room if known): the edge refused a frame
 *   that nobody waits for, such as a cast
 */
export class Session extends Emitter {
  #url; #options; #codec;
  /** @type {any} the socket in use, null between two */
  #socket = null;
  /** @type {{session: string, resume: string, user: string, ping: number} | null} the last welcome */
  #welcome = null;
  #open = false; // welcomed on #socket
  #closed = false;
  #attempt = 0; // connections that failed since the last steady one
  #openedAt = 0;
  #heardAt = 0;
  /** @type {{code: string, message: string, retry?: number} | null} why the edge is about to close */
  #bye = null;
  /** @type {any} the next attempt, or the end of patience with this one */
  #timer;
  /** @type {any} */
  #heartbeat;
  #refs = 0;
  /** @type {Map<number, {frame: any[], back?: Room, resolve: (v: any) => void, reject: (err: RoomdError) => void}>} questions by ref */
  #asked = new Map();
  /** @type {Set<Room>} rooms to bring back after a reconnect */
  #rooms = new Set();
  /** @type {Map<number, Room>} by their number on this connection */
  #byNumber = new Map();

  /** @param {string} url @param {Options} options */
  constructor(url, options) {
    super();
    this.#url = url;
    this.#options = options;
    this.#codec = codecs[options.protocol ?? "msgpack"];
    if (!this.#codec) throw new TypeError(`there is no protocol "${options.protocol}"`);
    queueMicrotask(() => this.#connect()); // so that the caller can listen first
    globalThis.addEventListener?.("online", () => this.reconnectNow());
    globalThis.document?.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.reconnectNow(); // timers of hidden pages run late
    });
  }

  /** Whether there is a connection and the edge has welcomed this session. */
  get connected() {
    return this.#open;
  }

  /** The name the edge knows this user by; before the first welcome the one asked for. */
  get user() {
    return this.#welcome?.user ?? this.#options.user ?? "";
  }

  /**
   * Joins a room, which is opened if need be. An empty id means any open room
   * of the kind with a free seat, or a new one. Set handlers on the room right
   * after the await: what arrived with the answer waits for them.
   * @param {string} kind @param {string} [id] @param {any} [options] the kind's business
   * @returns {Promise<Room>}
   */
  async join(kind, id = "", options = null) {
    /** @type {Room | undefined} */
    let room;
    await this.#ask([2, 0, kind, id, options], undefined, (joined) => {
      room = new Room(this, kind, joined, options);
      this.#rooms.add(room);
      this.#byNumber.set(joined.room, room);
    });
    return /** @type {Room} */ (room);
  }

  /**
   * Lists open rooms, of one kind or of all ("").
   * @param {string} [kind] @param {number} [limit] at most so many; 100 if 0
   * @returns {Promise<{kind: string, id: string, members: number, seats: number, meta: any}[]>}
   */
  async list(kind = "", limit = 0) {
    const rows = await this.#ask([6, 0, kind, limit]);
    return rows.map((/** @type {any[]} */ [kind, id, members = 0, seats = 0, meta = null]) => ({ kind, id, members, seats, meta }));
  }

  /** Leaves all rooms and ends the session. */
  close() {
    for (const room of this.#rooms) if (room._number) this._send([3, ++this.#refs, room._number]);
    this.#end("closed", "closed by the application");
  }

  /** Makes the next attempt at once if one is being waited for. */
  reconnectNow() {
    if (!this.#socket && !this.#closed) this.#connect();
  }

  /** @internal Sends a frame if there is a connection; reports whether. @param {any[]} frame */
  _send(frame) {
    if (!this.#open) return false;
    this.#socket.send(this.#codec.encode(frame));
    return true;
  }

  /** @internal @param {Room} room */
  async _leave(room) {
    this.#rooms.delete(room);
    if (room._number && this.#open) await this.#ask([3, 0, room._number], room);
  }

  /** @internal Breaks the connection, to resume on a new one. @param {string} code @param {string} message */
  _break(code, message) {
    if (!this.#socket) return;
    this.#dropSocket();
    this.#again(code, message);
  }

  /**
   * Sends a frame with a new ref, now or at the next welcome. accept is called
   * with the answer before any later frame is looked at. back is the room whose
   * connection this is about: such a question does not outlive the connection.
   * @param {any[]} frame @param {Room} [back] @param {(answer: any) => void} [accept]
   * @returns {Promise<any>}
   */
  #ask(frame, back, accept) {
    const ref = ++this.#refs;
    frame[1] = ref;
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new RoomdError("closed", "the session is closed"));
      this.#codec.encode(frame); // what cannot be sent fails here and now, not at the next welcome
      this.#asked.set(ref, { frame, back, reject, resolve: (v) => { accept?.(v); resolve(v); } });
      this._send(frame);
    });
  }

  #connect() {
    if (this.#closed || this.#socket) return;
    clearTimeout(this.#timer);
    const WebSocketClass = this.#options.WebSocket ?? globalThis.WebSocket;
    const socket = new WebSocketClass(this.#url, [this.#codec.subprotocol]);
    this.#socket = socket;
    this.#bye = null;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(this.#codec.encode([1, this.#hello()]));
    socket.onmessage = (/** @type {any} */ e) => this.#message(e.data);
    socket.onerror = () => {}; // close follows and says all there is to know
    socket.onclose = (/** @type {any} */ e) => this.#lost(e.code, e.reason);
    this.#timer = setTimeout(() => this._break("timeout", "no welcome in time"), helloMillis);
  }

  #hello() {
    const { user, token } = this.#options;
    return { user, token, resume: this.#welcome?.resume };
  }

  #dropSocket() {
    const socket = this.#socket;
    this.#socket = null;
    this.#open = false;
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    this.#byNumber.clear();
    for (const room of this.#rooms) room._disconnected();
    for (const [ref, { back, resolve }] of this.#asked) {
      if (!back) continue; // sent again after the next welcome
      this.#asked.delete(ref);
      if (!this.#rooms.has(back)) resolve(null); // left: without a connection there is no seat to give up sooner
    }
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(); // a dead network would tell us much later
    }
  }

  /** @param {number} status close code @param {string} reason */
  #lost(status, reason) {
    const bye = this.#bye;
    this.#dropSocket();
    const code = bye?.code ?? (reason || `${status}`);
    const message = bye?.message ?? "the connection broke";
    if (bye?.code === "bad_token" && this.#welcome) {
      this.#forget();
      this.#attempt = 0;
      this.#again(code, message, 0);
    } else if (status >= 4100 || bye?.retry === -1) this.#end(code, message);
    else this.#again(code, message, bye?.retry);
  }

  /** Waits, then connects. @param {string} code @param {string} message @param {number} [retry] milliseconds the edge asked for */
  #again(code, message, retry) {
    if (this.#openedAt && Date.now() - this.#openedAt >= steadyMillis) this.#attempt = 0;
    this.#openedAt = 0;
    const attempt = this.#attempt++;
    const longest = Math.min(longestMillis, 500 * 2 ** attempt);
    const delay = attempt === 0 && retry !== undefined ? retry : Math.random() * longest;
    this.#timer = setTimeout(() => this.#connect(), delay);
    this._emit("reconnecting", { attempt: attempt + 1, delay, code, message });
  }

  /** @param {string} code @param {string} message */
  #end(code, message) {
    if (this.#closed) return;
    this.#closed = true;
    this.#dropSocket();
    for (const { reject } of this.#asked.values()) reject(new RoomdError(code, message));
    this.#asked.clear();
    for (const room of this.#rooms) room._ended(code, message);
    this.#rooms.clear();
    this._emit("closed", { code, message });
  }

  /** The session is gone; rooms are joined anew. */
  #forget() {
    this.#welcome = null;
    for (const room of this.#rooms) room._forget();
  }

  /** @param {any} data */
  #message(data) {
    this.#heardAt = Date.now();
    const socket = this.#socket;
    this._guard(() => {
      for (const frame of this.#codec.decode(data)) {
        if (socket !== this.#socket) return; // a frame before this one ended the connection
        this.#frame(frame);
      }
    });
  }

  /** @internal Takes in what came from the edge; what is malformed there ends the connection. @param {() => void} f */
  _guard(f) {
    try {
      f();
    } catch (err) {
      if (!(err instanceof RoomdError)) throw err;
      this._emit("error", err);
      this._break(err.code, err.text);
    }
  }

  /** @param {any} f */
  #frame(f) {
    checkFrame(f);
    switch (f[0]) {
      case 0: return this.#refused(f);
      case 1: return this.#welcomed(f[1]);
      case 2: return this.#answer(2, f[1], f[2], f[3]);
      case 6: return this.#answer(6, f[1], f[2] ?? [], f[3]);
      case 3: return this.#left(f);
      case 5: return; // a pong was heard, that is all it is for
      case 13:
        this.#bye = { code: f[1], message: f[2] ?? "", retry: f[3] ?? 0 };
        return;
      default: this.#byNumber.get(f[1])?._receive(f); // room 0 or gone, or a type of a later version
    }
  }

  /** @param {any[]} f */
  #refused([, code, message, type, number]) {
    message ??= "";
    if (code === "bad_token" && !this.#open) this.#bye = { code, message };
    if (type === 3 && code === "rate_limited") return this.#leaveLater(number);
    this._emit("error", Object.assign(new RoomdError(code, message), { type, room: this.#byNumber.get(number) }));
  }

  /** Asks again for what the edge had no time for. @param {number} number of the room */
  #leaveLater(number) {
    for (const [ref, { frame }] of this.#asked) {
      if (frame[0] === 3 && frame[2] === number) setTimeout(() => this.#asked.has(ref) && this._send(frame), backoff(0));
    }
  }

  /** @param {any} welcome */
  #welcomed(welcome) {
    if (this.#open) malformed("a second welcome");
    clearTimeout(this.#timer);
    const resumed = this.#welcome?.session === welcome.session;
    if (this.#welcome && !resumed) this.#forget();
    this.#welcome = welcome;
    this.#open = true;
    this.#openedAt = Date.now();
    this.#heartbeat = setInterval(() => this.#beat(), 1000 * (welcome.ping || 25));
    for (const room of this.#rooms) this.#bringBack(room);
    for (const { frame, back } of this.#asked.values()) if (!back) this._send(frame);
    this._emit("open", { ...welcome, resume: undefined, resumed });
  }

  /** Asks for a sign of life when there was none for long. */
  #beat() {
    const silent = Date.now() - this.#heardAt;
    const socket = this.#socket;
    if (silent < 1000 * (this.#welcome?.ping || 25) - 500) return;
    const askedAt = Date.now();
    this._send([5, 0]);
    this.#timer = setTimeout(() => {
      if (socket === this.#socket && this.#heardAt < askedAt) this._break("idle", "the edge is silent");
    }, pongMillis);
  }

  /** Joins a room again after a reconnect. @param {Room} room @param {number} [attempt] */
  async #bringBack(room, attempt = 0) {
    const socket = this.#socket;
    try {
      await this.#ask(room._joinFrame(), room, (joined) => {
        if (!this.#rooms.has(room)) return void this._send([3, ++this.#refs, joined.room]); // left meanwhile
        this.#byNumber.set(joined.room, room);
        room._joined(joined);
      });
    } catch (err) {
      const { code, text } = /** @type {RoomdError} */ (err);
      if (!passing.has(code)) {
        this.#rooms.delete(room);
        room._ended(code, text);
        return;
      }
      setTimeout(() => {
        if (socket === this.#socket && this.#rooms.has(room)) this.#bringBack(room, attempt + 1);
      }, backoff(attempt));
    }
  }

  /** @param {number} type of the answer and of what was asked @param {number} ref @param {any} answer @param {any[]} [refusal] */
  #answer(type, ref, answer, refusal) {
    const asked = this.#asked.get(ref);
    if (!asked) return; // given up, or answered before
    if (asked.frame[0] !== type) malformed(`a frame of type ${type} answers one of type ${asked.frame[0]}`);
    this.#asked.delete(ref);
    if (refusal) asked.reject(new RoomdError(refusal[0], refusal[1]));
    else asked.resolve(answer);
  }

  /** @param {any[]} f */
  #left([, number, code, message, ref]) {
    const room = this.#byNumber.get(number);
    this.#byNumber.delete(number);
    if (room) {
      this.#rooms.delete(room);
      room._ended(code, message ?? "");
    }
    if (ref) this.#answer(3, ref, null);
  }
}
