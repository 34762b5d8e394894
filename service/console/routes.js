// Where in the console one is. The place is in the fragment, so the server has one page.

import { signal } from "./signal.js";

const PATTERNS = [
  ["clients", /^\/clients$/],
  ["register", /^\/clients\/new$/],
  ["client", /^\/clients\/(?<client_id>[^/]+)$/],
  ["edit", /^\/clients\/(?<client_id>[^/]+)\/edit$/],
  ["lineage", /^\/clients\/(?<client_id>[^/]+)\/lineage$/],
  ["versions", /^\/clients\/(?<client_id>[^/]+)\/versions$/],
  ["audit", /^\/audit$/],
];

export const place = signal(parsed(location.hash));
addEventListener("hashchange", () => {
  place.value = parsed(location.hash);
});

function parsed(hash) {
  // whatever is no path, a token on its way to where it is kept say, is where one starts
  const [path, query = ""] = (hash.startsWith("#/") ? hash.slice(1) : "/clients").split("?");
  for (const [name, pattern] of PATTERNS) {
    const match = pattern.exec(path === "/" ? "/clients" : path);
    if (match) return { name, path, params: decoded(match.groups), query: Object.fromEntries(new URLSearchParams(query)) };
  }
  return { name: "nowhere", path, params: {}, query: {} };
}

function decoded(groups = {}) {
  return Object.fromEntries(Object.entries(groups).map(([name, text]) => [name, plain(text)]));
}

function plain(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % in an address somebody typed: no client is called that, and the page says so
  }
}

/** The address of a page: `href("client", {client_id})`, with a query of what is not empty. */
export function href(name, params = {}, query = {}) {
  const id = encodeURIComponent(params.client_id ?? "");
  const path = {
    clients: "/clients",
    register: "/clients/new",
    client: `/clients/${id}`,
    edit: `/clients/${id}/edit`,
    lineage: `/clients/${id}/lineage`,
    versions: `/clients/${id}/versions`,
    audit: "/audit",
  }[name];
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "" && value !== null);
  return `#${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

/** Go to a page; with `replace` the browser's way back does not lead here. */
export function go(name, params, query, { replace = false } = {}) {
  const address = href(name, params, query);
  if (replace) {
    history.replaceState(null, "", address);
    place.value = parsed(address);
  } else {
    location.hash = address;
  }
}
