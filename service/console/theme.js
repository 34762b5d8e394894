// Light, dark, or as the system has it.

import { signal } from "./signal.js";

const KEPT = "mitosis.theme";

export const THEMES = ["system", "light", "dark"];
export const theme = signal(THEMES.includes(localStorage.getItem(KEPT)) ? localStorage.getItem(KEPT) : "system");
show(theme.value);

export function paint(wanted) {
  localStorage.setItem(KEPT, wanted);
  show(wanted);
  theme.value = wanted;
}

function show(wanted) {
  if (wanted === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
}
