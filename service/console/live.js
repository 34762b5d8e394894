// Whether records arrive as they are written, and what is done if they do not.

import { t } from "./language.js";
import { html } from "./view.js";

const SHAPES = {
  live: html`<circle cx="6" cy="6" r="5" fill="currentColor" />`,
  connecting: html`<circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="3 2" />`,
  waiting: html`<path d="M6 1l5.5 10H.5z" fill="currentColor" />`,
  stopped: html`<path d="M1 1h10v10H1z" fill="currentColor" />`,
  held: html`<path d="M2 1h3v10H2zM7 1h3v10H7z" fill="currentColor" />`,
};

/** *hold* stops the list from moving, *again* starts it anew at the newest record. */
export function Live({ state, hold, again }) {
  const { phase, live, isHeld } = state;
  if (phase !== "ready") return null;
  const name = isHeld && live.name === "live" ? "held" : live.name;
  return html`<span class="stream ${name}" role="status"><svg viewBox="0 0 12 12" aria-hidden="true">${SHAPES[name]}</svg>${t(`live.${name}`)}</span>
    ${name === "live" && html`<button type="button" class="quiet" onClick=${hold}>${t("live.hold")}</button>`}
    ${name === "held" && html`<button type="button" class="quiet" onClick=${again}>${t("live.go_on")}</button>`}
    ${name === "waiting" && html`<button type="button" class="quiet" onClick=${live.now}>${t("live.now")}</button>`}`;
}
