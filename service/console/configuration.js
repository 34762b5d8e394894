// What the service says of itself before anybody has signed in.

const LONGEST_MS = 10_000;

/** Where the API is: beside the console, under whatever prefix that was asked for. */
export const base = new URL("../", document.baseURI);

export const configuration = {};

export async function configure() {
  const answer = await fetch("configuration.json", { signal: AbortSignal.timeout(LONGEST_MS) });
  if (!answer.ok) throw new Error(`configuration.json: ${answer.status}`);
  Object.assign(configuration, await answer.json());
}
