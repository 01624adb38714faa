/* The first view: a card for each tool, and the latest sign-ins. */

import { call } from "../api.js";
import { make, say } from "../dom.js";
import { card, slotOf } from "./cards.js";
import { within } from "./marks.js";
import { OPERATORS, SECTIONS } from "./routes.js";
import { sessionList } from "./rows.js";

const LISTED = 20;
const LATEST = 6;

export function connectView(context) {
  const cards = make("ul", { id: "cards", class: "cards" });
  const latest = make("div", { class: "list" });
  const label = make("input", {
    id: "label",
    class: "field",
    type: "text",
    maxlength: "128",
    value: remembered(),
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "label-hint",
    on: {
      input() {
        remember(label.value.trim());
        context.draw();
      },
    },
  });
  const root = [
    make(
      "section",
      { class: "lead", "aria-labelledby": "tools-heading" },
      make("div", { class: "lead-text" }, make("h1", { id: "tools-heading", tabindex: "-1" }, say("dashboard.heading")), make("p", { class: "quiet" }, say("dashboard.lead"))),
      make(
        "div",
        { class: "label" },
        make("label", { for: "label", class: "small" }, say("dashboard.label")),
        label,
        make("p", { id: "label-hint", class: "quiet small" }, say("dashboard.labelHint")),
      ),
    ),
    cards,
    make(
      "section",
      { "aria-labelledby": "sessions-heading" },
      make("div", { class: "section-head" }, make("h2", { id: "sessions-heading" }, say("dashboard.latest")), within(SECTIONS.sessions, say("dashboard.allSessions"))),
      latest,
    ),
  ];
  const owner = () => label.value.trim() || "me";
  return {
    root,
    owner,
    async load() {
      const [latest, own, credentials] = await Promise.all([
        call("GET", `/api/auth/sessions?limit=${LATEST}`),
        call("GET", `/api/auth/sessions?limit=${LISTED}&application=${OPERATORS}`),
        call("GET", `/api/credentials?application=${OPERATORS}`),
      ]);
      return { latest: latest.sessions, sessions: own.sessions, credentials: credentials.credentials };
    },
    moving: (known) => [...known.latest, ...known.sessions].some(underWay),
    state: (_, own) => JSON.stringify([owner(), [...own.asked]]),
    variant: (_, own) => (own.providers.some(({ id }) => own.asked.get(slotOf(id, owner()))?.state === "trouble") ? "connect-trouble" : "connect"),
    fill(known, own) {
      cards.replaceChildren(...own.providers.map((provider) => card(provider, owner(), known, own.asked.get(slotOf(provider.id, owner())), own)));
      latest.replaceChildren(sessionList(known.latest, own));
    },
  };
}

/* Something still changes by itself: the sign-in, or its machine after it. */
export function underWay(row) {
  return !row.terminal || (row.machine && !row.machine.ended_at);
}

function remembered() {
  try {
    return localStorage.getItem("label") || "me";
  } catch {
    return "me";
  }
}

function remember(label) {
  try {
    localStorage.setItem("label", label);
  } catch {
    // storage is off: the label is typed again next time
  }
}
