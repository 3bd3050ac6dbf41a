// The pages as people use them, in a real browser against the real binary:
// two of them chat and walk, and the server goes away and comes back.
//
// ROOMD_SHOTS=folder also takes pictures of every page, light, dark and on a
// phone.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";

import { connect } from "../../../client/roomd.js";
import { Server } from "../../../client/testedge/server.mjs";
import { launchBrowser } from "./browser.mjs";

let server;
let browser;
let ann;
let ben;
const faults = []; // what pages reported as errors

before(async () => {
  [server, browser] = await Promise.all([Server.start(), launchBrowser()]);
  [ann, ben] = await Promise.all([visitor("Ann"), visitor("Ben")]);
});

after(async () => {
  await browser?.close();
  await server?.remove();
});

const id = (name) => `[data-testid="${name}"]`;

/** A page of a person who has just come in, in a browser profile of their own. */
async function visitor(name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (err) => faults.push(`${name}: ${err.message}`));
  await page.goto(server.url);
  await page.fill(id("name-input"), name);
  await page.click(id("name-go"));
  await page.locator(id("rooms")).waitFor();
  return page;
}

const open = (page, route) => page.evaluate((hash) => { location.hash = hash; }, `#/${route}`);

async function say(page, text) {
  await page.fill(id("chat-input"), text);
  await page.press(id("chat-input"), "Enter");
}

/** Waits until a text stands in the log, as a message the room has and not a draft. */
const reads = (page, text) => page.locator(`${id("msg")}:not(.waiting)`, { hasText: text }).first().waitFor();

/** Where a page draws somebody. */
async function placeOf(page, name) {
  const place = await page.locator(`${id("avatars")} [data-name="${name}"]`).getAttribute("data-place");
  return place.split(",").map(Number);
}

/** Waits until a page draws somebody where near(x, y) says. */
async function seesAt(page, name, near) {
  await page.locator(`${id("avatars")} [data-name="${name}"]`).waitFor({ state: "attached" });
  const deadline = Date.now() + 20_000;
  for (;;) {
    const [x, y] = await placeOf(page, name);
    if (near(x, y)) return;
    assert.ok(Date.now() < deadline, `${name} is still drawn at ${x}, ${y}`);
    await page.waitForTimeout(50);
  }
}

test("two people chat, and a third reads what was said before", async () => {
  await Promise.all([ann, ben].map((page) => page.click(`${id("room-chat-lounge")} a`)));
  await ben.locator(`${id("members")} [data-user="Ann"]`).waitFor();
  await ann.locator(`${id("members")} [data-user="Ben"]`).waitFor();
  await say(ann, "Hello from Ann");
  await reads(ben, "Hello from Ann");
  await say(ben, "Hello from Ben\nin two lines, <b>not bold</b>");
  await reads(ann, "in two lines, <b>not bold</b>");

  const cy = await visitor("Cy");
  await open(cy, "chat/lounge");
  await reads(cy, "Hello from Ann");
  await ann.locator(`${id("log")} .quiet`, { hasText: "Cy joined" }).waitFor();
  await open(cy, "");
  await ann.locator(`${id("log")} .quiet`, { hasText: "Cy left" }).waitFor();
  await cy.locator(`${id("room-chat-lounge")} .people`, { hasText: "2 here" }).waitFor();
  await cy.context().close();
});

test("who loses the connection is greyed, keeps the seat, and gets what was missed", async () => {
  let isCut = false;
  let socket;
  class Cuttable extends WebSocket {
    constructor(url, protocols) {
      super(isCut ? "ws://127.0.0.1:1/nobody" : url, protocols);
      socket = this;
    }
  }
  const roomd = connect(`${server.url}/ws`, { user: "Gil", WebSocket: Cuttable });
  const room = await roomd.join("chat", "lounge");
  const heard = [];
  room.on("said", ({ text }) => heard.push(text));
  await ann.locator(`${id("members")} [data-user="Gil"]:not(.away)`).waitFor();
  isCut = true;
  socket.terminate();
  await ann.locator(`${id("members")} .away[data-user="Gil"]`).waitFor();
  await say(ann, "Said behind Gil's back");
  await reads(ben, "Said behind Gil's back");
  isCut = false;
  const back = new Promise((resolve) => room.onJoined(resolve));
  roomd.reconnectNow();
  assert.deepEqual(await back, { resumed: true, recovered: true });
  await ann.locator(`${id("members")} [data-user="Gil"]:not(.away)`).waitFor();
  const echo = new Promise((resolve) => room.on("said", ({ text }) => text === "Thanks" && resolve()));
  await room.send("say", "Thanks");
  await echo;
  assert.deepEqual(heard, ["Said behind Gil's back", "Thanks"]);
  roomd.close();
  await ann.locator(`${id("members")} [data-user="Gil"]`).waitFor({ state: "detached" });
});

