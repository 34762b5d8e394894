// Signed heads: where the log ends, in the service's own words, proven by its published key.

import { call } from "./api.js";

const TYPE = "mitosis-head+jws";
const ALGORITHMS = ["EdDSA", "Ed25519"];

/** The browser cannot check signatures of this kind. */
export class NoEd25519 extends Error {}

/** A text is no signed head of this tenant, or nobody who is known has signed it. */
export class NoHead extends Error {}

let published = null;

/** The head as it is now, proven: {position, digest, time, kid, text}. */
export async function newestHead(tenant, signal) {
  const { data } = await call("GET", "/admin/audit/head", { signal });
  return { ...(await proven(data.head, tenant, signal)), text: data.head };
}

/** Where the service says that the log ends, which nothing proves. */
export async function statedHead(signal) {
  const { data } = await call("GET", "/admin/audit/head", { signal });
  return { position: data.position, digest: data.digest };
}

async function proven(text, tenant, signal) {
  const kid = opened(text).header.kid;
  if (!published?.some((key) => key.kid === kid)) {
    // also where a key was replaced while the page was open
    published = (await call("GET", "/.well-known/jwks.json", { signal })).body?.keys ?? [];
  }
  return verify(text, tenant, published);
}

/** What the signed head *text* says, once one of *keys* has proven it. */
export async function verify(text, tenant, keys) {
  const { header, claims, signed, signature } = opened(text);
  if (header.typ !== TYPE || !ALGORITHMS.includes(header.alg)) throw new NoHead("type");
  const { position, digest, time, tenant_id } = claims;
  if (!Number.isSafeInteger(position) || position < 0 || !/^[0-9a-f]{64}$/.test(digest)) throw new NoHead("claims");
  const key = keys.find((one) => one.kty === "OKP" && one.crv === "Ed25519" && one.kid === header.kid);
  if (!key || !(await proves(key, signature, signed))) throw new NoHead("signature");
  if (tenant_id !== tenant) throw new NoHead("tenant");
  return { position, digest, time, kid: header.kid };
}

async function proves(jwk, signature, signed) {
  let key;
  try {
    key = await crypto.subtle.importKey("raw", base64url(jwk.x), { name: "Ed25519" }, false, ["verify"]);
  } catch (error) {
    if (error.name === "NotSupportedError") throw new NoEd25519();
    throw new NoHead("key");
  }
  return crypto.subtle.verify({ name: "Ed25519" }, key, signature, new TextEncoder().encode(signed));
}

function opened(text) {
  const [header, claims, signature, ...rest] = text.split(".");
  try {
    if (!signature || rest.length) throw new NoHead("form");
    const read = (part) => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(base64url(part)));
    return { header: read(header), claims: read(claims), signed: `${header}.${claims}`, signature: base64url(signature) };
  } catch {
    throw new NoHead("form");
  }
}

function base64url(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}
