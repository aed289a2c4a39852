// The demo in a real browser: two windows chat, turn the slide, and one of them loses its line and comes back.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DEADLINE_MS, startBrowser, startDemo } from "./demo.mjs";
import { Relay } from "./relay.mjs";

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

test("what one window says and turns, the other one shows", async () => {
  const [anna, ben] = [await open(demo.url, "Anna"), await open(demo.url, "Ben")];
  const before = (await messages(anna)).length;

  await say(anna, "Hello, <b>Ben</b>");
  await shows(ben, "Hello, <b>Ben</b>");
  await say(ben, "Hello, Anna");
  await shows(anna, "Hello, Anna");
  assert.deepEqual((await messages(anna)).slice(before), ["Anna: Hello, <b>Ben</b>", "Ben: Hello, Anna"]);

  const slide = await anna.locator("#count").textContent();
  await turn(ben, slide.startsWith("3 ") ? 4 : 3);
  const turned = await ben.locator("#count").textContent();
  assert.notEqual(turned, slide);
  await anna.waitForFunction((text) => document.getElementById("count").textContent === text, turned);
  await anna.getByText("Ben changed the slide").waitFor();
  await nothingLostNorTwice(anna, ben);
  await close(anna, ben);
});

test("a newcomer sees what was said before, once", async () => {
  const anna = await open(demo.url, "Anna");
  await say(anna, "Before you came");
  const ben = await open(demo.url, "Ben");
  await say(anna, "After you came");
  await shows(ben, "After you came");
  const seen = await messages(ben);
  assert.deepEqual(seen.slice(-2), ["Anna: Before you came", "Anna: After you came"]);
  assert.equal(seen.filter((each) => each === "Anna: Before you came").length, 1);
  await nothingLostNorTwice(anna, ben);
  await close(anna, ben);
});

test("a window whose line was cut comes back by itself with all that happened meanwhile", async () => {
  const relay = await Relay.to(demo.url);
  const [anna, ben] = [await open(relay.url, "Anna"), await open(demo.url, "Ben")];
  try {
    await say(ben, "You hear me");
    await shows(anna, "You hear me");

    relay.cut();
    await inState(anna, "reconnecting");
    const meanwhile = ["one", "two", "three"].map((word) => `While you were away: ${word}`);
    for (const text of meanwhile) await say(ben, text);
    const up = await turnSomewhereElse(ben);
    assert.ok(!(await messages(anna)).some((each) => each.includes(meanwhile[0])), "the line is really cut");

    relay.mend();
    await inState(anna, "live");
    await say(ben, "And on");
    await shows(anna, "And on");
    const wanted = ["You hear me", ...meanwhile, "And on"].map((text) => `Ben: ${text}`);
    assert.deepEqual((await messages(anna)).slice(-wanted.length), wanted);
    assert.equal(await anna.locator("#count").textContent(), up);
    assert.ok(await anna.locator("#notice").isHidden(), "came back without a gap");
    await say(anna, "I am back");
    await shows(ben, "I am back");
    await nothingLostNorTwice(anna, ben);
  } finally {
    await close(anna, ben);
    await relay.close();
  }
});

test("a window that drops its connection goes on where it was", async () => {
  const [anna, ben] = [await open(demo.url, "Anna"), await open(demo.url, "Ben")];
  let text;
  let tries = 0;
  do {
    // The page comes back by itself in three seconds, which is not long on a busy machine.
    assert.ok(++tries <= 10, "it is always back before anything can be said");
    await inState(anna, "live");
    text = `Said to a dropped line, try ${tries}`;
    await ben.fill("#text", text);
    await anna.click("#drop");
    await send(ben);
  } while ((await anna.locator("#status").getAttribute("data-state")) !== "dropped");
  await inState(anna, "live");
  await shows(anna, text);
  assert.equal((await messages(anna)).filter((each) => each === `Ben: ${text}`).length, 1);
  await nothingLostNorTwice(anna, ben);
  await close(anna, ben);
});

/** A window of its own, live, whose user has this name. A script error in it fails the test run. */
async function open(url, name) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.addInitScript((mine) => sessionStorage.setItem("name", mine), name);
  await page.goto(url);
  await inState(page, "live");
  return page;
}

async function close(...pages) {
  for (const page of pages) await page.context().close();
}

async function inState(page, state) {
  await page.locator(`#status[data-state="${state}"]`).waitFor();
}

/** Says it and waits until the application has taken it, which empties the line. */
async function say(page, text) {
  await page.fill("#text", text);
  await send(page);
}

async function send(page) {
  await page.press("#text", "Enter");
  await page.waitForFunction(() => document.getElementById("text").value === "");
}

async function shows(page, text) {
  await page.locator("#messages p", { hasText: text }).first().waitFor();
}

async function messages(page) {
  return page.locator("#messages li").evaluateAll((items) =>
    items.map((item) => `${item.querySelector("b").textContent}: ${item.querySelector("p").textContent}`));
}

/** Goes to the slide through its dot and waits until it is up. */
async function turn(page, slide) {
  await page.click(`#dots button[aria-label="Slide ${slide}"]`);
  await page.waitForFunction((up) => document.getElementById("count").textContent.startsWith(`${up} `), slide);
}

async function turnSomewhereElse(page) {
  const at = Number.parseInt(await page.locator("#count").textContent(), 10);
  await turn(page, at === 7 ? 2 : 7);
  return page.locator("#count").textContent();
}

/** What the pages prove by the application's own numbers. */
async function nothingLostNorTwice(...pages) {
  for (const page of pages) {
    const figures = await page.evaluate(() =>
      ["lost", "twice"].map((figure) => document.getElementById(figure).textContent));
    assert.deepEqual(figures, ["0", "0"]);
  }
}
