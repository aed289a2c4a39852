/*! perihelion 0.1.0, the client of the reverse proxy Perihelion. MIT licence. */

// A tab has a Perihelion. One tab of a browser, the leader, has the Line to the proxy as well, and says everything that
// comes to the others. Every message has a position, and what is passed on says after which position it comes, so that
// each tab sees by itself what it has already and what it lacks.

/** What each transport asks for; which of them it gets is said by the media type of the answer. */
const ASKS = {
  sse: { Accept: "text/event-stream", Prefer: "comet-open" },
  ndjson: { Accept: "application/x-ndjson", Prefer: "comet-open" },
  "long-poll": { Accept: "application/json" },
  poll: { Accept: "application/json", Prefer: "wait=0" },
};
const DEFAULTS = {
  position: "",
  transports: Object.keys(ASKS),
  share: true,
  credentials: "same-origin",
  headers: {},
  retry: 1000,
  retryMax: 30000,
  interval: 5000,
  patience: 5000,
  silence: 60000,
};
/** A poll is held for less, and no middlebox lets it be for longer. */
const POLL_MS = 90000;
/** After so long with less than the best transport it is tried again. */
const CLIMB_MS = 300000;
/** Messages that a tab keeps for tabs that lack them. */
const RECENT_MAX = 200;
/** Failures of one kind after which a transport is given up. */
const GIVE_UP = 2;
/** What took longer was held. */
const HELD_MS = 1000;
/** What is told by these names comes from here: a publisher's events of the same name are told by `*` alone. */
const OWN = new Set(["*", "gap", "open", "state", "close"]);

/** How far apart two positions are; NaN where they are of two lives of the store, or one is missing. */
function distance(a, b) {
  const [lifeA, placeA] = (a || "").split("-");
  const [lifeB, placeB] = (b || "").split("-");
  return lifeA && lifeA === lifeB ? placeA - placeB : NaN;
}

/** Milliseconds until what `Retry-After` says, in seconds or as a date (RFC 9110 §10.2.3). */
function retryAfter({ headers }) {
  const value = headers.get("Retry-After") || "";
  return (/^\d+$/.test(value) ? value * 1000 : Date.parse(value) - Date.now()) || 0;
}

/** The fields of server-sent events, from text in any pieces (WHATWG HTML §9.2.6). */
function eventReader(event) {
  let text = "";
  let fields = { data: "" };
  let behindCr = false;
  const line = (line) => {
    if (line === "") {
      event(fields);
      fields = { data: "" };
      return;
    }
    const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
    if (name === "data") fields.data += `${value}\n`;
    else if (name === "event") fields.event = value;
    else if (name === "id" && !value.includes("\0")) fields.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) fields.retry = Number(value);
  };
  return (piece) => {
    if (behindCr && piece[0] === "\n") piece = piece.slice(1);
    if (piece) behindCr = piece.endsWith("\r");
    const lines = (text + piece).split(/\r\n|\r|\n/);
    text = lines.pop();
    lines.forEach(line);
  };
}

/** One JSON object a line. */
function lineReader(object) {
  let text = "";
  return (piece) => {
    const lines = (text + piece).split("\n");
    text = lines.pop();
    for (const line of lines) if (line.trim()) object(JSON.parse(line));
  };
}

/** The connection to the proxy, over whatever transport gets through. */
class Line {
  constructor(url, options, { position, ticket, transport }, tab) {
    const { retry, interval } = options;
    Object.assign(this, { url, options, position, ticket, tab, retry, interval, fails: 0, early: 0, odd: 0, notBefore: 0 });
    this.step = Math.max(0, options.transports.indexOf(transport));
    this.fellAt = Date.now();
  }

  get transport() {
    return this.options.transports[this.step];
  }

  async run() {
    while (!this.closed) {
      if (this.step && Date.now() - this.fellAt > CLIMB_MS) this.climb();
      const pause = await this.attempt();
      if (this.closed) return;
      if (pause > 0) await this.wait(pause);
    }
  }

