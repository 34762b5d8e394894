// The live stream of records: Server-Sent Events read by fetch, since an EventSource sends no token.

import { Refused, open } from "./api.js";
import { SignedOut } from "./session.js";

const PATH = "/admin/audit/stream";
const QUICKEST_MS = 500;
const SLOWEST_MS = 15_000;
const CONNECT_MS = 20_000;
const SILENT_MS = 40_000; // the service says every 15 s that it is there
const LONGEST = 8 * 1024 * 1024; // characters of one event

/** Whoever is handed the records could not take them: that is no break, and would come again. */
class Untaken extends Error {}

/** Takes a stream of Server-Sent Events apart (WHATWG HTML section 9.2.6). `id` is the one to resume behind. */
export class Events {
  #rest = "";
  #data = [];
  #next; // the id that counts once its event is whole

  constructor(id) {
    this.id = id;
    this.#next = id;
  }

  /** The data of the events that are whole now that *text* has come. */
  take(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    if (this.#rest.length > LONGEST) throw new Untaken("an event without end");
    return lines.map((line) => this.#line(line)).filter((data) => data !== null);
  }

  #line(line) {
    if (line === "") {
      const data = this.#data.join("\n");
      this.id = this.#next;
      this.#data = [];
      return data === "" ? null : data;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "data") this.#data.push(value);
    if (name === "id" && !value.includes("\0")) this.#next = value;
    return null;
  }
}

/**
 * Hand the records behind the id *after*, and then those that come, to *onRecords*, until *signal* says that it is enough.
 *
 * A break is mended by going on behind the last record that was handed over, so none is missing and none comes twice.
 * *onState* hears how it is: {name: "connecting" | "live"}, {name: "waiting", until, now}, with a function that does
 * not wait, or at last {name: "stopped", error}, if trying again would not help.
 */
export async function follow({ after, signal, onRecords, onState }) {
  let last = String(after);
  let failures = 0;
  const listen = async () => {
    const watch = new Watch(signal);
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": last };
      const response = await open("GET", PATH, { headers, signal: watch.signal, endless: true });
      watch.expect(SILENT_MS);
      onState({ name: "live" });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new Events(last);
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        watch.expect(SILENT_MS);
        const data = events.take(value);
        if (data.length) await handed(onRecords, data);
        last = events.id;
        failures = 0;
      }
    } finally {
      watch.end();
    }
  };
  while (!signal.aborted) {
    onState({ name: "connecting" });
    try {
      await listen();
    } catch (error) {
      if (signal.aborted) return;
      if (isFinal(error)) {
        onState({ name: "stopped", error: error.cause ?? error });
        return;
      }
    }
    if (signal.aborted) return;
    // not all who were cut off come back at once
    const wait = Math.min(QUICKEST_MS * 2 ** failures, SLOWEST_MS) * (0.75 + Math.random() / 2);
    failures += 1;
    await pause(wait, signal, (now) => onState({ name: "waiting", until: Date.now() + wait, now }));
  }
}

async function handed(onRecords, data) {
  try {
    await onRecords(data);
  } catch (cause) {
    throw new Untaken("untaken", { cause });
  }
}

/** Whether *error* would come again. */
function isFinal(error) {
  if (error instanceof SignedOut || error instanceof Untaken) return true;
  return error instanceof Refused && error.status < 500 && error.status !== 429;
}

function pause(wait, signal, told) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, wait);
    const now = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", now, { once: true });
    told(now);
  });
}

/** Gives up when *outer* does, or when nothing came for too long. */
class Watch {
  #giveUp = new AbortController();
  #timer;

  constructor(outer) {
    this.signal = AbortSignal.any([outer, this.#giveUp.signal]);
    this.expect(CONNECT_MS);
  }

  expect(within) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#giveUp.abort(), within);
  }

  end() {
    clearTimeout(this.#timer);
    this.#giveUp.abort();
  }
}
