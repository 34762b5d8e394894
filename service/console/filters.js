// Which records are asked for: by type, client and operator, in the page's address.

import { t } from "./language.js";
import { readable, typed } from "./record.js";
import { go, href, place } from "./routes.js";
import { html, useEffect, useId, useState } from "./view.js";

const GROUPS = {
  clients: ["ClientRegistered", "ClientCloned", "ClientUpdated", "ClientSuspended", "ClientDeactivated", "ClientReactivated", "ClientDeleted"],
  secrets: ["SecretAdded", "SecretRotated", "SecretDeactivated", "SecretDeleted", "SecretsErased"],
  tenants: ["TenantFrozen", "TenantThawed", "TenantMoved", "TenantArrived", "TenantCopied"],
};
const QUIET_MS = 400;

/** What tells which records *query* asks for. What is no record is never left out: somebody should see it. */
export function letsThrough({ types, client, operator }) {
  const wanted = types ? new Set(types.split(",")) : null;
  const has = (text, part) => !part || String(text ?? "").toLowerCase().includes(part.toLowerCase());
  return (entry) => {
    const record = readable(entry);
    if (!record || entry.fault) return true;
    return (!wanted || wanted.has(record.data.type)) && has(record.client_id, client) && has(record.actor.subject, operator);
  };
}

export function Filters({ query, records }) {
  const ask = (changes) => go("audit", {}, { ...place.value.query, ...changes }, { replace: true });
  const isNarrowed = Boolean(query.types || query.client || query.operator);
  const read = records.map(readable);
  const clients = read.map((record) => record?.client_id);
  const operators = read.map((record) => record?.actor.subject);
  return html`<form class="filters" role="search" aria-label=${t("filter.title")} onSubmit=${(event) => event.preventDefault()}>
    <${Types} value=${query.types ?? ""} onChange=${(types) => ask({ types })} />
    <${Typed} name="client" value=${query.client ?? ""} seen=${clients} onChange=${(client) => ask({ client })} />
    <${Typed} name="operator" value=${query.operator ?? ""} seen=${operators} onChange=${(operator) => ask({ operator })} />
    ${isNarrowed && html`<a class="button" href=${href("audit")}>${t("filter.clear")}</a>`}
  </form>`;
}

function Types({ value, onChange }) {
  const id = useId();
  const known = Object.values(GROUPS).flatMap((types) => [types.join(","), ...types]);
  const option = (one, words) => html`<option key=${one} value=${one} selected=${one === value}>${words}</option>`;
  return html`<div class="field">
    <label for=${id}>${t("filter.types")}</label>
    <select id=${id} value=${value} onChange=${(event) => onChange(event.target.value)}>
      ${option("", t("filter.all"))}
      ${value && !known.includes(value) && option(value, value.split(",").map(typed).join(", "))}
      ${Object.entries(GROUPS).map(
        ([name, types]) => html`<optgroup key=${name} label=${t(`filter.${name}`)}>
          ${option(types.join(","), t(`filter.${name}.all`))} ${types.map((type) => option(type, typed(type)))}
        </optgroup>`,
      )}
    </select>
  </div>`;
}

/** A field whose text counts when no more is typed. */
function Typed({ name, value, seen, onChange }) {
  const id = useId();
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text.trim() === value) return undefined;
    const timer = setTimeout(() => onChange(text.trim()), QUIET_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const offered = [...new Set(seen.filter(Boolean))].slice(0, 50);
  return html`<div class="field">
    <label for=${id}>${t(`filter.${name}`)}</label>
    <input id=${id} type="search" list="${id}-seen" autocomplete="off" spellcheck=${false} placeholder=${t(`filter.${name}.hint`)} value=${text} onInput=${(event) => setText(event.target.value)} />
    <datalist id="${id}-seen">${offered.map((one) => html`<option key=${one} value=${one} />`)}</datalist>
  </div>`;
}
