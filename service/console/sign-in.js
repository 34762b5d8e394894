// Signing in: as the first thing, or again above a page whose token is no longer good.

import { configuration } from "./configuration.js";
import { Dialog } from "./dialog.js";
import { has, t } from "./language.js";
import { Logo } from "./logo.js";
import { Problem } from "./problem.js";
import { NoToken, dismiss, session, signIn } from "./session.js";
import { html, useEffect, useId, useState } from "./view.js";

/** The ways to sign in. *inPlace* leaves the page as it is: whoever signs in elsewhere does so in a window beside it. */
function Ways({ inPlace = false }) {
  const [text, setText] = useState("");
  const [fault, setFault] = useState(null);
  const [problem, setProblem] = useState(null);
  const name = useId();
  const submit = (event) => {
    event.preventDefault();
    try {
      signIn(text);
      setFault(session.value.expires_at <= Date.now() ? "session.expired" : null);
    } catch (error) {
      if (!(error instanceof NoToken)) throw error;
      setFault(error.message);
    }
  };
  const elsewhere = async () => {
    setProblem(null);
    try {
      const pkce = await import("./pkce.js");
      await (inPlace ? pkce.signInBeside() : pkce.leave());
    } catch (error) {
      setProblem(error);
    }
  };
  return html`
    ${configuration.issuer &&
    html`<p>
        <button type="button" class="primary" onClick=${elsewhere}>
          ${t("session.with", { issuer: new URL(configuration.issuer).host })}
        </button>
      </p>
      <${Problem} error=${problem} />
      <p class="or"><span>${t("session.or")}</span></p>`}
    <form onSubmit=${submit} novalidate>
      <div class="field">
        <label for=${name}>${t("session.token")}</label>
        <input
          id=${name}
          class="code"
          type="password"
          autocomplete="off"
          spellcheck=${false}
          value=${text}
          onInput=${(event) => setText(event.target.value)}
          aria-invalid=${fault ? "true" : undefined}
          aria-describedby="${name}-hint ${name}-fault"
        />
        <p class="fault" id="${name}-fault" role="alert">${fault && t(fault)}</p>
        <p class="hint" id="${name}-hint">${t("session.hint")} <code>mitosis token --tenant demo --role admin</code></p>
      </div>
      <p><button class=${configuration.issuer ? "" : "primary"}>${t("session.sign_in")}</button></p>
    </form>
  `;
}

export function SignIn({ problem }) {
  return html`<main class="door" id="main">
    <h1><${Logo} /> Mitosis</h1>
    <p class="lead">${t("session.welcome")}</p>
    <${Problem} error=${problem} />
    <${Ways} />
  </main>`;
}

/** Above the page, which stays as it is below. */
export function SignInAgain() {
  return html`<${Dialog} title=${t("session.again")} onClose=${dismiss}>
    <p>${t("session.again.why")}</p>
    <${Ways} inPlace />
  <//>`;
}

/** In a window that was there to sign in, and has told the one that waits for it. */
export function Beside() {
  useEffect(() => {
    document.title = `${t("session.beside")} · Mitosis`;
  }, []);
  return html`<main class="door">
    <h1><${Logo} /> Mitosis</h1>
    <p role="status"><strong>${t("session.beside")}</strong> ${t("session.beside.do")}</p>
  </main>`;
}

/** For whoever has a good token and nothing to do here. */
export function NotForYou() {
  const { role } = session.value;
  return html`<div class="notice" role="alert">
    <p><strong>${t("session.no_role", { role: role && has(`role.${role}`) ? t(`role.${role}`) : role || "-" })}</strong> ${t("session.no_role.do")}</p>
  </div>`;
}
