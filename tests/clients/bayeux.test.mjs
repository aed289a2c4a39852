// The published clients of CometD and Faye, unchanged, against the real proxy.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { CometD } from "cometd";
import { AckExtension } from "cometd/AckExtension.js";
import { TimeSyncExtension } from "cometd/TimeSyncExtension.js";
import { adapt } from "cometd-nodejs-client";
import Faye from "faye";

import { Middlebox } from "../browser/middlebox.mjs";
import { Proxy } from "../browser/proxy.mjs";
import { Relay } from "../browser/relay.mjs";

const DEADLINE_MS = 60_000;
const JSON_TYPE = { "content-type": "application/json" };

adapt();

let proxy;
before(async () => {
  proxy = await Proxy.before((_, response) => response.end("ordinary"), `  "*":
    routes:
      - { path: /, pool: app }
      - { path: /cometd, bayeux: { timeout: 2s } }`);
});
after(() => proxy.stop());

/** What comes, to be waited for in order. */
class Inbox {
  #messages = [];
  #bell = () => {};

  take = (message) => {
    this.#messages.push(message);
    this.#bell();
  };

  async next() {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    while (this.#messages.length === 0) {
      await new Promise((resolve, reject) => {
        this.#bell = resolve;
        signal.addEventListener("abort", () => reject(new Error("nothing came")), { once: true });
      });
    }
    return this.#messages.shift();
  }

  get isEmpty() {
    return this.#messages.length === 0;
  }
}

const url = () => `http://${proxy.address}:${proxy.port}/cometd`;

const TYPES = ["long-polling", "websocket"];

/** That can connect in this way and no other. */
async function cometd(type, at = url(), extensions = []) {
  const client = new CometD();
  for (const other of TYPES) if (other !== type) client.unregisterTransport(other);
  client.configure({ url: at, logLevel: "error", backoffIncrement: 100 });
  for (const [name, extension] of extensions) client.registerExtension(name, extension);
  const reply = await new Promise((resolve) => client.handshake(resolve));
  assert.ok(reply.successful, JSON.stringify(reply));
  assert.equal(client.getTransport().type, type);
  return client;
}

/** Its handshakes are always by long-polling; a WebSocket it takes then by itself. */
function faye(type, at = url(), options = {}) {
  const client = new Faye.Client(at, options);
  if (type !== "websocket") client.disable("websocket");
  return client;
}

const subscribed = (client, channel, inbox) => new Promise((resolve, reject) => {
  client.subscribe(channel, inbox.take, (reply) => reply.successful ? resolve() : reject(new Error(reply.error)));
});
const published = (client, channel, data) => new Promise((resolve) => client.publish(channel, data, resolve));
const left = (client) => new Promise((resolve) => client.disconnect(resolve));

for (const type of TYPES) {
  test(`CometD's client subscribes with wildcards, publishes, and hears the application (${type})`, async () => {
    const [reader, writer, inbox] = [await cometd(type), await cometd(type), new Inbox()];
    await subscribed(reader, "/chat/*", inbox);
    assert.ok((await published(writer, "/chat/room", { text: "hé \u2028" })).successful);
    assert.deepEqual(await inbox.next(), { channel: "/chat/room", data: { text: "hé \u2028" } });
    await proxy.publish("%2Fchat%2Fother", JSON.stringify([1, null]), JSON_TYPE);
    assert.deepEqual((await inbox.next()).data, [1, null]);
    assert.equal((await published(writer, "/chat/", 1)).error, "405::channel_invalid");
    await left(reader);
    await left(writer);
  });

  test(`CometD's client stays through many connects, and through cut connections, without a loss (${type})`, async () => {
    const [relay, inbox] = [await Relay.to(url()), new Inbox()];
    const extensions = [["ack", new AckExtension()], ["timesync", new TimeSyncExtension()]];
    const client = await cometd(type, `${relay.url}cometd`, extensions);
    await subscribed(client, "/x/**", inbox);
    for (let number = 0; number < 30; number += 1) {
      await proxy.publish(`%2Fx%2F${number}`, JSON.stringify(number), JSON_TYPE);
      if (number % 10 === 5) {
        relay.cut();
        relay.mend();
      }
      assert.equal((await inbox.next()).data, number);
    }
    // An idle connect, which is answered at its time, and the next one.
    await new Promise((resolve) => {
      let connects = 0;
      client.addListener("/meta/connect", (message) => (message.successful && ++connects === 2) && resolve());
    });
    await proxy.publish("%2Fx%2Flast", "last");
    assert.equal((await inbox.next()).data, "last");
    assert.ok(inbox.isEmpty);
    await left(client);
    await relay.close();
  });

  test(`Faye's clients and CometD's talk to each other (${type})`, async () => {
    const [reader, writer, inbox] = [faye(type), faye(type), new Inbox()];
    await reader.subscribe("/faye/**", inbox.take);
    assert.equal(reader._dispatcher.connectionType, type);
    await writer.publish("/faye/a/b", { n: 1 });
    assert.deepEqual(await inbox.next(), { n: 1 });
    await proxy.publish("%2Ffaye%2Fc", "text");
    assert.equal(await inbox.next(), "text");
    const [other, heard] = [await cometd(type), new Inbox()];
    await subscribed(other, "/faye/c", heard);
    await writer.publish("/faye/c", "both");
    assert.equal((await heard.next()).data, "both");
    assert.equal(await inbox.next(), "both");
    await left(other);
    await reader.disconnect();
    await writer.disconnect();
  });

  test(`Faye's client goes on after its connections were cut (${type})`, async () => {
    const [relay, inbox] = [await Relay.to(url()), new Inbox()];
    const client = faye(type, `${relay.url}cometd`, { retry: 1, timeout: 5 });
    await client.subscribe("/b", inbox.take);
    relay.cut();
    await proxy.publish("%2Fb", "after");
    relay.mend();
    assert.equal(await inbox.next(), "after");
    await client.disconnect();
    await relay.close();
  });
}

