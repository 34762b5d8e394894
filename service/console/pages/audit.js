// What happened in the tenant: the newest records as they come, older ones on demand, and whether the log is whole.

import { canHash } from "../digest.js";
import { t } from "../language.js";
import { Empty, Page, Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { Mark, Row, told } from "../record.js";
import { go, href } from "../routes.js";
import { mayWrite, session } from "../session.js";
import { useSignal } from "../signal.js";
import { Timeline } from "../timeline.js";
import { Verdict } from "../verdict.js";
import { html, useEffect, useMemo, useState } from "../view.js";
import { Filters, letsThrough } from "../filters.js";
import { Live } from "../live.js";

export default function Audit({ query }) {
  const [round, setRound] = useState(0);
  const asked = JSON.stringify([query.types, query.client, query.operator]);
  const timeline = useMemo(() => new Timeline(session.value.tenant_id, letsThrough(query)), [asked, round]);
  useEffect(() => {
    timeline.start();
    return () => timeline.end();
  }, [timeline]);
  const state = useSignal(timeline.state);
  const again = () => setRound((count) => count + 1);
  return html`<${Page} title=${t("page.audit")} actions=${html`<${Live} state=${state} hold=${() => timeline.hold()} again=${again} />`}>
    ${state.phase === "failed" && html`<${Problem} error=${state.error} again=${again} />`}
    ${state.phase === "ready" && html`<${Verdict} state=${state} isAble=${canHash()} checkAll=${() => timeline.checkAll()} show=${show} keep=${keep} />`}
    ${state.live.name === "stopped" && html`<${Problem} error=${state.live.error} again=${again} />`}
    <${Filters} query=${query} records=${state.records} />
    ${state.phase === "loading" && html`<${Waiting} lines=${6} />`}
    ${state.phase === "ready" && html`<${Records} timeline=${timeline} state=${state} query=${query} again=${again} />`}
  <//>`;
}

function Records({ timeline, state, query, again }) {
  const isNarrowed = Boolean(query.types || query.client || query.operator);
  const lines = drawn(state);
  const { isLooking, olderError, isHeld, newer, last } = state;
  return html`
    ${isHeld && html`<p class="newer"><button type="button" class="primary" onClick=${again}>${newer ? t("audit.newer", { count: newer }) : t("audit.newest")}</button></p>`}
    <p class="unseen" role="status">${last ? t("audit.arrived", { position: last.position }) : ""}</p>
    ${lines.length > 0 &&
    html`<ol class="timeline plain" reversed aria-label=${t("audit.records")}>
      ${lines.map(({ key, entry, fault }) =>
        entry
          ? html`<${Row} key=${key} entry=${entry} fault=${fault} query=${query} />`
          : html`<${Gap} key=${key} fault=${fault} />`,
      )}
    </ol>`}
    ${lines.length === 0 && !isLooking && timeline.isAtBeginning && html`<${Nothing} isNarrowed=${isNarrowed} />`}
    <${Problem} error=${olderError} again=${() => timeline.older()} />
    <div class="older">
      ${isLooking && html`<p role="status">${t("audit.looking")}</p>`}
      ${!isLooking && !timeline.isAtBeginning && html`<button type="button" onClick=${() => timeline.older()}>${t(isNarrowed ? "audit.look_further" : "audit.older")}</button>`}
      ${timeline.isAtBeginning && lines.length > 0 && html`<p class="faint">${t("audit.beginning")}</p>`}
    </div>
  `;
}

/** The records, newest first, and between them what is wrong where no record is. */
function drawn({ records, faults }) {
  const rest = new Map(faults.map((fault) => [fault.position, fault]));
  const lines = records.map((entry) => {
    const fault = entry.fault ?? rest.get(entry.position);
    if (fault) rest.delete(fault.position);
    return { at: entry.position, key: `${entry.position} ${entry.record?.event_id} ${entry.digest}`, entry, fault };
  });
  for (const fault of rest.values()) lines.push({ at: fault.position, key: `fault ${fault.position}`, fault });
  return lines.sort((one, other) => other.at - one.at);
}

function Gap({ fault }) {
  return html`<li class="row broken gap" id=${`record-${fault.position}`} data-position=${fault.position}>
    <p class="breaks"><${Mark} name="broken" words="" /> ${told(fault)}</p>
  </li>`;
}

function Nothing({ isNarrowed }) {
  if (isNarrowed) {
    return html`<${Empty} title=${t("audit.none")}><p><a href=${href("audit")}>${t("audit.none.do")}</a></p><//>`;
  }
  const next = mayWrite() ? html`<a href=${href("register")}>${t("audit.empty.do")}</a>` : t("audit.empty.wait");
  return html`<${Empty} title=${t("audit.empty")}><p>${next}</p><//>`;
}

/** Bring the place of *fault* before the reader, also where what is asked for leaves it out. */
function show(fault) {
  const row = document.getElementById(`record-${fault.position}`);
  if (!row) return go("audit");
  row.scrollIntoView({ block: "center" });
  (row.querySelector("summary") ?? row).focus();
}

/** Hand over a signed head as a file, for `mitosis audit verify --head`. */
function keep(head) {
  const address = URL.createObjectURL(new Blob([`${head.text}\n`], { type: "application/jose" }));
  Object.assign(document.createElement("a"), { href: address, download: `head-${head.position}.jws` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
