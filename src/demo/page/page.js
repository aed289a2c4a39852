// The page: puts the stream, the chat and the slides together.

import * as chat from "/chat.js";
import * as slides from "/slides.js";
import { Stream } from "/stream.js";

const TOAST_MS = 3500;
const GAP_PAUSE_MS = 1000;
const STATES = {
  connecting: "connecting…",
  live: "live",
  reconnecting: "reconnecting…",
  dropped: "dropped: back in 3 s",
  reloading: "catching up…",
};

const at = (id) => document.getElementById(id);
const stream = new Stream({ heard, gap, changed });
/** The slide's own event: an older one that the stream brings later doesn't turn it back. */
let turnedBy = 0;
/** When an own message was sent, by its text. */
const sent = new Map();

start(JSON.parse(at("state").textContent));

function start(state) {
  theme();
  chat.introduce();
  slides.arrange((slide) => ask("/slide", { name: chat.myName(), slide }));
  slides.fill({ listen: location.host, upstream: state.upstream, control: state.control });
  at("say").addEventListener("submit", say);
  at("drop").addEventListener("click", () => stream.drop());
  show(state);
  if (state.proxied) {
    stream.begin(state);
  } else {
    notice("This is the application without its proxy: nothing is live here. Open the proxy’s address instead, the first one in the terminal.");
  }
}

/** Shows the whole state of the application. */
function show(state) {
  chat.clear();
  state.messages.forEach(chat.show);
  slides.show(state.slide);
  slides.fill({ slide: state.slide });
  turnedBy = state.newest;
}

function heard(type, content) {
  if (type === "chat" || type === "message") {
    chat.show(content);
    measure(content);
  } else if (type === "slides") {
    turn(content);
  }
}

function turn({ number, name, slide }) {
  if (number <= turnedBy) return;
  turnedBy = number ?? turnedBy;
  slides.show(slide);
  slides.fill({ slide });
  if (name !== chat.myName()) toast(`${name ?? "Somebody"} changed the slide`);
}

/** The proxy can't prove that nothing is missing: begin again from the application's own state. */
async function gap() {
  stream.close();
  stream.become("reloading");
  notice("Too much happened while you were away: the page was brought up to date from the application.");
  try {
    const answer = await fetch("/state");
    const state = await answer.json();
    show(state);
    stream.begin(state);
  } catch {
    setTimeout(gap, GAP_PAUSE_MS);
  }
}

async function say(event) {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text) return;
  sent.set(text, performance.now());
  if (await ask("/chat", { name: chat.myName(), text })) at("text").value = "";
  else sent.delete(text);
}

/** Asks the application for something; what comes of it comes on the stream. */
async function ask(path, wish) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wish),
    });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    at("reach").textContent = `${content.subscribers} ${content.subscribers === 1 ? "window" : "windows"}`;
    return true;
  } catch (error) {
    toast(`That didn’t work: ${error.message}`);
    return false;
  }
}

/** From the key to the own message's return. */
function measure({ name, text }) {
  const since = name === chat.myName() && sent.get(text);
  if (!since) return;
  sent.delete(text);
  at("trip").textContent = `${(performance.now() - since).toFixed(1)} ms`;
}

function changed() {
  at("status").dataset.state = stream.state;
  at("status-text").textContent = STATES[stream.state];
  at("drop").disabled = stream.state === "dropped";
  for (const figure of ["received", "lost", "twice"]) at(figure).textContent = stream[figure];
  at("position").textContent = stream.position || "–";
  for (const figure of ["lost", "twice"]) at(figure).classList.toggle("bad", stream[figure] > 0);
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
}

/** The same text again takes the place of the one before. */
function toast(text) {
  for (const older of [...at("toasts").children]) if (older.textContent === text) older.remove();
  const shown = document.createElement("p");
  shown.textContent = text;
  at("toasts").append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
}

function theme() {
  const wear = (name) => { document.documentElement.style.colorScheme = name; };
  const dark = () => {
    const chosen = localStorage.getItem("theme");
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  wear(dark() ? "dark" : "light");
  at("theme").addEventListener("click", () => {
    localStorage.setItem("theme", dark() ? "light" : "dark");
    wear(dark() ? "dark" : "light");
  });
}
