// The tutorial's own code, as it stands in docs/tutorial.md: only its addresses are others.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DEADLINE_MS, startBrowser } from "./demo.mjs";

const binary = process.env.PERIHELION_BIN;
const address = `127.254.${(process.pid >> 8) & 255}.${process.pid & 255}`;
const children = [];
let folder;
let browser;

before(async () => {
  const text = await readFile(new URL("../../docs/tutorial.md", import.meta.url), "utf8");
  const block = (language) => text.split(`\`\`\`${language}\n`)[1].split("\n```")[0].replaceAll("127.0.0.1", address);
  folder = await mkdtemp(join(tmpdir(), "perihelion-"));
  await writeFile(join(folder, "app.py"), block("python"));
  await writeFile(join(folder, "perihelion.yaml"), block("yaml"));
  await start("python3", ["app.py"], 8000);
  await start(binary, ["run", "-c", "perihelion.yaml"], 8080);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  for (const child of children) await stop(child);
  await rm(folder, { recursive: true });
});

/** Starts a program and waits until it listens. */
async function start(program, parameters, port) {
  const child = spawn(program, parameters, { cwd: folder, stdio: "ignore" });
  children.push(child);
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    assert.ok(Date.now() < deadline && child.exitCode === null, `${program} does not start`);
    const socket = net.connect(port, address);
    const isUp = await new Promise((resolve) => {
      socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    });
    socket.destroy();
    if (isUp) return child;
  }
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

function run(...parameters) {
  const child = spawn(binary, [...parameters, "--control", `http://${address}:7070`], { stdio: ["ignore", "ignore", "inherit"] });
  return once(child, "exit");
}

test("the board of the tutorial is live in every window, also over a restart of the proxy", async () => {
  const context = await browser.newContext();
  const open = async () => {
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    await page.goto(`http://${address}:8080/`);
    await page.waitForFunction(() => comet.state === "open");
    return page;
  };
  const notes = (page) => page.locator("#board li").allTextContents();
  const [one, two] = [await open(), await open()];
  const write = async (text) => {
    await one.fill("input", text);
    await one.click("button");
    await two.locator("#board li", { hasText: text }).waitFor();
  };
  await write("<b>first</b>");
  await write("second");
  const [code] = await run("publish", "board", '{"text": "from a terminal"}', "--event", "note");
  assert.equal(code, 0);
  await two.locator("#board li", { hasText: "terminal" }).waitFor();

  await stop(children[1]);
  await start(binary, ["run", "-c", "perihelion.yaml"], 8080);
  await write("after the restart");
  const all = ["<b>first</b>", "second", "from a terminal", "after the restart"];
  for (const page of [one, two]) {
    await page.locator("#board li", { hasText: "after" }).waitFor();
    assert.deepEqual(await notes(page), all);
  }
  // A newcomer sees what the application keeps.
  assert.deepEqual(await notes(await open()), all.filter((note) => note !== "from a terminal"));
});
