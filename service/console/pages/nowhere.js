// For an address that leads nowhere.

import { t } from "../language.js";
import { Empty, Page } from "../page.js";
import { href } from "../routes.js";
import { html } from "../view.js";

export default function Nowhere() {
  return html`<${Page} title=${t("nowhere.title")}>
    <${Empty} title=${t("nowhere.what")}><p><a href=${href("clients")}>${t("nowhere.do")}</a></p><//>
  <//>`;
}
