// The public API, and nothing else. Every call ends: with an answer, with a Refused, or with a Lost.

import { base } from "./configuration.js";
import { tag } from "./language.js";
import { renewed, session } from "./session.js";

const LONGEST_MS = 20_000;

/** The service said no: `code` and `violations` are those of its envelope. */
export class Refused extends Error {
  constructor(status, body, headers) {
    super(body?.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = body?.code;
    this.violations = body?.violations ?? [];
    this.requestId = headers.get("X-Request-ID");
  }
}

/** No answer came, so nobody knows what happened: `slow` if it was waited for too long. */
export class Lost extends Error {
  constructor(cause) {
    super("no answer", { cause });
    this.slow = cause.name === "TimeoutError";
  }
}

/**
 * Call the API: `call("GET", "/admin/oauth/clients/", {query: {page: 2}})`.
 *
 * *query* leaves out what is empty; *body* is sent as JSON; *key* is an Idempotency-Key; *version* an ETag, for
 * If-Match; *signal* gives up. Answers with {status, body, data, etag, headers}. A token that is no longer good asks
 * for another one, and then the call is made again.
 */
export async function call(method, path, options = {}) {
  const response = await send(method, path, options);
  const text = await settled(() => response.text(), options.signal);
  const body = text && parsed(text);
  if (!response.ok) throw new Refused(response.status, body, response.headers);
  return { status: response.status, body, data: body?.data, etag: response.headers.get("ETag"), headers: response.headers };
}

/** As `call`, but answers with the Response as soon as its headers are there: for what has no end, or is no JSON. */
export async function open(method, path, options = {}) {
  const response = await send(method, path, options);
  if (!response.ok) throw new Refused(response.status, parsed(await response.text()), response.headers);
  return response;
}

async function send(method, path, options) {
  const sentWith = session.value?.token;
  if (session.value && session.value.expires_at <= Date.now()) await renewed();
  let response = await attempt(method, path, options);
  if (response.status === 401 && session.value) {
    if (session.value.token === sentWith) await renewed();
    response = await attempt(method, path, options);
  }
  return response;
}

async function attempt(method, path, { query = {}, body, key, version, headers = {}, signal, endless = false }) {
  const address = new URL(path.replace(/^\//, ""), base);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") address.searchParams.set(name, value);
  }
  const sent = { Accept: "application/json", "Accept-Language": tag(), ...headers };
  if (session.value) sent.Authorization = `Bearer ${session.value.token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (key) sent["Idempotency-Key"] = key;
  if (version) sent["If-Match"] = version;
  const limit = endless ? [] : [AbortSignal.timeout(LONGEST_MS)];
  return settled(
    () =>
      fetch(address, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.any([...limit, ...(signal ? [signal] : [])]),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      }),
    signal,
  );
}

async function settled(act, signal) {
  try {
    return await act();
  } catch (error) {
    if (signal?.aborted) throw error; // whoever gave up knows
    throw new Lost(error);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a gateway's own page: the status alone says what there is to say
  }
}
