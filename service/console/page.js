// The frame of each page: its title, what can be done here, and where the reader's focus goes.

import { html, useEffect, useRef } from "./view.js";
import { t } from "./language.js";

let isFirst = true;

/** A page called *title*, or *name* where its title is more than words; *actions* stand beside it, *above* it stands where it belongs. */
export function Page({ title, name = title, above, actions, children }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = `${name} · Mitosis`;
  }, [name]);
  useEffect(() => {
    // who came by a link hears where they are; who just arrived starts at the top
    if (!isFirst) heading.current.focus({ preventScroll: true });
    isFirst = false;
    scrollTo(0, 0);
  }, []);
  return html`<div class="page">
    ${above && html`<nav class="above" aria-label=${t("page.above")}>${above}</nav>`}
    <div class="headline">
      <h1 tabindex="-1" ref=${heading}>${title}</h1>
      ${actions && html`<div class="actions">${actions}</div>`}
    </div>
    ${children}
  </div>`;
}

/** What stands where something is being loaded; said aloud once. */
export function Waiting({ lines = 4 }) {
  return html`<div class="waiting" role="status" aria-label=${t("page.loading")}>
    ${Array.from({ length: lines }, (_, index) => html`<span key=${index}></span>`)}
  </div>`;
}

/** What stands where there is nothing: it says what to do next. */
export function Empty({ title, children }) {
  return html`<div class="empty">
    <svg viewBox="0 0 48 32" aria-hidden="true">
      <path d="M24 8.6A12 12 0 1 0 24 23.4A12 12 0 1 0 24 8.6Z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="3 3" />
    </svg>
    <h2>${title}</h2>
    ${children}
  </div>`;
}
