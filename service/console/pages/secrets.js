// A client's secrets: their ages, and new ones, each of which is shown once.

import { call } from "../api.js";
import { Confirm } from "../confirm.js";
import { t } from "../language.js";
import { useLoaded } from "../loaded.js";
import { Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { mayWrite } from "../session.js";
import { Time, local } from "../time.js";
import { say } from "../toast.js";
import { Status } from "../value.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { reveal } from "./secret.js";

const LONGEST_NOTE = 255;
const MOST_ACTIVE = 2;

export function Secrets({ client, path, etag, onChanged }) {
  const newest = client.secret_last_four && html`<p>${t("secrets.last_four", { last_four: client.secret_last_four })}</p>`;
  if (!mayWrite()) return html`${newest}<p class="faint">${t(newest ? "secrets.auditor" : "secrets.none")}</p>`;
  return html`${newest}<${Ages} client=${client} path=${path} etag=${etag} onChanged=${onChanged} />`;
}

function Ages({ client, path, etag, onChanged }) {
  const loaded = useLoaded((signal) => call("GET", `${path}/secrets`, { signal }), [path]);
  const [doing, setDoing] = useState(null);
  const shown = useRef(etag);
  useEffect(() => {
    // with what is shown left in its place: a dialog may stand above it, and the focus comes back to it
    if (shown.current !== etag) loaded.reload();
    shown.current = etag;
  }, [etag]);
  if (loaded.error) return html`<${Problem} error=${loaded.error} again=${loaded.reload} />`;
  if (!loaded.value) return html`<${Waiting} lines=${2} />`;
  const { secrets } = loaded.value.data;
  const takesMore = JSON.parse(client.client_auth_methods).some((method) => method.startsWith("client_secret"));
  const active = secrets.filter(({ status }) => status === "active");
  const mayAdd = active.length < MOST_ACTIVE;
  // one secret at a time is in its grace, and a rotation meanwhile is like an addition
  const mayRotate = mayAdd || !secrets.some(({ status }) => status === "retired");
  const isLast = (secret) => secrets.length === 1 || (active.length === 1 && active[0] === secret);
  if (secrets.length === 0 && !takesMore) return html`<p class="faint">${t("secrets.none")}</p>`;
  const given = { client, path, etag, onClose: () => setDoing(null), onDone: onChanged };
  return html`
    <ul class="plain secrets">${secrets.map((secret) => html`<${Age} key=${secret.secret_id} secret=${secret} isLast=${isLast(secret)} onDo=${(name) => setDoing({ name, secret })} />`)}</ul>
    ${takesMore &&
    html`<p class="actions">
      ${mayRotate && html`<button type="button" onClick=${() => setDoing({ name: "rotate" })}>${t("secrets.rotate")}</button>`}
      ${mayAdd && html`<button type="button" onClick=${() => setDoing({ name: "add" })}>${t("secrets.add")}</button>`}
    </p>
    ${!mayAdd && html`<p class="hint">${t("secrets.full")}</p>`}`}
    ${doing?.name === "rotate" && html`<${Rotate} ...${given} />`} ${doing?.name === "add" && html`<${Add} ...${given} />`}
    ${["deactivate", "delete"].includes(doing?.name) && html`<${End} ...${given} name=${doing.name} secret=${doing.secret} />`}
  `;
}

function Age({ secret, isLast, onDo }) {
  const fact = (name, value) => html`<div><dt>${t(`secrets.${name}`)}</dt><dd>${value}</dd></div>`;
  const time = local(secret.created_at, true);
  const act = (name) => html`<button type="button" class="quiet" aria-label=${t("secrets.of", { action: t(`secrets.${name}`), time })} onClick=${() => onDo(name)}>${t(`secrets.${name}`)}</button>`;
  return html`<li data-status=${secret.status}>
    <p><${Status} status=${secret.status} /> ${secret.description && html`<bdi>${secret.description}</bdi>`}</p>
    <dl>
      ${fact("created", html`<${Time} at=${secret.created_at} relative />`)}
      ${fact("expires", secret.expires_at ? html`<${Time} at=${secret.expires_at} />` : t("secrets.always"))}
      ${fact("used", secret.last_used_at ? html`<${Time} at=${secret.last_used_at} relative />` : t("secrets.never"))}
    </dl>
    <p class="actions">${["active", "retired"].includes(secret.status) && act("deactivate")} ${!isLast && act("delete")}</p>
  </li>`;
}

/** What to do where a secret may have been made that nobody has seen: the service makes it once, and says it once. */
function lost() {
  return { unknown: t("secrets.unknown"), made: t("secrets.made") };
}

function Rotate({ client, path, etag, onClose, onDone }) {
  const act = async () => {
    // by its version: where the answer is lost and this is tried again, there is no second one
    const { data } = await call("POST", `${path}/rotate-secret`, { version: etag });
    reveal({ client_id: client.client_id, name: client.name, secret: data.new_secret }).then(onDone);
  };
  return html`<${Confirm} title=${t("secrets.rotate.title", client)} yes=${t("secrets.rotate")} act=${act} onClose=${onClose} onMoved=${onDone} lost=${lost()}><p>${t("secrets.rotate.what")}</p><//>`;
}

function Add({ client, path, etag, onClose, onDone }) {
  const [note, setNote] = useState("");
  const act = async () => {
    const { data } = await call("POST", `${path}/secrets`, { body: note.trim() ? { description: note.trim() } : {}, version: etag });
    reveal({ client_id: client.client_id, name: client.name, secret: data.secret_value }).then(onDone);
  };
  return html`<${Confirm} title=${t("secrets.add.title", client)} yes=${t("secrets.add")} act=${act} onClose=${onClose} onMoved=${onDone} lost=${lost()}>
    <p>${t("secrets.add.what")}</p>
    <div class="field">
      <label for="secret-note">${t("secrets.description")}</label>
      <input id="secret-note" maxlength=${LONGEST_NOTE} autocomplete="off" value=${note} onInput=${(event) => setNote(event.target.value)} aria-describedby="secret-note-hint" />
      <p class="hint" id="secret-note-hint">${t("secrets.add.hint")}</p>
    </div>
  <//>`;
}

function End({ name, secret, path, etag, onClose, onDone }) {
  const own = `${path}/secrets/${encodeURIComponent(secret.secret_id)}`;
  const act = async () => {
    await (name === "delete" ? call("DELETE", own, { version: etag }) : call("PUT", `${own}/deactivate`, { version: etag }));
    say(t(name === "delete" ? "secrets.deleted" : "secrets.deactivated"));
    onDone();
  };
  return html`<${Confirm} title=${t(`secrets.${name}.title`)} yes=${t(`secrets.${name}`)} act=${act} onClose=${onClose} onMoved=${onDone} danger>
    <p>${t(`secrets.${name}.what`)}</p>
  <//>`;
}
