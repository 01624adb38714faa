/* The machines that run, and those that ended last. */

import { call, setClock } from "../api.js";
import { make, say } from "../dom.js";
import { cell, exitOf, head, machineMark, storyLink, table, within } from "./marks.js";
import { runOf } from "./routes.js";
import { between, lasted, timeMark } from "./time.js";

const COLUMNS = ["name", "state", "purpose", "age", "driver", "incarnation", "exit", "detail"];
const SHORT = 12;

function purposeOf({ id, session_id: session, run_id: run }) {
  if (run) {
    return within(runOf(run), say("dashboard.machine.run"), { "aria-label": say("dashboard.machine.runName", { id: id.slice(0, SHORT) }) });
  }
  return session ? storyLink(session, say("dashboard.machine.signIn"), { "aria-label": say("dashboard.machine.signInName", { id: id.slice(0, SHORT) }) }) : say("dashboard.machine.check");
}

function rowOf(machine) {
  const label = (name) => say(`dashboard.machine.${name}`);
  const where = machine.node ? `${machine.driver} · ${machine.node}` : machine.driver;
  return make(
    "tr",
    {},
    make("th", { scope: "row", "data-column": label("name") }, make("span", { class: "code" }, machine.id.slice(0, SHORT))),
    cell("state", label("state"), machineMark(machine.state)),
    cell("purpose", label("purpose"), purposeOf(machine)),
    cell("age", label("age"), make("span", {}, lasted(between(machine.created_at, machine.ended_at)), machine.ended ? [" · ", timeMark(machine.ended_at)] : null)),
    cell("driver", label("driver"), where),
    cell("", label("incarnation"), make("span", { class: "code" }, machine.incarnation)),
    cell("exit", label("exit"), exitOf(machine.exit_code, machine.state) ?? say("time.none")),
    cell("detail", label("detail"), machine.detail || say("time.none")),
  );
}

function machineTable(machines) {
  return table("machines", COLUMNS.map((name) => say(`dashboard.machine.${name}`)), machines.map(rowOf));
}

export function machinesView() {
  const running = make("div", { class: "list" });
  const ended = make("section", { "aria-labelledby": "ended-heading", hidden: true });
  const list = make("div", { class: "list" });
  ended.append(make("h2", { id: "ended-heading" }, say("dashboard.machine.ended")), make("p", { class: "quiet small" }, say("dashboard.machine.endedLead")), list);
  return {
    root: [head(say("dashboard.machinesHeading"), say("dashboard.machinesLead")), make("section", { "aria-labelledby": "running-heading" }, make("h2", { id: "running-heading" }, say("dashboard.machine.running")), running), ended],
    async load() {
      const { machines, now } = await call("GET", "/api/machines");
      setClock(now);
      return { machines };
    },
    moving: (known) => known.machines.some((machine) => !machine.ended),
    state: (known) => (known.machines.some((machine) => !machine.ended) ? Math.floor(Date.now() / 5000) : 0),
    variant: (known) => (known.machines.length ? "machines" : "machines-none"),
    fill(known) {
      const alive = known.machines.filter((machine) => !machine.ended);
      const over = known.machines.filter((machine) => machine.ended);
      running.replaceChildren(alive.length ? machineTable(alive) : make("p", { class: "empty quiet" }, say("dashboard.machine.none")));
      ended.hidden = !over.length;
      list.replaceChildren(...(over.length ? [machineTable(over)] : []));
    },
  };
}
