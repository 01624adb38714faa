/* Applications and their keys: what each may do, and when it was last used. */

import { call, now } from "../api.js";
import { button, make, prose, say } from "../dom.js";
import { cell, head, table, terms } from "./marks.js";
import { timeMark } from "./time.js";

const COLUMNS = ["key", "scopes", "made", "used", "state"];

function label(name, values) {
  return say(`dashboard.applications.${name}`, values);
}

function stateOf(key, disabled) {
  const word = key.revoked_at ? "revoked" : key.expires_at && Date.parse(key.expires_at) <= now() ? "expired" : disabled ? "disabled" : "works";
  return make("span", { class: `mark ${word === "works" ? "good" : "bad"}` }, label(word));
}

function keyRow(key, disabled) {
  return make(
    "tr",
    {},
    make("th", { scope: "row", "data-column": label("key") }, key.name, make("p", { class: "quiet small code" }, key.id)),
    cell("scopes", label("scopes"), key.scopes.map((scope) => make("span", { class: "code small" }, `${scope} `))),
    cell("made", label("made"), timeMark(key.created_at)),
    cell("used", label("used"), key.last_used_at ? timeMark(key.last_used_at) : label("never")),
    cell("state", label("state"), stateOf(key, disabled)),
  );
}

function limits(one, own) {
  const said = [
    one.live && label("liveIs", { n: one.live }),
    one.starts_an_hour && label("startsIs", { n: one.starts_an_hour }),
  ].filter(Boolean);
  return make(
    "span",
    { class: "row" },
    said.join(", ") || label("noLimits"),
    button(label("limitsChange"), "slim", () => own.askLimits(one), { "aria-label": label("limitsOf", { application: one.name }) }),
  );
}

function application(one, own) {
  const id = `application-${one.id}`;
  return make(
    "section",
    { class: "panel", "aria-labelledby": id },
    make("h2", { id }, one.name),
    terms([
      [label("state"), one.disabled_at ? make("span", { class: "mark bad" }, label("disabled")) : make("span", { class: "mark good" }, label("serves"))],
      [label("bind"), one.bind_url ? make("span", { class: "code" }, one.bind_url) : label("noBind")],
      [label("limits"), limits(one, own)],
      [label("since"), timeMark(one.created_at)],
      [label("id"), make("span", { class: "code" }, one.id)],
    ]),
    make("h3", {}, label("keys", { application: one.name })),
    one.keys.length ? table("keys", COLUMNS.map((name) => label(name)), one.keys.map((key) => keyRow(key, Boolean(one.disabled_at)))) : make("p", { class: "quiet" }, label("noKeys")),
  );
}

export function applicationsView() {
  const body = make("div", { class: "content" });
  return {
    root: [head(say("dashboard.sections.applications"), null, make("p", { class: "quiet" }, prose(label("lead")))), body],
    load: () => call("GET", "/api/applications"),
    moving: () => false,
    variant: ({ applications }) => (applications.length ? "applications" : "applications-none"),
    fill({ applications }, own) {
      body.replaceChildren(...(applications.length ? applications.map((one) => application(one, own)) : [make("p", { class: "empty quiet" }, label("none"))]));
    },
  };
}
