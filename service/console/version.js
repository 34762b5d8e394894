// A version of a client: the record that made it, and what the client was then.

import { Refused, call } from "./api.js";
import { found } from "./chain.js";
import { positionOf, stretch } from "./feed.js";

const KEPT = 200;

const known = new Map();

/**
 * Version *version* of a client that has at least *total*: {position, entry, state}; `state` is null where it is deleted.
 *
 * What was does not change, so it is asked for once.
 */
export async function versionAt(client_id, version, total, signal) {
  const key = `${client_id} ${version}`;
  if (known.has(key)) return known.get(key);
  const path = `/admin/oauth/clients/${encodeURIComponent(client_id)}`;
  const logged = await entryOf(path, version, total, signal);
  const position = await positionOf(logged, signal);
  const [[entry = found("", "")], state] = await Promise.all([stretch(position - 1, position, signal), stateAt(path, position, signal)]);
  const made = { position, entry, state };
  known.set(key, made);
  if (known.size > KEPT) known.delete(known.keys().next().value);
  return made;
}

/** The entry of a version: the list has the newest first, and says how many there are. */
async function entryOf(path, version, total, signal) {
  for (;;) {
    const page = total - version + 1;
    const { body } = await call("GET", `${path}/audit-logs`, { query: { page, page_size: 1 }, signal });
    if (body.total === total) return body.items[0];
    total = body.total; // it has moved on meanwhile
  }
}

async function stateAt(path, position, signal) {
  try {
    return (await call("GET", path, { query: { as_of: position }, signal })).data;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}
