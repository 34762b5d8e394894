// Time travel: a client as it was, what made it so, and in what two of its versions differ.

import { call } from "../api.js";
import { t } from "../language.js";
import { useLoaded } from "../loaded.js";
import { Page, Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { Body, detail, readable, typed } from "../record.js";
import { go, href } from "../routes.js";
import { settingsOf, changes } from "../settings.js";
import { Time } from "../time.js";
import { label, Value } from "../value.js";
import { versionAt } from "../version.js";
import { html, useEffect, useId, useRef, useState } from "../view.js";

const QUIET_MS = 150;

export default function Versions({ params, query }) {
  const { client_id } = params;
  const newest = useLoaded(async (signal) => (await call("GET", logs(client_id), { query: { page_size: 1 }, signal })).body.total, [client_id]);
  const above = html`<a href=${href("clients")}>${t("page.clients")}</a> <span aria-hidden="true">/</span> <a href=${href("client", params)}>${client_id}</a>`;
  const actions = html`<a class="button" href=${href("audit", {}, { client: client_id })}>${t("versions.audit")}</a>`;
  return html`<${Page} title=${t("page.versions")} above=${above} actions=${actions}>
    <${Problem} error=${newest.error} again=${newest.reload} />
    ${newest.loading && !newest.value && html`<${Waiting} />`}
    ${newest.value && html`<${Travel} client_id=${client_id} total=${newest.value} query=${query} />`}
  <//>`;
}

const logs = (client_id) => `/admin/oauth/clients/${encodeURIComponent(client_id)}/audit-logs`;

/** Where the reader is between the first version and the last, at once on the slider and a moment later in the page. */
function Travel({ client_id, total, query }) {
  const within = (text, otherwise) => Math.min(Math.max(Number.parseInt(text, 10) || otherwise, 1), total);
  const version = within(query.version, total);
  const base = within(query.base, Math.max(version - 1, 1));
  const [at, setAt] = useState({ version, base });
  useEffect(() => setAt({ version, base }), [version, base]);
  useEffect(() => {
    if (at.version === version && at.base === base) return undefined;
    const timer = setTimeout(() => go("versions", { client_id }, at, { replace: true }), QUIET_MS);
    return () => clearTimeout(timer);
  }, [at]);
  // the one compared with stays the one before, unless somebody chose another
  const move = (wanted) => setAt({ version: wanted, base: at.base === Math.max(at.version - 1, 1) ? Math.max(wanted - 1, 1) : at.base });
  return html`<fieldset class="travel">
      <legend class="unseen">${t("versions.choose")}</legend>
      <${Slider} name=${t("versions.version")} value=${at.version} total=${total} onChange=${move} isMain />
      ${total > 1 && html`<${Slider} name=${t("versions.base")} value=${at.base} total=${total} onChange=${(wanted) => setAt({ ...at, base: wanted })} />`}
    </fieldset>
    <${Shown} client_id=${client_id} version=${version} base=${base} total=${total} />`;
}

function Slider({ name, value, total, onChange, isMain }) {
  const id = useId();
  const step = (by, words, shape) => html`<button type="button" class="icon" aria-label=${`${name}: ${words}`} disabled=${value + by < 1 || value + by > total} onClick=${() => onChange(value + by)}>${shape}</button>`;
  return html`<div class=${isMain ? "slider main" : "slider"}>
    <label for=${id}>${name}</label>
    ${step(-1, t("versions.earlier"), "‹")}
    <input id=${id} type="range" min="1" max=${total} step="1" value=${value} aria-valuetext=${t("versions.of", { version: value, total })} onInput=${(event) => onChange(Number(event.target.value))} />
    ${step(1, t("versions.later"), "›")}
    <output for=${id}>${value}<span class="faint"> / ${total}</span></output>
  </div>`;
}

function Shown({ client_id, version, base, total }) {
  const both = useLoaded((signal) => Promise.all([versionAt(client_id, version, total, signal), versionAt(client_id, base, total, signal)]), [client_id, version, base]);
  const last = useRef(null); // it stays until there is something else, so that nothing jumps
  if (both.value) last.current = { version, base, chosen: both.value[0], other: both.value[1] };
  if (both.error) return html`<${Problem} error=${both.error} again=${both.reload} />`;
  if (!last.current) return html`<${Waiting} />`;
  const shown = last.current;
  return html`<div class="shown" aria-busy=${!both.value}>
    <${Made} version=${shown.version} at=${shown.chosen} />
    <${Difference} version=${shown.version} base=${shown.base} chosen=${shown.chosen.state} other=${shown.other.state} />
    ${shown.chosen.state && html`<${State} version=${shown.version} state=${shown.chosen.state} />`}
  </div>`;
}

function Made({ version, at }) {
  const record = readable(at.entry);
  const [isOpen, setOpen] = useState(false);
  return html`<section class="made">
    <h2>${t("versions.made", { version })}</h2>
    ${record
      ? html`<p class="deed"><strong>${typed(record.data.type)}</strong> <bdi>${detail(record.data)}</bdi></p>
          <p class="faint"><${Time} at=${record.time} seconds /> · ${t("versions.by", { operator: record.actor.subject })} · ${t("versions.position", { position: at.position })}</p>`
      : html`<p class="deed">${t("audit.no_record")}</p>`}
    <details open=${isOpen} onToggle=${(event) => setOpen(event.target.open)}>
      <summary>${t("versions.body")}</summary>
      ${isOpen && html`<${Body} entry=${at.entry} />`}
    </details>
  </section>`;
}

/** The settings, and what else a client has, each under a name of its own. */
function facts(state) {
  return { status: state.status, secret_last_four: state.secret_last_four, ...settingsOf(state) };
}

const named = (name) => ({ status: t("versions.status"), secret_last_four: t("versions.secret") })[name] ?? label(name);

function Difference({ version, base, chosen, other }) {
  const heading = html`<h2>${t("versions.difference")}</h2>`;
  if (!chosen || !other) return html`<section>${heading}<p>${t("versions.absent", { version: chosen ? base : version })}</p></section>`;
  if (version === base) return html`<section>${heading}<p>${version === 1 ? t("versions.first") : t("versions.same", { base, version })}</p></section>`;
  const [before, after] = [facts(other), facts(chosen)];
  const others = ["status", "secret_last_four"].filter((name) => before[name] !== after[name]).map((name) => ({ name, before: before[name], after: after[name] }));
  const rows = [...others, ...changes(before, after)];
  if (rows.length === 0) return html`<section>${heading}<p>${t("versions.same", { base, version })}</p></section>`;
  const [was, is] = [t("versions.short", { version: base }), t("versions.short", { version })];
  return html`<section>${heading}
    <table class="compared">
      <thead><tr><th scope="col">${t("versions.setting")}</th><th scope="col">${was}</th><th scope="col">${is}</th></tr></thead>
      <tbody>
        ${rows.map(
          (row) => html`<tr key=${row.name} data-setting=${row.name}>
            <th scope="row">${named(row.name)}</th>
            <td data-label=${was}><${Side} value=${row.before} other=${row.after} sign="−" /></td>
            <td data-label=${is}><${Side} value=${row.after} other=${row.before} sign="+" /></td>
          </tr>`,
        )}
      </tbody>
    </table>
  </section>`;
}

/** One side of a difference; of a list, what the *other* has not is marked. */
function Side({ value, other, sign }) {
  if (!Array.isArray(value) || value.length === 0) return html`<${Value} value=${value} />`;
  const lacks = (one) => !(other ?? []).includes(one);
  return html`<ul class="plain">
    ${value.map((one, index) => html`<li key=${index} class=${lacks(one) ? "apart" : ""}>${lacks(one) ? html`<b>${sign}</b> ` : ""}<code>${one}</code></li>`)}
  </ul>`;
}

function State({ version, state }) {
  const all = Object.entries(facts(state)).filter(([, value]) => value !== undefined && value !== "");
  return html`<section class="state">
    <h2>${t("versions.state", { version })}</h2>
    <dl>${all.map(([name, value]) => html`<div key=${name}><dt>${named(name)}</dt><dd><${Value} value=${value} /></dd></div>`)}</dl>
  </section>`;
}
