// The clients of the tenant: what is looked for is in the address, so a list can be kept as a link.

import { call } from "../api.js";
import { t } from "../language.js";
import { useLoaded } from "../loaded.js";
import { Empty, Page, Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { go, href } from "../routes.js";
import { mayWrite } from "../session.js";
import { Time } from "../time.js";
import { Status } from "../value.js";
import { html, useEffect, useId, useState } from "../view.js";

const AT_ONCE = 20;
const QUIET_MS = 250;
const STATUSES = ["active", "suspended", "inactive"];

export default function Clients({ query }) {
  const { name = "", status = "" } = query;
  const page = Math.max(Number.parseInt(query.page, 10) || 1, 1);
  const asked = { page, page_size: AT_ONCE, name, status };
  const found = useLoaded((signal) => call("GET", "/admin/oauth/clients/", { query: asked, signal }), [page, name, status]);
  const register = mayWrite() && html`<a class="button primary" href=${href("register")}>${t("clients.register")}</a>`;
  const list = found.value?.body;
  const isFiltered = name !== "" || status !== "";
  return html`<${Page} title=${t("page.clients")} actions=${register}>
    <${Filters} name=${name} status=${status} />
    <${Problem} error=${found.error} again=${found.reload} />
    <p class="unseen" role="status">${list && t("clients.found", { count: list.total })}</p>
    ${!list && found.loading && html`<${Waiting} lines=${8} />`}
    ${list && list.items.length > 0 && html`<${Table} items=${list.items} /><${Pages} list=${list} query=${query} page=${page} />`}
    ${list && list.items.length === 0 && (isFiltered || page > 1 ? html`<${NoneLikeThat} />` : html`<${NothingYet} register=${register} />`)}
  <//>`;
}

function Filters({ name, status }) {
  const id = useId();
  const [typed, setTyped] = useState(name);
  useEffect(() => setTyped(name), [name]);
  useEffect(() => {
    if (typed === name) return undefined;
    const timer = setTimeout(() => go("clients", {}, { name: typed, status }, { replace: true }), QUIET_MS);
    return () => clearTimeout(timer);
  }, [typed, status]);
  const chosen = (event) => go("clients", {}, { name: typed, status: event.target.value }, { replace: true });
  return html`<form class="filters looking" role="search" onSubmit=${(event) => event.preventDefault()}>
    <div class="field">
      <label for="${id}-name">${t("clients.search")}</label>
      <input id="${id}-name" type="search" maxlength="255" autocomplete="off" placeholder=${t("clients.search.hint")} value=${typed} onInput=${(event) => setTyped(event.target.value)} />
    </div>
    <div class="field">
      <label for="${id}-status">${t("clients.status")}</label>
      <select id="${id}-status" value=${status} onChange=${chosen}>
        <option value="" selected=${status === ""}>${t("clients.all")}</option>
        ${STATUSES.map((one) => html`<option key=${one} value=${one} selected=${one === status}>${t(`status.${one}`)}</option>`)}
      </select>
    </div>
  </form>`;
}

function Table({ items }) {
  return html`<table class="cards clients">
    <caption class="unseen">${t("clients.list")}</caption>
    <thead>
      <tr>
        <th scope="col">${t("setting.name")}</th>
        <th scope="col">client_id</th>
        <th scope="col">${t("clients.status")}</th>
        <th scope="col">${t("clients.updated")}</th>
      </tr>
    </thead>
    <tbody>
      ${items.map(
        (item) => html`<tr key=${item.client_id}>
          <th scope="row"><a href=${href("client", item)}><bdi>${item.name}</bdi></a></th>
          <td data-label="client_id"><code>${item.client_id}</code></td>
          <td data-label=${t("clients.status")}><${Status} status=${item.status} /></td>
          <td data-label=${t("clients.updated")}><${Time} at=${item.updated_at} relative /></td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function Pages({ list, query, page }) {
  const first = (page - 1) * AT_ONCE + 1;
  const last = first + list.items.length - 1;
  const to = (number, words) => html`<a class="button" href=${href("clients", {}, { ...query, page: number })}>${words}</a>`;
  return html`<nav class="pages" aria-label=${t("clients.pages")}>
    <span>${t("clients.shown", { first, last, count: list.total })}</span>
    ${page > 1 && to(page - 1, t("clients.earlier"))} ${last < list.total && to(page + 1, t("clients.later"))}
  </nav>`;
}

function NothingYet({ register }) {
  return html`<${Empty} title=${t("clients.nothing")}>
    <p>${t(mayWrite() ? "clients.nothing.do" : "clients.nothing.wait")}</p>
    ${register}
  <//>`;
}

function NoneLikeThat() {
  return html`<${Empty} title=${t("clients.none")}><a class="button" href=${href("clients")}>${t("clients.none.do")}</a><//>`;
}
