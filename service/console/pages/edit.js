// Changing a client's settings: what changes is shown before it is sent, and what others changed meanwhile is not lost.

import { Refused, call } from "../api.js";
import { Fields, Others, useFirstFault, useUnsaved } from "../form.js";
import { t } from "../language.js";
import { useLoaded } from "../loaded.js";
import { Page, Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { go, href } from "../routes.js";
import { mayWrite } from "../session.js";
import { SETTINGS, bodyOf, bySetting, changes, draftOf, settingsOf, typed } from "../settings.js";
import { NotForYou } from "../sign-in.js";
import { say } from "../toast.js";
import { Differences } from "../value.js";
import { html, useRef, useState } from "../view.js";

const NAMES = SETTINGS.map(({ name }) => name);

export default function Edit({ params }) {
  const path = `/admin/oauth/clients/${encodeURIComponent(params.client_id)}`;
  const loaded = useLoaded((signal) => call("GET", path, { signal }), [path]);
  const name = loaded.value?.data.name;
  const above = html`<a href=${href("clients")}>${t("page.clients")}</a> <span aria-hidden="true">/</span>
    <a href=${href("client", params)}><bdi>${name ?? params.client_id}</bdi></a>`;
  return html`<${Page} title=${name ? t("edit.of", { name }) : t("page.edit")} above=${above}>
    <${Problem} error=${loaded.error} again=${loaded.reload} />
    ${loaded.loading && html`<${Waiting} lines=${8} />`}
    ${loaded.value && (mayWrite() ? html`<${Form} path=${path} first=${loaded.value} />` : html`<${NotForYou} />`)}
  <//>`;
}

function Form({ path, first }) {
  const [base, setBase] = useState(() => based(first));
  const [draft, setDraft] = useState(() => draftOf(base.settings));
  const [dropsKeys, setDropsKeys] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const [moved, setMoved] = useState(null);
  const root = useRef(null);
  const changed = changes(base.settings, typed(draft));
  const body = { ...bodyOf(changed), ...(dropsKeys && !typed(draft).jwks ? { jwks: null } : {}) };
  const isChanged = Object.keys(body).length > 0;
  const faults = bySetting(error?.violations ?? [], NAMES);
  useFirstFault(error, root);
  useUnsaved(isChanged && !busy);

  const saved = (client) => {
    say(t("edit.saved", { name: client.name }));
    go("client", client);
  };
  /** Take what the client is now, with what was typed here on top: all of which may be there, its answer having been lost. */
  const catchUp = async () => {
    const answer = await call("GET", path);
    const now = based(answer);
    const mine = Object.assign(draftOf(now.settings), Object.fromEntries(changed.map((one) => [one.name, draft[one.name]])));
    if (body.jwks === undefined && changes(now.settings, typed(mine)).length === 0) return saved(answer.data);
    setMoved(changes(base.settings, now.settings));
    setDraft(mine);
    setBase(now);
    return undefined;
  };
  const save = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setMoved(null);
    try {
      saved((await call("PUT", path, { body, version: base.etag })).data);
    } catch (problem) {
      try {
        if (problem instanceof Refused && problem.status === 412) await catchUp();
        else setError(problem);
      } catch (other) {
        setError(other);
      }
      setBusy(false);
    }
  };
  return html`<form class="settings" ref=${root} onSubmit=${save} novalidate>
    <${Problem} error=${error}><${Others} faults=${faults[""]} /><//>
    ${moved && html`<${Moved} rows=${moved} />`}
    <${Fields} draft=${draft} onChange=${setDraft} faults=${faults} frozen=${busy} hints=${{ jwks: t("edit.jwks") }} />
    <label class="choice"><input type="checkbox" checked=${dropsKeys} disabled=${busy} onChange=${({ target }) => setDropsKeys(target.checked)} /> ${t("edit.jwks.drop")}</label>
    <section class="changes" aria-live="polite">
      <h2>${t("edit.changes")}</h2>
      ${isChanged ? html`<${Differences} rows=${rows(changed, body)} before=${t("edit.before")} after=${t("edit.after")} />` : html`<p class="faint">${t("edit.nothing")}</p>`}
    </section>
    <div class="buttons">
      <a class="button" href=${href("client", { client_id: first.data.client_id })}>${t("action.cancel")}</a>
      <button class="primary" disabled=${busy || !isChanged} aria-busy=${busy}>${t("edit.save")}</button>
    </div>
  </form>`;
}

function based({ data, etag }) {
  return { settings: settingsOf(data), etag };
}

function rows(changed, body) {
  return body.jwks === null ? [...changed, { name: "jwks", before: "…", after: undefined }] : changed;
}

function Moved({ rows }) {
  return html`<div class="notice" role="alert">
    <p><strong>${t("edit.moved")}</strong> ${t("edit.moved.what")}</p>
    ${rows.length ? html`<${Differences} rows=${rows} before=${t("edit.moved.before")} after=${t("edit.moved.after")} />` : html`<p>${t("edit.moved.other")}</p>`}
  </div>`;
}
