// The published libraries of GRIP, unchanged: a Django project with django-eventstream and django-grip behind the real proxy,
// and what gripcontrol, pubcontrol and @fanoutio/grip publish.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { HttpResponseFormat, HttpStreamFormat, Item, Publisher, parseGripUri } from "@fanoutio/grip";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";

import { CONTROL, Proxy } from "../browser/proxy.mjs";
import { Relay } from "../browser/relay.mjs";

const DEADLINE_MS = 60_000;
const PYTHON = process.env.PYTHON ?? "python3";
const GRIP_URL = `${CONTROL}/?iss=pushpin&key=changeme`;
const run = promisify(execFile);

let folder;
let project;
let proxy;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "perihelion-django-"));
  project = spawn(PYTHON, [join(import.meta.dirname, "django_project/serve.py")], {
    env: { ...process.env, GRIP_URL, DATABASE: join(folder, "db.sqlite3"), PYTHONDONTWRITEBYTECODE: "1", PYTHONWARNINGS: "ignore" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [port] = await once(createInterface(project.stdout), "line", { signal: AbortSignal.timeout(DEADLINE_MS) });
  proxy = await Proxy.before(`http://127.0.0.1:${port}`, ' "*": { routes: [{ path: /, pool: app, websockets: over_http }] }',
    "grip: { key: changeme, issuer: pushpin, publish_key: changeme }");
});

after(async () => {
  await proxy?.stop();
  if (project?.exitCode === null) {
    const exited = once(project, "exit");
    project.kill();
    await exited;
  }
  if (folder) await rm(folder, { recursive: true });
});

const get = async (path) => {
  const response = await fetch(proxy.url + path, { signal: AbortSignal.timeout(DEADLINE_MS) });
  return { status: response.status, headers: response.headers, text: await response.text() };
};
const send = async (text) => assert.equal((await get(`send?text=${text}`)).text, "sent");

async function until(condition, what) {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    assert.ok(Date.now() < deadline, what());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The beginning of a stream up to a text, which is what has come until then. */
async function read(reader, end) {
  const decoder = new TextDecoder();
  let text = "";
  while (!text.includes(end)) {
    const { done, value } = await reader.read();
    assert.ok(!done, `ended after ${JSON.stringify(text)}`);
    text += decoder.decode(value, { stream: true });
  }
  return text;
}

test("django-eventstream's events reach a client, who comes back for those it missed", async () => {
  const relay = await Relay.to(proxy.url);
  const [texts, ids, opened] = [[], [], []];
  const source = new EventSource(`${relay.url}events/`);
  source.addEventListener("message", (event) => {
    texts.push(JSON.parse(event.data).text);
    ids.push(event.lastEventId);
  });
  source.addEventListener("stream-open", () => opened.push(true));
  try {
    await proxy.held("events-news", 1);
    for (const text of ["one", "100%25", "three"]) await send(text);
    await until(() => texts.length === 3, () => JSON.stringify(texts));
    relay.cut();
    await proxy.held("events-news", 0);
    await send("missed");
    await send("missed-too");
    relay.mend();
    await proxy.held("events-news", 1);
    await send("last");
    await until(() => texts.length >= 6, () => JSON.stringify(texts));
    assert.deepEqual(texts, ["one", "100%", "three", "missed", "missed-too", "last"]);
    assert.deepEqual(ids, [1, 2, 3, 4, 5, 6].map((id) => `news:${id}`));
    assert.equal(opened.length, 2);
  } finally {
    source.close();
    await relay.close();
  }
  await proxy.held("events-news", 0);
});

test("a client that missed more than a page of django-eventstream's gets all of it, once and in order", async () => {
  const first = (await get("send?text=before"), 7);
  const all = Array.from({ length: 250 }, (_, number) => `n${number}`);
  for (const text of all) await send(text);
  const texts = [];
  const source = new EventSource(`${proxy.url}events/?lastEventId=news:${first}`);
  source.addEventListener("message", (event) => texts.push(JSON.parse(event.data).text));
  try {
    await until(() => texts.length >= all.length, () => `${texts.length} came`);
    await proxy.held("events-news", 1);
    await send("live");
    await until(() => texts.length > all.length, () => `${texts.length} came`);
    assert.deepEqual(texts, [...all, "live"]);
  } finally {
    source.close();
  }
});

test("django-grip holds a long poll, which is answered by what is said, or by the view when the time is over", async () => {
  const answer = get("poll?room=r1");
  await proxy.held("r1", 1);
  await get("say?room=r1&text=hello");
  const { status, headers, text } = await answer;
  assert.deepEqual([status, headers.get("x-said"), text], [203, "yes", "hello"]);
  assert.equal(headers.get("content-encoding"), null);
  const late = await get("poll?room=nobody&timeout=2");
  assert.equal(late.status, 200);
  assert.match(late.text, /^(beginning ){100}\n$/);
});

test("django-grip holds a stream, which goes on with what is said and signs of life", async () => {
  const over = new AbortController();
  const { body, headers } = await fetch(`${proxy.url}stream?room=r2`, {
    signal: AbortSignal.any([over.signal, AbortSignal.timeout(DEADLINE_MS)]),
  });
  assert.equal(headers.get("content-encoding"), null);
  const reader = body.getReader();
  assert.match(await read(reader, "\n"), /^(beginning ){100}\n$/);
  await proxy.held("r2", 1);
  await get("say?room=r2&text=hello");
  await read(reader, "hello\n");
  await read(reader, "alive\n");
  over.abort();
});

test("django-grip has a WebSocket by requests: it counts in meta, and hears of the end", async () => {
  const url = proxy.url.replace("http", "ws");
  const refused = new WebSocket(`${url}chat`);
  const [, response] = await once(refused, "unexpected-response", { signal: AbortSignal.timeout(DEADLINE_MS) });
  assert.equal(response.statusCode, 403);
  response.destroy();
  const texts = [];
  const socket = new WebSocket(`${url}chat?room=r3`);
  socket.on("message", (text) => texts.push(text.toString().split(" ").slice(0, 2).join(" ")));
  await once(socket, "open", { signal: AbortSignal.timeout(DEADLINE_MS) });
  await proxy.held("r3", 1);
  socket.send("one");
  await until(() => texts.length === 2, () => JSON.stringify(texts));
  await get("say?room=r3&text=published");
  await until(() => texts.length === 3, () => JSON.stringify(texts));
  for (const text of ["two", "three", "bye"]) socket.send(text);
  const [code] = await once(socket, "close", { signal: AbortSignal.timeout(DEADLINE_MS) });
  assert.deepEqual(texts, ["welcome", "1: one", "published", "2: two", "3: three"]);
  assert.equal(code, 1000);
  await proxy.held("r3", 0);
});

test("gripcontrol, pubcontrol and @fanoutio/grip publish with a key, and with another nothing", async () => {
  const byPython = (url, room, text) =>
    run(PYTHON, [join(import.meta.dirname, "grip_publish.py"), url, room, text], { timeout: DEADLINE_MS });
  const byNode = (url, room, text) => {
    const formats = [new HttpResponseFormat({ body: text }), new HttpStreamFormat(`${text}\n`)];
    return new Publisher(parseGripUri(url)).publish(room, new Item(formats));
  };
  for (const [room, publish] of [["python", byPython], ["node", byNode]]) {
    const answer = get(`poll?room=${room}`);
    await proxy.held(room, 1);
    await assert.rejects(publish(GRIP_URL.replace("changeme", "wrong"), room, "forged"));
    await publish(GRIP_URL, room, "signed");
    assert.equal((await answer).text, "signed");
  }
});
