/* The list of sign-ins. */

import { button, make, prose, say, sayIf } from "../dom.js";
import { isLive, sessionMark, storyLink, whyOf } from "./marks.js";
import { ago, between, lasted, timeMark } from "./time.js";

function sessionRow(row, { labelOf, nameOf, stop }) {
  const took = row.ended_at ? say("dashboard.session.took", { time: lasted(between(row.created_at, row.ended_at)) }) : null;
  const why = row.rejected_at ? say("dashboard.session.rejected") : (whyOf(row)?.message ?? row.account ?? sayIf(`dashboard.session.${row.stored}`) ?? "");
  const machine = sayIf(`dashboard.machines.${row.machine?.state}`);
  const when = ago(row.created_at);
  return make(
    "li",
    { class: "session" },
    make(
      "div",
      { class: "what" },
      storyLink(row.session_id, nameOf(row.provider), { class: "story-link", "aria-label": say("dashboard.session.storyName", { provider: nameOf(row.provider), label: row.user_id, when }) }),
      sessionMark(row.status, row.waiting),
    ),
    make("p", { class: "why quiet small" }, prose(why)),
    make("p", { class: "when quiet small" }, timeMark(row.created_at), [took, labelOf(row), machine].filter(Boolean).map((word) => ` · ${word}`)),
    isLive(row) ? button(say("dashboard.session.cancel"), "slim", () => stop(row), { "aria-label": say("dashboard.session.cancelName", { provider: nameOf(row.provider), when }) }) : null,
  );
}

export function sessionList(sessions, context, empty = "dashboard.session.empty") {
  return sessions.length
    ? make("ul", { class: "sessions" }, sessions.map((row) => sessionRow(row, context)))
    : make("p", { class: "empty quiet" }, say(empty));
}
