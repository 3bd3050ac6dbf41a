// How walkers are drawn between the room's states.

import assert from "node:assert/strict";
import test from "node:test";

import { Walkers, behindMillis, tickMillis } from "../web/walkers.js";

const at = (x, y) => ({ 1: [x, y, 30, "Ann"] });

/** Takes in states that arrive when given, and returns where walker 1 is drawn at each of times. */
function drawn(states, times) {
  const walkers = new Walkers();
  const events = [...states.map(([t, state]) => ({ t, state })), ...times.map((t) => ({ t }))].sort((a, b) => a.t - b.t);
  const places = [];
  for (const { t, state } of events) {
    if (state) walkers.take(state, t);
    else {
      walkers.move(t);
      places.push(walkers.all.get(1).x);
    }
  }
  return places;
}

const steady = Array.from({ length: 40 }, (_, i) => [1000 + i * tickMillis, at(100 + 12 * i, 100)]);
const every16 = (from, to) => Array.from({ length: Math.floor((to - from) / 16) }, (_, i) => from + i * 16);

test("a steady walk is drawn steadily, a little in the past", () => {
  const times = every16(1500, 2900);
  const places = drawn(steady, times);
  places.forEach((x, i) => {
    const want = 100 + (12 * (times[i] - behindMillis - 1000)) / tickMillis;
    assert.ok(Math.abs(x - want) < 0.5, `at ${times[i]} drawn at ${x}, want ${want}`);
  });
});

test("states that arrive unevenly still make an even walk", () => {
  let seed = 7;
  const jitter = () => ((seed = (seed * 48271) % 2147483647) % 31) - 15;
  const places = drawn(steady.map(([t, s]) => [t + jitter(), s]), every16(1500, 2900));
  const steps = places.slice(1).map((x, i) => x - places[i]);
  const usual = (12 * 16) / tickMillis;
  for (const step of steps) assert.ok(step >= 0 && step < 2 * usual, `a step of ${step.toFixed(2)}, usual is ${usual}`);
});

test("who starts after a rest does not drift slowly first", () => {
  const states = [[0, at(100, 100)], [10_000, at(112, 100)], [10_050, at(124, 100)]];
  const places = drawn(states, [5_000, 10_040, 10_100, 10_149]);
  assert.deepEqual(places.map(Math.round), [100, 100, 112, 124]);
});

test("who stops is drawn at the last place", () => {
  assert.deepEqual(drawn(steady, [10_000]), [100 + 12 * 39]);
});

test("a jump is not drawn as a flight", () => {
  const [x] = drawn([[0, at(100, 100)], [50, at(900, 100)]], [125]);
  assert.equal(x, 900);
});

test("who is gone from the state is gone", () => {
  const walkers = new Walkers();
  walkers.take({ 1: [0, 0, 0, "Ann"], 2: [5, 5, 0, "Ben"] }, 0);
  walkers.take({ 2: [5, 5, 0, "Ben"] }, 50);
  assert.deepEqual([...walkers.all.keys()], [2]);
});

test("walkers look where they go", () => {
  const walkers = new Walkers();
  for (let i = 0; i < 10; i++) walkers.take(at(500 - 12 * i, 100), i * tickMillis);
  for (let t = 0; t < 500; t += 16) walkers.move(t);
  assert.equal(walkers.all.get(1).left, true);
});
