// A demo and a browser for the tests.
//
// PERIHELION_BIN is the binary to start (`PERIHELION_BIN demo --listen 127.0.0.1:0`), or DEMO_URL a demo that
// runs already. CHROMIUM is the browser; Debian's by default.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const DEADLINE_MS = 60_000;
const CHROMIUM_FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

export function startBrowser(...flags) {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: [...CHROMIUM_FLAGS, ...flags] });
}

/** The demo that runs already, or one of our own that ends with the tests. */
export async function startDemo() {
  if (process.env.DEMO_URL) return { url: process.env.DEMO_URL, stop: async () => {} };
  const binary = process.env.PERIHELION_BIN;
  assert.ok(binary, "set PERIHELION_BIN or DEMO_URL");
  const child = spawn(binary, ["demo", "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const stop = async () => {
    child.kill("SIGTERM");
    await exited;
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const url = line.match(/http:\/\/\S+/)?.[0];
    if (url) {
      child.stdout.resume();
      return { url, stop };
    }
  }
  throw new Error(`${binary} ended without an address`);
}
