// Where a client comes from and what was cloned from it, as a tree.

import { Refused, call } from "../api.js";
import { t } from "../language.js";
import { useLoaded } from "../loaded.js";
import { Page, Waiting } from "../page.js";
import { Problem } from "../problem.js";
import { href } from "../routes.js";
import { Time } from "../time.js";
import { Status } from "../value.js";
import { html, useState } from "../view.js";

const GENERATIONS = 8; // back, each of which is asked for
const AT_ONCE = 20; // clones of one client

export default function Lineage({ params }) {
  const { client_id } = params;
  const line = useLoaded((signal) => ancestry(client_id, signal), [client_id]);
  const own = line.value?.at(-1);
  const above = html`<a href=${href("clients")}>${t("page.clients")}</a> <span aria-hidden="true">/</span>
    <a href=${href("client", params)}><bdi>${own?.name ?? client_id}</bdi></a>`;
  return html`<${Page} title=${own ? t("lineage.of", { name: own.name }) : t("page.lineage")} above=${above}>
    <${Problem} error=${line.error} again=${line.reload} />
    ${line.loading && html`<${Waiting} lines=${6} />`}
    ${line.value && html`<nav class="lineage" aria-label=${t("lineage.tree")}><${Further} first=${line.value[0]} /><ul><${Ancestor} line=${line.value} /></ul></nav>`}
  <//>`;
}

/** The client and those it comes from, the oldest first. One that was deleted is as its clone found it, and `isGone`. */
async function ancestry(client_id, signal) {
  const line = [(await call("GET", path(client_id), { signal })).data];
  while (line[0].cloned_from && line.length <= GENERATIONS) line.unshift(await source(line[0], signal));
  return line;
}

const path = (client_id) => `/admin/oauth/clients/${encodeURIComponent(client_id)}`;

/** What *clone* was cloned from: as it is, or as it was when the clone was made. */
async function source(clone, signal) {
  const client_id = clone.cloned_from;
  const present = await found(client_id, {}, signal);
  if (present) return present;
  // a clone that was itself deleted is known by what it was, and so is when it was made
  const past = await found(client_id, { as_of: clone.created_at }, signal);
  return { client_id, ...past, isGone: true };
}

/** A client; undefined where there is none. */
async function found(client_id, query, signal) {
  try {
    return (await call("GET", path(client_id), { query, signal })).data;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return undefined;
    throw error;
  }
}

/** That the oldest that is shown is somebody's clone too, and the way there. */
function Further({ first }) {
  if (!first.cloned_from) return null;
  return html`<p class="faint">${t("lineage.further")} ${!first.isGone && html`<a href=${href("lineage", first)}>${t("lineage.further.do")}</a>`}</p>`;
}

/** The oldest of *line*, with the others below it, down to the client that the page is about. */
function Ancestor({ line: [first, ...younger] }) {
  if (younger.length === 0) return html`<${Node} client=${first} isHere />`;
  return html`<li>
    <${Leaf} client=${first} />
    <ul><${Ancestor} line=${younger} /></ul>
  </li>`;
}

function Leaf({ client, isHere, children }) {
  return html`<div class="leaf ${isHere ? "here" : ""}">
    ${children}
    ${client.isGone
      ? html`${client.name && html`<span><a href=${href("versions", client)}><bdi>${client.name}</bdi></a></span>`}
          <span><code>${client.client_id}</code> <span class="faint">${t("lineage.gone")}</span></span>`
      : html`<span><a href=${href("client", client)} aria-current=${isHere ? "true" : undefined}><bdi>${client.name}</bdi></a> ${isHere && html`<span class="here-mark">${t("lineage.here")}</span>`}</span>
          <${Status} status=${client.status} /> <code>${client.client_id}</code> <span class="faint"><${Time} at=${client.created_at} relative /></span>`}
  </div>`;
}

/** A client with its clones, which are asked for when they are wanted. */
function Node({ client, isHere = false }) {
  const [isOpen, setOpen] = useState(isHere);
  const words = { name: client.name };
  return html`<li>
    <${Leaf} client=${client} isHere=${isHere}>
      ${!isHere && html`<button type="button" class="icon twig" aria-expanded=${isOpen} aria-label=${t(isOpen ? "lineage.hide" : "lineage.show", words)} onClick=${() => setOpen(!isOpen)}>${isOpen ? "−" : "+"}</button>`}
    <//>
    ${isOpen && html`<${Clones} client_id=${client.client_id} />`}
  </li>`;
}

function Clones({ client_id }) {
  const [pages, setPages] = useState(1);
  const clones = useLoaded((signal) => clonesOf(client_id, pages, signal), [client_id, pages]);
  const [last, setLast] = useState(null);
  if (clones.value && clones.value !== last) setLast(clones.value);
  const shown = clones.value ?? last;
  if (clones.error) return html`<${Problem} error=${clones.error} again=${clones.reload} />`;
  if (!shown) return html`<${Waiting} lines=${2} />`;
  if (shown.total === 0) return html`<p class="faint no-clones">${t("lineage.no_clones")}</p>`;
  const left = shown.total - shown.items.length;
  return html`<ul>
    ${shown.items.map((one) => html`<${Node} key=${one.client_id} client=${one} />`)}
    ${left > 0 && html`<li><button type="button" disabled=${clones.loading} onClick=${() => setPages(pages + 1)}>${t("lineage.more", { count: left })}</button></li>`}
  </ul>`;
}

/** The newest *pages* of clones. */
async function clonesOf(client_id, pages, signal) {
  const asked = Array.from({ length: pages }, (_, index) => ({ cloned_from: client_id, page: index + 1, page_size: AT_ONCE }));
  const answers = await Promise.all(asked.map((query) => call("GET", "/admin/oauth/clients/", { query, signal })));
  const items = new Map(answers.flatMap(({ body }) => body.items.map((item) => [item.client_id, item])));
  return { items: [...items.values()], total: answers[0].body.total };
}
