/* One label: what is kept under it, and the removal of all of it. */

import { call, Refusal } from "../api.js";
import { button, make, say } from "../dom.js";
import { credentialLink, credentialMark, head, terms, within } from "./marks.js";
import { sessionsOf } from "./routes.js";
import { sessionList } from "./rows.js";
import { timeMark } from "./time.js";

const LATEST = 10;

function counts(owner) {
  return terms(["sessions", "live", "machines", "credentials", "tombstones"].map((name) => [say(`dashboard.owner.${name}`), String(name === "live" ? owner.live_sessions : owner[name])]));
}

function stored(rows, { nameOf }) {
  return rows.length
    ? make("ul", { class: "owned" }, rows.map((row) => make("li", {}, credentialLink(row.id, nameOf(row.provider)), credentialMark(row.status), make("span", {}, row.account ?? say("dashboard.credential.noAccount")), make("span", { class: "quiet small" }, say("dashboard.credential.versionOf", { n: row.version }), " · ", timeMark(row.stored_at)))))
    : null;
}

/** Say what an erasure leaves elsewhere. */
export function remains(style) {
  return make("ul", { class: style }, ["vendors", "backups"].map((name) => make("li", {}, say(`dashboard.erasure.remains.${name}`))));
}

function underWay(label, erasing) {
  return make(
    "section",
    { class: "note warn erasing", role: "status" },
    make("h2", {}, say("dashboard.erasure.underWay", { label })),
    make("p", {}, say("dashboard.erasure.begun")),
    erasing.waits_for.length ? make("p", {}, say("dashboard.erasure.waits")) : null,
    make("ul", {}, erasing.waits_for.map((one) => make("li", {}, make("span", { class: "code" }, one.id), ` · ${say(`dashboard.states.${one.state}`)}${one.node ? ` · ${one.node}` : ""}`))),
    make("p", { class: "small" }, say("dashboard.erasure.removed")),
    terms(["sessions", "machines", "credentials"].map((name) => [say(`dashboard.erasure.${name}`), String(erasing[name])])),
    remains("small"),
  );
}

function page(known, own) {
  const { owner, sessions, credentials } = known;
  const label = own.labelOf(owner);
  return [
    head(say("dashboard.owner.heading", { label }), say("dashboard.owner.lead")),
    owner.erasing ? underWay(label, owner.erasing) : null,
    make(
      "div",
      { class: "two" },
      make("section", { class: "panel", "aria-labelledby": "kept-heading" }, make("h2", { id: "kept-heading" }, say("dashboard.owner.kept")), counts(owner)),
      make("section", { class: "panel", "aria-labelledby": "stored-heading" }, make("h2", { id: "stored-heading" }, say("dashboard.owner.credentials")), stored(credentials, own) ?? make("p", { class: "quiet" }, say("dashboard.credential.empty"))),
    ),
    make(
      "section",
      { "aria-labelledby": "latest-heading" },
      make("h2", { id: "latest-heading" }, say("dashboard.owner.latest")),
      make("div", { class: "list" }, sessionList(sessions, own)),
      make("p", { class: "more" }, within(sessionsOf({ user_id: owner.user_id, application: owner.application }), say("dashboard.owner.allSessions"))),
    ),
    owner.erasing
      ? null
      : make(
          "section",
          { class: "panel erase", "aria-labelledby": "erase-heading" },
          make("h2", { id: "erase-heading" }, say("dashboard.owner.eraseHeading", { label })),
          make("p", {}, say("dashboard.owner.eraseLead")),
          remains("small quiet"),
          make("div", { class: "row" }, button(say("dashboard.owner.erase"), "grave", () => own.erase(owner, credentials))),
        ),
  ].filter(Boolean);
}

export function ownerView(context, route) {
  const root = make("div", { class: "content" });
  return {
    root: [root],
    async load() {
      try {
        const label = new URLSearchParams({ user_id: route.id, application: route.application });
        const [owner, { sessions }, { credentials }] = await Promise.all([
          call("GET", `/api/owners?${label}`),
          call("GET", `/api/auth/sessions?${label}&limit=${LATEST}`),
          call("GET", `/api/credentials?${label}`),
        ]);
        return { owner, sessions, credentials };
      } catch (error) {
        const refusal = Refusal.of(error);
        if (refusal.status === 404 || refusal.code === "bad_request") {
          return { owner: null, sessions: [], credentials: [] };
        }
        throw refusal;
      }
    },
    moving: (known) => Boolean(known.owner?.erasing || known.owner?.live_sessions),
    variant: (known) => (known.owner ? (known.owner.erasing ? "owner-erasing" : "owner") : "owner-none"),
    fill(known, own) {
      root.replaceChildren(...(known.owner ? page(known, own) : [head(say("dashboard.owner.none"), say("dashboard.owner.noneLead"))]));
    },
  };
}
