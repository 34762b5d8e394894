// What went wrong, in words that say what to do about it.

import { Lost, Refused } from "./api.js";
import { has, t } from "./language.js";
import { NoToken, SignedOut } from "./session.js";
import { html } from "./view.js";

/** The two sentences about *error*: what happened, and what to do. */
export function explained(error) {
  if (error instanceof SignedOut) return [t("problem.signed_out"), t("problem.signed_out.do")];
  if (error instanceof Lost) return [t(error.slow ? "problem.slow" : "problem.lost"), t("problem.lost.do")];
  if (error instanceof NoToken) return [t("session.opaque"), t("session.opaque.do")];
  if (has(error.message) && has(`${error.message}.do`)) return [t(error.message), t(`${error.message}.do`)];
  if (!(error instanceof Refused)) return [t("problem.unknown"), t("problem.unknown.do")];
  const key = [`problem.${error.code}.do`, `problem.${error.status}.do`].find(has);
  const advice = t(key ?? (error.status >= 500 ? "problem.500.do" : "problem.other.do"), { id: error.requestId ?? "-" });
  return [error.message, advice];
}

function isForeseen(error) {
  return error instanceof Lost || error instanceof Refused || error instanceof SignedOut || error instanceof NoToken || has(`${error.message}.do`);
}

/** *error* as a notice; with *again*, a button that tries once more. */
export function Problem({ error, again, children }) {
  if (!error) return null;
  if (!isForeseen(error)) console.error(error);
  const [what, advice] = explained(error);
  return html`<div class="notice bad" role="alert">
    <p><strong>${what}</strong> ${advice}</p>
    ${children}
    ${again && html`<p><button type="button" onClick=${again}>${t("action.again")}</button></p>`}
  </div>`;
}
