// Server-sent events to the letter, in the published client `eventsource`; Chromium's own is in tests/browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { EventSource } from "eventsource";
import { Proxy } from "../browser/proxy.mjs";

let proxy;
let source;

before(async () => {
  proxy = await Proxy.before(
    (request, response) => response.writeHead(200, {
      "X-Comet-Subscribe": "news", "X-Comet-Transport": "sse", "X-Comet-Retry": "50",
    }).end(),
    ' "*": app',
  );
});

after(async () => {
  source?.close();
  await proxy?.stop();
});

const PUBLISHED = [
  "plain", "", " leading space", "  two", "trailing ", "a\nb", "a\r\nb", "a\rb", "\n\n", "\r", "\r\n\r\n", "a\n", "\ufeffmark", "nul \0 inside",
  "data: x\n\nevent: y", "id: 9", "id: a\0b", ":comment", "retry: 1", "\u2028\u2029\u{1f680}", "last",
];

/** What has come, once there is so much of it. */
async function heard(events, count) {
  const deadline = Date.now() + 60_000;
  while (events.length < count) {
    assert.ok(Date.now() < deadline, JSON.stringify(events));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return events;
}

test("an event comes out as it was published, but for its line ends, and with its position", async () => {
  const events = [];
  const ids = [];
  source = new EventSource(`${proxy.url}events`);
  source.onmessage = (event) => events.push(event.data);
  source.addEventListener("named", (event) => ids.push(event.lastEventId));
  await proxy.held("news", 1);
  for (const data of PUBLISHED) await proxy.publish("news", data, { "Content-Type": "text/plain; charset=utf-8" });
  const read = PUBLISHED.map((data) => data.replace(/\r\n?/g, "\n"));
  assert.deepEqual(await heard(events, read.length), read);
  const id = await proxy.publish("news", "{}", { "Content-Type": "application/json", "X-Comet-Event": "named" });
  assert.deepEqual(await heard(ids, 1), [id]);
});
