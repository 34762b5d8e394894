// What is around each page: the way between pages, who is signed in, language and theme.

import { LANGUAGES, language, speak, t } from "./language.js";
import { Logo } from "./logo.js";
import { NotForYou, SignIn, SignInAgain } from "./sign-in.js";
import { href, place } from "./routes.js";
import { Secrets } from "./pages/secret.js";
import { asking, mayRead, misled, session, signOut } from "./session.js";
import { useSignal } from "./signal.js";
import { THEMES, paint, theme } from "./theme.js";
import { Toasts } from "./toast.js";
import { html } from "./view.js";

const ABOVE = { register: "clients", client: "clients", edit: "clients", lineage: "clients", versions: "clients" };

export function Shell({ pages, problem }) {
  useSignal(language);
  const where = useSignal(place);
  const who = useSignal(session);
  const again = useSignal(asking);
  const astray = useSignal(misled);
  if (!who) {
    return html`<header class="bar door-bar"><${Choices} /></header><${SignIn} problem=${astray ?? problem} />`;
  }
  const Shown = pages[where.name];
  const top = ABOVE[where.name] ?? where.name;
  const link = (name) =>
    html`<a href=${href(name)} aria-current=${top === name ? "page" : undefined}>${t(`page.${name}`)}</a>`;
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("page.skip")}</a>
    <header class="bar">
      <a class="name" href=${href("clients")}><${Logo} /> Mitosis</a>
      <nav aria-label=${t("page.pages")}>${link("clients")} ${link("audit")}</nav>
      <${Who} who=${who} />
      <${Choices} />
    </header>
    <main id="main" tabindex="-1">
      ${mayRead() ? html`<${Shown} key=${where.path} params=${where.params} query=${where.query} />` : html`<div class="page"><h1 class="unseen">Mitosis</h1><${NotForYou} /></div>`}
    </main>
    <${Secrets} />
    ${again && html`<${SignInAgain} />`}
    <${Toasts} />
  `;
}

function skip(event) {
  event.preventDefault(); // the fragment is where the page is
  document.getElementById("main").focus();
}

function Who({ who }) {
  return html`<div class="who">
    <span class="tenant" title=${t("session.tenant")}>${who.tenant_id}</span>
    <span class="subject">${who.subject} · ${t(`role.${who.role || "none"}`)}</span>
    <button type="button" class="quiet" onClick=${signOut}>${t("session.sign_out")}</button>
  </div>`;
}

function Choices() {
  return html`<div class="choices">
    <${Choice} title=${t("choice.language")} all=${LANGUAGES} called=${(one) => t(`language.${one}`)} value=${useSignal(language)} onChange=${speak} />
    <${Choice} title=${t("choice.theme")} all=${THEMES} called=${(one) => t(`theme.${one}`)} value=${useSignal(theme)} onChange=${paint} />
  </div>`;
}

function Choice({ title, all, called, value, onChange }) {
  return html`<label>
    <span class="unseen">${title}</span>
    <select value=${value} onChange=${(event) => onChange(event.target.value)}>
      ${all.map((one) => html`<option key=${one} value=${one} selected=${one === value}>${called(one)}</option>`)}
    </select>
  </label>`;
}
