/** A message as its publisher said it. */
export interface Message {
  /** Its position; what stands in the application's own answer has none. */
  readonly id?: string;
  /** What its publisher called it. */
  readonly event?: string;
  /** Its channel, where the transport says it: not over `sse`. */
  readonly channel?: string;
  /** What was published, as text. */
  readonly data: string;
  /** What was published, where it is JSON. Throws a SyntaxError where it isn't. */
  json<T = unknown>(): T;
}

/** Messages that can't be given any more: load anew what they would have told. */
export interface Gap {
  readonly channel: string | null;
  /** How many, where that is known. */
  readonly missing: number | null;
  readonly after: string | null;
  readonly before: string | null;
}

export type Transport = "sse" | "ndjson" | "long-poll" | "poll";
export type State = "connecting" | "open" | "waiting" | "closed";

/** Why it waits, and for how long. */
export interface Trouble {
  /** Of an answer that was none. */
  readonly status?: number;
  readonly reason: string;
  /** Milliseconds until the next attempt. */
  readonly pause: number;
}

/** Why it was closed: nothing where the page did it. */
export interface Closed {
  readonly status?: number;
  readonly reason?: string;
}

export interface Options {
  /** Where to begin: what the application's request for this page had in `X-Comet-Position`. Default: now. */
  position?: string;
  /** What to try, in this order. Default: all. */
  transports?: Transport[];
  /** Whether the tabs of a browser share a connection; tabs with another name share another one. Default: true. */
  share?: boolean | string;
  /** Default: `same-origin`. */
  credentials?: RequestCredentials;
  /** Further fields of each request, or what gives them each time. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** Milliseconds until the first new attempt, unless the server says it; each further one takes twice as long. Default: 1000. */
  retry?: number;
  /** The longest pause. Default: 30000. */
  retryMax?: number;
  /** Between two polls of the last resort, unless the server says it. Default: 5000. */
  interval?: number;
  /** For the first byte of a stream. Default: 5000. */
  patience?: number;
  /** After which a stream is dead; longer than its keep-alive. Default: 60000. */
  silence?: number;
}

/** What it tells itself, and messages that have no name. */
interface Events {
  /** Messages without an event name. */
  message: Message;
  /** Every message. */
  "*": Message;
  gap: Gap;
  open: { transport: Transport; position?: string };
  close: Closed;
}

export declare class Perihelion {
  constructor(url: string | URL, options?: Options);
  /** Listens to messages of an event name, or to what it tells itself. Gives the function that ends it. */
  on(event: "state", f: (state: State, why?: Trouble) => void): () => void;
  on<E extends keyof Events>(event: E, f: (content: Events[E]) => void): () => void;
  on(event: string, f: (message: Message) => void): () => void;
  /** Ends it for this page; other tabs go on. */
  close(): void;
  readonly state: State;
  readonly transport: Transport | undefined;
  /** Up to where this page has got everything. */
  readonly position: string | undefined;
  /** Whether this tab has the connection. */
  readonly leads: boolean;
}

export default Perihelion;

declare global {
  /** What the classic script defines. */
  interface Window {
    Perihelion: typeof Perihelion;
  }
}
