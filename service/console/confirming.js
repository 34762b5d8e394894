// Signed heads, one after another: each says where the log ended when it was asked for.

import { canHash } from "./digest.js";
import { NoEd25519, NoHead, newestHead, statedHead } from "./heads.js";

const BUSY_MS = 300;
const AGAIN_MS = 30_000;

/**
 * Asks for heads of *tenant* until *signal* says that it is enough.
 *
 * *onHead* is handed each that is proven; *onChange* hears that something else is to be said. `said` is what came of the
 * last one: "proven" at a `position`, "forged", or "unsupported" by the browser. `faults` are what heads say of each
 * other, and `error` is why the last one could not be asked for.
 */
export class Confirming {
  #tenant;
  #signal;
  #heard;
  #timer = null;
  #due;
  #isAsking = false;
  #farthest = 0; // at which one was proven

  constructor(tenant, signal, { onHead, onChange }) {
    this.#tenant = tenant;
    this.#signal = signal;
    this.#heard = { onHead, onChange };
    this.said = null;
    this.error = null;
    this.faults = [];
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** Where the log ends now: a proven head, which has a `kid`, or else what is stated, {position, digest}. */
  async ask() {
    if (!canHash()) return statedHead(this.#signal);
    try {
      const head = await newestHead(this.#tenant, this.#signal);
      this.said = { name: "proven", position: head.position };
      // a log only grows: one that was signed at a later position has lost what was behind this one
      if (head.position < this.#farthest) this.faults.push({ kind: "cut_off", position: head.position + 1, to: this.#farthest });
      this.#farthest = Math.max(this.#farthest, head.position);
      return head;
    } catch (error) {
      if (!(error instanceof NoEd25519 || error instanceof NoHead)) throw error;
      this.said = { name: error instanceof NoEd25519 ? "unsupported" : "forged" };
      return statedHead(this.#signal);
    }
  }

  /** Ask *within* so many milliseconds, or sooner if that was going to happen; and then every now and then. */
  soon(within = AGAIN_MS) {
    const due = Date.now() + within;
    if (this.#signal.aborted || (this.#timer && this.#due <= due)) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.#next(), within);
  }

  async #next() {
    this.#timer = null;
    if (this.#isAsking) {
      this.soon(BUSY_MS); // so that the answer that comes later is the newer
      return;
    }
    this.#isAsking = true;
    try {
      const head = await this.ask();
      this.error = null;
      if (head.kid) this.#heard.onHead(head);
    } catch (error) {
      this.error = error;
    }
    this.#isAsking = false;
    this.#heard.onChange();
    this.soon();
  }
}
