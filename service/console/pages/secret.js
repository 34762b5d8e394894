// A secret, shown this once. It stays, whatever the page does below it, until somebody says that it is stored.

import { Dialog } from "../dialog.js";
import { useUnsaved } from "../form.js";
import { t } from "../language.js";
import { signal, useSignal } from "../signal.js";
import { say } from "../toast.js";
import { html, useEffect, useRef, useState } from "../view.js";

const shown = signal([]);

/** Show *secret* of a client; what waits for it goes on when it is stored. */
export function reveal({ client_id, name, secret }) {
  return new Promise((resolve) => {
    shown.value = [...shown.value, { client_id, name, secret, resolve }];
  });
}

export function Secrets() {
  const [first] = useSignal(shown);
  useUnsaved(Boolean(first));
  if (!first) return null;
  const stored = () => {
    shown.value = shown.value.slice(1);
    first.resolve();
  };
  return html`<${Secret} key=${first.secret} ...${first} onStored=${stored} />`;
}

function Secret({ client_id, name, secret, onStored }) {
  const field = useRef(null);
  const [copied, setCopied] = useState(null);
  useEffect(() => field.current.select(), []);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(secret);
      setCopied("secret.copied");
    } catch {
      field.current.select(); // no permission, or no https: one key is left to press
      setCopied("secret.select");
    }
  };
  const json = `${JSON.stringify({ client_name: name, client_id, client_secret: secret }, null, 2)}\n`;
  return html`<${Dialog} title=${t("secret.title", { name })}>
    <div class="notice"><p><strong>${t("secret.once")}</strong> ${t("secret.do")}</p></div>
    <div class="field">
      <label for="secret-id">client_id</label>
      <input id="secret-id" class="code" readonly value=${client_id} />
    </div>
    <div class="field">
      <label for="secret-value">client_secret</label>
      <textarea id="secret-value" ref=${field} class="code secret" readonly rows="2" spellcheck=${false} value=${secret} />
    </div>
    <p class="actions">
      <button type="button" onClick=${copy}>${t("secret.copy")}</button>
      <button type="button" onClick=${() => save(`${client_id}.env`, environment(client_id, secret), "text/plain")}>${t("secret.env")}</button>
      <button type="button" onClick=${() => save(`${client_id}.json`, json, "application/json")}>${t("secret.json")}</button>
    </p>
    <p class="hint" role="status">${copied && t(copied)}</p>
    <div class="buttons"><button type="button" class="primary" onClick=${onStored}>${t("secret.stored")}</button></div>
  <//>`;
}

function environment(client_id, secret) {
  return `CLIENT_ID=${client_id}\nCLIENT_SECRET=${secret}\n`;
}

function save(name, text, kind) {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // the browser has taken it by then; nothing holds the secret longer than it must
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  say(t("secret.saved", { name }));
}
