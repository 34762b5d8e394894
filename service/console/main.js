// Where the console starts.

import "./theme.js";
import { Broken } from "./broken.js";
import { configuration, configure } from "./configuration.js";
import { language } from "./language.js";
import Audit from "./pages/audit.js";
import Client from "./pages/client.js";
import Clients from "./pages/clients.js";
import Edit from "./pages/edit.js";
import Lineage from "./pages/lineage.js";
import Nowhere from "./pages/nowhere.js";
import Register from "./pages/register.js";
import Versions from "./pages/versions.js";
import { start } from "./session.js";
import { Shell } from "./shell.js";
import { Beside } from "./sign-in.js";
import { html, render } from "./view.js";

const pages = {
  audit: Audit,
  client: Client,
  clients: Clients,
  edit: Edit,
  lineage: Lineage,
  nowhere: Nowhere,
  register: Register,
  versions: Versions,
};
const root = document.getElementById("console");

try {
  await configure();
  let problem = null;
  if (configuration.issuer && /[?&]state=/.test(location.search)) {
    const pkce = await import("./pkce.js");
    problem = await pkce.arrive();
  }
  if (problem === "beside") {
    render(html`<${Beside} />`, root);
  } else {
    start();
    render(html`<${Shell} pages=${pages} problem=${problem} />`, root);
  }
} catch (error) {
  console.error(error);
  render(html`<${Broken} key=${language.value} />`, root);
}
