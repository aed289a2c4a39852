// perihelion.js without a browser: a server that answers as the test says, to the byte, and several "tabs" in one process.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { afterEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import { Perihelion } from "../../deploy/npm/perihelion.mjs";
import { LockManager } from "./locks.mjs";

const QUICK = { retry: 5, retryMax: 40, interval: 5, patience: 5000, silence: 5000, share: false };
const DEADLINE_MS = 60_000;

const toClose = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** A server whose answers a function gives: `answer(request, response, number)`. */
async function serve(answer) {
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(request);
    response.on("error", () => {});
    answer(request, response, requests.length);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  toClose.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${server.address().port}/events`, requests };
}

function listen(url, options = {}) {
  const client = new Perihelion(url, { ...QUICK, ...options });
  const seen = { client, all: [], gaps: [], states: [], closes: [] };
  client.on("*", (message) => seen.all.push(message));
  client.on("gap", (gap) => seen.gaps.push(gap));
  client.on("state", (state) => seen.states.push(state));
  client.on("close", (why) => seen.closes.push(why));
  toClose.push(() => client.close());
  return seen;
}

async function until(condition, what) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    assert.ok(Date.now() < deadline, what?.() ?? condition.toString());
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const sse = (response) => response.writeHead(200, { "Content-Type": "text/event-stream" });
const ndjson = (response) => response.writeHead(200, { "Content-Type": "application/x-ndjson" });
const json = (response, object) =>
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(object));
const data = (seen) => seen.all.map((message) => message.data);

test("server-sent events are read to the letter, in whatever pieces they come", async () => {
  const bytes = Buffer.from(
    "\ufeff: a comment\nid: e-1\ndata: one\n\nid: e-2\r\nevent: named\r\ndata: a\r\ndata:b\r\ndata\r\ndata:  c\r\n\r\n"
    + "id: e-3\rdata: cr\r\rid: e-\u00004\ndata: nul\n\nevent: nothing\nid: e-5\n\ndata\n\nunknown: x\ndata: \u{1f680}ä\n\n: x\n\nretry: 7\nretry: 7x\n\ndata: never ended",
  );
  const expected = [
    ["e-1", undefined, "one"], ["e-2", "named", "a\nb\n\n c"], ["e-3", undefined, "cr"], [undefined, undefined, "nul"],
    [undefined, undefined, ""], [undefined, undefined, "\u{1f680}ä"],
  ];
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const { url } = await serve(async (request, response, number) => {
      sse(response);
      if (number > 1) return response.write(":\n\n");
      for (let at = 0; at < bytes.length; at += size) {
        response.write(bytes.subarray(at, at + size));
        await new Promise(setImmediate);
      }
      response.end();
    });
    const seen = listen(url);
    await until(() => seen.states.includes("waiting"));
    assert.deepEqual(seen.all.map(({ id, event, data }) => [id, event, data]), expected, `pieces of ${size}`);
    assert.equal(seen.client.position, "e-5");
    seen.client.close();
  }
});

test("a listener gets its event, until it is taken off, and a broken one harms nobody", async () => {
  const { url } = await serve((request, response) => {
    sse(response).write("id: e-1\nevent: mail\ndata: {\"a\": 1}\n\nid: e-2\ndata: plain\n\n");
  });
  const client = new Perihelion(url, QUICK);
  toClose.push(() => client.close());
  const heard = [];
  const error = console.error;
  const errors = [];
  console.error = (thrown) => errors.push(thrown.message);
  toClose.push(() => (console.error = error));
  client.on("mail", () => {
    throw new Error("broken");
  });
  client.on("mail", (message) => heard.push(["mail", message.json().a, message.id]));
  const off = client.on("message", () => heard.push("never"));
  client.on("message", (message) => heard.push(["message", message.data]));
  off();
  await until(() => heard.length === 2);
  assert.deepEqual(heard, [["mail", 1, "e-1"], ["message", "plain"]]);
  assert.deepEqual(errors, ["broken"]);
});

test("a lost stream goes on behind the last message, and what comes twice is shown once", async () => {
  const { url, requests } = await serve((request, response, number) => {
    sse(response);
    if (number === 1) {
      response.write("id: e-7\nevent: comet.open\ndata: {\"position\":\"e-7\",\"retry\":null}\n\n");
      return setTimeout(() => response.destroy(), 5);
    }
    if (number === 2) {
      response.write("id: e-8\ndata: 8\n\nid: e-9\ndata: 9\n\nid: e-10\ndata: half");
      return setTimeout(() => response.destroy(), 5);
    }
    response.write("id: e-9\ndata: 9\n\nid: e-10\ndata: 10\n\n");
  });
  const seen = listen(url);
  await until(() => seen.all.length === 3);
  assert.deepEqual(data(seen), ["8", "9", "10"]);
  assert.deepEqual(requests.slice(0, 3).map(({ headers }) => headers["last-event-id"]), [undefined, "e-7", "e-9"]);
  assert.equal(requests[0].headers.prefer, "comet-open");
});

test("a ticket is brought back, and the next one replaces it", async () => {
  const { url, requests } = await serve((request, response, number) => {
    ndjson(response).write(`{"event":"comet.ticket","ticket":"t${number}","position":"e-${number}"}\n`);
    setTimeout(() => response.end(), 5);
  });
  listen(url, { transports: ["ndjson"] });
  await until(() => requests.length === 3);
  assert.deepEqual(requests.map(({ headers }) => headers["comet-ticket"]), [undefined, "t1", "t2"]);
  assert.equal(requests[2].headers["last-event-id"], "e-2");
});

test("where no first byte comes it goes down the transports, and nothing that was lost on the way is missed", async () => {
  const asked = [];
  const { url } = await serve((request, response) => {
    const { accept, prefer } = request.headers;
    asked.push(`${accept} ${prefer ?? ""}`.trim());
    if (accept === "text/event-stream") return;
    if (accept === "application/x-ndjson") return ndjson(response).flushHeaders();
    if (prefer === "wait=0") return json(response, { position: "e-3", gap: false, messages: [{ id: "e-3", data: { n: 3 } }] });
    if (request.headers["last-event-id"] === "e-3") return json(response, { position: "e-4", gap: false, messages: [{ id: "e-4", event: "x", data: "4" }] });
  });
  const seen = listen(url, { position: "e-2", patience: 1000 });
  await until(() => seen.all.length === 2);
  assert.deepEqual(data(seen), ["{\"n\":3}", "4"]);
  assert.equal(seen.client.transport, "long-poll");
  assert.deepEqual(asked.slice(0, 4), [
    "text/event-stream comet-open", "application/x-ndjson comet-open", "application/json wait=0", "application/json",
  ]);
});

test("polls that are cut while they are held give way to short ones", async () => {
  let place = 0;
  const { url } = await serve((request, response) => {
    const { accept, prefer } = request.headers;
    if (accept !== "application/json") return ndjson(response).flushHeaders(), setTimeout(() => response.destroy(), 3);
    if (prefer !== "wait=0") return response.writeHead(200, { "Content-Type": "application/json" }).flushHeaders(), setTimeout(() => response.destroy(), 3);
    place += 1;
    json(response, { position: `e-${place}`, gap: false, retry: 3, messages: [{ id: `e-${place}`, data: `${place}` }] });
  });
  const seen = listen(url);
  await until(() => seen.client.transport === "poll" && seen.all.length > 5);
  assert.deepEqual(data(seen), seen.all.map((_, index) => `${index + 1}`));
});

test("an answer of another form than was asked for is read as what it is", async () => {
  const { url, requests } = await serve((request, response, number) => {
    if (number === 1) return json(response, { position: "e-1", gap: false, messages: [] });
    ndjson(response).write("{\"id\":\"e-2\",\"channel\":\"news\",\"data\":\"two\"}\n");
  });
  const seen = listen(url);
  await until(() => seen.all.length === 1);
  assert.equal(seen.all[0].channel, "news");
  assert.equal(requests[1].headers["last-event-id"], "e-1");
});

test("a gap is told, and not again to whom is behind it already", async () => {
  const { url } = await serve((request, response) => {
    sse(response).write(
      "event: comet.gap\ndata: {\"channel\":\"a\",\"missing\":3,\"after\":\"e-1\",\"before\":\"e-5\"}\n\nid: e-6\ndata: 6\n\n"
      + "event: comet.gap\ndata: {\"channel\":\"a\",\"missing\":3,\"after\":\"e-1\",\"before\":\"e-5\"}\n\n",
    );
  });
  const seen = listen(url);
  await until(() => seen.all.length === 1);
  assert.deepEqual(seen.gaps.map(({ missing, before }) => [missing, before]), [[3, "e-5"]]);
});

test("a store that was lost is another life: its messages are new, whatever their numbers", async () => {
  const { url } = await serve((request, response, number) => {
    sse(response).write(number === 1 ? "id: e-50\ndata: old\n\n" : "id: f-1\ndata: new\n\nid: f-1\ndata: new\n\n");
    if (number === 1) setTimeout(() => response.end(), 5);
  });
  const seen = listen(url);
  await until(() => seen.all.length === 2);
  assert.deepEqual(data(seen), ["old", "new"]);
});

test("pauses grow, honour what the server says, and differ", async () => {
  const at = [];
  const { url } = await serve((request, response, number) => {
    at.push(performance.now());
    if (number === 1) return sse(response).end("retry: 40\n\n");
    if (number < 5) return response.writeHead(503).end();
    if (number === 5) return response.writeHead(429, { "Retry-After": "1" }).end();
    sse(response).write(": up\n\n");
  });
  const seen = listen(url, { retryMax: 1000 });
  await until(() => seen.client.state === "open" && at.length === 6);
  const pauses = at.slice(1).map((moment, index) => moment - at[index]);
  for (const [index, least] of [40, 40, 80, 160, 1000].entries()) {
    assert.ok(pauses[index] >= least - 2 && pauses[index] < least * 1.5 + 3000, `${index}: ${pauses}`);
  }
});

test("what is the request's own fault ends it, and nothing is asked again", async () => {
  for (const status of [401, 403, 404]) {
    const { url, requests } = await serve((request, response) => response.writeHead(status).end());
    const seen = listen(url);
    await until(() => seen.closes.length === 1);
    assert.equal(seen.closes[0].status, status);
    assert.equal(seen.client.state, "closed");
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(requests.length, 1);
  }
  const page = await serve((request, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<p>log in"));
  const seen = listen(page.url);
  await until(() => seen.closes.length === 1);
  assert.match(seen.closes[0].reason, /text\/html/);
});

test("the application's own answer when the time of a poll is over is no end, whatever it is", async () => {
  const own = (response, fields, body) => response.writeHead(200, fields).end(body);
  const nothing = { position: "e-1", gap: false, messages: [] };
  const answers = [
    (response) => json(response, nothing),
    // The proxy stops, or the time is over.
    (response) => own(response, { "Content-Length": 0 }),
    (response) => own(response, { "Content-Type": "text/html" }, "<p>at once, since the proxy stops"),
    (response) => json(response, nothing),
    (response) => setTimeout(own, 1050, response, { "Content-Type": "text/html" }, "<p>the time is over"),
    (response) => json(response, { position: "e-2", gap: false, messages: [{ id: "e-2", data: "2" }] }),
  ];
  const { url, requests } = await serve((request, response, number) => answers[number - 1]?.(response));
  const seen = listen(url, { transports: ["long-poll"] });
  await until(() => seen.all.length === 1);
  assert.deepEqual([seen.closes, data(seen)], [[], ["2"]]);
  assert.deepEqual(requests.slice(1, 6).map(({ headers }) => headers["last-event-id"]), Array(5).fill("e-1"));
});

test("where the application names a poll, one is asked for from then on", async () => {
  const asked = [];
  const { url } = await serve((request, response, number) => {
    asked.push([request.headers.accept, request.headers.prefer].join(" "));
    // The application's own, when the time of the poll is over.
    if (number === 1) return setTimeout(() => response.writeHead(200, { "Content-Length": 0 }).end(), 1050);
    if (number < 4) return json(response, { position: `e-${number}`, gap: false, messages: [{ id: `e-${number}`, data: `${number}` }] });
  });
  const seen = listen(url);
  await until(() => asked.length === 4);
  assert.deepEqual([asked, data(seen)], [
    ["text/event-stream comet-open", "application/json wait=0", "application/json ", "application/json "], ["2", "3"],
  ]);
  assert.equal(seen.client.transport, "long-poll");
  assert.equal(seen.client.state, "open");
});

test("a page to log in at ends what polls, too", async () => {
  const login = (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<p>log in");
  const redirecting = await serve((request, response, number) => {
    if (number === 1) return json(response, { position: "e-1", gap: false, messages: [] });
    return request.url === "/login" ? login(response) : response.writeHead(302, { Location: "/login" }).end();
  });
  const answering = await serve((request, response, number) =>
    number === 1 ? json(response, { position: "e-1", gap: false, messages: [] }) : login(response));
  for (const { url } of [redirecting, answering]) {
    const seen = listen(url, { transports: ["long-poll"] });
    await until(() => seen.closes.length === 1);
    assert.match(seen.closes[0].reason, /text\/html/);
  }
});

test("what it tells itself can't be told by a publisher", async () => {
  const { url } = await serve((request, response) => {
    for (const [at, name] of ["gap", "open", "state", "close", "*", "end"].entries()) {
      if (at === 0) sse(response);
      response.write(`id: e-${at}\nevent: ${name}\ndata: ${name}\n\n`);
    }
  });
  const client = new Perihelion(url, QUICK);
  toClose.push(() => client.close());
  const told = [];
  for (const name of ["gap", "open", "state", "close", "*", "end"]) {
    client.on(name, (content) => content.data && told.push(`${name} ${content.data}`));
  }
  await until(() => told.includes("end end"));
  await until(() => told.length === 7);
  assert.deepEqual(told, ["* gap", "* open", "* state", "* close", "* *", "end end", "* end"]);
});

test("fields may be asked for before each request, and what goes wrong then is said", async () => {
  const { url, requests } = await serve((request, response, number) =>
    number === 1 ? response.writeHead(503, { "Retry-After": new Date(Date.now() + 2000).toUTCString() }).end() : sse(response).write(": up\n\n"));
  let asked = 0;
  const seen = listen(url, {
    headers: async () => {
      asked += 1;
      if (asked === 1) throw new Error("no token yet");
      return { Authorization: `Bearer ${asked}` };
    },
  });
  const why = [];
  seen.client.on("state", (state, trouble) => state === "waiting" && why.push(trouble));
  await until(() => seen.client.state === "open");
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer 2", "Bearer 3"]);
  assert.deepEqual(why.map(({ status, reason }) => [status, reason]), [[undefined, "no token yet"], [503, "Service Unavailable"]]);
  // A date says whole seconds.
  assert.ok(why[0].pause >= 5 && why[0].pause < 100 && why[1].pause > 900 && why[1].pause < 3000, JSON.stringify(why));
});

test("who looks at the page doesn't make it break the server's word", async () => {
  const at = [];
  const { url } = await serve((request, response, number) => {
    at.push(performance.now());
    number === 1 ? response.writeHead(429, { "Retry-After": "1" }).end() : sse(response).write(": up\n\n");
  });
  const wakers = {};
  globalThis.addEventListener = (type, f) => (wakers[type] = f);
  globalThis.removeEventListener = () => {};
  toClose.push(() => {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  });
  const seen = listen(url);
  await until(() => seen.client.state === "waiting");
  for (let each = 0; each < 10; each += 1) wakers.online({ type: "online" });
  await until(() => seen.client.state === "open");
  assert.ok(at[1] - at[0] > 990, `${at}`);
});

test("options that mean nothing are refused, and those that are undefined are as if they weren't there", async () => {
  assert.throws(() => new Perihelion("http://127.0.0.1:1/", { transports: ["websocket"] }), /no transport websocket/);
  assert.throws(() => new Perihelion("http://127.0.0.1:1/", { transports: [] }), TypeError);
  const { url, requests } = await serve((request, response, number) =>
    number === 1 ? response.writeHead(503).end() : sse(response).write("id: e-1\ndata: up\n\n"));
  const seen = listen(url, { headers: undefined, position: undefined, transports: undefined });
  await until(() => seen.all.length === 1);
  assert.equal(requests[1].headers.accept, "text/event-stream");
});

test("an empty answer to a poll is no reason to hurry", async () => {
  const at = [];
  const { url } = await serve((request, response) => {
    at.push(performance.now());
    json(response, { position: "e-1", gap: false, messages: [] });
  });
  listen(url, { transports: ["long-poll"], retry: 60 });
  await until(() => at.length === 5);
  for (const index of [2, 3, 4]) assert.ok(at[index] - at[index - 1] >= 58, `${at}`);
});

test("a stream that falls silent is begun anew", async () => {
  const { url, requests } = await serve((request, response) => sse(response).write("id: e-1\ndata: once\n\n"));
  const seen = listen(url, { silence: 40 });
  await until(() => requests.length >= 2);
  assert.equal(requests[1].headers["last-event-id"], "e-1");
  assert.equal(seen.all.length, 1);
});

// Tabs: Node's BroadcastChannel, and the little of Web Locks that is needed.

/** A stream of numbers that goes on for everybody from where they are. */
async function numbers() {
  const state = { newest: 0, streams: new Set(), opened: 0 };
  const frame = (number) => `id: e-${number}\ndata: ${number}\n\n`;
  const server = await serve((request, response) => {
    const last = request.headers["last-event-id"];
    const from = last ? Number(last.split("-")[1]) : state.newest;
    sse(response).write(`id: e-${from}\nevent: comet.open\ndata: {"position":"e-${from}","retry":null}\n\n`);
    for (let number = from + 1; number <= state.newest; number += 1) response.write(frame(number));
    state.opened += 1;
    state.streams.add(response);
    response.on("close", () => state.streams.delete(response));
  });
  state.publish = () => {
    state.newest += 1;
    for (const stream of state.streams) stream.write(frame(state.newest));
  };
  return { ...server, state };
}

function tabs(count, url, options) {
  Object.defineProperty(globalThis, "navigator", { value: { locks: new LockManager() }, configurable: true });
  return Array.from({ length: count }, () => listen(url, { share: true, ...options }));
}

const through = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => `${from + index}`);

test("seven tabs have one connection, and each gets every message once and in order", async () => {
  const { url, state } = await numbers();
  const all = tabs(7, url);
  await until(() => all.every(({ client }) => client.state === "open"));
  for (let number = 0; number < 50; number += 1) state.publish();
  await until(() => all.every((seen) => seen.all.length === 50));
  for (const seen of all) assert.deepEqual(data(seen), through(1, 50));
  assert.equal(state.opened, 1);
  assert.equal(all.filter(({ client }) => client.leads).length, 1);
});

test("when the leader leaves, another one goes on where the others are", async () => {
  const { url, state } = await numbers();
  const all = tabs(4, url);
  await until(() => all.every(({ client }) => client.state === "open"));
  let published = 0;
  const publishing = setInterval(() => published++ < 200 && state.publish(), 1);
  toClose.push(() => clearInterval(publishing));
  for (let round = 0; round < 3; round += 1) {
    const leader = all.find(({ client }) => client.leads && client.state !== "closed");
    await until(() => leader.all.length > 5 + round * 30);
    leader.client.close();
    await until(() => all.some(({ client }) => client.leads));
  }
  const left = all.find(({ client }) => client.state !== "closed");
  await until(() => left.all.length >= 200, () => `${left.all.length} of ${state.newest}`);
  assert.deepEqual(data(left), through(1, left.all.length));
});

test("a tab that comes later with an older position gets what came in between, from the others or the proxy", async () => {
  const { url, state } = await numbers();
  state.newest = 10;
  const [first] = tabs(1, url, { position: "e-5" });
  await until(() => first.all.length === 5);
  // What the others have kept is enough.
  const late = listen(url, { share: true, position: "e-7" });
  await until(() => late.all.length === 3);
  assert.deepEqual([data(late), state.opened], [["8", "9", "10"], 1]);
  // And here it isn't.
  const old = listen(url, { share: true, position: "e-2" });
  await until(() => old.all.length === 8);
  state.publish();
  await until(() => [first, late, old].every((seen) => data(seen).at(-1) === "11"));
  assert.deepEqual([data(first), data(late), data(old)], [through(6, 11), through(8, 11), through(3, 11)]);
});

test("a tab that missed what another tab was told asks for it before it goes on", async () => {
  const url = "http://127.0.0.1:1/never";
  const locks = new LockManager();
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  const name = `perihelion  ${url}`;
  // The test leads, and loses two messages.
  locks.request(name, {}, () => new Promise(() => {}));
  const channel = new BroadcastChannel(name);
  toClose.push(() => channel.close());
  const asked = [];
  channel.onmessage = ({ data }) => "ask" in data && asked.push(data.ask);
  const seen = listen(url, { share: true });
  await until(() => asked.length === 1);
  const item = (number) => ({ id: `e-${number}`, data: `${number}` });
  channel.postMessage({ state: "open", transport: "sse", position: "e-1" });
  channel.postMessage({ batch: { after: "e-3", items: [item(4)], upto: "e-4" } });
  await until(() => asked.length === 2);
  channel.postMessage({ batch: { after: "e-4", items: [item(5)], upto: "e-5" } });
  channel.postMessage({ batch: { after: "e-1", items: [2, 3, 4, 5].map(item), upto: "e-5" } });
  channel.postMessage({ batch: { after: "e-5", items: [item(6)], upto: "e-6" } });
  await until(() => seen.all.length === 5);
  assert.deepEqual([data(seen), asked], [through(2, 6), [null, "e-1"]]);
});

test("a leader that is frozen is replaced", async () => {
  const { url, state } = await numbers();
  const locks = new LockManager();
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  const name = `perihelion  ${url}`;
  const robbed = locks.request(name, {}, () => new Promise(() => {})).catch((error) => error.name);
  const seen = listen(url, { share: true, silence: 20, retryMax: 20 });
  await until(() => seen.client.leads);
  assert.equal(await robbed, "AbortError");
  await until(() => state.opened > 0);
});

test("the published files are those of the source, and small", async () => {
  const { classic } = await import("../../deploy/npm/build.mjs");
  const { minify } = await import("terser");
  const script = await readFile(new URL("../../deploy/npm/perihelion.js", import.meta.url), "utf8");
  assert.equal(script, await classic(minify), "run `npm run build` in deploy/npm");
  assert.ok(gzipSync(script, { level: 9 }).length < 4608);
});

test("the package has what a page needs and nothing else", async () => {
  const { execFileSync } = await import("node:child_process");
  const folder = new URL("../../deploy/npm/", import.meta.url);
  const packed = execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: folder, encoding: "utf8" });
  const [{ files, name, version }] = JSON.parse(packed);
  assert.deepEqual(files.map(({ path }) => path).sort(), [
    "LICENSE", "README.md", "package.json", "perihelion.d.ts", "perihelion.js", "perihelion.mjs",
  ]);
  assert.equal(name, "perihelion-client");
  const cargo = await readFile(new URL("../../Cargo.toml", import.meta.url), "utf8");
  assert.ok(cargo.includes(`version = "${version}"`), "one version for both");
  const script = await readFile(new URL("perihelion.js", folder), "utf8");
  assert.ok(script.includes(`perihelion ${version},`));
  // What the types promise is there.
  const types = await readFile(new URL("perihelion.d.ts", folder), "utf8");
  const client = new Perihelion("http://127.0.0.1:1/", QUICK);
  client.close();
  for (const [, member] of types.matchAll(/^  readonly (\w+):.*$/gm)) {
    if (["state", "transport", "position", "leads"].includes(member)) assert.ok(member in client, member);
  }
  for (const option of ["position", "transports", "share", "credentials", "headers", "retry", "retryMax", "interval", "patience", "silence"]) {
    assert.ok(types.includes(`  ${option}?: `), option);
  }
});
