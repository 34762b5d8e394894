// Registering a client.

import { call } from "../api.js";
import { Unknown, useAttempt } from "../attempt.js";
import { Fields, Others, useFirstFault, useUnsaved } from "../form.js";
import { t } from "../language.js";
import { Page } from "../page.js";
import { Problem } from "../problem.js";
import { go, href } from "../routes.js";
import { mayWrite } from "../session.js";
import { SETTINGS, bySetting, changes, bodyOf, draftOf, typed } from "../settings.js";
import { NotForYou } from "../sign-in.js";
import { html, useRef, useState } from "../view.js";
import { reveal } from "./secret.js";

const NAMES = SETTINGS.map(({ name }) => name);
const EMPTY = typed(draftOf({}));
const BEGINNING = draftOf({ grant_types: ["authorization_code"], client_auth_methods: ["client_secret_basic"], is_confidential: true });
const ALWAYS = ["name", "redirect_uris", "grant_types", "client_auth_methods", "is_confidential"];

export default function Register() {
  const above = html`<a href=${href("clients")}>${t("page.clients")}</a>`;
  return html`<${Page} title=${t("page.register")} above=${above}>${mayWrite() ? html`<${Form} />` : html`<${NotForYou} />`}<//>`;
}

function Form() {
  const [draft, setDraft] = useState(BEGINNING);
  const root = useRef(null);
  const attempt = useAttempt(async (body, key) => {
    const { data } = await call("POST", "/admin/oauth/clients/", { body, key });
    if (data.client_secret) await reveal({ client_id: data.client_id, name: data.name, secret: data.client_secret });
    go("client", data);
  });
  const violations = attempt.error?.violations ?? [];
  const faults = bySetting(violations, NAMES);
  useFirstFault(attempt.error, root);
  useUnsaved(!attempt.busy && draft !== BEGINNING);
  const settings = typed(draft);
  const given = changes(EMPTY, settings).concat(ALWAYS.map((name) => ({ name, after: settings[name] })));
  const submit = (event) => {
    event?.preventDefault();
    attempt.run(bodyOf(given));
  };
  return html`<form class="settings" ref=${root} onSubmit=${submit} novalidate>
    ${attempt.unknown
      ? html`<${Unknown} error=${attempt.error} again=${submit} change=${attempt.clear} />`
      : html`<${Problem} error=${attempt.error}><${Others} faults=${faults[""]} /><//>`}
    <${Fields} draft=${draft} onChange=${setDraft} faults=${faults} frozen=${attempt.busy || attempt.unknown} />
    <div class="buttons">
      <a class="button" href=${href("clients")}>${t("action.cancel")}</a>
      <button class="primary" disabled=${attempt.busy || attempt.unknown} aria-busy=${attempt.busy}>${t("register.do")}</button>
    </div>
  </form>`;
}
