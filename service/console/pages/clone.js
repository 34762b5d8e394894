// Cloning a client: what the clone would be, and then the clone.

import { Refused, call } from "../api.js";
import { Unknown, useAttempt } from "../attempt.js";
import { Dialog } from "../dialog.js";
import { Fields, Others, useFirstFault } from "../form.js";
import { t } from "../language.js";
import { useLoaded } from "../loaded.js";
import { Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { go } from "../routes.js";
import { SETTINGS, bySetting, changes, bodyOf, draftOf, settingsOf, typed } from "../settings.js";
import { say } from "../toast.js";
import { Differences, label } from "../value.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { reveal } from "./secret.js";

const ADAPTED = ["name", "redirect_uris"];
const LONGEST_NAME = 255;
const QUIET_MS = 300;

/** The dialog that clones *client*, which is as the API answers. */
export function CloneDialog({ client, onClose }) {
  const path = `/admin/oauth/clients/${encodeURIComponent(client.client_id)}/clone`;
  const source = settingsOf(client);
  const [draft, setDraft] = useState(() => ({ ...draftOf(source), name: suggested(client.name) }));
  const root = useRef(null);
  const wanted = typed(draft);
  // without a name of its own the service gives it one; the URIs are sent if they are others
  const body = bodyOf([{ name: "name", after: wanted.name }, ...changes(source, wanted).filter(({ name }) => name === "redirect_uris")]);
  const asked = useQuiet(JSON.stringify(body));
  const preview = useLoaded((signal) => call("POST", path, { query: { dry_run: true }, body: JSON.parse(asked), signal }), [asked]);
  const last = useRef(null); // it stays while another is asked for, so that nothing jumps as somebody types
  if (preview.value || preview.error) last.current = preview.value;
  const attempt = useAttempt(async ({ overrides, version }, key) => {
    const { data } = await call("POST", path, { body: overrides, key, version });
    onClose();
    say(t("clone.done", { name: data.name }));
    if (data.client_secret) await reveal({ client_id: data.client_id, name: data.name, secret: data.client_secret });
    go("client", data);
  });
  const isMoved = attempt.error instanceof Refused && attempt.error.status === 412;
  useEffect(() => {
    if (isMoved) preview.reload(); // what was shown is not what would be cloned now
  }, [isMoved]);
  const refused = attempt.error?.violations?.length ? attempt.error : preview.error;
  const faults = bySetting(refused?.violations ?? [], ADAPTED);
  useFirstFault(attempt.error, root);
  const isSettled = preview.value && asked === JSON.stringify(body);
  const version = preview.value && `"${preview.value.data.source_version}"`;
  const confirm = (event) => {
    event?.preventDefault();
    attempt.run({ overrides: body, version });
  };
  const isHeld = attempt.busy || attempt.unknown;
  return html`<${Dialog} title=${t("clone.title", { name: client.name })} onClose=${attempt.busy ? undefined : onClose} wide>
    <form class="cloning" ref=${root} onSubmit=${confirm} novalidate>
      <div>
        ${attempt.unknown ? html`<${Unknown} error=${attempt.error} again=${confirm} change=${attempt.clear} />` : html`<${Problem} error=${attempt.error} />`}
        <${Fields} names=${ADAPTED} draft=${draft} onChange=${setDraft} faults=${faults} frozen=${isHeld} />
      </div>
      <section class="preview" aria-live="polite" aria-busy=${!isSettled}>
        <h3>${t("clone.preview")}</h3>
        ${preview.error && html`<${Problem} error=${preview.error} again=${preview.error.violations?.length ? undefined : preview.reload}><${Others} faults=${faults[""]} /><//>`}
        ${!last.current && preview.loading && html`<${Waiting} lines=${3} />`}
        ${last.current && html`<${Preview} client=${client} would=${last.current.data} />`}
      </section>
      <div class="buttons">
        <button type="button" onClick=${onClose} disabled=${attempt.busy}>${t("action.cancel")}</button>
        <button class="primary" disabled=${isHeld || !isSettled} aria-busy=${attempt.busy}>${t("clone.do")}</button>
      </div>
    </form>
  <//>`;
}

function Preview({ client, would }) {
  const rows = would.differs.map(({ field, source, clone }) => ({ name: field, before: source, after: clone }));
  const differs = rows.map(({ name }) => name);
  const kept = SETTINGS.map(({ name }) => name).filter((name) => !differs.includes(name) && hasValue(would.client[name]));
  return html`
    ${rows.length ? html`<${Differences} rows=${rows} before=${t("clone.source", client)} after=${t("clone.clone")} />` : html`<p>${t("clone.same")}</p>`}
    <p>${t("clone.kept", { names: kept.map(label).join(", ") })}</p>
    <p>${t(would.has_secret ? "clone.secret" : "clone.no_secret")} ${would.client.status !== "active" && t("clone.status", { status: t(`status.${would.client.status}`) })}</p>
  `;
}

const hasValue = (value) => value !== undefined && value.length !== 0;

/** The name that the service would give: the source's with a word behind it, within its limit (in code points). */
function suggested(name) {
  const whole = [...t("clone.name", { name })];
  const tail = [...t("clone.name", { name: "" })];
  return whole.length <= LONGEST_NAME ? whole.join("") : [...[...name].slice(0, LONGEST_NAME - tail.length), ...tail].join("");
}

/** *value*, once it has not changed for a moment. */
function useQuiet(value) {
  const [quiet, setQuiet] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setQuiet(value), QUIET_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return quiet;
}
