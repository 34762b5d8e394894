// The hash chain of a tenant's log (docs/log-format.md), checked where nobody but the reader has a say.

import { canonical, genesis, link } from "./digest.js";

const REMEMBERED = 4096; // digests, for heads that come after their records
const LISTED = 100; // faults
const ABSENT = ["removed", "reordered", "cut_off"]; // faults of what is not where it belongs

/** A record as it was found: its `body` as text, what that says (`record`, null for nothing), and its stated `digest`. */
export function found(body, digest, beside = {}) {
  const record = parsed(body);
  const place = record?.position;
  const isPlaced = Number.isSafeInteger(place) && place >= 1 && typeof record.event_id === "string" && typeof record.tenant_id === "string";
  return { body, digest, record: isPlaced ? record : null, position: isPlaced ? place : null, ...beside };
}

/** The record in a line of the feed, a CloudEvent; only its `data` is hashed, so that is what is believed. */
export function foundIn(line) {
  const event = parsed(line);
  const start = line.indexOf('"data":'); // in a string its quotes would be escaped
  if (typeof event?.digest !== "string" || start < 0) return found(line, "");
  return found(line.slice(start + 7, line.lastIndexOf("}")), event.digest, { id: event.id, source: event.source });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // it is no record, and the chain says so at its place
  }
}

/**
 * Reads a log from its first record to its last, or on from *start*, {position, digest}: a record that is believed.
 *
 * `faults` are what is wrong: each a `kind`, as log-format.md has it, at a `position`, of absent ones `to` another. As
 * the service's own verifier does, it goes on from the digests that are stated, so that one fault is found once.
 */
export class Chain {
  #tenant;
  #befores; // from one of these the next record follows
  #earlier = []; // from one of these the last one did
  #jump = null; // the last record, if it skipped some
  #digests = new Map();
  #waiting = new Map(); // heads of positions that have not been reached

  constructor(tenant, start = { position: 0 }) {
    this.#tenant = tenant;
    this.position = start.position;
    this.isLinked = false; // the last record to the one before it
    this.faults = [];
    this.unlisted = 0;
    this.confirmed = null;
    if (start.digest !== undefined) this.#accept(start.position, [start.digest]);
  }

  /** The digest of the last record. */
  get digest() {
    return this.#befores?.[0];
  }

  /** The next record, in the order of the feed. What is wrong with it is told, and null if nothing is. */
  async take(entry) {
    if (!this.#befores) this.#accept(0, [await genesis(this.#tenant)]);
    this.isLinked = false;
    const expected = this.position + 1;
    const position = entry.position ?? expected;
    if (position < expected) return this.#late(entry);
    if (position > expected) {
      const gap = this.#blame("removed", expected, position - 1);
      this.#accept(position, [entry.digest]);
      this.#jump = { gap, digest: entry.digest };
      return null;
    }
    const dues = await Promise.all(this.#befores.map((before) => link(before, entry.body)));
    const followed = dues.indexOf(entry.digest);
    // it follows from what the one before should have been, so that one is to blame
    if (followed === 1) Object.assign(this.#at(this.position) ?? {}, { kind: "altered" });
    this.isLinked = followed >= 0 && entry.record !== null && this.#isAtHome(entry);
    const fault = this.isLinked ? null : this.#blame("altered", expected);
    this.#accept(expected, followed >= 0 || dues[0] === undefined ? [entry.digest] : [entry.digest, dues[0]]);
    return fault;
  }

  /** A *head*, {position, digest}, that the log must pass through. */
  hold(head) {
    const digest = this.#digests.get(head.position);
    if (digest !== undefined) this.#compare(head, digest);
    else if (head.position > this.position || !this.#befores) this.#waiting.set(head.position, head);
  }

  /** Nothing comes any more: a log that ends before a head was cut off. */
  async end() {
    if (!this.#befores) this.#accept(0, [await genesis(this.#tenant)]);
    const { gap, digest } = this.#jump ?? {};
    if (gap && this.#waiting.get(gap.position)?.digest === digest) {
      Object.assign(gap, { kind: "altered", to: undefined });
      this.#accept(gap.position, [digest]);
    }
    const ahead = [...this.#waiting.keys()].filter((position) => position > this.position);
    if (ahead.length) this.#blame("cut_off", this.position + 1, Math.max(...ahead));
    this.#waiting.clear();
  }

  #isAtHome({ record, body, id, source }) {
    if (record.tenant_id !== this.#tenant || canonical(record) !== body) return false;
    return (id === undefined || id === record.event_id) && (source === undefined || source === `/tenants/${quoted(this.#tenant)}`);
  }

  async #late(entry) {
    const gap = this.faults.find((fault) => ABSENT.includes(fault.kind) && fault.position <= entry.position && entry.position <= fault.to);
    if (gap && (await this.#wasNoJump(gap, entry))) return null;
    if (gap) return Object.assign(gap, { kind: "reordered" });
    if (entry.position === this.position) return this.#again(entry);
    return this.#blame("inserted", this.position + 1);
  }

  /** Whether nothing is missing: *entry* follows from the one that seemed to skip some, which only says another position. */
  async #wasNoJump(gap, entry) {
    const isNext = this.#jump?.gap === gap && entry.position === gap.position + 1;
    if (!isNext || (await link(this.#jump.digest, entry.body)) !== entry.digest) return false;
    Object.assign(gap, { kind: "altered", to: undefined });
    this.#accept(entry.position, [entry.digest]);
    return true;
  }

  /** A second record of the last position: if it follows from the one before, the first does not belong there. */
  async #again(entry) {
    const dues = await Promise.all(this.#earlier.map((before) => link(before, entry.body)));
    if (entry.digest === this.digest || !dues.includes(entry.digest)) return this.#blame("inserted", this.position + 1);
    const fault = this.#at(this.position) ?? this.#blame("inserted", this.position);
    this.#befores = [entry.digest];
    this.#digests.set(this.position, entry.digest);
    return Object.assign(fault, { kind: "inserted" });
  }

  #accept(position, digests) {
    this.#jump = null;
    this.#earlier = this.#befores ?? [];
    this.#befores = digests;
    this.position = position;
    this.#digests.set(position, digests[0]);
    this.#digests.delete(position - REMEMBERED);
    const head = this.#waiting.get(position);
    this.#waiting.delete(position);
    if (head) this.#compare(head, digests[0]);
  }

  #compare(head, digest) {
    if (head.digest === digest) {
      if (!this.confirmed || head.position > this.confirmed.position) this.confirmed = head;
    } else if (!this.faults.some(({ kind }) => kind === "forked")) {
      this.#blame("forked", head.position); // heads behind it say the same
      if (head.position === this.position) this.#befores.push(head.digest);
    }
  }

  #at(position) {
    return this.faults.find((fault) => fault.position === position);
  }

  #blame(kind, position, to) {
    const fault = { kind, position, to };
    if (this.faults.length < LISTED) this.faults.push(fault);
    else this.unlisted += 1;
    return fault;
  }
}

/** As the service writes a tenant's id in a URI: more is escaped than encodeURIComponent does. */
function quoted(tenant) {
  return encodeURIComponent(tenant).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);
}
