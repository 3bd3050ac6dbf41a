// What the pages say, and the small things all of them need: errors in words,
// names for people who have none, a colour for everybody, copies of templates.

const errors = {
  bad_name: "That name can't be used. Letters, digits, - and _ are fine.",
  unknown_kind: "There is no such sort of room here.",
  room_full: "This room is full. Try again when somebody has left.",
  forbidden: "You can't do that here.",
  too_many_rooms: "You are in too many rooms at once.",
  too_large: "That is too long.",
  bad_data: "The room can't make sense of that.",
  not_joined: "You are not in that room any more.",
  unknown_event: "The room doesn't know how to do that.",
  rate_limited: "That was a little fast. Wait a moment.",
  overloaded: "The room is very busy. Try again in a moment.",
  unavailable: "The room can't be reached. Try again in a moment.",
  timeout: "No answer came in time. It may have arrived all the same.",
  in_flight: "Too much is on its way already. Wait a moment.",
  closed: "The room was closed.",
  kicked: "You were shown out of this room.",
  replaced: "You went on in another window.",
  unauthorized: "You are not allowed in.",
  bad_token: "Your pass is not valid any more. Reload the page.",
  shutdown: "The server has left service.",
  internal: "Something went wrong in the room. It is in the server's log.",
};

/** An error, or {code, message}, as a sentence for the person in front of the page. */
export function inWords({ code, message, text }) {
  return errors[code] ?? (text || message || `Something went wrong (${code}).`);
}

const moods = ["Quiet", "Early", "Kind", "Wandering", "Bright", "Gentle", "Curious", "Merry", "Patient", "Nimble"];
const birds = ["Heron", "Wren", "Swift", "Plover", "Finch", "Lark", "Robin", "Curlew", "Siskin", "Avocet"];

/** A pleasant name for somebody who has not said theirs. */
export function someName() {
  const one = (list) => list[Math.floor(Math.random() * list.length)];
  return `${one(moods)} ${one(birds)}`;
}

/** The hue, 0 to 359, that belongs to a name. */
export function hueOf(name) {
  let h = 7;
  for (const c of name) h = (h * 31 + c.codePointAt(0)) % 100_003;
  return (h * 137) % 360;
}

/** A round picture with somebody's initial. */
export function face(name) {
  const i = document.createElement("i");
  i.className = "face";
  i.style.setProperty("--hue", hueOf(name));
  i.textContent = [...name.trim()][0]?.toUpperCase() ?? "?";
  i.ariaHidden = "true";
  return i;
}

/** A new element with a class and text. */
export function make(tag, className = "", text = "") {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text) e.textContent = text;
  return e;
}

/**
 * A copy of a template and its parts: those marked data-x as x, and each
 * form's fields by their names under the form.
 */
export function fromTemplate(id) {
  const root = document.getElementById(id).content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const e of root.querySelectorAll("*")) {
    for (const name of Object.keys(e.dataset)) if (name !== "testid") parts[name] = e;
  }
  return { root, ...parts };
}

/** "Ann", "Ann and Ben", "Ann, Ben and 3 others". */
export function listNames(names) {
  if (names.length < 2) return names.join("");
  if (names.length === 2) return names.join(" and ");
  if (names.length === 3) return `${names[0]}, ${names[1]} and ${names[2]}`;
  return `${names[0]}, ${names[1]} and ${names.length - 2} others`;
}

/** Says something at the edge of the page for a few seconds; what stands there already is not said twice. */
export function toast(text) {
  const all = document.getElementById("toasts");
  if (all.lastChild?.textContent === text) return;
  const p = make("p", "", text);
  p.dataset.testid = "toast";
  all.append(p);
  while (all.children.length > 3) all.firstChild.remove();
  setTimeout(() => p.remove(), 5000);
}
