// The server and the page that README.md shows, as somebody who copies them
// has them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Server } from "../../../client/testedge/server.mjs";
import { launchBrowser } from "./browser.mjs";

const repo = new URL("../../../", import.meta.url).pathname;
let dir;
let server;
let browser;

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "roomd-readme-"));
  mkdirSync(join(dir, "web"));
  writeFileSync(join(dir, "main.go"), block("go"));
  writeFileSync(join(dir, "web", "index.html"), block("html"));
  const binary = join(dir, "mychat");
  execFileSync("go", ["build", "-o", binary, join(dir, "main.go")], { cwd: repo, stdio: "inherit" });
  [server, browser] = await Promise.all([Server.start({ binary, cwd: dir }), launchBrowser()]);
});

after(async () => {
  await browser?.close();
  await server?.remove();
  rmSync(dir, { recursive: true, force: true });
});

/** The README's one block of code in a language. */
function block(language) {
  const blocks = readFileSync(join(repo, "README.md"), "utf8").split("```").filter((text) => text.startsWith(`${language}\n`));
  assert.equal(blocks.length, 1, `blocks of ${language} in README.md`);
  return blocks[0].slice(language.length + 1);
}

async function visitor() {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(server.url);
  return page;
}

test("the README's chat is formatted, and two people talk in it", async () => {
  assert.equal(execFileSync("gofmt", ["-l", join(dir, "main.go")], { encoding: "utf8" }), "");
  const [ann, ben] = [await visitor(), await visitor()];
  await ann.fill("input", "hello");
  await ann.press("input", "Enter");
  for (const page of [ann, ben]) await page.locator("li", { hasText: /^guest-.*: hello$/ }).waitFor();
  const late = await visitor(); // is sent what was said before
  await late.locator("li", { hasText: "hello" }).waitFor();
  await server.kill("SIGTERM");
  await server.run();
  await ben.fill("input", "still here?");
  await ben.press("input", "Enter");
  await ann.locator("li", { hasText: "still here?" }).waitFor();
  assert.equal(await ann.locator("li").count(), 2);
});
