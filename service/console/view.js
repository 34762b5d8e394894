// What pages are written with: Preact's elements and hooks, and htm in place of a compiler.

import htm from "./vendor/htm.js";
import { Fragment, createContext, createElement, render } from "./vendor/preact.js";

export { Fragment, createContext, render };
export { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";

export const html = htm.bind(createElement);
