// Who is signed in: a bearer token, in memory and in sessionStorage, until it expires.

import { configuration } from "./configuration.js";
import { t } from "./language.js";
import { signal } from "./signal.js";
import { say } from "./toast.js";

const KEPT = "mitosis.token";
const SOON_MS = 2 ** 31 - 1; // a timer knows no longer time
const WRITERS = ["admin", "super_admin"];
const READERS = [...WRITERS, "auditor"];

/** What is known of who is signed in, null for nobody: {token, subject, tenant_id, role, expires_at}. */
export const session = signal(null);

/** Whether somebody who was signed in has to sign in again, before what waits goes on. */
export const asking = signal(false);

/** Why the link that somebody came by signs nobody in, or null. */
export const misled = signal(null);

let waiting = [];
let timer = 0;

/** Take the token from the address bar, or from where it was before the page was loaded again. */
export function start() {
  const carried = taken();
  const kept = sessionStorage.getItem(KEPT);
  if ((carried === null || !follow(carried)) && kept !== null && !isRead(kept)) sessionStorage.removeItem(KEPT);
  addEventListener("hashchange", () => {
    const later = taken();
    if (later !== null) follow(later);
  });
}

/** Sign in by a link; one that was cut off signs nobody in, nor out, and says so. */
function follow(token) {
  if (isRead(token)) return true;
  if (session.value ?? sessionStorage.getItem(KEPT)) say(`${t("session.bad_link")} ${t("session.bad_link.do")}`);
  else misled.value = new Error("session.bad_link");
  return false;
}

function isRead(token) {
  try {
    signIn(token);
    return true;
  } catch (error) {
    if (!(error instanceof NoToken)) throw error;
    return false;
  }
}

function taken() {
  const match = /^#token=([^&]*)/.exec(location.hash);
  if (!match) return null;
  history.replaceState(null, "", location.pathname);
  return match[1];
}

export class NoToken extends Error {}

/**
 * Be whom *text* names: a token, or a link that has one.
 *
 * Only the service can say whether it is good; whatever is no JWT, or is none for people, is refused here.
 */
export function signIn(text) {
  const token = text.trim().replace(/^.*#token=/s, "");
  const known = read(token);
  const before = session.value;
  sessionStorage.setItem(KEPT, token);
  session.value = known;
  misled.value = null;
  clearTimeout(timer);
  timer = setTimeout(expire, Math.min(Math.max(known.expires_at - Date.now(), 0), SOON_MS));
  if (before && (before.tenant_id !== known.tenant_id || before.role !== known.role)) {
    // what is on the page is another's: it must not be sent in this one's name
    dismiss();
    location.reload();
    return;
  }
  if (known.expires_at > Date.now()) {
    asking.value = false;
    for (const { resolve } of waiting.splice(0)) resolve();
  }
}

function read(token) {
  const parts = token.split(".");
  let claims;
  try {
    const bytes = Uint8Array.from(atob(parts[1].replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    claims = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new NoToken("session.no_token");
  }
  const own = claims.iss === "mitosis";
  const { roles, tenant_claim, role_claim } = configuration;
  const named = own ? claims.role : claim(claims, role_claim);
  const known = Array.isArray(named) ? roles.filter((role) => named.includes(role)) : [named];
  if (parts.length !== 3 || typeof claims.exp !== "number") throw new NoToken("session.no_token");
  return {
    token,
    subject: String(claims.sub),
    tenant_id: String(own ? claims.tenant_id : claim(claims, tenant_claim)),
    role: known.length === 1 ? String(known[0]) : "",
    expires_at: claims.exp * 1000,
  };
}

/** The claim of this name or, without one, the one that its dots lead to. */
function claim(claims, name) {
  if (name in claims) return claims[name];
  return name.split(".").reduce((found, part) => found?.[part], claims);
}

function expire() {
  const left = session.value.expires_at - Date.now();
  if (left > 0) timer = setTimeout(expire, Math.min(left, SOON_MS));
  else asking.value = true;
}

/** Wait until somebody has signed in again: nothing of the page is lost meanwhile. Rejects if they would rather not. */
export function renewed() {
  asking.value = true;
  return new Promise((resolve, reject) => {
    waiting.push({ resolve, reject });
  });
}

export class SignedOut extends Error {}

/** Go on without signing in: what waits is told. */
export function dismiss() {
  asking.value = false;
  for (const { reject } of waiting.splice(0)) reject(new SignedOut());
}

export function signOut() {
  clearTimeout(timer);
  sessionStorage.removeItem(KEPT);
  dismiss();
  session.value = null;
}

/** Whether what changes anything would be permitted. */
export function mayWrite() {
  return WRITERS.includes(session.value?.role);
}

/** Whether anything here would be permitted. */
export function mayRead() {
  return READERS.includes(session.value?.role);
}
