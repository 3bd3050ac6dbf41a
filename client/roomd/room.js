// A member's place in a room: positions, gaps, presence, state, and commands
// that are applied once. The session in ../roomd.js owns the connection, hands
// frames in, and brings rooms back after a reconnect.

import { RoomdError, applyPatch, encode } from "./values.js";

const maxUnanswered = 64; // commands of one room without a reply, PROTOCOL.md
const maxWaiting = 1024; // commands of one room kept while they can't be sent

/** Codes of a refused command that has not taken its number: it is to be sent again. All others are final. */
const notTaken = new Set(["unavailable", "timeout", "out_of_order"]);

/** Milliseconds before another try, full jitter. @param {number} attempt */
export function backoff(attempt) {
  return 50 + Math.random() * Math.min(5_000, 100 * 2 ** attempt);
}

export class Emitter {
  /** @type {Map<string, Set<Function>>} */
  #listeners = new Map();

  /**
   * Calls fn at every event of this name until the returned function is called.
   * @param {string} event @param {(...args: any[]) => void} fn @returns {() => void}
   */
  on(event, fn) {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set.add(fn));
    return () => void set.delete(fn);
  }

  /** @internal @param {string} event @param {...any} args */
  _emit(event, ...args) {
    for (const fn of [...(this.#listeners.get(event) ?? [])]) {
      try {
        fn(...args);
      } catch (err) {
        queueMicrotask(() => { throw err; }); // the application's fault must be seen, but not here
      }
    }
  }
}

/** @typedef {import("../roomd.js").Session} Session */

/**
 * @typedef {object} Command one that has no reply yet
 * @property {number} n
 * @property {string} event
 * @property {any} data
 * @property {boolean} onWire sent on this connection
 * @property {boolean} everSent sent on this or an earlier one, so that it may have been applied
 * @property {(result: any) => void} resolve
 * @property {(err: RoomdError) => void} reject
 */

/**
 * A member's place in a room. Its messages are events by the names the kind
 * gives them: on("said", (data, meta) => ...), where meta is {seq, private}.
 * What the protocol itself tells has methods of its own: onPresence, onState,
 * onNotice, onJoined, onLeft.
 */
export class Room extends Emitter {
  #session; #options;
  #signals = new Emitter(); // apart from the kind's events, whatever those are called
  #epoch = 0; #seq = 0; #count = 0; #ver = 0;
  #lastN = 0; // number of the newest command
  #taken = 0; // number up to which the room said it has them; out_of_order is about a reply that is gone, there
  #attempt = 0; // refusals in a row, for the backoff
  /** @type {any} */
  #retry = null;
  /** @type {Command[]} without a reply, n rising */
  #commands = [];
  #again = false; // joined before, so that later joins are told to the application
  /** @type {any[][] | null} frames that wait for the application's handlers */
  #held = [];

  /** @internal @param {Session} session @param {string} kind @param {any} joined @param {any} options */
  constructor(session, kind, joined, options) {
    super();
    this.#session = session;
    this.#options = options;
    this.kind = kind;
    /** @type {string} */
    this.id = joined.id;
    /** @type {number} this session's number in the room */
    this.member = 0;
    /** Whether the seat was there already when we last joined: then the kind did not see us come. */
    this.resumed = false;
    /** @type {number} how many members fit; 0: no limit */
    this.seats = 0;
    /** @type {number} how many members there are */
    this.size = 0;
    /** @type {Map<number, {id: number, user: string, away: boolean}>} who is here; empty above the kind's presence limit */
    this.members = new Map();
    /** @type {any} the room's state; undefined if it has none. Later patches change it in place. */
    this.state = undefined;
    /** @type {{code: string, message: string} | null} set once the seat is gone */
    this.left = null;
    /** @internal the room's number on this connection, 0 without one */
    this._number = 0;
    this._joined(joined);
    setTimeout(() => this.#release()); // after everything that awaits the join has run
  }

  /** Who came, went, was cut off or is back. @param {(diff: {joined: {id: number, user: string, away: boolean}[], left: {id: number, user: string, away: boolean}[], away: number[], back: number[]}) => void} fn */
  onPresence(fn) {
    return this.#signals.on("presence", fn);
  }

  /** The state changed; whole says that it did not follow from the one before. Called at once if there is a state. @param {(state: any, whole: boolean) => void} fn */
  onState(fn) {
    if (this.state !== undefined) fn(this.state, true);
    return this.#signals.on("state", fn);
  }

  /** "paused", "resumed" or "reset". @param {(notice: string) => void} fn */
  onNotice(fn) {
    return this.#signals.on("notice", fn);
  }

  /** Joined again after a reconnect: whether the seat was kept, and whether nothing was missed. @param {(how: {resumed: boolean, recovered: boolean}) => void} fn */
  onJoined(fn) {
    return this.#signals.on("joined", fn);
  }

  /** The seat is gone, by leave() or against our will. @param {(why: {code: string, message: string}) => void} fn */
  onLeft(fn) {
    return this.#signals.on("left", fn);
  }

  /**
   * Sends a command and returns its reply, which may take until the connection
   * is back. Rejects with a RoomdError: the room's refusal; "in_flight" when
   * too many wait already; "timeout" when the seat was lost and nobody knows
   * whether the command was applied; or the reason why the room was left.
   * @param {string} event @param {any} [data] @returns {Promise<any>}
   */
  send(event, data = null) {
    return new Promise((resolve, reject) => {
      if (this.left) return reject(new RoomdError(this.left.code, this.left.message));
      if (this.#commands.length >= maxWaiting) return reject(new RoomdError("in_flight", "too many commands wait"));
      encode(data); // a value that cannot be sent is the caller's mistake now, not a hole in the numbers later
      this.#commands.push({ n: ++this.#lastN, event, data, onWire: false, everSent: false, resolve, reject });
      this.#flush();
    });
  }

  /**
   * Sends a command that wants no reply and is lost with the connection, such
   * as a position that is soon followed by another. Reports whether it was sent.
   * @param {string} event @param {any} [data]
   */
  cast(event, data = null) {
    return this._number !== 0 && this.#session._send([4, this._number, 0, event, data]);
  }

  /** Gives up the seat. */
  async leave() {
    if (this.left) return;
    await this.#session._leave(this);
    this._ended("left", "");
  }

  /** @internal */
  _joinFrame() {
    const since = this.member ? [this.#epoch, this.#seq, this.#count, Math.max(this.#ver, 0), this.member] : null;
    return [2, 0, this.kind, this.id, this.#options, since];
  }

  /** @internal @param {any} joined */
  _joined(joined) {
    const again = this.#again;
    this.#again = true;
    const { resumed = false, recovered = false } = joined;
    if (again && !resumed) this.#giveUpSent();
    this._number = joined.room;
    this.resumed = resumed;
    this.member = joined.member;
    this.seats = joined.seats ?? 0;
    this.size = joined.size ?? 0;
    this.#epoch = joined.epoch;
    this.#seq = joined.seq ?? 0;
    this.#count = joined.count ?? 0;
    if (!recovered) this.#setMembers(joined.members ?? []);
    if (joined.state !== undefined) this.state = joined.state;
    if (joined.state !== undefined || this.state === undefined) this.#ver = joined.ver ?? 0;
    this.#renumber(joined.n ?? 0, joined.applied ?? joined.n ?? 0);
    if (!again) return;
    this.#signals._emit("joined", { resumed, recovered });
    if (joined.state !== undefined) this.#signals._emit("state", this.state, true);
  }

  /** @param {any[][]} rows */
  #setMembers(rows) {
    this.members = new Map(rows.map(([id, user, away = false]) => [id, { id, user, away: Boolean(away) }]));
  }

  /**
   * Numbers the commands that the room has not taken in above all numbers that
   * are used, and sends everything again. The old numbers hold, unless something
   * was missed for good or the seat is a new one.
   * @param {number} used number up to which the room takes in nothing any more
   * @param {number} applied number of the last command that the room has taken in
   */
  #renumber(used, applied) {
    let next = (this.#taken = used);
    for (const command of this.#commands) {
      if (command.n > applied) command.n = ++next;
      command.onWire = false;
    }
    this.#lastN = next;
    this.#flush();
  }

  /** Settles what was sent under a seat that is lost: nobody can tell its fate. */
  #giveUpSent() {
    const unknown = new RoomdError("timeout", "the seat was lost; the command may have been applied");
    const [sent, unsent] = [this.#commands.filter((c) => c.everSent), this.#commands.filter((c) => !c.everSent)];
    this.#commands = unsent;
    for (const command of sent) command.reject(unknown);
  }

  #flush() {
    if (!this._number || this.#retry !== null) return;
    const acked = (this.#commands[0]?.n ?? this.#lastN + 1) - 1;
    for (const command of this.#commands.slice(0, maxUnanswered)) {
      if (command.onWire) continue;
      if (!this.#session._send([4, this._number, command.n, command.event, command.data, acked])) return;
      command.onWire = command.everSent = true;
    }
  }

  /** @internal */
  _disconnected() {
    this._number = 0;
    clearTimeout(this.#retry);
    this.#retry = null;
  }

  /** @internal The session is a new one and has no seat here. */
  _forget() {
    this.member = 0;
    this.#giveUpSent();
  }

  /** @internal @param {string} code @param {string} message */
  _ended(code, message) {
    if (this.left) return;
    this._disconnected();
    this.#release();
    this.left = { code, message };
    for (const command of this.#commands.splice(0)) command.reject(new RoomdError(code, message));
    this.#signals._emit("left", this.left);
  }

  #release() {
    const frames = this.#held ?? [];
    this.#held = null;
    this.#session._guard(() => {
      for (const frame of frames) this._receive(frame);
    });
  }

  /** @internal Takes a frame of this room. @param {any[]} f */
  _receive(f) {
    if (this.#held) return void this.#held.push(f);
    switch (f[0]) {
      case 4: return this.#reply(f[2], f[3] ?? null, f[4]);
      case 7: return void (this.#follows(f[2]) && this._emit(f[3], f[4] ?? null, { seq: f[2], private: false }));
      case 8: return this.#private(f);
      case 9: return void (this.#follows(f[2]) && this.#presence(f));
      case 10:
        this.state = f[3] ?? null;
        this.#ver = f[2];
        return this.#signals._emit("state", this.state, true);
      case 11: return this.#patch(f[2], f[3]);
      case 12: return this.#notice(f);
    }
  }

  /** Whether a broadcast is the next one. An old one is ignored, a gap ends the connection. @param {number} seq */
  #follows(seq) {
    if (seq === this.#seq + 1) {
      this.#seq = seq;
      return true;
    }
    if (seq > this.#seq) this.#session._break("gap", `message ${seq} came after ${this.#seq}`);
    return false;
  }

  /** @param {any[]} f */
  #private([, , seq, count, event, data = null]) {
    if (count <= this.#count) return;
    if (count > this.#count + 1) return this.#session._break("gap", `private message ${count} came after ${this.#count}`);
    this.#count = count;
    this._emit(event, data, { seq, private: true });
  }

  /** @param {any[]} f */
  #presence([, , , size = 0, joined = [], left = [], away = [], back = []]) {
    this.size = size;
    const came = (joined ?? []).map((/** @type {any[]} */ [id, user]) => ({ id, user, away: false }));
    const gone = (left ?? []).flatMap((/** @type {number} */ id) => this.members.get(id) ?? []);
    for (const m of came) this.members.set(m.id, m);
    for (const m of gone) this.members.delete(m.id);
    for (const [ids, isAway] of [[away ?? [], true], [back ?? [], false]]) {
      for (const id of ids) {
        const m = this.members.get(id);
        if (m) m.away = isAway;
      }
    }
    this.#signals._emit("presence", { joined: came, left: gone, away: away ?? [], back: back ?? [] });
  }

  /** @param {number} ver @param {any} patch */
  #patch(ver, patch) {
    if (ver !== this.#ver + 1) return; // a whole state follows
    this.#ver = -1; // unless the patch fits, what is left is no state of the room
    this.state = applyPatch(this.state, patch);
    this.#ver = ver;
    this.#signals._emit("state", this.state, false);
  }

  /** @param {any[]} f */
  #notice([, , notice, epoch, seq = 0, count = 0, n = 0, member = this.member, size = this.size, members, applied = 0, resumed = false]) {
    if (notice === "reset") {
      [this.#epoch, this.#seq, this.#count, this.#ver] = [epoch, seq, count, -1];
      [this.member, this.size] = [member, size];
      if (members) this.#setMembers(members);
      this.resumed = resumed;
      if (!resumed) this.#giveUpSent();
      this.#renumber(n, applied);
    } else if (epoch) this.#epoch = epoch;
    this.#signals._emit("notice", notice);
  }

  /** @param {number} n @param {any} result @param {any[]} [refusal] */
  #reply(n, result, refusal) {
    const i = this.#commands.findIndex((c) => c.n === n);
    if (i < 0) return; // answered before
    if (refusal && notTaken.has(refusal[0]) && !(refusal[0] === "out_of_order" && n <= this.#taken)) return this.#sendLater(n, refusal[0]);
    const [command] = this.#commands.splice(i, 1);
    this.#attempt = 0;
    if (refusal) command.reject(new RoomdError(refusal[0], refusal[1]));
    else command.resolve(result);
    this.#flush();
  }

  /**
   * Sends command n and those after it again in a while: the room takes them
   * in order, so behind one that did not get in none did. When the room and we
   * disagree on what is next, joining again tells.
   * @param {number} n @param {string} code
   */
  #sendLater(n, code) {
    if (code === "out_of_order" && n === this.#commands[0].n && this.#attempt >= 2) return this.#session._break(code, `command ${n} is not the next`);
    for (const command of this.#commands) if (command.n >= n) command.onWire = false;
    if (this.#retry !== null) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#flush();
    }, backoff(this.#attempt++));
  }
}
