// A setting's value, to be read.

import { has, t } from "./language.js";
import { html } from "./view.js";

/** A setting's name, for people. */
export function label(name) {
  return has(`setting.${name}`) ? t(`setting.${name}`) : name;
}

/** Nothing, yes or no, a text, or a list of them; what *name* a client has is for people, and everything else for machines. */
export function Value({ name, value }) {
  if (value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0)) {
    return html`<span class="faint">${t("value.none")}</span>`;
  }
  if (name === "name") return html`<bdi>${value}</bdi>`;
  if (typeof value === "boolean") return t(value ? "value.yes" : "value.no");
  if (Array.isArray(value)) {
    return html`<ul class="plain values">${value.map((one, index) => html`<li key=${index}><code>${one}</code></li>`)}</ul>`;
  }
  return html`<code>${String(value)}</code>`;
}

const SHAPES = {
  active: html`<circle cx="6" cy="6" r="5" />`,
  suspended: html`<path d="M2 1h3v10H2zM7 1h3v10H7z" />`,
  inactive: html`<circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="2" />`,
};

/** A status as shape, colour and word. */
export function Status({ status }) {
  const shape = SHAPES[status] ?? SHAPES.inactive;
  return html`<span class="status ${status}"><svg viewBox="0 0 12 12" aria-hidden="true" fill="currentColor">${shape}</svg>${has(`status.${status}`) ? t(`status.${status}`) : status}</span>`;
}

/** What is kept and what differs: a table of settings with two values each, *rows* of {name, before, after}. */
export function Differences({ rows, before, after }) {
  return html`<table class="differences cards">
    <thead><tr><th scope="col">${t("differences.setting")}</th><th scope="col">${before}</th><th scope="col">${after}</th></tr></thead>
    <tbody>
      ${rows.map(
        (row) => html`<tr key=${row.name}>
          <th scope="row">${label(row.name)}</th>
          <td data-label=${before} class="old"><${Value} name=${row.name} value=${row.before} /></td>
          <td data-label=${after} class="new"><${Value} name=${row.name} value=${row.after} /></td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}
