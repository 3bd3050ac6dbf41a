// The plaza: the map, everybody on it, and the ways to walk, talk and wave.
// The room decides where people are; this draws it and sends wishes.

import { Sprites } from "./figures.js";
import { drawFountainWater, drawGround, drawPondWater, groundHeight, mapHeight, mapWidth, props } from "./scenery.js";
import { Walkers } from "./walkers.js";
import { fromTemplate, inWords, make, toast } from "./words.js";

const stamps = { "👋": "wave", "❤️": "heart", "😂": "laughter", "🎉": "party", "👍": "thumbs up", "🌟": "star", "🍀": "clover", "☕": "coffee" };

const leastZoom = 0.62; // screen pixels per unit; on small screens the map moves instead
const coveredPixels = 100; // of the canvas' lower edge, by the line to talk on
const stampMillis = 1900;
const walkEveryMillis = 100; // between two wishes while a key or the pointer is held
const stepUnits = 170; // how far ahead an arrow key wishes
const mostNames = 70; // with more people in view, names are for those who are near, speak, or are pointed at
const peopleEveryMillis = 400; // between two updates of the list for screen readers

export async function openPlaza({ roomd, view, id, showPanel, current }) {
  const room = await roomd.join("plaza", id);
  if (!current()) return () => room.leave();
  const page = fromTemplate("plaza");
  view.replaceChildren(page.root);
  const plaza = new Plaza(room, page);
  room.onLeft((why) => {
    plaza.close();
    if (why.code !== "left") showPanel("You are out", inWords(why));
  });
  return () => {
    plaza.close();
    return room.leave();
  };
}

class Plaza {
  #room;
  #page;
  #walkers = new Walkers();
  #said = new Map(); // member → {text, until}
  #stamped = []; // {member, stamp, at}
  #target = null; // {x, y, at} where we wished to go
  #keys = new Set();
  #pointer = null; // where it is held down, in screen pixels
  #hover = null; // where it is
  #wishedAt = 0;
  #peopleAt = 0;
  #frames = { n: 0, sum: 0, worst: 0 };
  #dark = matchMedia("(prefers-color-scheme: dark)");
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #ended = new AbortController();

