// Signing in at an issuer: authorization code with PKCE (RFC 7636), in this window or in one beside it.

import * as oauth from "./vendor/oauth4webapi.js";
import { configuration } from "./configuration.js";
import { signIn } from "./session.js";

const KEPT = "mitosis.signing_in";
const CHANNEL = "mitosis.signing_in";
const LONGEST_MS = 20_000;
const HEARD_MS = 1_000;

/** What went wrong on the way; `message` is the name of the words for it. */
export class NotSignedIn extends Error {}

const client = () => ({ client_id: configuration.client_id });
const back = () => `${location.origin}${location.pathname}`;

/** HTTPS, unless the issuer that is configured is on this machine, and so without. */
function options() {
  const isPlain = configuration.issuer.startsWith("http:");
  return { signal: AbortSignal.timeout(LONGEST_MS), ...(isPlain ? { [oauth.allowInsecureRequests]: true } : {}) };
}

async function discovered() {
  const issuer = new URL(configuration.issuer);
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...options(), algorithm: "oidc" }));
}

/** A new attempt: where to go, and what to remember of it until somebody comes back. */
async function begin() {
  const server = await reached(discovered);
  const attempt = { state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce(), verifier: oauth.generateRandomCodeVerifier() };
  const address = new URL(server.authorization_endpoint);
  const asked = {
    response_type: "code",
    client_id: configuration.client_id,
    redirect_uri: back(),
    scope: "openid",
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(attempt.verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) address.searchParams.set(name, value);
  return { address, attempt };
}

/** Go to the issuer, and come back to this page. */
export async function leave() {
  const { address, attempt } = await begin();
  sessionStorage.setItem(KEPT, JSON.stringify({ ...attempt, place: location.hash }));
  location.assign(address);
}

/** Sign in in a window beside this one, in which nothing changes meanwhile. */
export async function signInBeside() {
  // at once, while the browser takes it for what somebody pressed; where it leads to has to be asked for first
  const beside = open("about:blank", "_blank", "popup,width=520,height=680");
  if (!beside) throw new NotSignedIn("session.no_window");
  const { address, attempt } = await begin().catch((error) => {
    beside.close();
    throw error;
  });
  // the window gets the issuer's page, which must not reach this one: it is spoken to over a channel
  const channel = new BroadcastChannel(CHANNEL);
  beside.location.replace(address);
  await new Promise((resolve, reject) => {
    channel.onmessage = ({ data }) => {
      const parameters = new URLSearchParams(data.search);
      if (parameters.get("state") !== attempt.state) return; // another's, or nobody's
      channel.postMessage({ heard: attempt.state });
      channel.close();
      redeemed(parameters, attempt).then(signIn).then(resolve, reject);
    };
  });
}

/**
 * Somebody comes from the issuer. Answers null when they are signed in, "beside" when that is for another window to do,
 * or with what went wrong.
 */
export async function arrive() {
  const { search } = location;
  const parameters = new URLSearchParams(search);
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  history.replaceState(null, "", location.pathname); // a code is good once, and nobody's business
  if (kept?.state !== parameters.get("state")) return (await isHeard(search, parameters.get("state"))) ? "beside" : new NotSignedIn("session.unexpected");
  sessionStorage.removeItem(KEPT);
  try {
    signIn(await redeemed(parameters, kept));
  } catch (error) {
    return error;
  }
  location.hash = kept.place;
  return null;
}

/** Whether a window beside this one waits for what came; this one is then not needed any more. */
async function isHeard(search, state) {
  const channel = new BroadcastChannel(CHANNEL);
  const heard = await new Promise((resolve) => {
    setTimeout(() => resolve(false), HEARD_MS);
    channel.onmessage = ({ data }) => data.heard === state && resolve(true);
    channel.postMessage({ search });
  });
  channel.close();
  if (heard) close(); // a browser may refuse where the window has been to other pages: then it says what to do
  return heard;
}

/** The token for the code in *parameters*. */
async function redeemed(parameters, { state, nonce, verifier }) {
  return reached(async () => {
    const server = await discovered();
    const valid = oauth.validateAuthResponse(server, client(), parameters, state);
    const answer = await oauth.authorizationCodeGrantRequest(server, client(), oauth.None(), valid, back(), verifier, options());
    return (await oauth.processAuthorizationCodeResponse(server, client(), answer, { expectedNonce: nonce, requireIdToken: true })).access_token;
  });
}

async function reached(act) {
  try {
    return await act();
  } catch (error) {
    if (error instanceof oauth.AuthorizationResponseError) throw new NotSignedIn("session.refused", { cause: error });
    throw new NotSignedIn("session.no_issuer", { cause: error });
  }
}
