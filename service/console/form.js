// The settings as people type them, each with what is wrong with it.

import { t } from "./language.js";
import { SETTINGS } from "./settings.js";
import { html, useEffect, useId } from "./view.js";
import { label } from "./value.js";

/** Fields for the settings in *names* (all without), of *draft*; *faults* are violations by setting. */
export function Fields({ draft, onChange, faults = {}, names, frozen = false, hints = {} }) {
  const shown = names ? SETTINGS.filter(({ name }) => names.includes(name)) : SETTINGS;
  return shown.map(
    (setting) => html`<${Field}
      key=${setting.name}
      setting=${setting}
      value=${draft[setting.name]}
      onChange=${(value) => onChange({ ...draft, [setting.name]: value })}
      faults=${faults[setting.name] ?? []}
      frozen=${frozen}
      hint=${hints[setting.name] ?? t(`hint.${setting.name}`)}
    />`,
  );
}

function Field({ setting, value, onChange, faults, frozen, hint }) {
  const id = useId();
  const { name, kind, needed } = setting;
  const about = { "aria-describedby": `${id}-hint ${id}-fault`, "aria-invalid": faults.length ? "true" : undefined };
  const given = { id, value, disabled: frozen, onInput: (event) => onChange(event.target.value), ...about };
  const words = html`<p class="fault" id="${id}-fault">
      ${faults.map((fault, index) => html`<span key=${index}>${place(fault.field)}${fault.message} (${fault.reference}) </span>`)}
    </p>
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}`;
  if (kind === "many") {
    return html`<fieldset class="field" ...${about} data-setting=${name}>
      <legend>${label(name)}</legend>
      ${[...new Set([...setting.options, ...value])].map(
        (one) => html`<label class="choice" key=${one}>
          <input type="checkbox" disabled=${frozen} checked=${value.includes(one)}
            onChange=${({ target }) => onChange(target.checked ? [...value, one] : value.filter((other) => other !== one))} />
          <code>${one}</code>
        </label>`,
      )}
      ${words}
    </fieldset>`;
  }
  if (kind === "flag") {
    return html`<div class="field" data-setting=${name}>
      <label class="choice">
        <input type="checkbox" disabled=${frozen} checked=${value} onChange=${({ target }) => onChange(target.checked)} ...${about} />
        ${label(name)}
      </label>
      ${words}
    </div>`;
  }
  let input = html`<input type="text" spellcheck=${false} autocomplete="off" class=${name === "name" ? "" : "code"} ...${given} />`;
  if (kind === "lines") input = html`<textarea class="code" spellcheck=${false} rows=${Math.min(Math.max(value.split("\n").length, 2), 8)} ...${given} />`;
  if (kind === "long") input = html`<textarea class="code" spellcheck=${false} rows="3" ...${given} />`;
  if (kind === "one") {
    input = html`<select ...${given} onInput=${undefined} onChange=${(event) => onChange(event.target.value)}>
      <option value="" selected=${value === ""}>${t("value.none")}</option>
      ${setting.options.map((one) => html`<option key=${one} value=${one} selected=${one === value}>${one}</option>`)}
    </select>`;
  }
  return html`<div class="field" data-setting=${name}>
    <label for=${id}>${label(name)}${needed && name === "name" && html` <span class="faint">(${t("form.needed")})</span>`}</label>
    ${input} ${words}
  </div>`;
}

/** Which entry of a list is meant: `redirect_uris[1]` is the second. */
function place(field) {
  const match = /\[(\d+)\]/.exec(field);
  return match ? t("form.entry", { number: Number(match[1]) + 1 }) : "";
}

/** Violations of what has no field here, and those that are about nothing in particular. */
export function Others({ faults = [] }) {
  if (faults.length === 0) return null;
  return html`<ul>${faults.map((fault, index) => html`<li key=${index}><code>${fault.field}</code> ${fault.message} (${fault.reference})</li>`)}</ul>`;
}

/** Bring the first field with a fault before the reader, each time *faults* are others. */
export function useFirstFault(faults, root) {
  useEffect(() => {
    root.current?.querySelector("[aria-invalid=true]:not(fieldset), fieldset[aria-invalid=true] input")?.focus();
  }, [faults]);
}

/** Ask before the browser leaves a page on which something was typed. */
export function useUnsaved(isUnsaved) {
  useEffect(() => {
    if (!isUnsaved) return undefined;
    const ask = (event) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [isUnsaved]);
}
