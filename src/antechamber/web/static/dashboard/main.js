/* The dashboard: gets in, shows the view that the address asks for, and asks the service again after each of its hints. */

import { backoff, call, now, Refusal, setClock } from "../api.js";
import { button, enter, fillTexts, make, part, prose, say } from "../dom.js";
import { applicationsView } from "./applications.js";
import { slotOf } from "./cards.js";
import { connectView } from "./connect.js";
import { credentialView } from "./credential.js";
import { credentialsView } from "./credentials.js";
import { setUpDialogs } from "./dialogs.js";
import { healthView } from "./health.js";
import { machinesView } from "./machines.js";
import { hints } from "./hints.js";
import { byIssuer, leftAt, logOut } from "./login.js";
import { ownerView } from "./owner.js";
import { OPERATORS, routeOf, SECTIONS, VIEWS } from "./routes.js";
import { runView } from "./run.js";
import { runsView } from "./runs.js";
import { sessionsView } from "./sessions.js";
import { storyView } from "./story.js";
import { ago } from "./time.js";

const BUSY_LOOK_MS = 1500;
const CALM_LOOK_MS = 15_000;
const MAKE = { applications: applicationsView, connect: connectView, runs: runsView, sessions: sessionsView, credentials: credentialsView, machines: machinesView, health: healthView, owners: ownerView };
const MAKE_ONE = { sessions: storyView, credentials: credentialView, runs: runView };

const waits = backoff(1000, 15_000);
const asked = new Map();
const live = hints("/api/changes", () => look());
let service = null;
let providers = [];
let route = null;
let view = null;
let known = null;
let knownAt = 0;
let drawn = "";
let looking = false;
let again = false;
let timer = 0;
let arriving = false;
let closedBecause = null;

// -- getting in -----------------------------------------------------------------------------------------------------

async function begin() {
  fillTexts();
  const fragment = location.hash.slice(1);
  const code = fragment.startsWith("code=") ? fragment.slice(5) : "";
  if (code) {
    // spent at once: it stays neither in the address bar nor in the history
    history.replaceState(null, "", location.pathname + location.search);
    await spend(code);
  } else if (fragment === "entered") {
    history.replaceState(null, "", leftAt());
  }
  arrive(false);
}

async function spend(code) {
  const tries = backoff(500, 4000);
  for (;;) {
    try {
      await call("POST", "/api/dashboard/open", { code });
      return;
    } catch (error) {
      if (!Refusal.of(error).unreachable) {
        // used before, perhaps by this browser: its cookie answers then
        closedBecause = error;
        return;
      }
      health(false, error.message);
      await new Promise((resume) => setTimeout(resume, tries.next()));
    }
  }
}

function showClosed(because = closedBecause?.code === "link_not_valid" ? "used" : "") {
  leave();
  const { linkCommand: command, issuer: name } = document.documentElement.dataset;
  const said = { used: say("dashboard.access.used"), left: say("dashboard.access.left") }[because] ?? closedBecause?.message;
  live.stop();
  part("access").replaceChildren(
    make("h1", { tabindex: "-1" }, say("dashboard.access.heading")),
    said ? make("p", { class: `note ${because === "left" ? "" : "warn"}` }, said) : "",
    ...(name ? byIssuer(name, () => enter(VIEWS, "closed", "issuer-trouble")) : [make("p", {}, say("dashboard.access.lead")), make("p", {}, say("dashboard.access.next"))]),
    make("p", { class: "code note" }, command),
  );
  part("access").hidden = false;
  ["content", "sections", "health", "stale", "who"].forEach((id) => {
    part(id).hidden = true;
  });
  enter(VIEWS, "closed", because || (name ? "issuer" : ""));
  part("access").querySelector("h1").focus({ preventScroll: true });
}

function showWho({ operator }) {
  part("who").hidden = !operator;
  if (operator && part("who-name").textContent !== operator.name) {
    part("who-name").textContent = operator.name;
    part("who-name").title = `${operator.subject} · ${operator.issuer}`;
  }
}

async function signOut() {
  part("who-out").disabled = true;
  try {
    const leaving = await logOut();
    service = null;
    closedBecause = null;
    clearTimeout(timer);
    if (!leaving) {
      showClosed("left");
    }
  } catch (error) {
    showTrouble(Refusal.of(error));
  }
  part("who-out").disabled = false;
}

// -- going from view to view ----------------------------------------------------------------------------------------

function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  arrive(!replace);
}

