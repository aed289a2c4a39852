// A chat over Bayeux with CometD's published client, and a look at what it sends and gets.

import { CometD } from "/vendor/cometd-9.0.0/Client.js";
import { AckExtension } from "/vendor/cometd-9.0.0/AckExtension.js";

const CHANNEL = "/demo/chat";
const SHOWN_MAX = 60;
const NAMES = ["Ada", "Grace", "Hedy", "Edsger", "Alan", "Radia", "Niklaus", "Barbara"];

const cometd = new CometD();
const place = (id) => document.getElementById(id);
const name = place("name");
const text = place("text");

// The wire: every message in both directions.
cometd.registerExtension("wire", {
  outgoing: (message) => draw("sent", message),
  incoming: (message) => draw("got", message),
});
cometd.registerExtension("ack", new AckExtension());
// Timers of the page's own, since its policy has no workers.
cometd.configure({ url: `${location.origin}/cometd`, useWorkerScheduler: false });

cometd.addListener("/meta/handshake", ({ successful }) => {
  if (!successful) return become("dropped", "refused");
  cometd.subscribe(CHANNEL, ({ data }) => show(data));
});
cometd.addListener("/meta/connect", ({ successful }) => {
  if (cometd.isDisconnected()) return;
  successful ? become("live", "live") : become("connecting", "coming back…");
});
cometd.handshake();

name.value = sessionStorage.getItem("name") ?? NAMES[Math.floor(Math.random() * NAMES.length)];
name.addEventListener("change", () => sessionStorage.setItem("name", name.value));

place("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (!said) return;
  cometd.publish(CHANNEL, { name: name.value, text: said }, ({ successful }) => {
    if (successful) text.value = "";
  });
});

function become(state, words) {
  place("status").dataset.state = state;
  place("status-text").textContent = words;
}

/** What was published past this page may be anything. */
function show(data) {
  const said = data && typeof data === "object" ? data : { text: String(data) };
  const item = document.createElement("li");
  const who = String(said.name ?? "somebody");
  item.style.setProperty("--hue", [...who].reduce((sum, letter) => sum * 7 + letter.codePointAt(0), 40) % 360);
  item.classList.toggle("mine", who === name.value);
  item.append(element("b", who), element("p", said.text ?? JSON.stringify(data)));
  place("empty").hidden = true;
  place("messages").append(item);
  place("messages").scrollTop = place("messages").scrollHeight;
}

function draw(direction, message) {
  const { channel, ...rest } = message;
  const item = element("li", "");
  item.className = direction;
  item.append(element("b", channel), element("code", JSON.stringify(rest)));
  place("wire").prepend(item);
  while (place("wire").children.length > SHOWN_MAX) place("wire").lastElementChild.remove();
  return message;
}

function element(kind, content) {
  const made = document.createElement(kind);
  made.textContent = content;
  return made;
}
