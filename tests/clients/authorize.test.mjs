// The application of docs/bayeux.md says what the published clients of CometD and Faye may do.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import net from "node:net";
import { after, before, test } from "node:test";

import { CometD } from "cometd";
import { adapt } from "cometd-nodejs-client";
import Faye from "faye";

import { Proxy } from "../browser/proxy.mjs";

const DEADLINE_MS = 60_000;
// Not the one of the proxy's own tests, since files run beside each other.
const APPLICATION = `127.253.${(process.pid >> 8) & 255}.${process.pid & 255}`;

adapt();

let application;
let proxy;
before(async () => {
  const text = await readFile(new URL("../../docs/bayeux.md", import.meta.url), "utf8");
  const program = text.split("```python\n")[1].split("\n```")[0].replaceAll("127.0.0.1", APPLICATION);
  application = spawn("python3", ["-c", program], { stdio: "ignore" });
  await listening(APPLICATION, 8000);
  const sites = text.split("```yaml\n")[2].split("\n```")[0].split("sites:\n")[1];
  assert.ok(sites.includes("authorize: /bayeux/may"), sites);
  proxy = await Proxy.before(`http://${APPLICATION}:8000`, sites);
});
after(async () => {
  await proxy?.stop();
  const exited = once(application, "exit");
  application.kill("SIGKILL");
  await exited;
});

async function listening(host, port) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const socket = net.connect(port, host);
    const isUp = await new Promise((resolve) => socket.on("connect", () => resolve(true)).on("error", () => resolve(false)));
    socket.destroy();
    if (isUp) return;
    assert.ok(Date.now() < deadline, "the application does not start");
  }
}

const url = () => `${proxy.url}cometd`;

/** Who has this cookie, by long-polling: a browser would send it on a WebSocket, too. */
function cometd(session) {
  const client = new CometD();
  client.unregisterTransport("websocket");
  client.configure({ url: url(), logLevel: "error", requestHeaders: { Cookie: `session=${session}` } });
  return client;
}

const answered = (ask) => new Promise((resolve) => ask(resolve));

test("CometD's client hears what the application lets it, and is told what it does not", async () => {
  const [alice, bob, nobody] = [cometd("6f1c"), cometd("a27b"), cometd("guessed")];
  const refused = await answered((done) => nobody.handshake(done));
  assert.equal(refused.error, "403::handshake_denied");
  assert.equal(nobody.getStatus(), "disconnected");
  for (const client of [alice, bob]) assert.ok((await answered((done) => client.handshake(done))).successful);
  const heard = new Promise((resolve) => bob.subscribe("/news", resolve));
  const denied = await answered((done) => bob.subscribe("/user/alice/**", () => {}, done));
  assert.equal(denied.error, "403:/user/alice/**:subscribe_denied");
  assert.ok((await answered((done) => bob.subscribe("/user/bob/*", () => {}, done))).successful);
  const said = await answered((done) => bob.publish("/news", "mine", done));
  assert.equal(said.error, "403::only_alice_writes");
  await proxy.held("%2Fnews", 1);
  assert.ok((await answered((done) => alice.publish("/news", "all is well", done))).successful);
  assert.equal((await heard).data, "all is well");
  for (const client of [alice, bob]) await answered((done) => client.disconnect(done));
});

for (const type of ["long-polling", "websocket"]) {
  test(`Faye's client is told why it may not do something, and goes on (${type})`, async () => {
    const client = new Faye.Client(url(), {});
    if (type !== "websocket") client.disable("websocket");
    client._dispatcher.cookies.setCookieSync("session=a27b", url());
    await assert.rejects(Promise.resolve(client.subscribe("/user/alice/a", () => {})), /subscribe_denied/);
    const heard = new Promise((resolve) => client.subscribe("/user/bob/a", resolve));
    await proxy.held("%2Fuser%2Fbob%2Fa", 1);
    assert.equal(client._dispatcher.connectionType, type);
    await assert.rejects(Promise.resolve(client.publish("/user/bob/a", 1)), /only_alice_writes/);
    await proxy.publish("%2Fuser%2Fbob%2Fa", "still there");
    assert.equal(await heard, "still there");
    await client.disconnect();
  });
}
