// Asking once more before something is done, and saying so if it could not be.

import { Dialog } from "./dialog.js";
import { t } from "./language.js";
import { Problem } from "./problem.js";
import { html, useState } from "./view.js";

/** *act* is what happens on "yes", which is called *yes*; the dialog closes when it is done. */
export function Confirm({ title, yes, act, onClose, danger = false, children }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try {
      await act();
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${busy ? undefined : onClose}>
    ${children}
    <${Problem} error=${error} />
    <div class="buttons">
      <button type="button" onClick=${onClose} disabled=${busy}>${t("action.cancel")}</button>
      <button type="button" class=${danger ? "primary danger" : "primary"} onClick=${confirm} disabled=${busy} aria-busy=${busy}>${yes}</button>
    </div>
  <//>`;
}