  /** One request to its end. Gives the milliseconds until the next one. */
  async attempt() {
    const { transport } = this;
    const { patience } = this.options;
    const begun = Date.now();
    const isStream = transport === "sse" || transport === "ndjson";
    this.request = new AbortController();
    this.rewound = this.silent = this.hadHead = this.isPoll = false;
    this.heard = 0;
    this.due = Infinity;
    let why = { reason: "the answer ended without a byte" };
    if (!this.isOpen) this.become("connecting");
    try {
      const { headers } = this.options;
      const further = typeof headers === "function" ? await headers() : headers;
      this.expect(isStream ? patience : this.isOpen ? POLL_MS : patience * 4);
      const response = await this.ask(transport, further);
      if (!response.ok) return this.refused(response);
      const counted = await this.read(response, isStream, begun);
      if (this.heard || !isStream) return this.over(isStream && !this.isPoll, counted, begun);
      this.early += 1;
    } catch (error) {
      why = { reason: this.silent ? "nothing came in time" : error.message };
      if (this.closed || this.rewound) return 0;
      if (isStream && this.silent && !this.heard && this.fall()) return 0;
      // A head came, or it was held for a while, and then it broke: something on the way doesn't like this transport.
      if (this.silent || this.hadHead || (!isStream && Date.now() - begun > HELD_MS)) this.early += 1;
    } finally {
      clearTimeout(this.timer);
    }
    if (this.early >= GIVE_UP && this.fall()) return 0;
    // Where nothing gets through, it isn't the transport.
    if (!this.heard && this.step + 1 === this.options.transports.length) this.climb();
    return this.failed(why);
  }

  ask(transport, further) {
    const { position, ticket, options } = this;
    const headers = { ...ASKS[transport], ...further };
    // Nobody waits until it is known that it gets through, and from where on.
    if (transport === "long-poll" && !(this.isOpen && position)) headers.Prefer = "wait=0";
    if (position) headers["Last-Event-ID"] = position;
    if (ticket) headers["Comet-Ticket"] = ticket;
    const { credentials } = options;
    return fetch(this.url, { headers, credentials, cache: "no-store", signal: this.request.signal });
  }

  /** Reads an answer to its end; gives the number of messages. */
  async read(response, isStream, begun) {
    this.hadHead = true;
    const { signal } = this.request;
    const goOn = () => {
      if (signal.aborted) throw new Error("aborted");
    };
    const type = (response.headers.get("Content-Type") || "").split(";")[0].trim().toLowerCase();
    const batch = { items: [] };
    let count = 0;
    const flush = () => {
      count += batch.items.length;
      if (batch.items.length || batch.upto) this.pass(batch.items.splice(0), batch.upto);
      batch.upto = undefined;
    };
    if (type === "application/json" || response.status === 204) {
      const text = await response.text();
      goOn();
      this.polls();
      this.odd = 0;
      this.takeAnswer((text && JSON.parse(text)) || {}, batch);
      this.open();
      flush();
      return count;
    }
    const readers = {
      "text/event-stream": eventReader((fields) => this.takeEvent(fields, batch)),
      "application/x-ndjson": lineReader((object) => this.takeObject(object, batch)),
    };
    const take = readers[type];
    if (!take) {
      if (!this.isNothing(response, isStream, begun)) {
        this.tab.ended({ status: response.status, reason: `not held, but an answer of the type ${type || "?"}` });
      } else {
        await response.text();
        goOn();
        this.polls();
        this.open();
      }
      return 0;
    }
    const decoder = new TextDecoder();
    const body = response.body.getReader();
    for (;;) {
      const { done, value } = await body.read();
      // What had come before it was ended belongs to another position now.
      goOn();
      if (done) return count;
      if (this.heard) this.early = 0;
      this.heard += 1;
      this.fails = 0;
      this.expect(this.options.silence);
      take(decoder.decode(value, { stream: true }));
      this.open();
      flush();
      this.tab.alive();
    }
  }

  /**
   * Whether an answer of a foreign type to a poll says that nothing has happened: the application's own is sent when
   * the time of a poll is over, or the proxy stops. A page to log in at comes at once, or by a redirection.
   */
  isNothing({ headers, redirected }, isStream, begun) {
    if (redirected) return false;
    if (Date.now() - begun > HELD_MS) return true;
    if (isStream) return false;
    if (headers.get("Content-Length") === "0") return true;
    this.odd += 1;
    return this.isOpen && this.odd < GIVE_UP;
  }

  /** An answer is whole: where a stream was asked for, the application has named a poll. */
  polls() {
    this.heard += 1;
    this.isPoll = true;
    const poll = this.options.transports.indexOf("long-poll");
    if (poll > this.step) {
      this.step = poll;
      this.fellAt = Date.now();
    }
  }

