/* The remote CLI: what can be started with the sign-ins that are stored, and the runs that there were. */

import { call, Refusal } from "../api.js";
import { button, make, prose, say } from "../dom.js";
import { head, within } from "./marks.js";
import { OPERATORS, runOf, SECTIONS } from "./routes.js";
import { ago, timeMark } from "./time.js";

const LISTED = 50;
const USABLE = new Set(["active", "expiring"]);
const MARKS = { waiting: "busy", starting: "busy", running: "good", ended: "" };

/** Return the mark of a run's status, or of its place in the line. */
export function runMark({ status, position, reason, exit_code: code }) {
  const failed = status === "ended" && (reason !== "exited" || code !== 0);
  const word = position ? say("dashboard.run.place", { n: position }) : say(`dashboard.run.statuses.${status}`);
  return make("span", { class: `mark ${failed ? "warn" : MARKS[status]}` }, word);
}

/** Return why a run has ended, in words, with its tool's exit code where it has one. */
export function endOf({ reason, exit_code: code }) {
  if (code !== null && code < 0) {
    return say("dashboard.run.signal", { n: -code });
  }
  const why = say(`dashboard.run.reasons.${reason}`);
  return code === null ? why : `${why} ${say("dashboard.run.exitCode", { code })}`;
}

function rowOf(run, { labelOf, nameOf, endRun }) {
  const [tool, when] = [nameOf(run.provider), ago(run.created_at)];
  const name = say("dashboard.run.rowName", { provider: tool, label: labelOf(run), when });
  return make(
    "li",
    { class: "session" },
    make("div", { class: "what" }, within(runOf(run.id), tool, { class: "story-link", "aria-label": name }), runMark(run)),
    make("p", { class: "why quiet small" }, run.status === "ended" ? endOf(run) : say(run.terminal ? "dashboard.run.hasTerminal" : "dashboard.run.hasNone")),
    make("p", { class: "when quiet small" }, timeMark(run.created_at), ` · ${labelOf(run)}`),
    run.status === "ended" ? null : button(say("dashboard.run.endShort"), "slim", () => endRun(run), { "aria-label": say("dashboard.run.endName", { provider: tool, when }) }),
  );
}

function choice(credential, { nameOf, start, starting }) {
  const account = credential.account ?? say("dashboard.credential.noAccount");
  const name = nameOf(credential.provider);
  return make(
    "li",
    { class: "card", "aria-labelledby": `start-${credential.id}` },
    make("h3", { id: `start-${credential.id}` }, name),
    make("p", { class: "account" }, account, make("span", { class: "quiet small" }, say("dashboard.run.of", { label: credential.user_id }))),
    make(
      "div",
      { class: "row card-foot" },
      button(say("dashboard.run.open"), "main", () => start(credential), { "aria-label": say("dashboard.run.openName", { provider: name, label: credential.user_id }), disabled: starting }),
    ),
  );
}

/** Start a tool with a terminal for whoever's sign-in that is, in that workspace if any, and return the run; throws Refusal. */
export function startRun({ user_id, provider }, workspace) {
  return call("POST", "/api/runs", { user_id, provider, argv: [], terminal: true, detached: true, ...(workspace ? { workspace } : {}) }, { "Idempotency-Key": crypto.randomUUID() });
}

export function runsView(context) {
  const trouble = make("div", { id: "run-trouble", class: "note bad", role: "alert", hidden: true });
  const choices = make("ul", { class: "cards" });
  const list = make("div", { class: "list" });
  const workspace = make("select", { id: "run-workspace", class: "field" });
  const place = make("div", { class: "filters", hidden: true }, make("div", {}, make("label", { for: "run-workspace", class: "small" }, say("dashboard.run.workspace")), workspace));
  let starting = false;
  let failed = false;

  function offer(names) {
    const chosen = names.includes(workspace.value) ? workspace.value : "";
    place.hidden = !names.length;
    workspace.replaceChildren(...["", ...names].map((name) => make("option", { value: name, selected: name === chosen }, name || say("dashboard.run.noWorkspace"))));
  }

  async function start(credential) {
    starting = true;
    failed = false;
    context.draw();
    try {
      const { id } = await startRun(credential, workspace.value);
      context.go(runOf(id));
      return;
    } catch (error) {
      const { message, next } = Refusal.of(error);
      trouble.replaceChildren(make("p", {}, prose(message)), make("p", { class: "small" }, prose(next)));
      failed = true;
    }
    starting = false;
    context.draw();
  }

  return {
    root: [
      head(say("dashboard.run.heading"), say("dashboard.run.lead"), make("p", { class: "quiet" }, say("dashboard.run.trust"))),
      trouble,
      make("section", { "aria-labelledby": "start-heading" }, make("h2", { id: "start-heading" }, say("dashboard.run.startHeading")), place, choices),
      make("section", { "aria-labelledby": "runs-heading" }, make("h2", { id: "runs-heading" }, say("dashboard.run.listHeading")), list),
    ],
    async load() {
      const [{ runs }, { credentials }, { workspaces }] = await Promise.all([
        call("GET", `/api/runs?limit=${LISTED}`),
        call("GET", `/api/credentials?application=${OPERATORS}`),
        call("GET", "/api/workspaces"),
      ]);
      return { runs, workspaces, usable: credentials.filter(({ status }) => USABLE.has(status)) };
    },
    moving: ({ runs }) => runs.some(({ status }) => status !== "ended"),
    state: () => [starting, failed],
    variant: ({ runs, usable }) => (failed ? "runs-trouble" : runs.length || usable.length ? "runs" : "runs-none"),
    fill({ runs, usable, workspaces }, own) {
      offer(usable.length ? workspaces : []);
      const installed = new Set(own.providers.filter((provider) => provider.installed).map(({ id }) => id));
      const there = usable.filter(({ provider }) => installed.has(provider));
      trouble.hidden = !failed;
      choices.replaceChildren(
        ...(there.length
          ? there.map((credential) => choice(credential, { ...own, start, starting }))
          : [make("li", { class: "empty quiet" }, say("dashboard.run.nothing"), " ", within(SECTIONS.connect, say("dashboard.run.connect")))]),
      );
      list.replaceChildren(runs.length ? make("ul", { class: "sessions" }, runs.map((run) => rowOf(run, own))) : make("p", { class: "empty quiet" }, say("dashboard.run.none")));
    },
  };
}
