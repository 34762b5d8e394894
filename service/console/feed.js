// Records of the past: a stretch of the log, and where in it something happened.

import { Lost, call, open } from "./api.js";
import { foundIn } from "./chain.js";

const PAGE = 1000;

/** The records behind the position *after*, *upto* another, as the feed has them. */
export async function stretch(after, upto, signal) {
  const records = [];
  let place = String(after);
  while (records.length < upto - after) {
    const query = { after: place, limit: Math.min(upto - after - records.length, PAGE) };
    const response = await open("GET", "/admin/audit/stream", { query, headers: { Accept: "application/x-ndjson" }, signal });
    const lines = (await read(response, signal)).split("\n").filter(Boolean);
    for (const line of lines) records.push(foundIn(line));
    const next = response.headers.get("Last-Event-ID");
    if (lines.length === 0 || next === place) break;
    place = next;
  }
  return records;
}

async function read(response, signal) {
  try {
    return await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Lost(error);
  }
}

/** The position of a list's *entry*: lists do not say it, but how many records there were until then. */
export async function positionOf(entry, signal) {
  const query = { end_time: Math.floor(entry.timestamp / 1000) + 1, page_size: 100 };
  for (let page = 1; ; page += 1) {
    const { body } = await call("GET", "/admin/audit/logs", { query: { ...query, page }, signal });
    const { items, total } = body;
    const index = items.findIndex(({ id }) => id === entry.id);
    if (index >= 0) return total - (page - 1) * query.page_size - index;
    if (items.length === 0 || items.at(-1).timestamp < entry.timestamp) throw new Error(`no record ${entry.id}`);
  }
}
