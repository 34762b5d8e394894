// Moments: in local time to read, in UTC for whoever points at them.

import { tag, t } from "./language.js";
import { html } from "./view.js";

const STEPS = [
  ["year", 31_556_952_000],
  ["month", 2_629_746_000],
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];

/** "3 days ago", "in 4 hours", "just now". */
export function age(moment, now = Date.now()) {
  const distance = new Date(moment).getTime() - now;
  for (const [unit, length] of STEPS) {
    if (Math.abs(distance) >= length) {
      return new Intl.RelativeTimeFormat(tag(), { numeric: "auto" }).format(Math.trunc(distance / length), unit);
    }
  }
  return t("time.now");
}

/** The moment in the reader's own time, as their language writes it. */
export function local(at, seconds = false) {
  return new Date(at).toLocaleString(tag(), { dateStyle: "medium", timeStyle: seconds ? "medium" : "short" });
}

/** The moment *at* (RFC 3339, or milliseconds) in local time, with the exact UTC time on hover; *relative* is its age. */
export function Time({ at, relative = false, seconds = false }) {
  const exact = typeof at === "string" ? at : new Date(at).toISOString();
  return html`<time datetime=${exact} title=${`${exact.replace("T", " ").replace("Z", "")} UTC`}>${relative ? age(at) : local(at, seconds)}</time>`;
}