  takeEvent({ id, event, data, retry }, batch) {
    if (retry !== undefined) this.retry = retry;
    if (id) batch.upto = id;
    if (!data) return;
    data = data.slice(0, -1);
    if (event?.startsWith("comet.")) this.takeObject({ ...JSON.parse(data), event }, batch);
    else batch.items.push({ id, event, data });
  }

  takeObject(object, batch) {
    const { id, event, data, channel, position, retry, ticket } = object;
    if (event === "comet.gap") batch.items.push({ gap: object });
    else if (event === "comet.open" || event === "comet.ticket") {
      if (retry) this.retry = retry;
      if (ticket) this.tab.gotTicket((this.ticket = ticket));
      // A first position is where this begins, and not what has been reached.
      if (position && !this.position) this.position = position;
      if (position) batch.upto = position;
    } else if (id || event || data !== undefined) {
      batch.items.push({ id, event, channel, data: typeof data === "string" ? data : JSON.stringify(data) });
      if (id) batch.upto = id;
    }
  }

  takeAnswer({ messages = [], gap, position, retry, ticket }, batch) {
    if (ticket) this.tab.gotTicket((this.ticket = ticket));
    if (retry) this.interval = retry;
    if (gap) batch.items.push({ gap: { channel: null, missing: null, after: this.position || null, before: null } });
    for (const message of messages) this.takeObject(message, batch);
    if (position && !this.position && !messages.length) this.position = position;
    batch.upto = position || batch.upto;
  }

  /** Passes on what has come, and says after which position it did. */
  pass(items, upto = this.position) {
    const after = this.position;
    this.position = upto;
    this.tab.took({ after, items, upto });
  }

  open() {
    this.fails = 0;
    if (this.isOpen) return;
    this.isOpen = true;
    this.become("open");
  }

  become(state, why) {
    this.tab.became(state, this.transport, why);
  }

  /** An answer that is whole: a stream that has ended, or a poll. */
  over(isStream, count, begun) {
    if (this.closed) return 0;
    if (isStream) {
      this.isOpen = false;
      return this.pause(this.spread(this.retry), { reason: "the stream ended" });
    }
    this.tab.alive();
    if (this.transport === "poll") return this.spread(this.interval);
    const wasFirst = !this.polled;
    this.polled = true;
    if (!wasFirst) this.early = 0;
    // Whoever is answered at once and with nothing would ask for ever.
    return count || wasFirst || Date.now() - begun > HELD_MS ? 0 : this.spread(this.retry);
  }

  /** An answer that is none: most of them pass, and those that say that it is the request's fault don't. */
  refused(response) {
    const { status, statusText: reason } = response;
    this.request.abort();
    if (status < 500 && status !== 408 && status !== 425 && status !== 429) {
      this.tab.ended({ status, reason });
      return 0;
    }
    const after = retryAfter(response);
    this.notBefore = Date.now() + after;
    return this.failed({ status, reason }, after);
  }

  failed(why, least = 0) {
    this.isOpen = this.polled = false;
    const { retry, options } = this;
    const pause = Math.min(retry * 2 ** this.fails++, Math.max(options.retryMax, retry));
    return this.pause(this.spread(Math.max(pause, least)), why);
  }

  pause(pause, why) {
    this.become("waiting", { ...why, pause: Math.round(pause) });
    return pause;
  }

  /** Waits no longer, unless the server has said until when. */
  hurry() {
    if (Date.now() >= this.notBefore) this.waiting();
  }

  /** Never sooner than said, and not everybody at once. */
  spread(pause) {
    return pause * (1 + Math.random() / 2);
  }

  /** Goes on with the next transport, if there is one. */
  fall() {
    if (this.step + 1 >= this.options.transports.length) return false;
    this.step += 1;
    this.fellAt = Date.now();
    this.early = this.fails = 0;
    this.isOpen = this.polled = false;
    return true;
  }

  climb() {
    if (this.step) this.isOpen = this.polled = false;
    this.step = this.early = 0;
  }

  /** Ends the request when nothing has come for so long. */
  expect(ms) {
    clearTimeout(this.timer);
    this.due = Date.now() + ms;
    this.timer = setTimeout(() => {
      this.silent = true;
      this.request.abort();
    }, ms);
  }

  wait(ms) {
    return new Promise((resolve) => {
      this.waiting = resolve;
      this.timer = setTimeout(resolve, ms);
    }).finally(() => {
      clearTimeout(this.timer);
      this.waiting = null;
    });
  }

