// What the pages about the log say.

export default {
  "page.audit": "Audit",
  "page.versions": "Versions",
};
