// The gallery in a real browser: what is said appears in every transport that a browser of today can do.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { DEADLINE_MS, startBrowser, startDemo } from "./demo.mjs";

/** Those that a page shows as lines, one element for each message. */
const LISTED = ["iframe", "stream", "long-poll", "jsonp", "poll", "sse", "websocket", "ndjson"];
/** Those that no browser reads any more: the page shows their bytes. */
const RAW = { htmlfile: "<script>p({", "dom-event-stream": "Event: message\ndata: " };
const HOSTILE = "</script><img src=x onerror=alert(1)> \u2028 & data: x";

let demo;
let browser;
let page;

before(async () => {
  demo = await startDemo();
  browser = await startBrowser();
  page = await browser.newPage({ viewport: { width: 1500, height: 1300 } });
  page.setDefaultTimeout(DEADLINE_MS);
  page.on("pageerror", (error) => {
    throw error;
  });
  page.on("dialog", (dialog) => {
    throw new Error(`a script of a message ran: ${dialog.message()}`);
  });
  await page.goto(new URL("/gallery", demo.url).href);
  await page.getByText("13 of 13 live").waitFor();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

test("what is said appears in every transport, in order and once", async () => {
  const gif = await looks("gif");
  for (const text of ["first", HOSTILE, "third"]) await say(text);
  for (const name of LISTED) {
    await card(name).locator("li", { hasText: "third" }).waitFor();
    const lines = await card(name).locator("li").allTextContents();
    assert.deepEqual(lines, ["Anna: third", `Anna: ${HOSTILE}`, "Anna: first"], name);
  }
  for (const [name, beginning] of Object.entries(RAW)) {
    const bytes = card(name).locator("pre");
    await bytes.filter({ hasText: "third" }).waitFor();
    assert.ok((await bytes.textContent()).includes(beginning), name);
  }
  await pulls(["Anna: first", `Anna: ${HOSTILE}`, "Anna: third"]);
  await changes("gif", gif);
});

test("the live picture moves", async () => {
  await changes("multipart", await looks("multipart"));
});

test("a frame of the GIF is shown without another one behind it", async () => {
  const before = await looks("gif");
  await say("one more");
  await changes("gif", before);
});

function card(name) {
  return page.locator(`[data-transport="${name}"]`);
}

async function say(text) {
  await page.fill("#name", "Anna");
  await page.fill("#text", text);
  const [answer] = await Promise.all([page.waitForResponse("**/gallery/say"), page.press("#text", "Enter")]);
  assert.equal(answer.status(), 200);
}

test("without a script there are the page that pulls, the live picture and the GIF, each in its window", async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const plain = await context.newPage();
  // It never has loaded: that is the trick.
  await plain.goto(new URL("/gallery", demo.url).href, { waitUntil: "commit" });
  for (const name of ["client-pull", "multipart", "gif"]) {
    const window = plain.locator(`[data-transport="${name}"] .pane`);
    const shown = window.locator("[src]");
    await shown.waitFor({ timeout: DEADLINE_MS });
    await liesIn(shown, window, name);
  }
  await context.close();
});

/** Waits until the window that pulls shows this. It loads its page anew all the time, perhaps while it is looked at. */
async function pulls(lines) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const frame = page.frameLocator('[data-transport="client-pull"] iframe');
    const shown = await frame.locator("p").allTextContents().catch(() => []);
    if (isDeepStrictEqual(shown, lines)) return;
    assert.ok(Date.now() < deadline, `client-pull shows ${JSON.stringify(shown)}`);
  }
}

/** Waits until one is inside the other: as long as the page loads they move between two looks. */
async function liesIn(shown, window, name) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const [inside, around] = [await shown.boundingBox(), await window.boundingBox()];
    if (inside.y >= around.y && inside.y + inside.height <= around.y + around.height + 1) return;
    assert.ok(Date.now() < deadline, `${name} ${JSON.stringify([inside, around])}`);
  }
}

/** The pixels of a window; a picture that goes on loading can't be read in another way. */
function looks(name) {
  return card(name).locator(".pane").screenshot({ animations: "allow" });
}

async function changes(name, before) {
  const deadline = Date.now() + DEADLINE_MS;
  while ((await looks(name)).equals(before)) {
    assert.ok(Date.now() < deadline, `${name} has not changed`);
  }
}