/* Show what the address asks for; `focus` takes a reader to its heading. */
function arrive(focus) {
  const before = document.activeElement?.id;
  route = routeOf(location);
  leave();
  known = null;
  drawn = "";
  arriving = focus ? "heading" : (before ?? "");
  if (service) {
    makeView();
    showLoading();
  }
  look();
}

function leave() {
  view?.close?.();
  view = null;
}

function makeView() {
  view = ((route.id && MAKE_ONE[route.section]) || MAKE[route.section])(context, route);
  document.querySelectorAll("#sections a").forEach((link) => {
    link.toggleAttribute("aria-current", false);
    if (link.dataset.section === route.section) {
      link.setAttribute("aria-current", "page");
    }
  });
  document.title = `${say(`dashboard.sections.${route.section}`)} · ${say("brand")}`;
}

function showLoading() {
  part("content").replaceChildren(
    make("div", { class: "row waiting", role: "status" }, make("span", { class: "spinner", "aria-hidden": "true" }), make("h1", {}, say("common.loading"))),
  );
  open("loading");
}

function open(variant) {
  part("access").hidden = true;
  part("content").hidden = false;
  part("sections").hidden = false;
  enter(VIEWS, "open", variant);
}

// -- looking --------------------------------------------------------------------------------------------------------

async function look() {
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  clearTimeout(timer);
  let wait = CALM_LOOK_MS;
  try {
    [service, { providers }] = await Promise.all([call("GET", "/api/dashboard"), call("GET", "/api/providers")]);
    if (!view) {
      makeView();
    }
    const shown = view;
    const found = await shown.load();
    if (!service) {
      // signed out meanwhile
      looking = again = false;
      return;
    }
    waits.reset();
    if (shown === view) {
      known = found;
      knownAt = Date.now();
      const told = found.sessions?.[0]?.now ?? found.session?.now;
      if (told) {
        setClock(told);
      }
      draw();
    }
    health(service.ready);
    showWho(service);
    part("stale").hidden = true;
    live.listen();
    wait = known && (inLine(known) || (!live.open && view.moving(known))) ? BUSY_LOOK_MS : CALM_LOOK_MS;
  } catch (error) {
    const refusal = Refusal.of(error);
    if (refusal.status === 401) {
      looking = again = false;
      if (part("access").hidden) {
        showClosed();
      }
      return;
    }
    wait = waits.next();
    health(false, refusal.message);
    showTrouble(refusal);
  }
  looking = false;
  if (again) {
    again = false;
    look();
  } else if (!document.hidden) {
    timer = setTimeout(look, wait);
  }
}

/* A place in the line changes with what happens to others: no hint is about that. */
function inLine({ sessions = [], latest = [], session }) {
  return [...sessions, ...latest, session].some((row) => row?.status === "pending");
}

/* What was known stays, marked with its age; a view that never had anything says so instead. */
function showTrouble(refusal) {
  if (known) {
    part("stale").replaceChildren(make("span", {}, say("dashboard.stale", { message: refusal.message, when: ago(new Date(knownAt).toISOString()) })), button(say("common.tryNow"), "slim", look));
    part("stale").hidden = false;
  } else if (service) {
    part("content").replaceChildren(
      make("div", { class: "note bad", role: "alert" }, make("h1", {}, say("dashboard.trouble")), make("p", {}, prose(refusal.message)), make("p", { class: "small" }, prose(refusal.next))),
      make("div", { class: "row" }, button(say("common.tryNow"), "", look)),
    );
    open("trouble");
  }
}

function health(good, trouble) {
  const mark = part("health");
  mark.hidden = false;
  const text = trouble ?? say(good ? "dashboard.health.good" : "dashboard.health.bad");
  if (mark.textContent !== text) {
    mark.textContent = text;
  }
  mark.className = `mark ${good ? "good" : "bad"}`;
}

// -- drawing --------------------------------------------------------------------------------------------------------

const labelOf = (row) => {
  const application = service.applications.find(({ id }) => id === row.application)?.name ?? row.application;
  return row.application === OPERATORS ? row.user_id : say("dashboard.applications.of", { label: row.user_id, application });
};
const nameOf = (id) => providers.find((provider) => provider.id === id)?.name ?? id;

/* What a view is given with each drawing. */
function own() {
  return { providers, service, asked, labelOf, nameOf, connect, openLink, stop: dialogs.askStop, remove: dialogs.askRemove, ended: dialogs.askEnded, erase: dialogs.askErase, askLimits: dialogs.askLimits, endRun: dialogs.askEndRun, settle };
}

