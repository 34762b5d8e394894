// What was done, said in passing.

import { signal, useSignal } from "./signal.js";
import { html } from "./view.js";

const SHOWN_MS = 6_000;

const said = signal([]);
let count = 0;

/** Say *text* at the edge of the page, and aloud to those who listen. */
export function say(text) {
  const one = { id: ++count, text };
  said.value = [...said.value, one];
  setTimeout(() => {
    said.value = said.value.filter((other) => other !== one);
  }, SHOWN_MS);
}

export function Toasts() {
  return html`<div class="toasts" role="status">
    ${useSignal(said).map(({ id, text }) => html`<p key=${id}>${text}</p>`)}
  </div>`;
}
