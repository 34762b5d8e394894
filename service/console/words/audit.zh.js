// What the pages about the log say.

export default {
  "page.audit": "审计",
  "page.versions": "版本",
};