test("a room made in the lobby opens and is listed", async () => {
  await open(ben, "");
  await ben.fill(id("room-name"), "Café at 5!");
  await ben.click(id("room-open"));
  await ben.locator(id("chat-input")).waitFor();
  assert.match(ben.url(), /#\/chat\/Cafe-at-5$/);
  await open(ben, "");
  await ben.locator(id("room-chat-Cafe-at-5")).waitFor();
});

test("errors are told in words", async () => {
  await open(ben, "nonsense/x");
  await ben.locator(id("panel"), { hasText: "no such sort of room" }).waitFor();
  for (const name of ["a b", "%", "x".repeat(65)]) {
    await open(ben, `chat/${name}`);
    await ben.locator(id("panel"), { hasText: "That name can't be used" }).waitFor();
    await open(ben, "");
    await ben.locator(id("rooms")).waitFor();
  }
});

test("a room that is full says so, and has a seat again when somebody leaves", async () => {
  const crowd = Array.from({ length: 200 }, (_, i) => connect(`${server.url}/ws`, { user: `Visitor ${i + 1}`, WebSocket }));
  try {
    await Promise.all(crowd.map((roomd) => roomd.join("chat", "full")));
    await open(ben, "chat/full");
    await ben.locator(id("panel"), { hasText: "This room is full" }).waitFor();
    await open(ben, "");
    await ben.locator(`${id("room-chat-full")} .people`, { hasText: "200 here" }).waitFor();
    crowd[0].close();
    await ben.locator(`${id("room-chat-full")} .people`, { hasText: "199 here" }).waitFor();
    await open(ben, "chat/full");
    await ben.locator(id("chat-input")).waitFor();
  } finally {
    for (const roomd of crowd) roomd.close();
  }
});

test("a page whose server is gone says so, and opens when it is back", async () => {
  const page = await browser.newPage();
  await page.goto(server.url);
  await server.kill("SIGTERM");
  await page.fill(id("name-input"), "Hal");
  await page.click(id("name-go"));
  await page.locator(id("banner"), { hasText: "can't be reached yet" }).waitFor();
  await server.run();
  await page.locator(id("rooms")).waitFor();
  await page.locator(id("banner")).waitFor({ state: "hidden" });
  await page.context().close();
});

test("one walks, speaks and waves in the plaza, and the other sees it", async () => {
  await Promise.all([open(ann, "plaza/garden"), open(ben, "plaza/garden")]);
  await seesAt(ben, "Ann", () => true);
  await ann.locator(id("plaza")).click({ position: { x: 200, y: 200 } });
  await seesAt(ann, "Ann", (x, y) => x < 320 && y < 400);
  await seesAt(ben, "Ann", (x, y) => x < 320 && y < 400);
  const [, startY] = await placeOf(ben, "Ann");
  await ann.keyboard.down("ArrowDown");
  await seesAt(ben, "Ann", (x, y) => y > startY + 100);
  await ann.keyboard.up("ArrowDown");

  await ann.keyboard.press("Enter");
  await ann.keyboard.type("Over here!");
  await ann.keyboard.press("Enter");
  await ben.locator(`${id("heard")} p`, { hasText: "Ann: Over here!" }).waitFor({ state: "attached" });
  await ben.click(id("stamp-1"));
});

test("200 visitors are all there, and drawing them is measured", async (t) => {
  const crowd = Array.from({ length: 198 }, (_, i) => connect(`${server.url}/ws`, { user: `Visitor ${i + 1}`, WebSocket }));
  try {
    const rooms = await Promise.all(crowd.map((roomd) => roomd.join("plaza", "garden")));
    const anywhere = () => [Math.floor(Math.random() * 1600), Math.floor(Math.random() * 900)];
    const strolling = setInterval(() => rooms.forEach((room, i) => i % 5 === Math.floor(Math.random() * 5) && room.cast("walk", anywhere())), 500);
    try {
      await ben.locator(id("plaza-size"), { hasText: /^200$/ }).waitFor();
      await ben.locator(`${id("avatars")} li`).nth(199).waitFor({ state: "attached" });
      await ben.evaluate(() => delete document.querySelector("canvas").dataset.frameMillis);
      await ben.waitForFunction(() => document.querySelector("canvas").dataset.frameMillis);
      const { frameMillis, worstFrameMillis } = await ben.evaluate(() => ({ ...document.querySelector("canvas").dataset }));
      t.diagnostic(`a frame with 200 avatars took ${frameMillis} ms, the worst ${worstFrameMillis} ms`);
      await shot(ben, "crowd");
    } finally {
      clearInterval(strolling);
    }
  } finally {
    for (const roomd of crowd) roomd.close();
  }
  await ben.locator(id("plaza-size"), { hasText: /^2$/ }).waitFor();
});

for (const signal of ["SIGTERM", "SIGKILL"]) {
  test(`the server is ended with ${signal} and started again: both pages come back with everything`, async () => {
    await Promise.all([open(ann, "chat/lounge"), open(ben, "chat/lounge")]);
    await reads(ann, "Hello from Ann");
    await ben.locator(`${id("members")} [data-user="Ann"]`).waitFor();
    await server.kill(signal);
    for (const page of [ann, ben]) await page.locator(id("banner"), { hasText: "Reconnecting" }).waitFor();
    if (signal === "SIGTERM") await shot(ann, "reconnecting");
    await say(ann, `Written while the server was away (${signal})`);
    await server.run();
    for (const page of [ann, ben]) await page.locator(id("banner")).waitFor({ state: "hidden" });
    await reads(ben, `Written while the server was away (${signal})`);
    await say(ben, `Back again (${signal})`);
    await reads(ann, `Back again (${signal})`);
    for (const page of [ann, ben]) {
      assert.equal(await page.locator(id("msg"), { hasText: `away (${signal})` }).count(), 1, "said once");
      await reads(page, "Hello from Ann");
    }
    const dee = await visitor("Dee"); // what a newcomer gets is what the server has kept
    await open(dee, "chat/lounge");
    await reads(dee, "Hello from Ann");
    await reads(dee, `Back again (${signal})`);
    await dee.context().close();
  });
}

test("people in the plaza stand where they stood after a restart", async () => {
  await Promise.all([open(ann, "plaza/square"), open(ben, "plaza/square")]);
  await ann.locator(id("plaza")).click({ position: { x: 900, y: 150 } });
  await seesAt(ben, "Ann", (x, y) => x > 950 && y < 300);
  await server.kill("SIGTERM");
  await ann.locator(id("banner"), { hasText: "Reconnecting" }).waitFor();
  await server.run();
  await ann.locator(id("banner")).waitFor({ state: "hidden" });
  const eve = await visitor("Eve");
  await open(eve, "plaza/square");
  await seesAt(eve, "Ann", (x, y) => x > 950 && y < 300);
  await eve.context().close();
});

test("pictures of every page", { skip: !process.env.ROOMD_SHOTS && "ROOMD_SHOTS is not set" }, async () => {
  const desk = { viewport: { width: 1280, height: 800 } };
  const looks = {
    light: { ...desk, colorScheme: "light" },
    dark: { ...desk, colorScheme: "dark" },
    phone: { viewport: { width: 390, height: 800 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: "light" },
  };
  for (const [look, options] of Object.entries(looks)) {
    const page = await visitor(`Fay`, options);
    await page.locator(id("room-plaza-garden")).waitFor();
    await shot(page, `${look}-lobby`);
    await open(page, "chat/lounge");
    await reads(page, "Hello from Ann");
    await shot(page, `${look}-chat`);
    await open(page, "plaza/square");
    await page.fill(id("speak-input"), "What a lovely evening. Shall we meet at the fountain?");
    await page.click(id("speak"));
    await page.locator(`${id("heard")} p`, { hasText: "lovely evening" }).waitFor({ state: "attached" });
    await page.click(id("stamp-2"));
    await seesAt(page, "Fay", () => true);
    await shot(page, `${look}-plaza`);
    await page.context().close();
  }
});

test("no page reported an error", () => {
  assert.deepEqual(faults, []);
});

async function shot(page, name) {
  if (!process.env.ROOMD_SHOTS) return;
  mkdirSync(process.env.ROOMD_SHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.ROOMD_SHOTS, `${name}.png`) });
}
