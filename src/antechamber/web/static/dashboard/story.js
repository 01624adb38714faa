/* One sign-in: what it is, and its story with its machine's, each move with its reason. */

import { call, Refusal } from "../api.js";
import { button, make, prose, say, sayIf } from "../dom.js";
import { credentialLink, exitOf, head, isLive, machineMark, ownerLink, sessionMark, terms, whyOf, within, withPage } from "./marks.js";
import { OPERATORS, SECTIONS } from "./routes.js";
import { between, clockMark, lasted, timeMark } from "./time.js";

function connectionsOf(counts) {
  return Object.entries(counts).map(([verdict, n]) => sayIf(`dashboard.verdicts.${verdict}`, { n }) ?? `${n} ${verdict}`).join(" · ");
}

function factsOf({ session, connections, cli_said: said }, { labelOf }) {
  const label = (name) => say(`dashboard.story.${name}`);
  return terms([
    [label("label"), ownerLink(session, labelOf)],
    [label("person"), session.display_name],
    [label("purpose"), session.purpose],
    [label("asked"), timeMark(session.created_at)],
    [label("deadline"), session.expires_at ? timeMark(session.expires_at) : null],
    [label("took"), session.ended_at ? lasted(between(session.created_at, session.ended_at)) : null],
    [label("account"), [session.account, session.plan].filter(Boolean).join(" · ") || sayIf(`dashboard.session.${session.stored}`)],
    [label("credential"), session.credential_id ? credentialLink(session.credential_id, say("dashboard.story.itsCredential", { n: session.credential_version })) : null],
    [label("connections"), connectionsOf(connections)],
    [label("said"), said.length ? make("span", { class: "code" }, said.join("\n")) : null],
    [label("id"), make("span", { class: "code" }, session.session_id)],
  ]);
}

export function machineTerms(machine) {
  const label = (name) => say(`dashboard.machine.${name}`);
  return terms([
    [label("state"), machineMark(machine.state)],
    [label("age"), lasted(between(machine.created_at, machine.ended_at))],
    [label("driver"), machine.driver],
    [label("node"), machine.node],
    [label("silent"), machine.silent_since ? timeMark(machine.silent_since) : null],
    [label("incarnation"), make("span", { class: "code" }, machine.incarnation)],
    [label("uid"), machine.host_uid === null ? null : String(machine.host_uid)],
    [label("exit"), exitOf(machine.exit_code, machine.state)],
    [label("detail"), machine.detail],
    [label("id"), make("span", { class: "code" }, machine.id)],
  ]);
}

function moveLine(move, machine) {
  const facts = move.about === "machine" ? "machineFacts" : "facts";
  const mark = move.about === "machine" ? machineMark : sessionMark;
  const exit = move.exit_code === null ? "" : ` ${say("dashboard.story.exit", { code: exitOf(move.exit_code, machine?.state) })}`;
  return make(
    "li",
    { class: `of-${move.about} ${move.act === "note" ? "noted" : move.act}` },
    make("div", { class: "at small quiet" }, clockMark(move.at), make("span", { class: "after" }, move.after_s >= 0.05 ? say("dashboard.story.after", { time: lasted(move.after_s) }) : "")),
    make(
      "div",
      { class: "what" },
      make("p", {}, make("span", { class: "about" }, say(`dashboard.story.${move.about}`)), sayIf(`dashboard.${facts}.${move.kind}`) ?? move.kind, exit),
      move.explanation ? make("p", { class: "quiet small" }, prose(whyOf(move).message)) : null,
    ),
    move.act === "move" ? make("div", { class: "to" }, mark(move.after)) : null,
  );
}

/* Whether the operator opens this sign-in's page: nobody has, and its application cannot say who sits at a browser. */
function isOpenedHere(session) {
  return isLive(session) && !session.opened_at && !session.binds && session.application !== OPERATORS;
}

function openHere(session, { openLink }) {
  const trouble = make("p", { class: "small", role: "alert", hidden: true });
  return make(
    "section",
    { class: "note", "aria-labelledby": "open-heading" },
    make("h2", { id: "open-heading" }, say("dashboard.applications.open")),
    make("p", {}, say("dashboard.applications.openLead")),
    make("div", { class: "row" }, button(say("dashboard.applications.open"), "main", () => openLink(session, trouble))),
    trouble,
  );
}

