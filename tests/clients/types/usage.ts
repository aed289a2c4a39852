// What the types of perihelion.js let a program say, and what not: the compiler refuses an expectation that isn't met.

import Perihelion, { Perihelion as Named, type Closed, type Gap, type Message, type Options } from "perihelion-client";

interface Chat {
  user: string;
  text: string;
}

const options: Options = { position: "5dc4-1", transports: ["sse", "poll"], share: "chat", headers: { "X-A": "b" } };
const comet = new Perihelion("/events", options);
const other: Perihelion = new Named(new URL("https://comet.example.com/events"));

const end: () => void = comet.on("message", (message: Message) => {
  const chat = message.json<Chat>();
  console.log(chat.user.length, message.data.length, message.id?.length);
});
comet.on("named by its publisher", (message) => message.data.trim());
comet.on("*", (message) => message.event?.trim());
comet.on("gap", (gap: Gap) => (gap.missing ?? 0).toFixed());
comet.on("open", ({ transport, position }) => [transport.length, position?.length]);
comet.on("state", (state, why) => state === "waiting" && `${why?.status?.toFixed()} ${why?.reason.trim()} ${why?.pause.toFixed()}`);
new Perihelion("/events", { headers: async () => ({ Authorization: "Bearer x" }) });
comet.on("close", ({ status, reason }: Closed) => `${status?.toFixed()} ${reason?.trim()}`);
end();
other.close();
const Classic: typeof Perihelion = window.Perihelion;
new Classic("/events").leads satisfies boolean;

// @ts-expect-error: an address has to be given
new Perihelion();
// @ts-expect-error: there is no such transport
new Perihelion("/events", { transports: ["carrier-pigeon"] });
// @ts-expect-error: a gap has no data
comet.on("gap", (gap) => gap.data);
// @ts-expect-error: what it says of itself can't be changed
comet.state = "open";
// @ts-expect-error: JSON has to be looked at before it is used
comet.on("message", (message) => message.json().user);
// @ts-expect-error: the position may not be known yet
comet.position.length;
