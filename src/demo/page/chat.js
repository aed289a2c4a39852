// The chat: messages, each in its author's colour, and the line to write.

const SHOWN_MAX = 300;
const NAMES = [
  "Halley", "Encke", "Caroline", "Biela", "Olbers", "Tempel", "Swift", "Tuttle", "Holmes", "Wolf",
  "Borrelly", "Crommelin", "Faye", "Kopff", "Klemola", "Wild", "Wirtanen", "Arend", "Hartley", "Hale",
];

const list = document.getElementById("messages");
const empty = document.getElementById("empty");
const nameField = document.getElementById("name");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** Two windows of one browser are two people: the name is the window's. */
export function introduce() {
  nameField.value = sessionStorage.getItem("name") ?? NAMES[Math.floor(Math.random() * NAMES.length)];
  nameField.addEventListener("change", () => sessionStorage.setItem("name", myName()));
  paint();
  nameField.addEventListener("input", paint);
  sessionStorage.setItem("name", nameField.value);
}

export function myName() {
  return nameField.value.trim() || "Somebody";
}

export function clear() {
  list.replaceChildren();
  empty.hidden = false;
}

/** Shows a message; what it says is text, never markup. */
export function show({ number, at, name, text }) {
  const author = typeof name === "string" && name ? name : "from outside";
  const followed = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const item = document.createElement("li");
  item.style.setProperty("--hue", hue(author));
  item.classList.toggle("mine", author === myName());
  if (Number.isInteger(number)) item.dataset.number = number;
  item.append(element("b", author), element("time", clock.format(at ?? Date.now())), element("p", String(text ?? "")));
  list.append(item);
  while (list.childElementCount > SHOWN_MAX) list.firstElementChild.remove();
  empty.hidden = true;
  if (followed) list.scrollTop = list.scrollHeight;
}

function paint() {
  nameField.style.setProperty("--hue", hue(myName()));
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** The golden angle keeps names that differ in a letter apart. */
function hue(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return Math.round((sum * 137.508) % 360);
}
