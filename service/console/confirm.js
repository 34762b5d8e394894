// Asking once more before something is done, and saying so if it could not be.

import { Refused } from "./api.js";
import { isUnknown } from "./attempt.js";
import { Dialog } from "./dialog.js";
import { t } from "./language.js";
import { Problem } from "./problem.js";
import { html, useState } from "./view.js";

/**
 * *act* is what happens on "yes", which is called *yes*; the dialog closes when it is done.
 *
 * Where somebody else was faster, *onMoved* loads what there is now, and the next "yes" is about that. *lost* are words
 * for what is asked for once at most and answered once, a secret: {unknown} for when no answer came, and {made} for
 * when it turns out that it was not for nothing. Then there is no "yes" any more.
 */
export function Confirm({ title, yes, act, onClose, onMoved, lost, danger = false, children }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [wasUnknown, setWasUnknown] = useState(false);
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try {
      await act();
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
      if (isUnknown(problem)) setWasUnknown(true);
      if (isMoved(problem)) onMoved();
    }
  };
  const isMade = lost && wasUnknown && isMoved(error);
  const close = () => {
    onClose();
    if (wasUnknown) onMoved();
  };
  return html`<${Dialog} title=${title} onClose=${busy ? undefined : close}>
    ${children}
    ${isMade ? html`<div class="notice" role="alert"><p>${lost.made}</p></div>` : html`<${Problem} error=${error}>${lost && isUnknown(error) && html`<p>${lost.unknown}</p>`}<//>`}
    <div class="buttons">
      <button type="button" onClick=${close} disabled=${busy}>${t(isMade ? "action.close" : "action.cancel")}</button>
      ${!isMade && html`<button type="button" class=${danger ? "primary danger" : "primary"} onClick=${confirm} disabled=${busy} aria-busy=${busy}>${yes}</button>`}
    </div>
  <//>`;
}

function isMoved(error) {
  return error instanceof Refused && error.status === 412;
}
