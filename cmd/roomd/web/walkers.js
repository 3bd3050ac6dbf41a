// Where everybody in the plaza is drawn. States come 20 times a second, not
// quite evenly, and the screen wants 60: each walker is drawn a little in the
// past, between the two states around that moment. Pure logic, no drawing.

/** Milliseconds between two states of the room. */
export const tickMillis = 50;

/** How far in the past walkers are drawn: two ticks, so that one late state is not seen. */
export const behindMillis = 100;

const kept = 8; // places remembered of each walker
const jumpUnits = 160; // further than this in one tick is no walk but a jump

/** A walker's remembered places, newest last, and what it looks like. */
class Walker {
  constructor(id, [x, y, hue, name]) {
    Object.assign(this, { id, hue, name, x, y, moving: false, left: false, path: [] });
  }

  /** Takes in where it was at time t. */
  seen(t, x, y) {
    const last = this.path.at(-1);
    if (last && last.x === x && last.y === y) return;
    // It stood until a tick ago: what is between must not look like a slow walk.
    if (last && t - last.t > 1.5 * tickMillis) this.path.push({ t: t - tickMillis, x: last.x, y: last.y });
    this.path.push({ t, x, y });
    if (this.path.length > kept) this.path.splice(0, this.path.length - kept);
  }

  /** Moves x and y to where it is drawn at time t. */
  moveTo(t) {
    const { path } = this;
    let i = path.length - 1;
    while (i > 0 && path[i].t > t) i--;
    const [a, b] = [path[i], path[i + 1]];
    this.moving = Boolean(b && t >= a.t);
    if (!this.moving) return this.#place(a.x, a.y);
    if (Math.hypot(b.x - a.x, b.y - a.y) > jumpUnits) return this.#place(b.x, b.y);
    const part = (t - a.t) / (b.t - a.t);
    this.#place(a.x + (b.x - a.x) * part, a.y + (b.y - a.y) * part);
  }

  #place(x, y) {
    if (Math.abs(x - this.x) > 0.2) this.left = x < this.x;
    this.x = x;
    this.y = y;
  }
}

/** Everybody in the plaza. Times are milliseconds of any clock that only grows. */
export class Walkers {
  #clock = -Infinity; // the newest state's time, evened out

  /** @type {Map<number, Walker>} */
  all = new Map();

  /** Takes in a state that arrived now: {id: [x, y, hue, name]}. */
  take(avatars, now) {
    const t = this.#even(now);
    for (const id of this.all.keys()) if (!Object.hasOwn(avatars, id)) this.all.delete(id);
    for (const key of Object.keys(avatars)) {
      const id = Number(key);
      const avatar = avatars[key];
      let walker = this.all.get(id);
      if (!walker) this.all.set(id, (walker = new Walker(id, avatar)));
      [, , walker.hue, walker.name] = avatar;
      walker.seen(t, avatar[0], avatar[1]);
    }
  }

  /** Moves everybody to where they are drawn now. */
  move(now) {
    for (const walker of this.all.values()) walker.moveTo(now - behindMillis);
  }

  /** The network delivers states early or late; they were made tickMillis apart. */
  #even(now) {
    const due = this.#clock + tickMillis;
    const off = now - due;
    this.#clock = Math.abs(off) < tickMillis ? due + off * 0.1 : now;
    return this.#clock;
  }
}
