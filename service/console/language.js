// What people read: `t("key", values)` in the language of the browser, or the one they chose.

import { signal } from "./signal.js";
import auditEn from "./words/audit.en.js";
import auditZh from "./words/audit.zh.js";
import clientsEn from "./words/clients.en.js";
import clientsZh from "./words/clients.zh.js";
import en from "./words/en.js";
import zh from "./words/zh.js";

const KEPT = "mitosis.language";
const WORDS = { en: { ...en, ...auditEn, ...clientsEn }, zh: { ...zh, ...auditZh, ...clientsZh } };
const TAGS = { en: "en", zh: "zh-CN" };

export const LANGUAGES = Object.keys(WORDS);
export const language = signal(chosen());
show(language.value);

function chosen() {
  const kept = localStorage.getItem(KEPT);
  if (LANGUAGES.includes(kept)) return kept;
  for (const tag of navigator.languages) {
    const found = tag.toLowerCase().split("-")[0];
    if (LANGUAGES.includes(found)) return found;
  }
  return "en";
}

export function speak(wanted) {
  localStorage.setItem(KEPT, wanted);
  show(wanted);
  language.value = wanted;
}

function show(wanted) {
  document.documentElement.lang = TAGS[wanted];
}

/** The language's tag, for Accept-Language and Intl. */
export function tag() {
  return TAGS[language.value];
}

/** The words of *key*, with `{name}` replaced from *values*; with a `count`, those of `key.one` or `key.other`. */
export function t(key, values = {}) {
  const words = WORDS[language.value];
  let text = words[key];
  if (text === undefined && "count" in values) {
    text = words[`${key}.${new Intl.PluralRules(tag()).select(values.count)}`] ?? words[`${key}.other`];
  }
  if (text === undefined) throw new Error(`no words for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Whether there are words for *key*. */
export function has(key) {
  return key in WORDS[language.value];
}
