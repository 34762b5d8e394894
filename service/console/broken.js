// When not even the beginning worked: the service is away, or the page is damaged.

import { t } from "./language.js";
import { html } from "./view.js";

export function Broken() {
  return html`<main class="door">
    <div class="notice bad" role="alert">
      <p><strong>${t("problem.start")}</strong> ${t("problem.start.do")}</p>
      <p><button type="button" onClick=${() => location.reload()}>${t("action.again")}</button></p>
    </div>
  </main>`;
}
