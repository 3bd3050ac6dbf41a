// The lobby: which rooms there are, live, and a way to open another.

import { fromTemplate } from "./words.js";

const mostRows = 60; // the fullest; more would be a list nobody reads

const icons = {
  chat: '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"><path d="M20 11.5a7.5 7.5 0 0 1-11 6.6L4 19.5l1.4-4.6A7.5 7.5 0 1 1 20 11.5Z"/><path d="M9 10.5h6M9 13.5h3.5"/></svg>',
  plaza: '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"><path d="M12 3c3 0 5 2.2 5 5 1.8.6 3 2 3 3.800A4 4 0 0 1 16 16H8a4 4 0 0 1-4-4.200C4 10 5.2 8.6 7 8c0-2.8 2-5 5-5Z"/><path d="M12 11v10M12 15l2.5-2M8 21h8"/></svg>',
  other: '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"><path d="M6 20V8a4 4 0 0 1 4-4h4a4 4 0 0 1 4 4v12M4 20h16M14 12.5v.01"/></svg>',
};

// The rooms that are offered before anybody has opened one.
const standing = {
  "chat.lounge": { kind: "chat", id: "lounge" },
  "plaza.garden": { kind: "plaza", id: "garden" },
};

export async function openLobby({ roomd, view, showPanel, current }) {
  const room = await roomd.join("lobby", "main");
  if (!current()) return () => room.leave();
  const page = fromTemplate("lobby");
  view.replaceChildren(page.root);
  page.open.addEventListener("submit", (e) => {
    e.preventDefault();
    const { kind, id } = page.open.elements;
    const name = asID(id.value);
    id.setCustomValidity(name ? "" : "Use at least one letter or digit.");
    if (id.reportValidity()) location.hash = `#/${kind.value}/${name}`;
  });
  page.open.elements.id.addEventListener("input", (e) => e.target.setCustomValidity(""));
  const rows = new Map();
  room.onState((state) => show(page, rows, { ...standing, ...state.rooms }));
  if (room.state === undefined) show(page, rows, standing);
  room.onLeft((why) => why.code !== "left" && showPanel("The lobby is closed", why.message));
  return () => room.leave();
}

/** What somebody typed, as a room id. */
function asID(text) {
  const plain = text.normalize("NFKD").replace(/\p{M}/gu, "");
  return plain.trim().replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 64);
}

/** Brings the list up to date, touching only what changed. */
function show(page, rows, rooms) {
  const order = { plaza: 0, chat: 0 };
  const all = Object.entries(rooms).filter(([, r]) => r.kind !== "lobby");
  all.sort(([, a], [, b]) => (order[a.kind] ?? 1) - (order[b.kind] ?? 1) || (b.members ?? 0) - (a.members ?? 0) || (a.id < b.id ? -1 : 1));
  const shown = all.slice(0, mostRows);
  for (const [key, row] of rows) {
    if (shown.some(([k]) => k === key)) continue;
    row.root.remove();
    rows.delete(key);
  }
  shown.forEach(([key, r], i) => {
    if (!rows.has(key)) rows.set(key, makeRow(r));
    const row = rows.get(key);
    fill(row, r);
    if (page.rooms.children[i] !== row.root) page.rooms.insertBefore(row.root, page.rooms.children[i] ?? null);
  });
  page.more.textContent = all.length > shown.length ? `and ${(all.length - shown.length).toLocaleString()} more` : "";
}

function makeRow(r) {
  const { root } = fromTemplate("lobby-row");
  root.dataset.testid = `room-${r.kind}-${r.id}`;
  const [name, kind] = root.querySelector(".title").children;
  const [people, seats] = root.querySelector(".people").children;
  root.querySelector(".kind").innerHTML = icons[r.kind] ?? icons.other;
  if (icons[r.kind]) root.querySelector("a").href = `#/${r.kind}/${r.id}`;
  name.textContent = r.id;
  kind.textContent = { chat: "Chat", plaza: "Plaza" }[r.kind] ?? r.kind;
  return { root, people, seats };
}

function fill({ root, people, seats }, { members = 0, seats: limit = 0, dormant = false }) {
  root.classList.toggle("asleep", dormant);
  root.classList.toggle("empty", members === 0);
  const [here, of] = dormant ? ["asleep", "wakes when opened"] : [members > 0 ? `${members} here` : "empty", limit > 0 ? `of ${limit}` : ""];
  if (people.textContent !== here) people.textContent = here;
  if (seats.textContent !== of) seats.textContent = of;
}
