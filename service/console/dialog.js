// A dialog above the page: the browser holds the focus in it, and gives it back.

import { t } from "./language.js";
import { html, useEffect, useId, useRef } from "./view.js";

/** A modal dialog called *title*. Without *onClose* there is no way out but what stands in it. */
export function Dialog({ title, onClose, children, wide = false }) {
  const element = useRef(null);
  const name = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before?.isConnected) before.focus();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose?.();
  };
  // a browser closes after a second Escape whatever a page says of it
  const hold = (event) => {
    if (event.key === "Escape") cancel(event);
  };
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby=${name} onCancel=${cancel} onKeyDown=${hold}>
    <header>
      <h2 id=${name}>${title}</h2>
      ${onClose && html`<button type="button" class="icon" onClick=${onClose} aria-label=${t("action.close")}>✕</button>`}
    </header>
    ${children}
  </dialog>`;
}