const context = { go, look, draw, own };
const dialogs = setUpDialogs({ labelOf, nameOf, look, draw, asked, providerOf: (id) => providers.find((one) => one.id === id), placeOf: focusedPlace });

function draw() {
  if (!known) {
    return;
  }
  const minute = Math.floor(Date.now() / 60_000);
  const state = JSON.stringify([known, service, providers, view.state?.(known, own()), minute], (key, value) => (key === "now" ? undefined : value));
  if (state === drawn) {
    return;
  }
  const fresh = drawn === "";
  drawn = state;
  const place = fresh ? null : focusedPlace();
  part("notes").replaceChildren(...service.faults.map((fault) => make("p", { class: "note bad" }, prose(fault))));
  view.fill(known, own());
  if (fresh) {
    part("content").replaceChildren(...view.root);
  }
  open(view.variant(known, own()));
  if (fresh && arriving === "heading") {
    part("content").querySelector("h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  } else if (fresh && arriving) {
    document.getElementById(arriving)?.focus({ preventScroll: true });
  }
  arriving = "";
  place?.();
}

/* Return what brings the keyboard back to where it is now, should it be lost: neither drawing again nor a dialog may take its place away. */
function focusedPlace() {
  const focused = document.activeElement;
  if (!part("content").contains(focused)) {
    return null;
  }
  const name = (element) => `${element.tagName} ${element.id || element.getAttribute("aria-label") || element.textContent}`;
  const wanted = name(focused);
  return () => {
    // what was hidden a moment ago still has the focus until the browser paints again
    if (document.activeElement !== document.body && document.activeElement.checkVisibility()) {
      return;
    }
    const same = [...part("content").querySelectorAll("button, a, summary, input, select, [tabindex]")].find((element) => name(element) === wanted);
    (same ?? part("content").querySelector("h1") ?? part("main")).focus({ preventScroll: true });
  };
}

// -- what the operator does -----------------------------------------------------------------------------------------

/* Opened within the click, or the browser takes it for a pop-up; the two pages must not know each other. */
function newTab() {
  const tab = window.open("about:blank", "_blank");
  if (tab) {
    tab.opener = null;
  }
  return tab;
}

/* Open the page of a sign-in whose application has no way to say who sits at a browser. */
async function openLink({ session_id: id }, trouble) {
  const tab = newTab();
  try {
    const { sign_in_url: url } = await call("POST", `/api/auth/session/${id}/link`);
    if (tab && !tab.closed) {
      tab.location.replace(url);
    } else {
      location.assign(url);
    }
  } catch (error) {
    tab?.close();
    trouble.textContent = say("dashboard.applications.openTrouble", { message: Refusal.of(error).message });
    trouble.hidden = false;
  }
  look();
}

async function connect(provider, replace, replaceAccount = false) {
  const tab = newTab();
  const user = view.owner();
  const slot = slotOf(provider.id, user);
  asked.set(slot, { state: "opening" });
  draw();
  try {
    const body = { user_id: user, provider: provider.id, ...(replace ? { replace: true } : {}), ...(replaceAccount ? { replace_account: true } : {}) };
    const { sign_in_url: url } = await call("POST", "/api/auth/session", body, { "Idempotency-Key": crypto.randomUUID() });
    if (tab && !tab.closed) {
      tab.location.replace(url);
      asked.delete(slot);
    } else {
      asked.set(slot, { state: "popup", url });
    }
  } catch (error) {
    tab?.close();
    const refusal = Refusal.of(error);
    asked.set(slot, refusal.code === "already_open" ? { state: "already" } : troubleOf(refusal));
  }
  draw();
  look();
}

function troubleOf({ message, next, retryAfter }) {
  return { state: "trouble", message, next, until: retryAfter ? now() + retryAfter * 1000 : null };
}

function settle(provider) {
  asked.delete(slotOf(provider.id, view.owner?.()));
  draw();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-within]");
  if (link && !event.defaultPrevented && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    go(link.getAttribute("href"));
  }
});
part("who-out").addEventListener("click", signOut);
addEventListener("popstate", () => arrive(true));
document.addEventListener("visibilitychange", () => document.hidden || look());
addEventListener("online", look);
part("sections").replaceChildren(
  make("ul", {}, Object.entries(SECTIONS).map(([section, href]) => make("li", {}, make("a", { href, "data-within": "", "data-section": section }, say(`dashboard.sections.${section}`))))),
);
begin();
