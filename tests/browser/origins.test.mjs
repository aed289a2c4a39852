// The host for Comet beside that of the page, and what a page of another site gets; server-sent events to the letter.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DEADLINE_MS, startBrowser } from "./demo.mjs";
import { Proxy } from "./proxy.mjs";

const SITES = `
  www.example.com: app
  comet.example.com: { pool: app, cors: ["http://www.example.com:$PORT"] }
  www.evil.example: app`;

let proxy;
let browser;

before(async () => {
  proxy = await Proxy.before(application, SITES);
  browser = await startBrowser(`--host-resolver-rules=MAP *.example.com ${proxy.address}, MAP *.evil.example ${proxy.address}`);
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
});

function application(request, response) {
  const hold = (transport, body = "") =>
    response.writeHead(200, { "X-Comet-Subscribe": "news", "X-Comet-Transport": transport }).end(body);
  switch (new URL(request.url, "http://x").pathname) {
    case "/events":
      return hold("sse", `event: who\ndata: ${request.headers.cookie ?? "nobody"}\n\n`);
    case "/lines":
      return hold("ndjson");
    case "/frame":
      return hold("iframe; domain=example.com; callback=heard");
    case "/socket":
      return hold("websocket");
    default:
      return response.writeHead(200, {
        "Content-Type": "text/html; charset=utf-8",
        "Set-Cookie": "session=anna; Domain=example.com",
        "Origin-Agent-Cluster": "?0",
      }).end("<!doctype html><title>a page</title><body>");
  }
}

async function open(host) {
  const page = await browser.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  await page.goto(`http://${host}:${proxy.port}/`);
  return page;
}

/** What a page has heard, once there are so many. */
async function heard(page, name, count) {
  await page.waitForFunction(([name, count]) => window[name]?.length >= count, [name, count]);
  return page.evaluate((name) => window[name], name);
}

test("a page listens on the host for Comet, with its cookies, in every way between hosts", async () => {
  const page = await open("www.example.com");
  await page.evaluate((comet) => {
    Object.assign(window, { events: [], lines: [], frames: [], sockets: [] });
    const source = new EventSource(`${comet}/events`, { withCredentials: true });
    source.addEventListener("who", (event) => window.events.push(event.data));
    source.onmessage = (event) => window.events.push(event.data);
    // A header that isn't simple: the proxy answers the preflight.
    fetch(`${comet}/lines`, { headers: { "Last-Event-ID": "" }, credentials: "include" }).then(async ({ body }) => {
      for await (const line of body.pipeThrough(new TextDecoderStream())) window.lines.push(JSON.parse(line).data);
    });
    document.domain = "example.com";
    window.heard = (message) => window.frames.push(message.data);
    const frame = document.createElement("iframe");
    frame.src = `${comet}/frame`;
    document.body.append(frame);
    new WebSocket(`${comet.replace("http", "ws")}/socket`).onmessage = ({ data }) => window.sockets.push(JSON.parse(data).data);
  }, `http://comet.example.com:${proxy.port}`);
  await proxy.held("news", 4);
  await proxy.publish("news", "hello");
  assert.deepEqual(await heard(page, "events", 2), ["session=anna", "hello"]);
  for (const way of ["lines", "frames", "sockets"]) assert.deepEqual(await heard(page, way, 1), ["hello"], way);
  await page.close();
});

test("a page of another site hears nothing", async () => {
  const page = await open("www.evil.example");
  const outcome = await page.evaluate((comet) => {
    const closed = (target) => new Promise((resolve) => {
      target.onerror = () => resolve("refused");
      target.onmessage = ({ data }) => resolve(data);
      target.onopen = () => resolve("open");
    });
    return Promise.all([
      closed(new EventSource(`${comet}/events`, { withCredentials: true })),
      fetch(`${comet}/lines`).then(() => "open", () => "refused"),
      closed(new WebSocket(`${comet.replace("http", "ws")}/socket`)),
    ]);
  }, `http://comet.example.com:${proxy.port}`);
  assert.deepEqual(outcome, ["refused", "refused", "refused"]);
  await page.close();
});

test("an event comes out of the browser as it was published, but for its line ends", async () => {
  const page = await open("www.example.com");
  await page.evaluate(() => {
    window.events = [];
    new EventSource("/events").onmessage = (event) => window.events.push(event.data);
  });
  await proxy.held("news", 1);
  const published = [
    "plain", "", " leading space", "  two", "trailing ", "a\nb", "a\r\nb", "a\rb", "\n\n", "\r", "\r\n\r\n", "a\n", "\ufeffmark",
    "nul \0 inside", "data: x\n\nevent: y", "id: 9", "id: a\0b", ":comment", "retry: 1", "\u2028\u2029\u{1f680}", "last",
  ];
  for (const data of published) await proxy.publish("news", data, { "Content-Type": "text/plain; charset=utf-8" });
  const read = published.map((data) => data.replace(/\r\n?/g, "\n"));
  assert.deepEqual(await heard(page, "events", published.length), read);
  await page.close();
});
