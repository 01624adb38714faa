/* How the service stands: what needs doing first, then everything that was looked at. */

import { call, setClock } from "../api.js";
import { make, prose, say, sayIf } from "../dom.js";
import { head, terms } from "./marks.js";
import { between, lasted, timeMark } from "./time.js";

const GIB = 2 ** 30;

function gib(bytes) {
  return say("dashboard.health.gib", { n: (bytes / GIB).toFixed(bytes < 10 * GIB ? 1 : 0) });
}

/* Everything that is not as it should be, the gravest first: {what, message, remedy, grave}. */
function wrong(status, providers) {
  const found = [];
  if (!status.database.reachable) {
    found.push({ what: say("dashboard.health.database"), message: say("dashboard.health.noDatabase"), remedy: say("dashboard.health.noDatabaseNext"), grave: true });
  }
  const bad = status.checks.filter((check) => !check.ok && !check.by_nature);
  found.push(...bad.map((check) => ({ what: check.name, message: check.message, remedy: check.remedy, grave: check.fatal, english: true })));
  found.push(
    ...providers.filter((provider) => !provider.installed).map((provider) => ({ what: provider.name, message: provider.message ?? say("dashboard.health.notInstalled"), remedy: "", grave: false })),
    ...status.folders.filter((folder) => !folder.ok).map((folder) => ({ what: say(`dashboard.health.folders.${folder.name}`), message: say("dashboard.health.full", { free: gib(folder.free), path: folder.path }), remedy: say("dashboard.health.fullNext"), grave: false })),
  );
  return found.sort((one, other) => Number(other.grave) - Number(one.grave));
}

/* What a driver says of its computer is for its operator, in English like the log. */
function langOf({ english }) {
  return { lang: english ? "en" : null };
}

function todo(found) {
  return make(
    "ul",
    { class: "todo" },
    found.map((one) =>
      make("li", { class: `note ${one.grave ? "bad" : "warn"}` }, make("strong", langOf(one), one.what), make("p", langOf(one), prose(one.message)), one.remedy ? make("p", { class: "small" }, say("dashboard.health.todo"), " ", make("span", langOf(one), prose(one.remedy))) : null),
    ),
  );
}

function panel(name, ...content) {
  return make("section", { class: "panel", "aria-labelledby": `health-${name}` }, make("h2", { id: `health-${name}` }, say(`dashboard.health.${name}`)), ...content);
}

function room(folder) {
  const used = Math.round((1 - folder.free / folder.total) * 100);
  return make(
    "li",
    {},
    make("div", { class: "room-head" }, make("span", {}, say(`dashboard.health.folders.${folder.name}`)), make("span", { class: "quiet small" }, say("dashboard.health.free", { free: gib(folder.free), total: gib(folder.total) }))),
    make("meter", { min: "0", max: "100", value: String(used), high: "90", "aria-label": say("dashboard.health.used", { folder: say(`dashboard.health.folders.${folder.name}`), n: used }) }),
    make("p", { class: "code small quiet" }, folder.path),
  );
}

function checkMark(check) {
  if (check.ok) {
    return make("span", { class: "mark good" }, say("dashboard.health.checkGood"));
  }
  // a limit of the driver is told, and asks nothing of anybody
  return check.by_nature ? make("span", { class: "mark" }, say("dashboard.health.checkLimit")) : make("span", { class: `mark ${check.fatal ? "bad" : "warn"}` }, say("dashboard.health.checkBad"));
}

function checkLine(check) {
  const more = check.by_nature && !check.ok ? check.remedy : "";
  return make(
    "li",
    {},
    checkMark(check),
    make("div", langOf({ english: true }), make("strong", {}, check.name), make("p", { class: "quiet small" }, prose(check.message)), more ? make("p", { class: "quiet small" }, prose(more)) : null),
  );
}

function all(status, providers) {
  const label = (name) => say(`dashboard.health.${name}`);
  const { driver, database } = status;
  return make(
    "div",
    { class: "two" },
    panel(
      "service",
      terms([
        [label("version"), status.version],
        [label("world"), sayIf(`dashboard.health.worlds.${status.world}`) ?? status.world],
        [label("uptime"), lasted(between(status.started_at))],
        [label("node"), status.node],
        [label("liveSessions"), String(status.live_sessions)],
        [label("runningMachines"), String(status.machines)],
      ]),
      status.nodes.length > 1
        ? make(
            "ul",
            { class: "rooms" },
            status.nodes.map((node) => make("li", { class: "room-head" }, make("strong", {}, node.name), make("span", { class: "quiet small" }, say("dashboard.health.nodeLine", { n: node.machines }), " · ", timeMark(node.seen_at)))),
          )
        : null,
    ),
    panel(
      "stored",
      terms([
        [label("database"), database.kind ? (sayIf(`dashboard.health.databases.${database.kind}`) ?? database.kind) : label("unreachable")],
        [label("revision"), database.revision],
        [label("root"), status.root ? (sayIf(`dashboard.health.roots.${status.root}`) ?? status.root) : null],
        [label("key"), status.key_id ? make("span", { class: "code" }, status.key_id) : null],
      ]),
      make("ul", { class: "rooms" }, status.folders.map(room)),
    ),
    panel(
      "machines",
      terms([
        [label("driver"), driver.name],
        [label("apart"), driver.machine],
        [label("accounts"), label(driver.own_uids ? "ownUids" : "sharedUid")],
      ]),
      make("ul", { class: "checks" }, [...status.checks].sort((one, other) => Number(one.ok) - Number(other.ok)).map(checkLine)),
    ),
    panel(
      "tools",
      make(
        "ul",
        { class: "tools" },
        providers.map((provider) =>
          make(
            "li",
            {},
            make("strong", {}, `${provider.name} ${provider.version}`),
            make("p", { class: provider.sha256 ? "code small quiet" : "small" }, provider.sha256 ? say("dashboard.health.hash", { hash: provider.sha256 }) : label("notInstalled")),
          ),
        ),
      ),
    ),
  );
}

export function healthView() {
  const body = make("div", { class: "content" });
  return {
    root: [head(say("dashboard.healthHeading"), say("dashboard.healthLead")), body],
    async load() {
      const status = await call("GET", "/api/status");
      setClock(status.now);
      return { status };
    },
    moving: () => false,
    state: () => Math.floor(Date.now() / 10_000),
    variant: (known, own) => (wrong(known.status, own.providers).length ? "health-bad" : "health"),
    fill(known, own) {
      const found = wrong(known.status, own.providers);
      body.replaceChildren(
        found.length
          ? make("section", { "aria-labelledby": "todo-heading" }, make("h2", { id: "todo-heading" }, say("dashboard.health.needs")), todo(found))
          : make("p", { class: "note good" }, say("dashboard.health.allGood")),
        all(known.status, own.providers),
      );
    },
  };
}
