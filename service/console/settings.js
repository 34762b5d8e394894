// A client's settings: what there is, how it is typed, and how it goes over the wire.

/**
 * All settings, in the order in which people think of them. `kind` is how one is typed: lines are one entry a line,
 * many are boxes, one is a choice that may be none. What is `needed` cannot be taken away with a null.
 */
export const SETTINGS = [
  { name: "name", kind: "text", needed: true },
  { name: "redirect_uris", kind: "lines", needed: true },
  { name: "grant_types", kind: "many", needed: true, options: ["authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:saml2-bearer", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:openid:params:grant-type:ciba"] },
  { name: "scopes", kind: "lines", needed: true },
  { name: "is_confidential", kind: "flag", needed: true },
  { name: "client_auth_methods", kind: "many", needed: true, options: ["client_secret_basic", "client_secret_post", "private_key_jwt", "self_signed_tls_client_auth", "none"] },
  { name: "jwks_uri", kind: "text" },
  { name: "jwks", kind: "long" },
  { name: "fapi_profile", kind: "one", options: ["fapi1", "fapi1_advanced", "fapi2"] },
  { name: "cors_origins", kind: "lines", needed: true },
  { name: "website", kind: "text" },
  { name: "logo_url", kind: "text" },
  { name: "terms_url", kind: "text" },
  { name: "privacy_policy", kind: "text" },
];

const LISTS = ["lines", "many"];

/** The settings of an answer's *item*: lists are lists, and what has no value is undefined. */
export function settingsOf(item) {
  return Object.fromEntries(
    SETTINGS.map(({ name }) => {
      const value = item[name];
      // an array in requests, and the text of one in answers: odd, but fixed
      return [name, name === "client_auth_methods" && typeof value === "string" ? JSON.parse(value) : value];
    }),
  );
}

/** *settings* as they are typed. */
export function draftOf(settings) {
  return Object.fromEntries(
    SETTINGS.map(({ name, kind }) => {
      const value = settings[name];
      if (kind === "lines") return [name, (value ?? []).join("\n")];
      if (kind === "many") return [name, value ?? []];
      return [name, kind === "flag" ? Boolean(value) : (value ?? "")];
    }),
  );
}

/** What *draft* says. */
export function typed(draft) {
  return Object.fromEntries(
    SETTINGS.filter(({ name }) => name in draft).map(({ name, kind, options }) => {
      const value = draft[name];
      if (kind === "lines") return [name, value.split(/\s+/).filter(Boolean)];
      if (kind === "many") return [name, [...options.filter((one) => value.includes(one)), ...value.filter((one) => !options.includes(one))]];
      if (kind === "flag") return [name, value];
      return [name, value.trim() === "" ? undefined : value.trim()];
    }),
  );
}

/** Where *after* is something else than *before*: [{name, before, after}]. The order of boxes means nothing. */
export function changes(before, after) {
  return SETTINGS.filter(({ name, kind }) => name in after && !same(kind, before[name], after[name])).map(({ name }) => ({
    name,
    before: before[name],
    after: after[name],
  }));
}

function same(kind, one, other) {
  if (!LISTS.includes(kind)) return one === other;
  const written = (list) => JSON.stringify(kind === "many" ? [...(list ?? [])].sort() : (list ?? []));
  return written(one) === written(other);
}

/** A request's body of what is *changed*; a setting that is taken away is a null. */
export function bodyOf(changed) {
  return Object.fromEntries(
    changed.map(({ name, after }) => {
      const { kind, needed } = SETTINGS.find((one) => one.name === name);
      if (LISTS.includes(kind)) return [name, after ?? []];
      return [name, after ?? (needed ? "" : null)];
    }),
  );
}

/** *violations* by the setting they are about; those that are about none that is shown are under "". */
export function bySetting(violations, shown) {
  const found = {};
  for (const violation of violations) {
    const name = violation.field.split(/[.[]/)[0];
    (found[shown.includes(name) ? name : ""] ??= []).push(violation);
  }
  return found;
}
