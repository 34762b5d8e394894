// What a page needs before it can be drawn: loaded, loaded again, and given up when nobody waits any more.

import { useCallback, useEffect, useState } from "./view.js";

/**
 * What *load* answers with, as {value, error, loading, reload}; loaded again when *needs* change.
 *
 * *load* is handed a signal. An older value stays until a newer one is there, unless what is needed has changed.
 */
export function useLoaded(load, needs) {
  const [round, setRound] = useState(0);
  const [state, setState] = useState({ loading: true });
  const key = JSON.stringify(needs);
  useEffect(() => {
    const giveUp = new AbortController();
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, loading: true }));
    load(giveUp.signal).then(
      (value) => giveUp.signal.aborted || setState({ key, value, loading: false }),
      (error) => giveUp.signal.aborted || setState({ key, error, loading: false }),
    );
    return () => giveUp.abort();
  }, [key, round]);
  const reload = useCallback(() => setRound((count) => count + 1), []);
  return { ...(state.key === key ? state : { loading: true }), reload };
}
