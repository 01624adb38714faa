/* The lists of credentials and of sign-ins. */

import { button, make, prose, say, sayIf } from "../dom.js";
import { ago, timeMark } from "./time.js";

const MARKS = { completed: "good", failed: "bad", pending: "busy", starting: "busy", awaiting_sign_in: "busy", cancelled: "", expired: "warn" };
const LIVE = new Set(["pending", "starting", "awaiting_sign_in"]);
const COLUMNS = ["tool", "account", "plan", "label", "version", "stored", "expires"];

function cell(name, label, ...content) {
  return make("td", { class: name, "data-column": label }, ...content);
}

export function credentialList(credentials, nameOf, actions) {
  if (!credentials.length) {
    return make("p", { class: "empty quiet" }, say("dashboard.credential.empty"));
  }
  const heads = COLUMNS.map((column) => make("th", { scope: "col" }, say(`dashboard.credential.${column}`)));
  const rows = credentials.map((row) => {
    const account = row.account ?? say("dashboard.credential.noAccount");
    const label = (name) => say(`dashboard.credential.${name}`);
    return make(
      "tr",
      {},
      make("th", { scope: "row", "data-column": label("tool") }, nameOf(row.provider)),
      cell("account", label("account"), account),
      cell("plan", label("plan"), row.plan ?? say("time.none")),
      cell("label", label("label"), row.user_id),
      cell("version", label("version"), String(row.version)),
      cell("stored", label("stored"), timeMark(row.stored_at)),
      cell("expires", label("expires"), row.expires_at ? timeMark(row.expires_at) : say("time.none")),
      make("td", { class: "act" }, button(label("remove"), "slim", () => actions.remove(row), { "aria-label": say("dashboard.credential.removeName", { provider: nameOf(row.provider), account }) })),
    );
  });
  return make(
    "table",
    { class: "credentials" },
    make("thead", {}, make("tr", {}, heads, make("th", { scope: "col" }, make("span", { class: "unseen" }, say("dashboard.credential.remove"))))),
    make("tbody", {}, rows),
  );
}

function sessionRow(row, nameOf, actions) {
  const seconds = row.ended_at ? Math.round((Date.parse(row.ended_at) - Date.parse(row.created_at)) / 1000) : null;
  const why = row.rejected_at ? say("dashboard.session.rejected") : (row.explanation?.message ?? row.account ?? "");
  const machine = sayIf(`dashboard.machines.${row.machine?.state}`);
  return make(
    "li",
    { class: "session" },
    make("div", { class: "what" }, make("strong", {}, nameOf(row.provider)), make("span", { class: `mark ${MARKS[row.status] ?? ""}` }, say(`dashboard.statuses.${row.status}`))),
    make("p", { class: "why quiet small" }, prose(why)),
    make("p", { class: "when quiet small" }, timeMark(row.created_at), [seconds === null ? null : say("dashboard.session.took", { seconds }), row.user_id, machine].filter(Boolean).map((word) => ` · ${word}`)),
    LIVE.has(row.status)
      ? button(say("dashboard.session.cancel"), "slim", () => actions.stop(row), {
          "aria-label": say("dashboard.session.cancelName", { provider: nameOf(row.provider), when: ago(row.created_at) }),
        })
      : null,
  );
}

export function sessionList(sessions, nameOf, actions) {
  return sessions.length
    ? make("ul", { class: "sessions" }, sessions.map((row) => sessionRow(row, nameOf, actions)))
    : make("p", { class: "empty quiet" }, say("dashboard.session.empty"));
}

/** The line at the foot: the service, its machines, its tools with their versions and hashes. */
export function about(service, providers) {
  const tools = providers.map((provider) =>
    make(
      "li",
      {},
      `${provider.name} ${provider.version} `,
      provider.sha256 ? make("span", { class: "code" }, say("dashboard.health.hash", { hash: provider.sha256 })) : make("span", {}, say("dashboard.health.notInstalled")),
    ),
  );
  return [
    make("p", {}, say("dashboard.health.line", { version: service.version, machine: service.driver.machine, driver: service.driver.name })),
    make("p", {}, say(service.driver.own_uids ? "dashboard.health.ownUids" : "dashboard.health.sharedUid")),
    make("details", {}, make("summary", {}, say("dashboard.health.tools")), make("ul", {}, tools)),
  ];
}
