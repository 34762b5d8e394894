// A value that is not of one page: whoever uses it is drawn anew when it changes.

import { useEffect, useState } from "./view.js";

export function signal(value) {
  const listeners = new Set();
  return {
    get value() {
      return value;
    },
    set value(next) {
      if (next === value) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export function useSignal(source) {
  const [, redraw] = useState(0);
  const drawn = source.value;
  useEffect(() => {
    const stop = source.subscribe(() => redraw((count) => count + 1));
    if (source.value !== drawn) redraw((count) => count + 1); // it changed between the drawing and this
    return stop;
  }, [source]);
  return drawn;
}
