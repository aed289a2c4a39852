// The gallery: one small client for each transport, all of them listening to the same channel.

const LINES_SHOWN = 6;
const RAW_SHOWN = 2000;
const PAUSE_MS = 2000;
/** A poll that is open for so long is held. */
const HELD_MS = 500;
const NAMES = ["Anna", "Ben", "Chloe", "Deniz", "Elif", "Finn", "Grace", "Hugo"];

const cards = new Map();
for (const card of document.querySelectorAll(".card")) cards.set(card.dataset.transport, new Card(card));

/** Other names of this host: each has connections of its own. Null where there are none. */
const isHere = ["localhost", "127.0.0.1"].includes(location.hostname);
const host = (name) => (isHere ? `http://${name}.localhost:${location.port || 80}` : null);

introduce();
document.getElementById("say").addEventListener("submit", say);
// A page with a frame or a picture in it that doesn't end would never have loaded.
if (document.readyState === "complete") begin();
else window.addEventListener("load", begin);

function begin() {
  pictures();
  eventSource();
  webSocket();
  // One less of the six connections that other tabs want to have one of, too.
  streamingFetch(host("old") ?? "");
  polling();
  const comet = host("comet");
  if (!comet) return halfOfIt();
  xhrStream(comet);
  longPoll(comet);
  jsonp(comet);
  foreverFrame(comet);
  const old = host("old");
  bytes(old, "htmlfile");
  bytes(old, "dom-event-stream");
}

function halfOfIt() {
  for (const name of ["stream", "long-poll", "jsonp", "iframe", "htmlfile", "dom-event-stream"]) cards.get(name).is("away");
  notice("Open this page as http://localhost or http://127.0.0.1 to see all of it: half of the windows need a second name of the host.");
}

/** What a card shows of its transport. */
function Card(element) {
  const list = element.querySelector(".pane ol");
  const raw = element.querySelector(".pane pre");
  const count = element.querySelector(".count");
  let received = 0;
  this.is = (state) => {
    element.dataset.state = state;
    overall();
  };
  this.show = (text) => {
    this.is("live");
    count.textContent = ++received;
    if (!list) return;
    const item = document.createElement("li");
    item.textContent = text.trim();
    list.prepend(item);
    while (list.children.length > LINES_SHOWN) list.lastChild.remove();
  };
  this.append = (text) => {
    this.is("live");
    raw.textContent = (raw.textContent + text).slice(-RAW_SHOWN);
    raw.parentElement.scrollTop = raw.parentElement.scrollHeight;
  };
}

function overall() {
  const states = [...document.querySelectorAll(".card")].map((card) => card.dataset.state);
  const live = states.filter((state) => state === "live").length;
  const status = document.getElementById("status");
  status.dataset.state = live === states.length ? "live" : "connecting";
  document.getElementById("status-text").textContent = `${live} of ${states.length} live`;
}

/** The page, the picture and the GIF need no script, and are there without one. */
function pictures() {
  for (const name of ["client-pull", "multipart", "gif"]) {
    const element = document.querySelector(`[data-transport="${name}"] [data-src]`);
    element.src = element.dataset.src;
    cards.get(name).is("live");
  }
}

function eventSource() {
  const card = cards.get("sse");
  const events = new EventSource("/gallery/sse");
  events.onopen = () => card.is("live");
  events.onmessage = (event) => card.show(event.data);
  events.onerror = () => card.is("lost");
}

function webSocket(position = "") {
  const card = cards.get("websocket");
  const socket = new WebSocket(`ws://${location.host}/gallery/websocket${position && `?lastEventId=${position}`}`);
  socket.onopen = () => card.is("live");
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.id) {
      position = message.id;
      card.show(message.data);
    }
  };
  socket.onclose = () => {
    card.is("lost");
    setTimeout(webSocket, PAUSE_MS, position);
  };
}

async function streamingFetch(base) {
  const card = cards.get("ndjson");
  let position = "";
  for (;;) {
    try {
      const answer = await fetch(`${base}/gallery/ndjson${position && `?lastEventId=${position}`}`);
      card.is("live");
      let rest = "";
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        for (const line of lines.filter(Boolean)) {
          const message = JSON.parse(line);
          position = message.id ?? position;
          if (message.id) card.show(message.data);
        }
      }
    } catch {
      card.is("lost");
    }
    await pause();
  }
}

