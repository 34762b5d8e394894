// Asking for something that must happen once, however often the answer is lost on its way.

import { Lost, Refused } from "./api.js";
import { html, useRef, useState } from "./view.js";
import { t } from "./language.js";
import { Problem } from "./problem.js";

const STILL_UNKNOWN = new Set([409003, 503002]);

/** 128 random bits: an Idempotency-Key. Not `randomUUID`, which is missing where the page came over plain HTTP. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Whether it may have happened without our knowing. */
export function isUnknown(error) {
  return error instanceof Lost || (error instanceof Refused && (error.status >= 500 || STILL_UNKNOWN.has(error.code)));
}

/**
 * Runs *ask*, which is handed a key: the same one until an answer came for the same *request*.
 *
 * Answers with {run, busy, error, unknown}; `unknown` is whether it may have happened without our knowing.
 */
export function useAttempt(ask) {
  const key = useRef(null);
  const [state, setState] = useState({ busy: false, error: null, unknown: false });
  const run = async (request) => {
    const written = JSON.stringify(request);
    if (key.current?.written !== written) key.current = { written, text: newKey() };
    setState({ busy: true, error: null, unknown: false });
    try {
      await ask(request, key.current.text);
      key.current = null;
      setState({ busy: false, error: null, unknown: false });
    } catch (error) {
      setState({ busy: false, error, unknown: isUnknown(error) });
    }
  };
  const clear = () => {
    key.current = null;
    setState({ busy: false, error: null, unknown: false });
  };
  return { ...state, run, clear };
}

/** What to do when nobody knows whether it happened. */
export function Unknown({ error, again, change }) {
  return html`<${Problem} error=${error}>
    <p>${t("attempt.unknown")}</p>
    <p class="actions">
      <button type="button" class="primary" onClick=${again}>${t("action.again")}</button>
      <button type="button" onClick=${change}>${t("attempt.change")}</button>
    </p>
  <//>`;
}
