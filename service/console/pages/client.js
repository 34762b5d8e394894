// A client: what it is, where it comes from, and what can be done with it.

import { call } from "../api.js";
import { Confirm } from "../confirm.js";
import { t } from "../language.js";
import { useLoaded } from "../loaded.js";
import { Page, Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { go, href } from "../routes.js";
import { mayWrite } from "../session.js";
import { SETTINGS, settingsOf } from "../settings.js";
import { Time } from "../time.js";
import { say } from "../toast.js";
import { Status, Value, label } from "../value.js";
import { html, useState } from "../view.js";
import { CloneDialog } from "./clone.js";
import { Secrets } from "./secrets.js";

export default function Client({ params }) {
  const path = `/admin/oauth/clients/${encodeURIComponent(params.client_id)}`;
  const loaded = useLoaded((signal) => call("GET", path, { signal }), [path]);
  const [doing, setDoing] = useState(null);
  const client = loaded.value?.data;
  const above = html`<a href=${href("clients")}>${t("page.clients")}</a>`;
  const title = client ? html`<bdi>${client.name}</bdi> <${Status} status=${client.status} />` : t("page.client");
  const close = () => setDoing(null);
  const again = () => loaded.reload();
  return html`<${Page} name=${client?.name ?? t("page.client")} title=${title} above=${above} actions=${client && html`<${Actions} client=${client} onDo=${setDoing} />`}>
    <${Problem} error=${loaded.error} again=${loaded.reload} />
    ${!client && loaded.loading && html`<${Waiting} lines=${8} />`}
    ${client &&
    html`<nav class="ways" aria-label=${t("page.client")}>
        <a href=${href("lineage", client)}>${t("client.lineage")}</a>
        <a href=${href("versions", client)}>${t("client.versions")}</a>
        <a href=${href("audit", {}, { client: client.client_id })}>${t("client.audit")}</a>
      </nav>
      <div class="columns">
        <section class="panel"><h2>${t("client.settings")}</h2><${Settings} client=${client} /></section>
        <div>
          <section class="panel"><h2>${t("client.provenance")}</h2><${Provenance} client=${client} path=${path} /></section>
          <section class="panel"><h2>${t("secrets.title")}</h2><${Secrets} client=${client} path=${path} etag=${loaded.value.etag} onChanged=${again} /></section>
        </div>
      </div>
      ${doing === "clone" && html`<${CloneDialog} client=${client} onClose=${close} />`}
      ${["suspend", "reactivate"].includes(doing) && html`<${Turn} name=${doing} client=${client} path=${path} etag=${loaded.value.etag} onClose=${close} onDone=${again} />`}
      ${doing === "delete" && html`<${Delete} client=${client} path=${path} etag=${loaded.value.etag} onClose=${close} onMoved=${again} />`}`}
  <//>`;
}

function Actions({ client, onDo }) {
  if (!mayWrite()) return null;
  const turn = client.status === "active" ? "suspend" : "reactivate";
  return html`
    <button type="button" class="primary" onClick=${() => onDo("clone")}>${t("client.clone")}</button>
    <a class="button" href=${href("edit", client)}>${t("client.edit")}</a>
    <button type="button" onClick=${() => onDo(turn)}>${t(`client.${turn}`)}</button>
    <button type="button" class="danger" onClick=${() => onDo("delete")}>${t("client.delete")}</button>
  `;
}

function Settings({ client }) {
  const settings = settingsOf(client);
  return html`<dl class="facts">
    ${SETTINGS.filter(({ name }) => name !== "jwks").map(({ name }) => html`<div key=${name} data-setting=${name}><dt>${label(name)}</dt><dd><${Value} name=${name} value=${settings[name]} /></dd></div>`)}
  </dl>`;
}

function Provenance({ client, path }) {
  // its first record is the last of its list, which has the newest first
  const first = useLoaded((signal) => call("GET", `${path}/audit-logs`, { query: { page: client.version, page_size: 1 }, signal }), [path, client.version]);
  const by = first.value?.body.items[0]?.operator_id;
  const facts = [
    ["client_id", html`<code>${client.client_id}</code> <${CopyButton} text=${client.client_id} />`],
    [t("client.id"), html`<code>${client.id}</code>`],
    [t("client.version"), html`<a href=${href("versions", client, { version: client.version })}>${client.version}</a>`],
    [t("client.created"), html`<${Time} at=${client.created_at} />`],
    [t("client.by"), by && html`<bdi>${by}</bdi>`],
    [t("client.updated"), html`<${Time} at=${client.updated_at} />`],
    [t("client.cloned_from"), client.cloned_from && html`<a href=${href("client", { client_id: client.cloned_from })}><code>${client.cloned_from}</code></a>`],
  ];
  return html`<dl class="facts">${facts.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${!client.cloned_from && html`<p class="faint">${t("client.registered")}</p>`}`;
}

function CopyButton({ text }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(t("client.copied"));
    } catch {
      say(text); // no permission, or no https: there it can be taken by hand
    }
  };
  return html`<button type="button" class="quiet" aria-label=${t("client.copy")} onClick=${copy}><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M5.5 5.5V2.5h8v8h-3M2.5 5.5h8v8h-8z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" /></svg></button>`;
}

function Turn({ name, client, path, etag, onClose, onDone }) {
  const act = async () => {
    await call("PUT", path, { body: { status: name === "suspend" ? "suspended" : "active" }, version: etag });
    say(t(name === "suspend" ? "client.suspended" : "client.reactivated", client));
    onDone();
  };
  return html`<${Confirm} title=${t(`client.${name}.title`, client)} yes=${t(`client.${name}`)} act=${act} onClose=${onClose} onMoved=${onDone}>
    <p>${t(`client.${name}.what`)}</p>
  <//>`;
}

function Delete({ client, path, etag, onClose, onMoved }) {
  const act = async () => {
    await call("DELETE", path, { version: etag });
    say(t("client.deleted", client));
    go("clients", {}, {}, { replace: true });
  };
  return html`<${Confirm} title=${t("client.delete.title", client)} yes=${t("client.delete")} act=${act} onClose=${onClose} onMoved=${onMoved} danger>
    <p>${t("client.delete.what")}</p>
    <p><code>${client.client_id}</code></p>
  <//>`;
}
