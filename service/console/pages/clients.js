import { t } from "../language.js";
import { Page } from "../page.js";
import { html } from "../view.js";

export default function Clients() {
  return html`<${Page} title=${t("page.clients")} />`;
}