  constructor(room, page) {
    this.#room = room;
    this.#page = page;
    this.ctx = page.map.getContext("2d", { alpha: false });
    room.onState((state) => this.#walkers.take(state?.avatars ?? {}, performance.now()));
    room.onPresence(() => this.#showSize());
    room.onJoined(() => this.#showSize());
    room.on("spoke", ({ member, text }) => this.#heard(member, text));
    room.on("stamped", ({ member, stamp }) => this.#stamped.push({ member, stamp, at: performance.now() }));
    this.#showSize();
    this.#listen();
    const resized = new ResizeObserver(() => this.#fit());
    resized.observe(page.map);
    this.#dark.addEventListener("change", () => this.#fit(), { signal: this.#ended.signal });
    this.#ended.signal.addEventListener("abort", () => resized.disconnect());
    this.#fit();
    requestAnimationFrame((t) => this.#frame(t));
  }

  close() {
    this.#ended.abort();
  }

  #showSize() {
    this.#page.size.textContent = this.#room.size;
  }

  get #me() {
    return this.#walkers.all.get(this.#room.member);
  }

  // ---------------------------------------------------------------- wishes

  #listen() {
    const { map, talk, stamps: bar } = this.#page;
    const { signal } = this.#ended;
    map.addEventListener("pointerdown", (e) => {
      map.focus({ preventScroll: true });
      map.setPointerCapture(e.pointerId);
      this.#pointer = [e.offsetX, e.offsetY];
      this.#walkToPointer();
    });
    map.addEventListener("pointermove", (e) => {
      this.#hover = [e.offsetX, e.offsetY];
      if (this.#pointer) this.#pointer = this.#hover;
    });
    map.addEventListener("pointerleave", () => (this.#hover = null));
    for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, () => (this.#pointer = null));
    addEventListener("keydown", (e) => this.#key(e, true), { signal });
    addEventListener("keyup", (e) => this.#key(e, false), { signal });
    addEventListener("blur", () => this.#keys.clear(), { signal });
    talk.addEventListener("submit", (e) => {
      e.preventDefault();
      const { text } = talk.elements;
      if (text.value.trim()) this.#send("speak", text.value.trim());
      text.value = "";
      map.focus();
    });
    bar.append(...Object.entries(stamps).map(([stamp, word], i) => {
      const button = make("button", "", stamp);
      Object.assign(button, { type: "button", ariaLabel: word, title: `${word} (${i + 1})` });
      button.dataset.testid = `stamp-${i + 1}`;
      button.onclick = () => this.#send("stamp", stamp);
      return button;
    }));
    if (matchMedia("(hover: hover)").matches) map.focus();
  }

  async #send(event, data) {
    try {
      await this.#room.send(event, data);
    } catch (err) {
      toast(inWords(err));
    }
  }

  #key(e, down) {
    const typing = e.target.matches("input, textarea, [role=textbox]");
    if (e.key === "Escape" && typing) return this.#page.map.focus();
    if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
    if (/^Arrow(Up|Down|Left|Right)$/.test(e.key)) {
      e.preventDefault();
      const held = this.#keys.has(e.key);
      down ? this.#keys.add(e.key) : this.#keys.delete(e.key);
      if (held !== down) this.#walkByKeys();
    } else if (down && e.key === "Enter" && e.target === this.#page.map) {
      e.preventDefault();
      this.#page.talk.elements.text.focus();
    } else if (down && !e.repeat && /^[1-8]$/.test(e.key)) {
      this.#send("stamp", Object.keys(stamps)[e.key - 1]);
    }
  }

  /** Wishes for a place a step ahead, or to stand where we are once no key is held. */
  #walkByKeys() {
    const mine = this.#room.state?.avatars?.[this.#room.member];
    if (!mine) return;
    const held = (key) => Number(this.#keys.has(key));
    const dx = held("ArrowRight") - held("ArrowLeft");
    const dy = held("ArrowDown") - held("ArrowUp");
    const far = stepUnits / (Math.hypot(dx, dy) || 1);
    this.#walk(mine[0] + dx * far, mine[1] + dy * far);
    this.#target = null;
  }

  #walkToPointer() {
    const [x, y] = this.#toMap(...this.#pointer);
    this.#walk(x, y);
    this.#target = { x, y, at: performance.now() };
  }

  #walk(x, y) {
    const within = (v, most) => Math.round(Math.min(most, Math.max(0, v)));
    this.#room.cast("walk", [within(x, mapWidth), within(y, mapHeight)]);
    this.#wishedAt = performance.now();
    this.#page.hint.classList.add("done");
  }

  #heard(member, text) {
    const name = this.#walkers.all.get(member)?.name ?? this.#room.members.get(member)?.user ?? "Somebody";
    this.#said.set(member, { text, until: performance.now() + 4000 + 45 * text.length });
    const { heard } = this.#page;
    heard.append(make("p", "", `${name}: ${text}`));
    while (heard.childElementCount > 30) heard.firstChild.remove();
  }

  // --------------------------------------------------------------- drawing

  /** Fits the drawing to the canvas: its pixels, scale, and pictures painted for that scale. */
  #fit() {
    const { map } = this.#page;
    const ratio = Math.min(2, devicePixelRatio);
    this.width = map.clientWidth || 1;
    this.height = map.clientHeight || 1;
    map.width = Math.round(this.width * ratio);
    map.height = Math.round(this.height * ratio);
    this.zoom = Math.max(this.width / mapWidth, this.height / mapHeight, leastZoom);
    this.scale = this.zoom * ratio;
    const dark = this.#dark.matches;
    this.sprites = new Sprites(this.scale, dark);
    this.props = props(dark);
    this.ground = document.createElement("canvas");
    this.ground.width = Math.ceil(mapWidth * this.scale);
    this.ground.height = Math.ceil(groundHeight * this.scale);
    const ctx = this.ground.getContext("2d", { alpha: false });
    ctx.scale(this.scale, this.scale);
    drawGround(ctx, dark);
    this.camera = null;
    if (!this.#ended.signal.aborted) this.#draw(performance.now());
  }

  /** The map's left upper corner in view: our own figure in the middle, but never past an edge. */
  #aim() {
    const [w, h] = [this.width / this.zoom, this.height / this.zoom];
    const { x, y } = this.#me ?? { x: mapWidth / 2, y: mapHeight / 2 };
    const within = (v, most) => Math.max(0, Math.min(most, v));
    const want = { x: within(x - w / 2, mapWidth - w), y: within(y - h / 2, Math.min(groundHeight, mapHeight + coveredPixels / this.zoom) - h) };
    const ease = this.camera && this.#me ? 0.12 : 1;
    this.camera ??= want;
    this.camera.x += (want.x - this.camera.x) * ease;
    this.camera.y += (want.y - this.camera.y) * ease;
  }

  #toMap(px, py) {
    return [px / this.zoom + this.camera.x, py / this.zoom + this.camera.y];
  }

  #frame(t) {
    if (this.#ended.signal.aborted) return;
    requestAnimationFrame((next) => this.#frame(next));
    if (t - this.#wishedAt > walkEveryMillis) {
      if (this.#pointer) this.#walkToPointer();
      else if (this.#keys.size > 0) this.#walkByKeys();
    }
    const start = performance.now();
    this.#walkers.move(start);
    this.#draw(start);
    this.#measure(performance.now() - start);
    if (start - this.#peopleAt > peopleEveryMillis) this.#tellPeople(start);
  }

  #draw(now) {
    this.#aim();
    const { ctx, sprites, camera, scale } = this;
    const dark = this.#dark.matches;
    const t = this.#calm.matches ? 0 : now / 1000;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.drawImage(this.ground, -Math.round(camera.x * scale), -Math.round(camera.y * scale));
    ctx.setTransform(scale, 0, 0, scale, -Math.round(camera.x * scale), -Math.round(camera.y * scale));
    drawPondWater(ctx, dark, t);
    this.#drawTarget(now);
    const people = this.#visible();
    this.#drawStanding(people, now);
    drawFountainWater(ctx, dark, t);
    this.#drawNames(people);
    for (const person of people) {
      const said = this.#said.get(person.id);
      if (!said) continue;
      if (said.until < now) this.#said.delete(person.id);
      else said.height = sprites.bubble(ctx, said.text, person.x, person.y - 58);
    }
    this.#drawStamps(now);
  }

  /** Those in view, from the back to the front. */
  #visible() {
    const { x, y } = this.camera;
    const [w, h] = [this.width / this.zoom, this.height / this.zoom];
    const seen = [];
    for (const p of this.#walkers.all.values()) {
      if (p.x < x - 120 || p.x > x + w + 120 || p.y < y - 20 || p.y > y + h + 130) continue;
      p.away = this.#room.members.get(p.id)?.away ?? false;
      seen.push(p);
    }
    return seen.sort((a, b) => a.y - b.y);
  }

  /** People, trees and all else that can stand before one another. */
  #drawStanding(people, now) {
    const { ctx, sprites } = this;
    let i = 0;
    this.props.forEach((prop, at) => {
      while (i < people.length && people[i].y <= prop.y) this.#drawPerson(people[i++], now);
      sprites.prop(ctx, prop, at);
    });
    while (i < people.length) this.#drawPerson(people[i++], now);
  }

  #drawPerson(person, now) {
    const step = person.moving && !this.#calm.matches ? Math.abs(Math.sin(now / 85 + person.id)) * 4.5 : 0;
    this.sprites.person(this.ctx, person, step, person.id === this.#room.member);
  }

  #drawNames(people) {
    const few = people.length <= mostNames;
    const me = this.#me;
    const [px, py] = this.#hover ? this.#toMap(...this.#hover) : [NaN, NaN];
    for (const p of people) {
      const near = (me && Math.hypot(p.x - me.x, p.y - me.y) < 80) || Math.hypot(p.x - px, p.y - 24 - py) < 30;
      if (few || near || this.#said.has(p.id)) this.sprites.name(this.ctx, p.name, p.x, p.y + 10, p === me);
    }
  }

  #drawTarget(now) {
    if (!this.#target) return;
    const age = (now - this.#target.at) / 700;
    if (age > 1) return void (this.#target = null);
    const { ctx } = this;
    ctx.strokeStyle = "white";
    ctx.lineWidth = 3;
    ctx.globalAlpha = 1 - age;
    ctx.beginPath();
    ctx.ellipse(this.#target.x, this.#target.y, 8 + 14 * age, 4 + 7 * age, 0, 0, 2 * Math.PI);
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  #drawStamps(now) {
    this.#stamped = this.#stamped.filter((s) => now - s.at < stampMillis).slice(-100);
    for (const { member, stamp, at } of this.#stamped) {
      const person = this.#walkers.all.get(member);
      if (!person) continue;
      const age = (now - at) / stampMillis;
      const rise = this.#calm.matches ? 0.5 : 1 - (1 - age) ** 2;
      const above = 74 + (this.#said.get(member)?.height ?? 0);
      this.ctx.globalAlpha = Math.min(1, 4 * (1 - age));
      this.sprites.emoji(this.ctx, stamp, person.x + Math.sin(age * 6 + member) * 6, person.y - above - rise * 46, Math.min(1, 0.4 + age * 6));
    }
    this.ctx.globalAlpha = 1;
  }

  // ---------------------------------------------------------- for others' eyes

  /** Keeps a list of who is where, for screen readers and tests. */
  #tellPeople(now) {
    this.#peopleAt = now;
    const { people } = this.#page;
    const rows = new Map([...people.children].map((li) => [Number(li.dataset.id), li]));
    for (const { id, name, x, y } of this.#walkers.all.values()) {
      let li = rows.get(id);
      rows.delete(id);
      if (!li) {
        people.append((li = make("li", "", name)));
        Object.assign(li.dataset, { id, name });
      }
      const place = `${Math.round(x)},${Math.round(y)}`;
      if (li.dataset.place !== place) li.dataset.place = place;
    }
    for (const li of rows.values()) li.remove();
  }

  /** Notes what drawing a frame costs; the canvas carries the last second's figures. */
  #measure(millis) {
    const f = this.#frames;
    f.n++;
    f.sum += millis;
    f.worst = Math.max(f.worst, millis);
    if (f.n < 60) return;
    Object.assign(this.#page.map.dataset, { frameMillis: (f.sum / f.n).toFixed(2), worstFrameMillis: f.worst.toFixed(2) });
    this.#frames = { n: 0, sum: 0, worst: 0 };
  }
}
