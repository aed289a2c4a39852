// An application of Node with @fanoutio/serve-grip, unchanged, behind the real proxy: streams, long polls, a status that it
// means, a WebSocket by requests, and what it publishes.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { HttpResponseFormat, HttpStreamFormat, Item, WebSocketMessageFormat } from "@fanoutio/grip";
import { ServeGrip } from "@fanoutio/serve-grip";
import { WebSocket } from "ws";

import { CONTROL, Proxy } from "../browser/proxy.mjs";

const DEADLINE_MS = 60_000;
const serveGrip = new ServeGrip({ grip: `${CONTROL}/?iss=pushpin&key=changeme`, gripProxyRequired: true, prefix: "app-" });
let proxy;

/** The views, by their path. */
const views = {
  "/who": (request, response) => response.end(JSON.stringify(request.grip, ["isProxied", "isSigned", "needsSigned"])),
  "/stream": (request, response) => {
    const instruct = response.grip.startInstruct();
    instruct.addChannel("room");
    instruct.setHoldStream();
    instruct.setKeepAlive("alive\n", 2);
    response.end("[stream open]\n");
  },
  "/poll": (request, response, query) => {
    const instruct = response.grip.startInstruct();
    instruct.addChannel("room");
    instruct.setHoldLongPoll(Number(query.get("timeout") ?? 300));
    response.setHeader("X-App", "held");
    response.end("nothing for now\n");
  },
  "/unchanged": (request, response) => {
    response.grip.startInstruct();
    response.writeHead(304, { ETag: '"1"' });
    response.end();
  },
  "/say": async (request, response, query) => {
    const text = query.get("text");
    const formats = [
      new HttpResponseFormat({ code: 203, body: text }),
      new HttpStreamFormat(`${text}\n`),
      new WebSocketMessageFormat(text),
    ];
    await serveGrip.getPublisher().publishFormats("room", formats, null, null);
    response.end("said");
  },
  "/chat": (request, response) => {
    const socket = request.grip.wsContext;
    if (socket.isOpening()) {
      socket.accept();
      socket.subscribe("app-room");
    }
    while (socket.canRecv()) {
      const message = socket.recv();
      if (message === null) {
        socket.close();
        break;
      }
      socket.send(`echo ${message}`);
    }
    response.end();
  },
};

async function application(request, response) {
  if (!(await serveGrip.run(request, response))) return;
  const { pathname, searchParams } = new URL(request.url, "http://app");
  try {
    await views[pathname](request, response, searchParams);
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error.stack));
  }
}

before(async () => {
  proxy = await Proxy.before(application, ' "*": { routes: [{ path: /, pool: app, websockets: over_http }] }',
    "grip: { key: changeme, issuer: pushpin, publish_key: changeme }");
});
after(() => proxy?.stop());

const get = async (path) => {
  const response = await fetch(proxy.url + path, { signal: AbortSignal.timeout(DEADLINE_MS) });
  return { status: response.status, headers: response.headers, text: await response.text() };
};

test("serve-grip knows the proxy by its signature, and a request that comes past it not", async () => {
  assert.deepEqual(JSON.parse((await get("who")).text), { isProxied: true, isSigned: true, needsSigned: true });
  const past = await fetch(`http://127.0.0.1:${proxy.server.address().port}/who`);
  // One that it requires a proxy for.
  assert.equal(past.status, 501);
});

test("serve-grip holds a stream, which goes on with what it publishes and signs of life", async () => {
  const over = new AbortController();
  const { body } = await fetch(`${proxy.url}stream`, { signal: AbortSignal.any([over.signal, AbortSignal.timeout(DEADLINE_MS)]) });
  await proxy.held("app-room", 1);
  assert.equal((await get("say?text=hello")).text, "said");
  let text = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (text.endsWith("alive\n")) break;
  }
  assert.match(text, /^\[stream open\]\n(alive\n)*hello\n(alive\n)+$/);
  over.abort();
  await proxy.held("app-room", 0);
});

test("serve-grip holds a long poll, which is answered by what it publishes, or by itself when the time is over", async () => {
  const answer = get("poll");
  await proxy.held("app-room", 1);
  await get("say?text=hello");
  const { status, headers, text } = await answer;
  assert.deepEqual([status, headers.get("x-app"), text], [203, "held", "hello"]);
  assert.equal((await get("poll?timeout=2")).text, "nothing for now\n");
});

test("serve-grip says by Grip-Status what it means", async () => {
  const { status, headers, text } = await get("unchanged");
  assert.deepEqual([status, headers.get("etag"), text], [304, '"1"', ""]);
});

test("serve-grip has a WebSocket by requests, which publishers reach, too", async () => {
  const texts = [];
  const socket = new WebSocket(`${proxy.url.replace("http", "ws")}chat`);
  socket.on("message", (text) => texts.push(text.toString()));
  await once(socket, "open", { signal: AbortSignal.timeout(DEADLINE_MS) });
  await proxy.held("app-room", 1);
  const next = () => once(socket, "message", { signal: AbortSignal.timeout(DEADLINE_MS) });
  let came = next();
  socket.send("one");
  await came;
  came = next();
  await get("say?text=published");
  await came;
  socket.close(1000);
  const [code] = await once(socket, "close", { signal: AbortSignal.timeout(DEADLINE_MS) });
  assert.deepEqual([texts, code], [["echo one", "published"], 1000]);
  await proxy.held("app-room", 0);
});
