// A record of the log, as a line that can be opened.

import { has, tag, t } from "./language.js";
import { href } from "./routes.js";
import { Time } from "./time.js";
import { label } from "./value.js";
import { html, useState } from "./view.js";

const SHAPES = {
  linked: html`<path d="M2.5 8.5l3.5 3.5 7.5-8" fill="none" stroke="currentColor" stroke-width="2.5" />`,
  broken: html`<path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" fill="currentColor" /><path d="M5 5l6 6M11 5l-6 6" class="cross" />`,
  unchecked: html`<circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="2.5 2" />`,
};

/** Whether a record follows from the one before, as a shape with words for those who do not see it. */
export function Mark({ name, words = t(`chain.mark.${name}`) }) {
  return html`<span class="mark ${name}"><svg viewBox="0 0 16 16" aria-hidden="true">${SHAPES[name]}</svg>${words && html`<span class="unseen">${words}</span>`}</span>`;
}

/** The record of *entry* as far as it can be read; null for what nobody wrote, which must not keep the page from showing it. */
export function readable({ record }) {
  const isWhole = typeof record?.data?.type === "string" && typeof record.time === "string" && typeof record.actor?.subject === "string";
  return isWhole ? record : null;
}

/** What happened, in a few words; a type that this console does not know is called what it is. */
export function typed(type) {
  return has(`event.${type}`) ? t(`event.${type}`) : type;
}

/** What is to be said of it besides, as text; "" for nothing. */
export function detail({ type, ...data }) {
  const until = (moment) => new Date(moment).toLocaleString(tag(), { dateStyle: "medium", timeStyle: "short" });
  switch (type) {
    case "ClientRegistered":
      return String(data.settings?.name);
    case "ClientCloned":
      return t("detail.cloned", { name: data.settings?.name, source: data.source_id });
    case "ClientUpdated":
      return [...Object.keys(data.changed ?? {}), ...Object.values(data.removed ?? {})].map(label).join(", ");
    case "SecretAdded":
      return data.secret?.expires_at ? t("detail.until", { time: until(data.secret.expires_at) }) : "";
    case "SecretRotated":
      return data.retired_until ? t("detail.retired", { time: until(data.retired_until) }) : "";
    case "SecretsErased":
      return t("detail.erased", { count: data.event_ids?.length ?? 0 });
    case "TenantCopied":
      return t("detail.copied", { source: data.source_tenant, position: data.source_position });
    default:
      return "";
  }
}

/** *entry* of the timeline; *fault* is what is wrong with it. *query* is what is asked for, for links that ask for less. */
export function Row({ entry, fault, query }) {
  const [isOpen, setOpen] = useState(false);
  const mark = fault ? "broken" : entry.isLinked ? "linked" : "unchecked";
  const record = readable(entry);
  const { position } = entry;
  return html`<li class="row ${mark}" id=${`record-${position}`} data-position=${position}>
    <details onToggle=${(event) => setOpen(event.target.open)}>
      <summary>
        <${Mark} name=${mark} />
        <span class="position"><span class="unseen">${t("audit.position")} </span>${position}</span>
        <span class="what"><${What} record=${record} /></span>
        <span class="by">${record && html`<span class="operator">${record.actor.subject}</span>`}</span>
        <span class="when">${record && html`<${Time} at=${record.time} seconds />`}</span>
      </summary>
      ${isOpen && html`<${Body} entry=${entry} query=${query} />`}
    </details>
    ${fault && html`<p class="breaks">${told(fault)}</p>`}
  </li>`;
}

function What({ record }) {
  if (!record) return html`<strong>${t("audit.no_record")}</strong>`;
  const more = detail(record.data);
  return html`<strong>${typed(record.data.type)}</strong>${more && html` <bdi class="detail">${more}</bdi>`}
    ${record.client_id && html`<code class="client">${record.client_id}</code>`}`;
}

/** What is wrong, in a sentence. */
export function told({ kind, position, to }) {
  if (to !== undefined && to > position) return t(`fault.${kind}.many`, { position, to });
  return t(`fault.${kind}`, { position });
}

/** All that a record says: who, when, and the very body that was hashed. */
export function Body({ entry, query = {} }) {
  const record = readable(entry);
  const { digest, body } = entry;
  const facts = record
    ? [
        ["time", html`<${Time} at=${record.time} seconds /> <span class="exact">${record.time}</span>`],
        ["operator", html`${record.actor.subject} <${Only} query=${{ ...query, operator: record.actor.subject }} />`],
        ["role", has(`role.${record.actor.role}`) ? t(`role.${record.actor.role}`) : record.actor.role],
        ["address", record.actor.address],
        ["request", record.actor.request_id],
        ["client", record.client_id && html`<a href=${href("client", record)}>${record.client_id}</a> <${Only} query=${{ ...query, client: record.client_id }} />`],
        ["version", record.client_version && html`<a href=${href("versions", record, { version: record.client_version })}>${record.client_version}</a>`],
        ["event", record.event_id],
        ["sealed", record.sealed],
      ]
    : [];
  return html`<div class="body">
    <dl>
      ${[...facts, ["digest", digest]].filter(([, value]) => value).map(
        ([name, value]) => html`<div key=${name}><dt>${t(`record.${name}`)}</dt><dd class=${name}>${value}</dd></div>`,
      )}
    </dl>
    <pre tabindex="0" aria-label=${t("record.body")}>${record ? JSON.stringify(record, null, 2) : body}</pre>
  </div>`;
}

function Only({ query }) {
  return html`<a class="only" href=${href("audit", {}, query)}>${t("record.only")}</a>`;
}
