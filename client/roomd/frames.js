// What frames from an edge look like: the table of PROTOCOL.md. A frame that is
// not as it says never reaches the session or a room, so that both can take its
// parts for what they are. Types of a later version, and elements and keys that
// are not in the table, are passed.

import { isMap, malformed } from "./values.js";

/** @typedef {(v: any) => boolean} Check */

/** @type {Check} */
const any = () => true;
/** @type {Check} */
const text = (v) => typeof v === "string";
/** @type {Check} */
const integer = (v) => Number.isSafeInteger(v);
/** A number, count or position. @type {Check} */
const whole = (v) => Number.isSafeInteger(v) && v >= 0;
/** @type {Check} */
const flag = (v) => typeof v === "boolean";
/** What may be left out, or be null. @param {Check} check @returns {Check} */
const maybe = (check) => (v) => v === undefined || v === null || check(v);
/** @param {Check} check @returns {Check} */
const listOf = (check) => (v) => Array.isArray(v) && v.every(check);
/** @param {Check[]} checks @returns {Check} */
const row = (...checks) => (v) => Array.isArray(v) && checks.every((check, i) => check(v[i]));
/** @param {Record<string, Check>} checks @returns {Check} */
const mapOf = (checks) => (v) => isMap(v) && Object.entries(checks).every(([key, check]) => check(v[key]));

const refusal = maybe(row(text, maybe(text)));
const ids = maybe(listOf(whole));
const members = maybe(listOf(row(whole, maybe(text), maybe(flag))));
const listing = row(text, text, maybe(whole), maybe(whole), any);

const welcome = mapOf({ session: text, resume: text, user: maybe(text), ping: maybe(whole) });
const joined = mapOf({
  room: (v) => whole(v) && v > 0, id: text, member: whole, epoch: whole, seq: maybe(whole), count: maybe(whole), ver: maybe(whole),
  n: maybe(whole), applied: maybe(whole), seats: maybe(whole), size: maybe(whole), members, resumed: maybe(flag), recovered: maybe(flag),
});

/** The elements after the type, by type. @type {Record<number, Check[]>} */
const shapes = {
  0: [text, maybe(text), maybe(whole), maybe(whole)], // error
  1: [welcome],
  2: [whole, maybe(joined), refusal], // answer to a join: one of the two
  3: [whole, text, maybe(text), maybe(whole)], // left
  4: [whole, whole, any, refusal], // reply
  6: [whole, maybe(listOf(listing)), refusal], // rooms
  7: [whole, whole, text, any], // message
  8: [whole, whole, whole, text, any], // message to one member
  9: [whole, whole, maybe(whole), maybe(listOf(row(whole, maybe(text)))), ids, ids, ids], // presence
  10: [whole, whole, any], // state
  11: [whole, whole, any], // patch
  12: [whole, text, maybe(whole), maybe(whole), maybe(whole), maybe(whole), maybe(whole), maybe(whole), members, maybe(whole), maybe(flag)], // notice
  13: [text, maybe(text), maybe(integer)], // bye
};

/** Throws a RoomdError bad_frame if a frame is not as the protocol says. @param {any} f */
export function checkFrame(f) {
  if (!Array.isArray(f) || !whole(f[0])) malformed("a frame is not an array that begins with its type");
  const checks = shapes[f[0]] ?? [];
  for (let i = 0; i < checks.length; i++) {
    if (!checks[i](f[i + 1])) malformed(`element ${i + 1} of a frame of type ${f[0]}`);
  }
  if (f[0] === 2 && !f[2] === !f[3]) malformed("a join is answered by a room or a refusal");
}