  /** Somebody looks, or a network has come back: now is the time. Timers may have slept. */
  wake(isNewNetwork) {
    if (isNewNetwork) this.climb();
    if (this.waiting) this.hurry();
    else if (Date.now() > this.due) {
      this.silent = true;
      this.request.abort();
    }
  }

  /** Goes back to an earlier position, for a tab that lacks what came after it. */
  rewind(position) {
    if (this.position && distance(this.position, position) <= 0) return;
    this.position = position;
    this.rewound = !this.waiting;
    if (this.waiting) this.hurry();
    else this.request.abort();
  }

  close() {
    this.closed = true;
    this.request.abort();
    this.waiting?.();
    clearTimeout(this.timer);
  }
}

/** A message as its publisher said it. */
class Message {
  constructor({ id, event, channel, data }) {
    Object.assign(this, { id, event, channel, data });
  }

  /** The data, where it is JSON. */
  json() {
    return JSON.parse(this.data);
  }
}

export class Perihelion {
  #url;
  #options;
  #listeners = new Map();
  #state = "connecting";
  #transport;
  #last;
  #ticket;
  /** The newest messages, and the position after which they are complete. */
  #recent = [];
  #since;
  #line;
  #channel;
  #free;
  #seeking;
  #asked;
  #watch;
  #wakers;

  constructor(url, options = {}) {
    this.#url = new URL(url, globalThis.location?.href).href;
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.#options = { ...DEFAULTS, ...Object.fromEntries(given) };
    const { transports } = this.#options;
    const unknown = transports.find((name) => !(name in ASKS));
    if (unknown || !transports.length) throw new TypeError(`no transport ${unknown ?? "is named"}`);
    this.#last = this.#since = this.#options.position || undefined;
    const wake = (event) => {
      if (globalThis.document?.visibilityState === "hidden") return;
      this.#line ? this.#line.wake(event.type === "online") : this.#tell({ wake: event.type });
    };
    this.#wakers = { online: wake, visibilitychange: wake, pagehide: () => this.#leave(), pageshow: (event) => event.persisted && this.#join() };
    for (const [type, f] of Object.entries(this.#wakers)) this.#target(type)?.addEventListener?.(type, f);
    // Whoever has made it listens first.
    queueMicrotask(() => this.#state !== "closed" && this.#join());
  }

  /** `connecting`, `open`, `waiting` or `closed`. */
  get state() {
    return this.#state;
  }

  /** What the messages come over, once they do. */
  get transport() {
    return this.#transport;
  }

  /** Up to where this page has got everything. */
  get position() {
    return this.#last;
  }

  /** Whether this tab has the connection. */
  get leads() {
    return !!this.#line;
  }

  on(event, f) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(f);
    return () => this.#listeners.get(event).delete(f);
  }

  close() {
    this.#end({});
  }

  #target(type) {
    return type === "visibilitychange" ? globalThis.document : globalThis;
  }

  #emit(event, ...content) {
    for (const f of [...(this.#listeners.get(event) || [])]) {
      try {
        f(...content);
      } catch (error) {
        globalThis.reportError ? reportError(error) : console.error(error);
      }
    }
  }

  #join() {
    const { share } = this.#options;
    if (!share || !globalThis.navigator?.locks || !globalThis.BroadcastChannel) return this.#lead();
    this.#channel = new BroadcastChannel(this.#name());
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#ask();
    this.#seek({ signal: (this.#seeking = new AbortController()).signal });
    this.#await();
  }

  /** Tabs with the same name share a connection. */
  #name() {
    const { share } = this.#options;
    return `perihelion ${share === true ? "" : share} ${this.#url}`;
  }

