// A proxy of our own in front of an application that a test writes, on an address that nothing else has.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Ports are fixed and addresses are not, as in the tests in Rust.
const ADDRESS = `127.255.${(process.pid >> 8) & 255}.${process.pid & 255}`;
const PORT = 8080;
const CONTROL_PORT = 7070;
const DEADLINE_MS = 60_000;

/** Where applications publish. */
export const CONTROL = `http://${ADDRESS}:${CONTROL_PORT}`;

export class Proxy {
  /**
   * Of an application `(request, response)`, or of one that runs already at a URL; `sites` is the YAML of its
   * sites, with `$PORT` and the pool `app`, and `more` that of further sections, with `$FOLDER`.
   */
  static async before(application, sites, more = "") {
    assert.ok(process.env.PERIHELION_BIN, "set PERIHELION_BIN");
    const proxy = new Proxy();
    proxy.address = ADDRESS;
    proxy.port = PORT;
    let origin = application;
    if (typeof application === "function") {
      proxy.server = http.createServer(application).listen(0, "127.0.0.1");
      await once(proxy.server, "listening");
      origin = `http://127.0.0.1:${proxy.server.address().port}`;
    }
    proxy.folder = await mkdtemp(join(tmpdir(), "perihelion-"));
    proxy.file = join(proxy.folder, "perihelion.yaml");
    await writeFile(proxy.file, `listen: ${proxy.address}:${PORT}
control: ${ADDRESS}:${CONTROL_PORT}
pools: { app: ${origin} }
sites:
${sites.replaceAll("$PORT", PORT)}
${more.replaceAll("$FOLDER", proxy.folder)}
log: { access: off, level: warn }
`);
    await proxy.start();
    return proxy;
  }

  get url() {
    return `http://${this.address}:${this.port}/`;
  }

  async start() {
    this.child = spawn(process.env.PERIHELION_BIN, ["run", "-c", this.file], { stdio: ["ignore", "ignore", "inherit"] });
    await this.#ready();
  }

  /** Without a word, as a machine that has lost its power. */
  async kill() {
    const exited = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await exited;
  }

  /** In order, as for a deployment. */
  async restart() {
    const exited = once(this.child, "exit");
    this.child.kill("SIGTERM");
    assert.deepEqual(await exited, [0, null]);
    await this.start();
  }

  async publish(channel, data, headers = {}) {
    const answer = await this.#control(`/channels/${channel}`, { method: "POST", body: data, headers });
    assert.equal(answer.status, 200);
    return (await answer.json()).id;
  }

  async subscribers(channel) {
    const answer = await this.#control(`/channels/${channel}`);
    return answer.ok ? (await answer.json()).subscribers : 0;
  }

  /** Waits until so many connections hold a channel. */
  async held(channel, count) {
    const deadline = Date.now() + DEADLINE_MS;
    while ((await this.subscribers(channel)) !== count) assert.ok(Date.now() < deadline, `${channel} has no ${count} subscribers`);
  }

  async stop() {
    await this.kill();
    this.server?.closeAllConnections();
    this.server?.close();
    await rm(this.folder, { recursive: true });
  }

  #control(path, options) {
    return fetch(`${CONTROL}${path}`, options);
  }

  async #ready() {
    const deadline = Date.now() + DEADLINE_MS;
    while (!(await this.#control("/readyz").catch(() => null))?.ok) {
      assert.ok(Date.now() < deadline && this.child.exitCode === null, "the proxy does not start");
    }
  }
}
