// Reads vectors from standard input and applies each patch; exits with 1 when a
// result is not what the vector says.
import { deepStrictEqual } from "node:assert";
import { readFileSync } from "node:fs";
import { apply } from "./apply.mjs";

const vectors = JSON.parse(readFileSync(0, "utf8"));
let wrong = 0;
for (const v of vectors) {
  try {
    deepStrictEqual(apply(v.old, v.patch), v.new);
  } catch (err) {
    wrong++;
    console.log(v.name, JSON.stringify(v.patch), err.message);
  }
}
if (wrong > 0) process.exit(1);
console.log(vectors.length + " agree");
