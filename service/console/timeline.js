// The records that the audit page has: the newest, live, and older ones on demand, each checked as it comes.

import { Chain, foundIn } from "./chain.js";
import { Confirming } from "./confirming.js";
import { canHash } from "./digest.js";
import { stretch } from "./feed.js";
import { follow } from "./following.js";
import { signal } from "./signal.js";

const AT_FIRST = 100; // records
const OLDER = 500; // that are looked through at once
const ENOUGH = 30; // that are wanted, where most are of no interest
const AT_MOST_LOOKS = 10;
const KEPT = 1000; // records in the page
const HEAD_SOON_MS = 300; // after a record, its head

/** The records that *filter* lets through. `state` is all that there is to be shown, as a signal. */
export class Timeline {
  #giveUp = new AbortController();
  #edge = null; // the oldest record that was looked at, {position, digest}
  #olderFaults = [];
  #heads;

  constructor(tenant, filter) {
    this.tenant = tenant;
    this.filter = filter;
    this.#heads = new Confirming(tenant, this.#giveUp.signal, {
      onHead: (head) => this.chain.hold(head),
      onChange: () => this.#set(this.#verdict()),
    });
    this.state = signal({ phase: "loading", records: [], faults: [], newer: 0, live: { name: "connecting" }, head: null });
  }

  #set(changes) {
    this.state.value = { ...this.state.value, ...changes };
  }

  /** Load the newest records, and follow those that come until `end`. */
  async start() {
    try {
      await this.#begin();
    } catch (error) {
      if (!this.#giveUp.signal.aborted) this.#set({ phase: "failed", error });
      return;
    }
    if (this.#giveUp.signal.aborted) return;
    this.#set({ phase: "ready" });
    this.#heads.soon();
    follow({
      after: this.chain.position,
      signal: this.#giveUp.signal,
      onRecords: (lines) => this.#arrived(lines.map(foundIn)),
      onState: (live) => {
        this.#set({ live });
        if (live.name === "stopped") this.#heads.soon(0);
      },
    });
    if (!this.#isEnough()) await this.older();
  }

  end() {
    this.#giveUp.abort();
  }

  async #begin() {
    const head = await this.#heads.ask();
    const newest = head.position;
    const after = newest > AT_FIRST ? newest - AT_FIRST - 1 : 0;
    const records = await stretch(after, newest, this.#giveUp.signal);
    // of a log that is long, the first of these is believed until the ones before it are looked at
    const believed = after > 0 ? records.shift() : undefined;
    this.#edge = believed ? { position: believed.position ?? after + 1, digest: believed.digest } : { position: 0 };
    this.chain = new Chain(this.tenant, this.#edge);
    if (head.kid) this.chain.hold(head);
    const marked = await this.#checked(this.chain, records);
    if (canHash() && head.kid) await this.chain.end();
    this.#set({ records: marked.filter(this.filter), from: this.#edge.position + 1, ...this.#verdict() });
  }

  /** *records* with what is wrong with each; without cryptography nobody can say, and they are only counted. */
  async #checked(chain, records) {
    for (const record of records) {
      if (canHash()) Object.assign(record, { fault: await chain.take(record), isLinked: chain.isLinked });
      record.position ??= chain.position;
      if (!canHash()) Object.assign(chain, { position: record.position });
    }
    return records;
  }

  #verdict() {
    const { faults, unlisted, position, confirmed } = this.chain;
    const all = new Map([...this.#olderFaults, ...this.#heads.faults, ...faults].map((fault) => [`${fault.kind} ${fault.position}`, fault]));
    const sorted = [...all.values()].sort((one, other) => one.position - other.position);
    return { faults: sorted, unlisted, upto: position, confirmed, head: this.#heads.said, headError: this.#heads.error };
  }

  async #arrived(records) {
    const marked = (await this.#checked(this.chain, records)).filter(this.filter);
    const { records: before, isHeld, newer, isLooking } = this.state.value;
    if (isHeld) {
      this.#set({ newer: newer + marked.length, ...this.#verdict() });
    } else {
      const all = [...before, ...marked];
      const kept = isLooking ? all : all.slice(-KEPT); // who looks for older ones counts on the oldest
      if (kept.length < all.length) this.#edge = { position: kept[0].position, digest: kept[0].digest };
      this.#set({ records: kept, last: marked.at(-1) ?? this.state.value.last, ...this.#verdict() });
    }
    this.#heads.soon(HEAD_SOON_MS);
  }

  get isAtBeginning() {
    return this.#edge?.position === 0;
  }

  #isEnough() {
    return this.isAtBeginning || this.state.value.records.length >= ENOUGH;
  }

  /** Look through older records until some are found that are wanted; what was too new to be kept goes. */
  async older() {
    const wanted = this.state.value.records.length + ENOUGH;
    this.#set({ isLooking: true, olderError: null });
    try {
      for (let looks = 0; looks < AT_MOST_LOOKS && !this.isAtBeginning && this.state.value.records.length < wanted; looks += 1) {
        await this.#look();
      }
    } catch (olderError) {
      this.#set({ olderError });
    }
    this.#set({ isLooking: false });
  }

  /** The stretch before the oldest record, which is looked at once more: the new ones must lead to it. */
  async #look() {
    const edge = this.#edge;
    const after = Math.max(edge.position - OLDER - 2, 0);
    const records = await stretch(after, edge.position, this.#giveUp.signal);
    const believed = after > 0 ? records.shift() : undefined;
    const begin = believed ? { position: believed.position ?? after + 1, digest: believed.digest } : { position: 0 };
    const chain = new Chain(this.tenant, begin);
    chain.hold(edge);
    const marked = await this.#checked(chain, records);
    if (canHash()) await chain.end();
    this.#edge = begin;
    this.#olderFaults.push(...chain.faults);
    const older = marked.filter((record) => record.position <= edge.position).filter(this.filter);
    const before = this.state.value.records.filter((record) => record.position > edge.position);
    const kept = [...older, ...before].slice(0, KEPT);
    const isHeld = this.state.value.isHeld || kept.length < older.length + before.length;
    this.#set({ records: kept, isHeld, from: Math.min(this.state.value.from, begin.position + 1), ...this.#verdict() });
  }

  /** Check all that is before the oldest record, from the very first one on; nothing of it is kept. */
  async checkAll() {
    const edge = this.#edge;
    const chain = new Chain(this.tenant);
    chain.hold(edge);
    this.#set({ checking: { at: 0, of: edge.position }, checkError: null });
    try {
      for (let at = 0; at < edge.position; at += OLDER) {
        await this.#checked(chain, await stretch(at, Math.min(at + OLDER, edge.position), this.#giveUp.signal));
        this.#set({ checking: { at: Math.min(at + OLDER, edge.position), of: edge.position } });
      }
      await chain.end();
      this.#olderFaults.push(...chain.faults);
      this.#set({ from: 1, ...this.#verdict() });
    } catch (checkError) {
      this.#set({ checkError });
    }
    this.#set({ checking: null });
  }

  /** Show no newer ones for now: they are checked and counted. */
  hold() {
    this.#set({ isHeld: true, newer: 0 });
  }
}
