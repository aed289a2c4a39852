// The demo's further pages in a real browser: the slideshow in five lines, and the chat with CometD's published client.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DEADLINE_MS, startBrowser, startDemo } from "./demo.mjs";

let demo;
let browser;

before(async () => {
  demo = await startDemo();
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** A page in which no script fails and nothing offends its policy. */
async function open(context, path) {
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.on("pageerror", (error) => {
    throw error;
  });
  page.on("console", (message) => assert.notEqual(message.type(), "error", message.text()));
  await page.goto(new URL(path, demo.url).href);
  await page.locator('#status[data-state="live"]').waitFor();
  return page;
}

test("a slide that one window turns is up in all of them, and the script is the one that is shown", async () => {
  const context = await browser.newContext();
  const pages = [await open(context, "/slideshow"), await open(context, "/slideshow"), await open(context, "/slideshow")];
  for (const slide of ["4", "9", "2"]) {
    await pages[1].click(`button[value="${slide}"]`);
    for (const page of pages) await page.locator(`#show[data-slide="${slide}"]`).waitFor();
  }
  assert.equal((await Promise.all(pages.map((page) => page.evaluate(() => talk.leads)))).filter(Boolean).length, 1);
  const [shown, run] = await pages[0].evaluate(async () => [
    document.querySelector("pre code").textContent, await (await fetch("/five.js")).text(),
  ]);
  assert.equal(shown, run.trimEnd());
  // Who comes later sees the slide that is up.
  const late = await open(context, "/slideshow");
  await late.locator('#show[data-slide="2"]').waitFor();
  await context.close();
});

test("two windows chat over Bayeux", async () => {
  const [ada, grace] = [await open(await browser.newContext(), "/bayeux"), await open(await browser.newContext(), "/bayeux")];
  const said = [];
  for (const [page, name, text] of [[ada, "Ada", "Hello, <b>Grace</b>"], [grace, "Grace", "Hello, Ada"]]) {
    await page.fill("#name", name);
    await page.fill("#text", text);
    await page.press("#text", "Enter");
    said.push(text);
    for (const each of [ada, grace]) {
      await each.locator("#messages p", { hasText: text }).waitFor();
      assert.deepEqual(await each.locator("#messages p").allTextContents(), said);
    }
  }
  assert.ok(await ada.locator("#wire li", { hasText: "/meta/handshake" }).count() >= 2);
});
