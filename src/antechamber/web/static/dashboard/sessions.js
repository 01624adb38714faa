/* All sign-ins: filtered, newest first, and older ones by the page. */

import { call } from "../api.js";
import { button, make, say } from "../dom.js";
import { head, within } from "./marks.js";
import { SECTIONS, sessionsOf } from "./routes.js";
import { sessionList } from "./rows.js";
import { underWay } from "./connect.js";

const PAGE = 25;
const STATUSES = ["pending", "starting", "awaiting_sign_in", "completed", "failed", "cancelled", "expired"];
const TYPING_MS = 300;

export function sessionsView(context, route) {
  const { filter } = route;
  let shown = PAGE;
  let typing = 0;
  const list = make("div", { class: "list" });
  const foot = make("div", { class: "row list-foot" });

  function choose(name, value) {
    context.go(sessionsOf({ ...filter, [name]: value }), { replace: true });
  }

  function select(name, options) {
    const chosen = make(
      "select",
      { id: `filter-${name}`, class: "field", on: { change: () => choose(name, chosen.value) } },
      make("option", { value: "" }, say(`dashboard.filter.any`)),
      options.map(([value, text]) => make("option", { value, selected: value === filter[name] }, text)),
    );
    return make("div", {}, make("label", { for: `filter-${name}`, class: "small" }, say(`dashboard.filter.${name}`)), chosen);
  }

  const user = make("input", {
    id: "filter-user_id",
    class: "field",
    type: "search",
    maxlength: "128",
    value: filter.user_id,
    autocomplete: "off",
    spellcheck: "false",
    on: {
      input() {
        clearTimeout(typing);
        typing = setTimeout(() => choose("user_id", user.value.trim()), TYPING_MS);
      },
    },
  });
  const filtered = Object.values(filter).some(Boolean);
  const root = [
    head(say("dashboard.sessions"), say("dashboard.sessionsLead")),
    make(
      "form",
      { class: "filters", role: "search", "aria-label": say("dashboard.filter.name"), on: { submit: (event) => event.preventDefault() } },
      select("status", STATUSES.map((status) => [status, say(`dashboard.statuses.${status}`)])),
      select("provider", context.own().providers.map((provider) => [provider.id, provider.name])),
      make("div", {}, make("label", { for: "filter-user_id", class: "small" }, say("dashboard.filter.user_id")), user),
      filtered ? within(SECTIONS.sessions, say("dashboard.filter.clear"), { class: "button bare slim" }) : null,
    ),
    list,
    foot,
  ];

  return {
    root,
    async load() {
      const rows = [];
      let older = null;
      do {
        const query = new URLSearchParams(Object.entries({ ...filter, before: older ?? "" }).filter(([, value]) => value));
        query.set("limit", String(Math.min(PAGE, shown - rows.length)));
        const answer = await call("GET", `/api/auth/sessions?${query}`);
        rows.push(...answer.sessions);
        older = answer.older;
      } while (older && rows.length < shown);
      return { sessions: rows, older };
    },
    moving: (known) => known.sessions.some(underWay),
    variant: (known) => (known.sessions.length ? "sessions" : "sessions-none"),
    fill(known, own) {
      list.replaceChildren(sessionList(known.sessions, own, filtered ? "dashboard.session.noneLeft" : "dashboard.session.empty"));
      foot.replaceChildren(
        make("p", { class: "quiet small", role: "status" }, known.sessions.length ? say("dashboard.session.shown", { n: known.sessions.length }) : ""),
        known.older
          ? button(say("dashboard.session.older"), "slim", () => {
              shown += PAGE;
              context.look();
            })
          : "",
      );
    },
  };
}
