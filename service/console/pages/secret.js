// A secret, shown this once. It stays, whatever the page does below it, until somebody says that it is stored.

import { signal, useSignal } from "../signal.js";
import { html } from "../view.js";

const shown = signal([]);

export function Secrets() {
  const [first] = useSignal(shown);
  return first ? html`<p>${first.secret}</p>` : null;
}