for (const type of TYPES) {
  test(`CometD's client and Faye's begin anew with a proxy that was killed and started again (${type})`, async () => {
    const [one, other] = [await cometd(type), faye(type, url(), { retry: 1, timeout: 5 })];
    const [heard, alsoHeard] = [new Inbox(), new Inbox()];
    // Faye's subscribes anew by itself; CometD's leaves that to the page (its documentation, "Dynamic subscriptions").
    let subscription = one.subscribe("/anew", heard.take);
    one.addListener("/meta/handshake", ({ successful }) => {
      if (successful) subscription = one.resubscribe(subscription);
    });
    await other.subscribe("/anew", alsoHeard.take);
    await proxy.held("%2Fanew", 2);
    await proxy.kill();
    await proxy.start();
    await proxy.held("%2Fanew", 2);
    await proxy.publish("%2Fanew", "again");
    assert.equal((await heard.next()).data, "again");
    assert.equal(await alsoHeard.next(), "again");
    await left(one);
    await other.disconnect();
  });
}

test("CometD's client takes a WebSocket by itself, and goes on by long-polling where none gets through", async () => {
  const client = new CometD();
  client.configure({ url: url(), logLevel: "error" });
  await new Promise((resolve) => client.handshake(resolve));
  assert.equal(client.getTransport().type, "websocket");
  await left(client);
  const [box, behind, inbox] = [await Middlebox.to(proxy.url, 0), new CometD(), new Inbox()];
  behind.configure({ url: `${box.url}cometd`, logLevel: "error" });
  // It says that the first way failed, and takes the next one by itself.
  await new Promise((resolve) => {
    behind.addListener("/meta/handshake", (reply) => reply.successful && resolve());
    behind.handshake();
  });
  assert.equal(behind.getTransport().type, "long-polling");
  await subscribed(behind, "/a", inbox);
  await proxy.publish("%2Fa", "x");
  assert.equal((await inbox.next()).data, "x");
  await left(behind);
  await box.close();
});

for (const type of TYPES) {
  test(`a client in Python hears itself and the application, also over cut connections and a restart (${type})`, { skip: !process.env.PYTHON && "PYTHON names no interpreter" }, async () => {
    const relay = await Relay.to(url());
    const script = new URL("bayeux_client.py", import.meta.url).pathname;
    // What it says of its own tasks at its end is of no interest.
    const child = spawn(process.env.PYTHON, [script, `${relay.url}cometd`, type], { stdio: ["ignore", "pipe", "ignore"] });
    const inbox = new Inbox();
    createInterface({ input: child.stdout }).on("line", (line) => inbox.take(JSON.parse(line)));
    try {
      assert.deepEqual(await inbox.next(), { channel: "/python/a", data: { n: 1 } });
      await proxy.publish("%2Fpython%2Fb", "text");
      assert.deepEqual(await inbox.next(), { channel: "/python/b", data: "text" });
      for (let number = 0; number < 9; number += 1) {
        const isCut = number % 3 === 1;
        if (isCut) relay.cut();
        await proxy.publish(`%2Fpython%2F${number}`, JSON.stringify(number), JSON_TYPE);
        if (isCut) relay.mend();
        assert.deepEqual(await inbox.next(), { channel: `/python/${number}`, data: number });
      }
      await proxy.kill();
      await proxy.start();
      // A subscription to one channel is counted as its.
      await proxy.held("%2Fpython%2Fhere", 1);
      await proxy.publish("%2Fpython%2Fhere", "anew");
      assert.deepEqual(await inbox.next(), { channel: "/python/here", data: "anew" });
      assert.ok(inbox.isEmpty);
    } finally {
      child.kill("SIGKILL");
      await relay.close();
    }
  });
}