function story(known, own) {
  const { labelOf, nameOf, stop } = own;
  const { session, machine, moves, before } = known;
  const told = moves.filter((move) => move.act !== "refused");
  const refused = moves.filter((move) => move.act === "refused");
  const grave = ["failed", "expired"].includes(session.status);
  const line = (move) => moveLine(move, machine);
  return [
    make(
      "div",
      { class: "head story-head" },
      make("h1", { tabindex: "-1" }, say("dashboard.story.heading", { provider: nameOf(session.provider), label: labelOf(session) })),
      sessionMark(session.status, session.waiting),
      isLive(session) ? button(say("dashboard.session.stopIt"), "slim", () => stop(session)) : null,
    ),
    session.explanation
      ? make(
          "div",
          { class: `note ${grave ? "bad" : ""}` },
          make("p", {}, make("strong", {}, prose(whyOf(session).message))),
          make("p", { class: "small" }, prose(whyOf(session).next)),
          before ? make("p", { class: "small" }, credentialLink(before.id, say("dashboard.story.before"))) : null,
          known.detail ? make("p", { class: "code" }, known.detail) : null,
        )
      : null,
    isOpenedHere(session) ? openHere(session, own) : null,
    session.rejected_at ? make("p", { class: "note warn" }, say("dashboard.story.rejected")) : null,
    session.revoke_url ? make("p", { class: "note" }, withPage(say("dashboard.story.revoke"), session.revoke_url)) : null,
    make(
      "div",
      { class: "two" },
      make("section", { class: "panel", "aria-labelledby": "facts-heading" }, make("h2", { id: "facts-heading" }, say("dashboard.story.facts")), factsOf(known, own)),
      make(
        "section",
        { class: "panel", "aria-labelledby": "machine-heading" },
        make("h2", { id: "machine-heading" }, say("dashboard.story.machineHeading")),
        machine ? machineTerms(machine) : make("p", { class: "quiet" }, say("dashboard.story.forgotten")),
      ),
    ),
    make("section", { "aria-labelledby": "story-heading" }, make("h2", { id: "story-heading" }, say("dashboard.story.moves")), make("ol", { class: "list story" }, told.map(line))),
    refused.length
      ? make(
          "section",
          { "aria-labelledby": "refused-heading" },
          make("h2", { id: "refused-heading" }, say("dashboard.story.refused")),
          make("p", { class: "quiet small" }, say("dashboard.story.refusedLead")),
          make("ol", { class: "list story refusals" }, refused.map(line)),
        )
      : null,
  ].filter(Boolean);
}

/* The credential that a sign-in of another account would have taken the place of. */
async function credentialBefore({ reason, user_id: owner, application, provider }) {
  if (reason !== "other_account") {
    return null;
  }
  const query = new URLSearchParams({ user_id: owner, application });
  const { credentials } = await call("GET", `/api/credentials?${query}`);
  return credentials.find((one) => one.provider === provider) ?? null;
}

export function storyView(context, route) {
  const body = make("div", { class: "content" });
  return {
    root: [make("p", { class: "back" }, within(SECTIONS.sessions, say("dashboard.story.back"))), body],
    async load() {
      try {
        const told = await call("GET", `/api/auth/session/${encodeURIComponent(route.id)}/story`);
        return { ...told, before: await credentialBefore(told.session) };
      } catch (error) {
        const refusal = Refusal.of(error);
        if (refusal.status === 404 || refusal.code === "malformed_id") {
          return { session: null };
        }
        throw refusal;
      }
    },
    moving: (known) => Boolean(known.session && (!known.session.terminal || (known.machine && !known.machine.ended))),
    variant: (known) => (known.session ? "session" : "session-missing"),
    fill(known, own) {
      body.replaceChildren(...(known.session ? story(known, own) : [head(say("dashboard.story.missing"), say("dashboard.story.missingLead"))]));
    },
  };
}
