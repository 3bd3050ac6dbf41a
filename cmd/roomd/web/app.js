// The frame around the rooms: who you are, which room is open, and whether the
// server is there. Each view in lobby.js, chat.js and plaza.js opens one room
// and returns how to close it.

import { connect } from "/roomd.js";
import { openChat } from "./chat.js";
import { openLobby } from "./lobby.js";
import { openPlaza } from "./plaza.js";
import { face, inWords, make, someName, toast } from "./words.js";

const nameKey = "roomd.name";
const bannerMillis = 250; // a reconnect shorter than this is nobody's business

const view = document.getElementById("view");
const views = { __proto__: null, chat: openChat, plaza: openPlaza };
let close = () => {}; // of the view that is open
let visit = 0; // counts routes, so that a slow join does not open a room that was left meanwhile

let user = localStorage.getItem(nameKey) ?? "";
if (!user) user = await askName(someName());
const me = document.getElementById("me");
me.append(face(user), make("span", "", user));
me.addEventListener("click", async () => {
  if ((await askName(user)) !== user) location.reload(); // a new name is a new session
});

const roomd = connect("/ws", { user });
watchConnection();
addEventListener("pagehide", () => roomd.close()); // the others should not wait for us
addEventListener("pageshow", (e) => e.persisted && location.reload());
addEventListener("hashchange", route);
document.querySelector(".skip").addEventListener("click", (e) => {
  e.preventDefault(); // the address is for rooms
  view.focus();
});
route();

/** Asks for a name until there is one, and remembers it. */
function askName(suggestion) {
  const dialog = document.getElementById("name-dialog");
  const input = dialog.querySelector("input");
  input.value = suggestion;
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const name = input.value.replace(/\p{Cc}/gu, "").trim().slice(0, 32) || suggestion;
      localStorage.setItem(nameKey, name);
      resolve(name);
    }, { once: true });
  });
}

/** Opens the room that the address names: #/chat/lounge, or the lobby. */
async function route() {
  const mine = ++visit;
  close();
  close = () => {};
  const [kind, id] = location.hash.replace(/^#?\/?/, "").split("/").map(plain);
  const open = id ? views[kind] : openLobby;
  document.getElementById("where").textContent = id ?? "";
  document.title = id ? `${id} · roomd` : "roomd";
  view.replaceChildren();
  if (!open) return showPanel("Nothing here", inWords({ code: "unknown_kind" }));
  const late = setTimeout(() => showPanel("Opening the door…", ""), 400);
  try {
    const closeView = await open({ roomd, view, id, showPanel: (...text) => mine === visit && showPanel(...text), current: () => mine === visit });
    if (mine === visit) close = closeView;
    else closeView();
  } catch (err) {
    if (mine === visit) showPanel("The door is closed", inWords(err));
  } finally {
    clearTimeout(late);
  }
}

/** A part of the address as it was typed. */
function plain(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a lone % is no code
  }
}

/** Fills the page with a few words instead of a room. */
function showPanel(title, text) {
  const panel = make("div", "panel");
  panel.dataset.testid = "panel";
  const back = make("a", "", "To the lobby");
  back.href = "#/";
  panel.append(make("h1", "", title), make("p", "", text), back);
  view.replaceChildren(panel);
}

/** Shows in the banner when the server is away, and takes it down when it is back. */
function watchConnection() {
  const banner = document.getElementById("banner");
  const text = document.getElementById("banner-text");
  const act = document.getElementById("banner-act");
  let timer;
  let wasOpen = false;
  const say = (words, button, over, click) => {
    text.textContent = words;
    act.textContent = button;
    act.onclick = click;
    banner.classList.toggle("over", over);
    banner.hidden = false;
  };
  roomd.on("reconnecting", () => {
    clearTimeout(timer);
    const words = wasOpen ? "Reconnecting… Your place is kept." : "The server can't be reached yet. Trying again…";
    timer = setTimeout(() => say(words, "Try now", false, () => roomd.reconnectNow()), banner.hidden ? bannerMillis : 0);
  });
  roomd.on("open", () => {
    clearTimeout(timer);
    wasOpen = true;
    banner.hidden = true;
  });
  roomd.on("closed", ({ code, message }) => {
    clearTimeout(timer);
    say(inWords({ code, message }), "Reload", true, () => location.reload());
  });
  roomd.on("error", (err) => toast(inWords(err)));
}
