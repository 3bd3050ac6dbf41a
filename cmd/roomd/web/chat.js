// A chat room: what was said, who is here, and a line to write on. What is
// written shows at once, paler, until the room has it.

import { face, fromTemplate, hueOf, inWords, listNames, make } from "./words.js";

const maxBytes = 2000; // of one message
const mostShown = 400; // messages and lines on the page
const togetherMillis = 5 * 60_000; // messages of one person within this share a heading

export async function openChat({ roomd, view, id, showPanel, current }) {
  const room = await roomd.join("chat", id);
  if (!current()) return () => room.leave();
  const page = fromTemplate("chat");
  view.replaceChildren(page.root);
  const log = makeLog(page);

  room.on("history", (history) => log.restart(history));
  room.on("said", (said) => log.said(said));
  const catchUp = async () => {
    showMembers(page, room);
    try {
      log.restart(await room.send("history"));
    } catch {
      log.quiet("Something may be missing here."); // the banner or the room's end says why
    }
  };
  room.onJoined(({ recovered }) => recovered ? showMembers(page, room) : catchUp());
  room.onPresence(({ joined, left }) => {
    const others = joined.filter((m) => m.id !== room.member);
    if (others.length > 0) log.quiet(`${listNames(others.map((m) => m.user))} joined`);
    if (left.length > 0) log.quiet(`${listNames(left.map((m) => m.user))} left`);
    showMembers(page, room);
  });
  room.onNotice((notice) => notice === "reset" && catchUp());
  room.onLeft((why) => why.code !== "left" && showPanel("You are out", inWords(why)));
  if (room.resumed) catchUp(); // we left while the connection was broken: the seat was kept, and no history comes
  else showMembers(page, room);
  compose(page, (text) => send(room, log, roomd.user, text));
  return () => room.leave();
}

async function send(room, log, user, text) {
  const draft = log.draft(user, text);
  try {
    await room.send("say", text);
    draft.remove();
  } catch (err) {
    const again = make("button", "", "Send again");
    again.type = "button";
    again.onclick = () => (draft.remove(), send(room, log, user, text));
    draft.classList.replace("waiting", "failed");
    draft.append(make("p", "", inWords(err)), again);
  }
}

/** The list of messages: keeps to its end while the reader is there. */
function makeLog({ log, newer }) {
  let last = null; // the last message, while nothing else stands behind it
  let day = "";
  const drafts = make("div");
  const start = make("p", "start", "Nothing was said here yet. Make a start.");
  log.append(start, drafts);

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const toEnd = () => (log.scrollTop = log.scrollHeight);
  newer.onclick = toEnd;
  log.addEventListener("scroll", () => atEnd() && (newer.hidden = true));
  new ResizeObserver(() => newer.hidden && toEnd()).observe(log);

  const add = (element, loud) => {
    const end = atEnd();
    drafts.before(element);
    while (log.childElementCount > mostShown) log.firstChild.remove();
    if (end) toEnd();
    else if (loud) newer.hidden = false;
  };
  const said = ({ from, text, at }) => {
    start.remove();
    const today = new Date(at).toDateString();
    if (today !== day) {
      if (day || today !== new Date().toDateString()) add(make("p", "day", dayName(at)));
      day = today;
      last = null;
    }
    const together = last?.from === from && at - last.at < togetherMillis;
    if (together) {
      const end = atEnd();
      last.element.append(make("p", "", text));
      if (end) toEnd();
      else newer.hidden = false;
    } else add((last = { element: message(from, text, at), from }).element, true);
    last.at = at;
  };
  return {
    said,
    restart(history) {
      log.replaceChildren(start, drafts);
      last = null;
      day = "";
      for (const line of history ?? []) said(line);
      toEnd();
    },
    quiet(text) {
      last = null;
      add(make("p", "quiet", text));
    },
    draft(user, text) {
      start.remove();
      const element = message(user, text, Date.now());
      element.classList.add("waiting");
      drafts.append(element);
      toEnd();
      return element;
    },
  };
}

function message(from, text, at) {
  const element = make("article", "msg");
  element.style.setProperty("--hue", hueOf(from));
  element.dataset.testid = "msg";
  const time = make("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = new Date(at).toISOString();
  const header = make("header");
  header.append(make("b", "", from), time);
  element.append(face(from), header, make("p", "", text));
  return element;
}

function dayName(at) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (at >= midnight) return "Today";
  if (at >= midnight - 24 * 3_600_000) return "Yesterday";
  return new Date(at).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
}

function showMembers({ members, size }, room) {
  size.textContent = room.size;
  const list = [...room.members.values()].sort((a, b) => a.away - b.away || a.user.localeCompare(b.user));
  members.replaceChildren(...list.map(({ id, user, away }) => {
    const li = make("li", away ? "away" : "");
    li.dataset.user = user;
    li.append(face(user), make("span", "", user));
    if (away || id === room.member) li.append(make("small", "", away ? "away" : "you"));
    return li;
  }));
}

/** The line to write on: Enter sends, Shift+Enter breaks the line. */
function compose({ composer, left }, sendText) {
  const { text } = composer.elements;
  const grow = () => {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
    const free = maxBytes - new TextEncoder().encode(text.value).length;
    left.textContent = free < 200 ? free : "";
    return free;
  };
  text.addEventListener("input", grow);
  text.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    composer.requestSubmit();
  });
  composer.addEventListener("submit", (e) => {
    e.preventDefault();
    const said = text.value.trim();
    if (!said || grow() < 0) return;
    text.value = "";
    grow();
    sendText(said);
    text.focus();
  });
  if (matchMedia("(hover: hover)").matches) text.focus();
}
