// The stream: one EventSource, the place it has reached, and the proof that nothing was lost or came twice.

const REOPEN_MS = 3000;

/**
 * `heard` is called for each event with its type and its content, `changed` whenever something in here has.
 */
export class Stream {
  constructor({ heard, gap, changed }) {
    Object.assign(this, { heard, gap, changed });
    this.state = "connecting";
    this.received = 0;
    this.lost = 0;
    this.twice = 0;
    this.source = null;
    this.timer = 0;
  }

  /** Goes on from a state of the application: everything up to its newest event is on the page already. */
  begin({ position, newest }) {
    this.position = position ?? "";
    this.rendered = newest;
    this.last = newest;
    this.open();
  }

  open() {
    this.close();
    // The browser sends Last-Event-ID only for what this EventSource itself has got.
    const place = this.position ? `?lastEventId=${encodeURIComponent(this.position)}` : "";
    const source = new EventSource(`/events${place}`);
    this.source = source;
    this.become("connecting");
    source.addEventListener("open", () => this.become("live"));
    source.addEventListener("error", () => this.failed(source));
    source.addEventListener("comet.gap", () => this.gap());
    for (const type of ["hello", "chat", "slides", "message"]) {
      source.addEventListener(type, (event) => this.take(type, event));
    }
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  /** Leaves the line, and comes back at the same place. */
  drop() {
    this.close();
    this.become("dropped");
    this.timer = setTimeout(() => this.open(), REOPEN_MS);
  }

  // The browser reconnects by itself after a broken connection, and gives up after an answer that is no stream.
  failed(source) {
    if (source.readyState === EventSource.CLOSED) {
      this.close();
      this.timer = setTimeout(() => this.open(), REOPEN_MS);
    }
    this.become("reconnecting");
  }

  become(state) {
    this.state = state;
    this.changed();
  }

  take(type, event) {
    const content = parse(event.data);
    if (type !== "hello") {
      this.position = event.lastEventId;
      this.received += 1;
      if (Number.isInteger(content.number) && !this.count(content)) return;
    }
    this.heard(type, content);
    this.changed();
  }

  /**
   * The application numbers its events and names the one before. Answers whether to show this one: what the
   * page was rendered with is on it already, though the stream begins a little earlier.
   */
  count({ number, previous }) {
    if (number <= this.rendered) return false;
    if (number <= this.last) this.twice += 1;
    if (previous > this.last) this.lost += previous - this.last;
    this.last = Math.max(this.last, number);
    return true;
  }
}

/** What was published past the application may be any text. */
function parse(data) {
  try {
    const content = JSON.parse(data);
    if (content && typeof content === "object" && !Array.isArray(content)) return content;
  } catch {
    // Not JSON: the text itself.
  }
  return { text: data };
}
