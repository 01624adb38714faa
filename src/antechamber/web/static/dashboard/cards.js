/* One card for each tool: what to know beforehand, how it stands, and Connect. */

import { button, make, prose, say } from "../dom.js";
import { credentialLink, credentialMark } from "./marks.js";
import { OPERATORS } from "./routes.js";
import { ago, day, timeOfDay } from "./time.js";

const LIVE = new Set(["pending", "starting", "awaiting_sign_in"]);

/** Return the name of what a sign-in is for, a tool under a label: what followed from the last click is kept by it. */
export function slotOf(provider, owner) {
  return JSON.stringify([provider, owner]);
}

/** Return what a card says of its tool for that owner: its credential and its live session, if any. */
function standing(provider, owner, { credentials, sessions }) {
  const mine = (row) => row.provider === provider.id && row.application === OPERATORS && row.user_id === owner;
  return { credential: credentials.find(mine), live: sessions.find((row) => mine(row) && LIVE.has(row.status)) };
}

function markOf(provider, { credential, live }) {
  if (!provider.installed) {
    return make("span", { class: "mark bad" }, say("dashboard.card.unavailable"));
  }
  if (live) {
    const word = live.waiting ? say("dashboard.line.place", { n: live.waiting.position }) : say("dashboard.card.waiting");
    return make("span", { class: "mark busy" }, word);
  }
  if (credential && credential.status !== "active") {
    return credentialMark(credential.status);
  }
  return credential
    ? make("span", { class: "mark good" }, say("dashboard.card.connected"))
    : make("span", { class: "mark" }, say("dashboard.card.notConnected"));
}

function accountLine(credential) {
  const words = [
    credential.account ? say("dashboard.card.account", { account: credential.account }) : say("dashboard.credential.noAccount"),
    credential.plan ? say("dashboard.card.plan", { plan: credential.plan }) : null,
  ];
  return make("p", { class: "account" }, credentialLink(credential.id, words.filter(Boolean).join(", ")), make("span", { class: "quiet small" }, say("dashboard.card.stored", { when: ago(credential.stored_at) })));
}

/* `asked` is what followed from the last click: {state: "opening" | "popup" | "already" | "trouble", url?, message?, next?, until?},
   `until` the time in milliseconds at which the same click would not be refused. */
export function outcome(provider, asked, live, actions) {
  if (asked?.state === "popup") {
    return make(
      "div",
      { class: "note", role: "status" },
      make("p", {}, say("dashboard.card.popup")),
      make("a", { href: asked.url, target: "_blank", rel: "noopener noreferrer", on: { click: () => setTimeout(actions.settle, 0, provider) } }, say("dashboard.card.openPage")),
    );
  }
  if (asked?.state === "already") {
    return make(
      "div",
      { class: "note", role: "status" },
      make("p", {}, say("dashboard.card.alreadyOpen")),
      make(
        "div",
        { class: "row" },
        button(say("dashboard.card.startOver"), "slim", () => actions.connect(provider, true)),
        live ? button(say("dashboard.card.stop"), "slim bare", () => actions.stop(live)) : null,
      ),
    );
  }
  if (asked?.state === "trouble") {
    return make(
      "div",
      { class: asked.until ? "note warn" : "note bad", role: "alert" },
      make("p", {}, prose(asked.message)),
      asked.next ? make("p", { class: "small" }, prose(asked.next)) : null,
      asked.until ? make("p", { class: "small" }, say("dashboard.card.until", { time: timeOfDay(asked.until) })) : null,
    );
  }
  return null;
}

export function card(provider, owner, rows, asked, actions) {
  const { credential, live } = standing(provider, owner, rows);
  const again = Boolean(credential);
  const opening = asked?.state === "opening";
  const label = opening ? say("dashboard.card.opening") : say(again ? "dashboard.card.again" : "dashboard.card.connect");
  return make(
    "li",
    { class: "card", "aria-labelledby": `card-${provider.id}` },
    make("div", { class: "card-head" }, make("h2", { id: `card-${provider.id}` }, provider.name), markOf(provider, { credential, live })),
    make("p", { class: "quiet small" }, say("dashboard.card.by", { vendor: provider.vendor, version: provider.version })),
    credential ? accountLine(credential) : null,
    make("h3", { class: "small" }, say("dashboard.card.notices")),
    make("ul", { class: "notices quiet small" }, provider.notices.map((text) => make("li", {}, text))),
    provider.reveal ? make("p", { class: "note warn small" }, say("dashboard.card.reveal", { day: day(provider.reveal.terms_read_on) })) : null,
    provider.installed ? null : make("p", { class: "note bad" }, provider.message ? prose(provider.message) : say("dashboard.health.notInstalled")),
    outcome(provider, asked, live, actions),
    make(
      "div",
      { class: "row card-foot" },
      button(label, again ? "" : "main", () => actions.connect(provider, false), {
        "aria-label": say(again ? "dashboard.card.againName" : "dashboard.card.connectName", { provider: provider.name }),
        "data-connect": provider.id,
        disabled: !provider.installed || opening,
      }),
    ),
  );
}
