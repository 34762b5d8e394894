// What a record is hashed as, and its digest after another.

const utf8 = new TextEncoder();
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/** Whether the browser has cryptography here: it has none on pages that came over plain HTTP from elsewhere. */
export function canHash() {
  return Boolean(globalThis.crypto?.subtle);
}

/** *value* in the canonical form of RFC 8785, in which a record was hashed. */
export function canonical(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  const members = Object.keys(value).sort(); // by UTF-16 code units, as the RFC has it
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

async function sha256(joined) {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", joined)));
}

/** The digest before a tenant's first record. */
export function genesis(tenant) {
  return sha256(utf8.encode(`mitosis/v1/${tenant}`));
}

/** The digest of a record with this *body*, after one with the digest *before*. */
export function link(before, body) {
  const [first, rest] = [bytes(before), utf8.encode(body)];
  const joined = new Uint8Array(first.length + rest.length);
  joined.set(first);
  joined.set(rest, first.length);
  return sha256(joined);
}