function xhrStream(base) {
  const card = cards.get("stream");
  const request = new XMLHttpRequest();
  let read = 0;
  request.open("GET", `${base}/gallery/stream`);
  request.onreadystatechange = () => {
    if (request.readyState === 2) card.is("live");
    if (request.readyState < 3) return;
    const end = request.responseText.lastIndexOf("\n") + 1;
    for (const line of request.responseText.slice(read, end).split("\n").filter(Boolean)) card.show(line);
    read = Math.max(read, end);
  };
  request.onloadend = () => {
    card.is("lost");
    setTimeout(xhrStream, PAUSE_MS, base);
  };
  request.send();
}

async function longPoll(base) {
  const card = cards.get("long-poll");
  let position = "";
  for (;;) {
    const held = setTimeout(card.is, HELD_MS, "live");
    try {
      const answer = await fetch(`${base}/gallery/long-poll${position && `?lastEventId=${position}`}`, { cache: "no-store" });
      position = tell(card, await answer.json(), position);
    } catch {
      clearTimeout(held);
      card.is("lost");
      await pause();
    }
  }
}

async function polling() {
  const card = cards.get("poll");
  let position = "";
  for (;;) {
    try {
      const answer = await fetch(`/gallery/poll${position && `?lastEventId=${position}`}`, { cache: "no-store" });
      position = tell(card, await answer.json(), position);
    } catch {
      card.is("lost");
    }
    await pause();
  }
}

function jsonp(base, position = "") {
  const card = cards.get("jsonp");
  const script = document.createElement("script");
  const held = setTimeout(card.is, HELD_MS, "live");
  let failed = false;
  window.heardByScript = (answer) => {
    position = tell(card, answer, position);
  };
  script.onerror = () => {
    failed = true;
    clearTimeout(held);
    card.is("lost");
    again();
  };
  script.onload = () => again();
  const again = () => {
    script.remove();
    setTimeout(jsonp, failed ? PAUSE_MS : 0, base, position);
  };
  script.src = `${base}/gallery/jsonp?callback=heardByScript&_=${Date.now()}${position && `&lastEventId=${position}`}`;
  document.head.append(script);
}

function foreverFrame(base, position = "") {
  const card = cards.get("iframe");
  const frame = document.createElement("iframe");
  frame.hidden = true;
  const heard = ({ source, data }) => {
    if (source !== frame.contentWindow) return;
    position = data.id ?? position;
    if (data.id) card.show(data.data);
    else card.is("live");
  };
  // A frame that has loaded has ended.
  frame.onload = () => {
    window.removeEventListener("message", heard);
    frame.remove();
    card.is("lost");
    setTimeout(foreverFrame, PAUSE_MS, base, position);
  };
  window.addEventListener("message", heard);
  frame.src = `${base}/gallery/iframe${position && `?lastEventId=${position}`}`;
  document.body.append(frame);
}

/** Formats without a browser: their bytes, as they come. */
async function bytes(base, name) {
  const card = cards.get(name);
  for (;;) {
    try {
      const answer = await fetch(`${base}/gallery/${name}`);
      card.is("live");
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) card.append(text);
    } catch {
      card.is("lost");
    }
    await pause();
  }
}

/** Shows what a poll has brought, and gives where to go on. */
function tell(card, { position, messages }, before) {
  card.is("live");
  for (const { data } of messages) card.show(data);
  return position ?? before;
}

function introduce() {
  const name = document.getElementById("name");
  name.value = sessionStorage.getItem("name") ?? NAMES[Math.floor(Math.random() * NAMES.length)];
  name.addEventListener("change", () => sessionStorage.setItem("name", name.value));
}

async function say(event) {
  event.preventDefault();
  const text = document.getElementById("text");
  const body = new URLSearchParams(new FormData(event.target));
  text.value = "";
  const answer = await fetch("/gallery/say", { method: "POST", body }).catch(() => null);
  if (!answer?.ok) notice("Not said: the demo does not answer.");
}

function notice(text) {
  const element = document.getElementById("notice");
  element.textContent = text;
  element.hidden = false;
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}
