import { t } from "../language.js";
import { Page } from "../page.js";
import { html } from "../view.js";

export default function Lineage() {
  return html`<${Page} title=${t("page.lineage")} />`;
}
