/* The small marks of state, and links between the dashboard's own views. */

import { make, outward, say, sayIf, webAddress } from "../dom.js";
import { credentialOf, ownerOf, storyOf } from "./routes.js";

const SESSION_MARKS = { completed: "good", failed: "bad", pending: "busy", starting: "busy", awaiting_sign_in: "busy", cancelled: "", expired: "warn" };
const MACHINE_MARKS = { requested: "busy", booting: "busy", ready: "good", stopping: "busy", gone: "", lost: "warn" };
const CREDENTIAL_MARKS = { active: "good", expiring: "warn", needs_sign_in: "bad", revoked: "bad", deleted: "" };
const LIVE = new Set(["pending", "starting", "awaiting_sign_in"]);

/** Whether the session can still change. */
export function isLive(session) {
  return LIVE.has(session.status);
}

/** Return the mark of a status, or of the place in the line where a session waits. */
export function sessionMark(status, waiting = null) {
  const word = waiting ? say("dashboard.line.place", { n: waiting.position }) : say(`dashboard.statuses.${status}`);
  return make("span", { class: `mark ${SESSION_MARKS[status] ?? ""}` }, word);
}

export function machineMark(state) {
  return make("span", { class: `mark ${MACHINE_MARKS[state] ?? ""}` }, say(`dashboard.states.${state}`));
}

export function credentialMark(status) {
  return make("span", { class: `mark ${CREDENTIAL_MARKS[status] ?? ""}` }, say(`dashboard.credential.statuses.${status}`));
}

/** Return why a credential has its status, in words. */
export function credentialWhy({ status_reason: reason }) {
  return sayIf(`dashboard.credential.reasons.${reason}`) ?? reason;
}

/** Make a link to a credential's own page. */
export function credentialLink(id, label, attributes = {}) {
  return within(credentialOf(id), label, attributes);
}

/** Return what the operator reads of a reason: {message, next}, where the person's words do not fit, others. */
export function whyOf({ reason, explanation }) {
  return explanation && { message: sayIf(`dashboard.reasons.${reason}`) ?? explanation.message, next: sayIf(`dashboard.reasonsNext.${reason}`) ?? explanation.next };
}

/** Return with which code a machine ended, and that it was us where it was: an end that was asked for is a killed program's. */
export function exitOf(code, state) {
  const ours = state === "gone" && code > 128;
  return code === null ? null : ours ? say("dashboard.machine.exitOurs", { code }) : String(code);
}

/** Make a link to another view of this page; `main.js` takes its click. */
export function within(href, label, attributes = {}) {
  return make("a", { href, "data-within": "", ...attributes }, label);
}

/** Make a link to the page of the label that a session or a credential has. */
export function ownerLink(row, labelOf) {
  const label = labelOf(row);
  return within(ownerOf(row), label, { "aria-label": say("dashboard.owner.page", { label }) });
}

export function storyLink(id, label, attributes = {}) {
  return within(storyOf(id), label, attributes);
}

/** Return a sentence with a vendor's page in the place of its `{link}`; nothing where there is no such page. */
export function withPage(sentence, address) {
  const url = address && webAddress(address);
  const [before, after] = sentence.split("{link}");
  return url ? [before, outward(url.host + url.pathname.replace(/\/$/, ""), url.href), after] : [];
}

/** Make a list of terms; what is null or empty is left out. */
export function terms(pairs, style = "terms") {
  return make(
    "dl",
    { class: style },
    pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value))),
  );
}

/** Make the head of a view: its heading, which gets the focus on arrival, and a line below it. */
export function head(title, lead, ...more) {
  return make("div", { class: "head" }, make("h1", { tabindex: "-1" }, title), lead ? make("p", { class: "quiet" }, lead) : null, ...more);
}

/** Make a table whose cells carry their column's name, for windows where each row is a block. */
export function table(style, columns, rows) {
  return make(
    "table",
    { class: style },
    make("thead", {}, make("tr", {}, columns.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, rows),
  );
}

export function cell(style, column, ...content) {
  return make("td", { class: style, "data-column": column }, ...content);
}
