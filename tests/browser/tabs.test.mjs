// perihelion.js in a real browser: many tabs over one connection, and what happens to connections.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { DEADLINE_MS, startBrowser } from "./demo.mjs";
import { Middlebox } from "./middlebox.mjs";
import { Proxy } from "./proxy.mjs";
import { Relay } from "./relay.mjs";

const SITES = `
  "*":
    routes:
      - { path: /, pool: app }
      - { path: /perihelion.js, script: {} }`;

let proxy;
let browser;
let context;

before(async () => {
  proxy = await Proxy.before(application, SITES, "store: { path: $FOLDER/store }\nchannels: { history: 1000 }");
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await proxy?.stop();
});

afterEach(() => context.close());

/** `/?OPTIONS` is a page that listens with these; `/events` leaves the transport open. */
function application(request, response) {
  const { pathname, search } = new URL(request.url, "http://x");
  if (pathname === "/events") {
    return response.writeHead(200, { "X-Comet-Subscribe": "news", "X-Comet-Timeout": "2", "X-Comet-Keepalive": "1" }).end();
  }
  if (pathname === "/up") return response.end("up");
  const options = { retry: 50, ...JSON.parse(decodeURIComponent(search.slice(1)) || "{}") };
  if (options.position === "") options.position = request.headers["x-comet-position"];
  response.writeHead(200, { "Content-Type": "text/html" }).end(`<!doctype html><title>a tab</title>
    <script src="/perihelion.js"></script>
    <script>
      const heard = [], gaps = [];
      const comet = new Perihelion("/events", ${JSON.stringify(options)});
      comet.on("*", (message) => heard.push(message.data));
      comet.on("gap", (gap) => gaps.push(gap));
    </script>`);
}

/** A tab of one browser; all that a test opens share a profile. */
async function open(url = proxy.url, options = {}) {
  context ??= await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(`${url}?${encodeURIComponent(JSON.stringify(options))}`);
  return page;
}

async function openAll(count, url, options) {
  context = await browser.newContext();
  const pages = [];
  for (let number = 0; number < count; number += 1) pages.push(await open(url, options));
  return pages;
}

const isLive = (page) => page.waitForFunction(() => comet.state === "open");
const leads = (page) => page.evaluate(() => comet.leads);

async function leader(pages) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    for (const page of pages) if (await leads(page)) return page;
    assert.ok(Date.now() < deadline, "nobody leads");
  }
}

let published = 0;

/** Publishes so many messages, and gives what they say. */
async function publish(count) {
  const said = [];
  for (let number = 0; number < count; number += 1) {
    said.push(`message ${++published}`);
    await proxy.publish("news", said.at(-1), { "Content-Type": "text/plain" });
  }
  return said;
}

/** Each of the pages has heard these, in their order and once, and no gap. */
async function haveHeard(pages, said) {
  for (const page of pages) {
    await page.waitForFunction((last) => heard.includes(last), said.at(-1));
    assert.deepEqual(await page.evaluate(() => [heard, gaps]), [said, []]);
  }
}

test("seven tabs are live over one connection, and the browser has the others for everything else", async () => {
  const pages = await openAll(7);
  for (const page of pages) await isLive(page);
  await proxy.held("news", 1);
  await haveHeard(pages, await publish(20));
  assert.equal(await proxy.subscribers("news"), 1);
  for (const page of pages) assert.equal(await page.evaluate(() => fetch("/up").then((answer) => answer.text())), "up");
});

test("when the tab that leads is closed, the others go on without a loss", async () => {
  const pages = await openAll(4);
  for (const page of pages) await isLive(page);
  const said = await publish(5);
  for (let round = 0; round < 2; round += 1) {
    const leading = await leader(pages);
    const publishing = publish(30);
    await leading.close();
    pages.splice(pages.indexOf(leading), 1);
    said.push(...await publishing, ...await publish(2));
    await haveHeard(pages, said);
  }
  await proxy.held("news", 1);
});

test("a tab that leads and goes to another page hands over, and joins the others when it comes back", async () => {
  const pages = await openAll(2);
  for (const page of pages) await isLive(page);
  const leading = await leader(pages);
  const other = pages.find((page) => page !== leading);
  await leading.goto(new URL("/up", proxy.url).href);
  const said = await publish(3);
  await haveHeard([other], said);
  await leading.goBack();
  await isLive(leading);
  said.push(...await publish(3));
  await haveHeard([other], said);
  await proxy.held("news", 1);
});

test("a line that is cut and mended costs no message", async () => {
  const relay = await Relay.to(proxy.url);
  const pages = await openAll(3, relay.url);
  try {
    for (const page of pages) await isLive(page);
    const said = await publish(3);
    await haveHeard(pages, said);
    relay.cut();
    await pages[0].waitForFunction(() => comet.state !== "open");
    said.push(...await publish(10));
    relay.mend();
    await haveHeard(pages, said);
  } finally {
    await context.close();
    await relay.close();
  }
});

test("a line that is cut before the first message costs none either", async () => {
  const relay = await Relay.to(proxy.url);
  const [page] = await openAll(1, relay.url);
  try {
    await isLive(page);
    relay.cut();
    await page.waitForFunction(() => comet.state !== "open");
    const said = await publish(3);
    relay.mend();
    await haveHeard([page], said);
  } finally {
    await context.close();
    await relay.close();
  }
});

test("a proxy that is killed and started again costs no message", async () => {
  const pages = await openAll(3);
  for (const page of pages) await isLive(page);
  const said = await publish(5);
  await proxy.kill();
  await pages[0].waitForFunction(() => comet.state !== "open");
  await proxy.start();
  said.push(...await publish(5));
  await haveHeard(pages, said);
  await proxy.held("news", 1);
});

test("a middlebox that holds answers back is survived with nothing lost", async () => {
  const box = await Middlebox.to(proxy.url, 64 * 1024);
  // The page knows where it was rendered; what is published while nothing gets through comes then.
  const pages = await openAll(3, box.url, { position: "", patience: 1500 });
  try {
    const said = await publish(10);
    await haveHeard(pages, said);
    const transports = await Promise.all(pages.map((page) => page.evaluate(() => comet.transport)));
    assert.deepEqual(transports, ["long-poll", "long-poll", "long-poll"]);
    said.push(...await publish(10));
    await haveHeard(pages, said);
    assert.ok(box.requests.includes("text/event-stream") && box.requests.includes("application/x-ndjson"));
    // When the time of a poll is over, and when the proxy stops, a poll gets the application's own answer: nothing at all.
    const polls = box.requests.length;
    const deadline = Date.now() + DEADLINE_MS;
    while (box.requests.length < polls + 2) {
      assert.ok(Date.now() < deadline, "it asks no more");
      await pages[0].waitForTimeout(50);
    }
    await proxy.restart();
    said.push(...await publish(10));
    await haveHeard(pages, said);
  } finally {
    await context.close();
    await box.close();
  }
});
