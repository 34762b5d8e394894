// Two cells that were one a moment ago.

import { html } from "./view.js";

export function Logo() {
  return html`<svg class="logo" viewBox="0 0 48 32" aria-hidden="true">
    <path d="M24 8.6A12 12 0 1 0 24 23.4A12 12 0 1 0 24 8.6Z" fill="none" stroke="currentColor" stroke-width="2.5" />
    <circle cx="14.5" cy="16" r="3.6" fill="currentColor" /><circle cx="33.5" cy="16" r="3.6" fill="currentColor" />
  </svg>`;
}