  /** Leads as soon as nobody else does, until it leaves or is robbed of it. */
  #seek(how) {
    const lead = () => new Promise((free) => {
      this.#free = free;
      this.#lead();
    });
    navigator.locks.request(this.#name(), how, lead).catch(() => {
      if (how.signal?.aborted || !this.#channel) return;
      this.#line?.close();
      this.#line = undefined;
      this.#seek({ signal: (this.#seeking = new AbortController()).signal });
    });
  }

  /** A leader that says nothing at all for too long is frozen, and another tab takes its place. */
  #await() {
    clearTimeout(this.#watch);
    const patience = this.#options.silence + this.#options.retryMax;
    this.#watch = setTimeout(() => {
      if (this.#line || !this.#channel) return;
      if (globalThis.document?.visibilityState !== "hidden") {
        this.#seeking.abort();
        this.#seek({ steal: true });
      }
      this.#await();
    }, patience * (1 + Math.random()));
  }

  #lead() {
    const from = { position: this.#last, ticket: this.#ticket, transport: this.#transport };
    const line = new Line(this.#url, this.#options, from, {
      took: (batch) => {
        this.#tell({ batch });
        this.#take(batch);
      },
      became: (state, transport, why) => {
        this.#tell({ state, transport, why });
        this.#become(state, transport, why);
      },
      gotTicket: (ticket) => this.#tell({ ticket: (this.#ticket = ticket) }),
      alive: () => this.#tell({}),
      ended: (why) => {
        this.#tell({ ended: why });
        this.#end(why);
      },
    });
    this.#line = line;
    this.#tell({ leads: true });
    line.run();
  }

  #leave() {
    this.#line?.close();
    this.#line = undefined;
    this.#seeking?.abort();
    this.#free?.();
    this.#channel?.close();
    this.#channel = undefined;
    clearTimeout(this.#watch);
  }

  #tell(what) {
    this.#channel?.postMessage(what);
  }

  #ask() {
    this.#asked = { last: this.#last, at: Date.now() };
    this.#tell({ ask: this.#last || null });
  }

  #hear({ batch, state, transport, why, position, ticket, leads, ended, ask, wake }) {
    if (ask !== undefined) return this.#line && this.#answer(ask);
    if (wake) return this.#line?.wake(wake === "online");
    this.#await();
    if (ticket) this.#ticket = ticket;
    if (leads) this.#ask();
    if (batch) this.#take(batch);
    if (position && !this.#last) this.#last = this.#since = position;
    if (state && !this.#line) this.#become(state, transport, why);
    if (ended) this.#end(ended);
  }

  /** Gives a tab what it lacks, from what is kept or from the proxy. */
  #answer(ask) {
    this.#tell({ state: this.#state, transport: this.#line.transport, position: this.#last, ticket: this.#ticket });
    if (!ask) return;
    if (distance(ask, this.#since) >= 0) {
      const items = this.#recent.filter(({ id }) => distance(id, ask) > 0);
      this.#tell({ batch: { after: ask, items, upto: this.#last } });
    } else {
      this.#line.rewind(ask);
    }
  }

  /** Shows what is new here. What leaves a hole is asked for once more, from before the hole. */
  #take({ after, items, upto }) {
    if (distance(after, this.#last) > 0) {
      const asked = this.#asked;
      if (asked?.last !== this.#last || Date.now() - asked.at > this.#options.patience) this.#ask();
      return;
    }
    if (!this.#last) this.#last = this.#since = after;
    for (const item of items) {
      if (item.gap ? distance(item.gap.before, this.#last) <= 0 : distance(item.id, this.#last) <= 0) continue;
      if (item.id) this.#keep(item);
      if (item.gap) this.#emit("gap", item.gap);
      else this.#show(new Message(item));
    }
    if (upto && !(distance(upto, this.#last) <= 0)) this.#moved(upto);
  }

  /** Of another life of the store nothing is kept that came before. */
  #moved(position) {
    if (Number.isNaN(distance(position, this.#last))) {
      this.#recent = [];
      this.#since = position;
    }
    this.#last = position;
  }

  #keep(item) {
    this.#moved(item.id);
    if (this.#since !== item.id) this.#recent.push(item);
    if (this.#recent.length > RECENT_MAX) this.#since = this.#recent.shift().id;
  }

  #show(message) {
    const name = message.event || "message";
    if (!OWN.has(name)) this.#emit(name, message);
    this.#emit("*", message);
  }

  #become(state, transport, why) {
    this.#transport = transport || this.#transport;
    if (this.#state === state || this.#state === "closed") return;
    this.#state = state;
    this.#emit("state", state, why);
    if (state === "open") this.#emit("open", { transport: this.#transport, position: this.#last });
  }

  #end(why) {
    if (this.#state === "closed") return;
    this.#leave();
    for (const [type, f] of Object.entries(this.#wakers)) this.#target(type)?.removeEventListener?.(type, f);
    this.#become("closed");
    this.#emit("close", why);
  }
}

export default Perihelion;
