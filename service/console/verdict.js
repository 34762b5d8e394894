// What the page found out of the hash chain: how far it is whole, and who says so.

import { t } from "./language.js";
import { Problem } from "./problem.js";
import { Mark, told } from "./record.js";
import { Time } from "./time.js";
import { html } from "./view.js";

/** *state* is the timeline's; *checkAll* checks what is before its oldest record, *show* brings a fault into view. */
export function Verdict({ state, isAble, checkAll, show, keep }) {
  if (!isAble) {
    return html`<${Panel} kind="unknown" title=${t("chain.insecure")}>
      <p>${t("chain.insecure.why")} <${Command} /></p>
    <//>`;
  }
  const { faults, unlisted, from, upto, confirmed, head, checking } = state;
  if (faults.length || head?.name === "forged") {
    const first = faults[0];
    return html`<${Panel} kind="broken" title=${first ? t("chain.broken", { position: first.position }) : t("chain.forged")} role="alert">
      ${first
        ? html`<ul class="plain">
            ${faults.map((fault, index) => html`<li key=${index}><button type="button" class="quiet" onClick=${() => show(fault)}>${fault.position}</button> ${told(fault)}</li>`)}
          </ul>
          ${first.position > from && html`<p>${t("chain.until", { position: first.position - 1 })}</p>`}
          ${unlisted > 0 && html`<p>${t("chain.unlisted", { count: unlisted })}</p>`}`
        : html`<p>${t("chain.forged.why")}</p>`}
      <p>${t("chain.broken.do")} <${Command} /></p>
    <//>`;
  }
  if (upto === 0) return html`<${Panel} kind=${confirmed ? "linked" : "unchecked"} title=${t(confirmed ? "chain.empty" : "chain.empty.unconfirmed")} />`;
  const isWhole = from <= 1;
  return html`<${Panel} kind=${confirmed ? "linked" : "unchecked"} title=${t("chain.verified", { upto })}>
    <p>
      ${from > upto ? t("chain.none") : t(isWhole ? "chain.whole" : "chain.part", { from, upto })}
      ${" "}
      ${confirmed &&
      html`<span class="confirmed">${t("chain.confirmed", { position: confirmed.position })} ${confirmed.time && html`(<${Time} at=${confirmed.time} seconds />)`}.</span>`}
      ${head?.name === "unsupported" && html`<span>${t("chain.unsupported")} <${Command} /></span>`}
      ${head?.name === "proven" && head.position > upto && html` <span>${t("chain.ahead", { position: head.position })}</span>`}
      ${state.headError && html` <span>${t("chain.headless")}</span>`}
    </p>
    <div class="actions">
      ${checking
        ? html`<label class="checking"><progress max=${checking.of} value=${checking.at}></progress> <span>${t("chain.checking", checking)}</span></label>`
        : !isWhole && html`<button type="button" onClick=${checkAll}>${t("chain.check_all")}</button>`}
      ${confirmed?.text && html`<button type="button" class="quiet" onClick=${() => keep(confirmed)}>${t("chain.keep")}</button>`}
    </div>
    <${Problem} error=${state.checkError} />
  <//>`;
}

function Panel({ kind, title, role, children }) {
  const mark = kind === "unknown" ? "unchecked" : kind;
  return html`<section class="verdict ${kind}" aria-label=${t("chain.title")}>
    <${Mark} name=${mark} words="" />
    <div role=${role ?? "status"}>
      <h2>${title}</h2>
      ${children}
    </div>
  </section>`;
}

function Command() {
  return html`<code>mitosis audit verify</code>`;
}
