/* The dashboard: asks the service how things stand, draws it, and starts and ends sign-ins. */

import { backoff, call, Refusal, setClock } from "../api.js";
import { fillTexts, make, outward, part, prose, say, webAddress } from "../dom.js";
import { card } from "./cards.js";
import { about, credentialList, sessionList } from "./rows.js";

const BUSY_LOOK_MS = 1500;
const CALM_LOOK_MS = 15_000;
const LISTED = 20;
const LIVE = new Set(["pending", "starting", "awaiting_sign_in"]);

const waits = backoff(1000, 15_000);
const asked = new Map();
let known = null;
let drawn = "";
let looking = false;
let again = false;
let timer = 0;

// -- getting in -----------------------------------------------------------------------------------------------------

async function begin() {
  fillTexts();
  const label = part("label");
  label.value = remembered();
  label.addEventListener("input", () => {
    remember(label.value.trim());
    draw();
  });
  const fragment = location.hash.slice(1);
  const code = fragment.startsWith("code=") ? fragment.slice(5) : "";
  if (code) {
    // spent at once: it stays neither in the address bar nor in the history
    history.replaceState(null, "", location.pathname);
    await spend(code);
  }
  look();
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

let closedBecause = null;

function showClosed() {
  const command = `antechamber link --world ${document.documentElement.dataset.world}`;
  part("access").replaceChildren(
    make("h1", { tabindex: "-1" }, say("dashboard.access.heading")),
    closedBecause ? make("p", { class: "note warn" }, closedBecause.code === "link_not_valid" ? say("dashboard.access.used") : closedBecause.message) : null,
    make("p", {}, say("dashboard.access.lead")),
    make("p", {}, say("dashboard.access.next")),
    make("p", { class: "code note" }, command),
  );
  part("access").hidden = false;
  part("content").hidden = true;
  part("about").hidden = true;
  part("health").hidden = true;
  document.body.dataset.view = "closed";
  part("access").querySelector("h1").focus({ preventScroll: true });
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
    const [service, tools, sessions, credentials] = await Promise.all([
      call("GET", "/api/dashboard"),
      call("GET", "/api/providers"),
      call("GET", `/api/auth/sessions?limit=${LISTED}`),
      call("GET", "/api/credentials"),
    ]);
    waits.reset();
    known = { service, providers: tools.providers, sessions: sessions.sessions, credentials: credentials.credentials };
    if (known.sessions[0]?.now) {
      setClock(known.sessions[0].now);
    }
    draw();
    health(service.ready);
    wait = known.sessions.some(underWay) ? BUSY_LOOK_MS : CALM_LOOK_MS;
  } catch (error) {
    const refusal = Refusal.of(error);
    if (refusal.status === 401) {
      looking = false;
      showClosed();
      return;
    }
    wait = waits.next();
    health(false, refusal.message);
  }
  looking = false;
  if (again) {
    again = false;
    look();
  } else if (!document.hidden) {
    timer = setTimeout(look, wait);
  }
}

/* Something still changes by itself: the sign-in, or its machine after it. */
function underWay(row) {
  return LIVE.has(row.status) || (row.machine && !row.machine.ended_at);
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

const nameOf = (id) => known.providers.find((provider) => provider.id === id)?.name ?? id;
const owner = () => part("label").value.trim() || "me";

function draw() {
  if (!known) {
    return;
  }
  const minute = Math.floor(Date.now() / 60_000);
  const told = known.sessions.map(({ now: _, ...row }) => row);
  const state = JSON.stringify([known.service, known.providers, known.credentials, told, [...asked], owner(), minute]);
  if (state === drawn) {
    return;
  }
  drawn = state;
  const place = focusedPlace();
  const { service, providers } = known;
  part("notes").replaceChildren(...service.faults.map((fault) => make("p", { class: "note bad" }, prose(fault))));
  part("cards").replaceChildren(...providers.map((provider) => card(provider, owner(), known, asked.get(provider.id), { connect, stop, settle })));
  part("credentials").replaceChildren(credentialList(known.credentials, nameOf, { remove: askRemove }));
  part("sessions").replaceChildren(sessionList(known.sessions, nameOf, { stop }));
  const wasOpen = part("about").querySelector("details")?.open;
  part("about").replaceChildren(...about(service, providers));
  part("about").querySelector("details").open = Boolean(wasOpen);
  part("access").hidden = true;
  part("content").hidden = false;
  part("about").hidden = false;
  document.body.dataset.view = "open";
  place?.();
}

/* Drawing again must not take the keyboard's place away. */
function focusedPlace() {
  const focused = document.activeElement;
  const region = focused?.closest("#cards, #credentials, #sessions, #about");
  if (!region) {
    return null;
  }
  const name = (element) => `${element.tagName} ${element.getAttribute("aria-label") ?? element.textContent}`;
  const wanted = name(focused);
  return () => {
    const same = [...region.querySelectorAll("button, a, summary")].find((element) => name(element) === wanted);
    (same ?? region.querySelector("button:not([disabled]), a, summary") ?? part("main")).focus({ preventScroll: true });
  };
}

// -- what the operator does -----------------------------------------------------------------------------------------

async function connect(provider, replace) {
  // opened within the click, or the browser takes it for a pop-up; the two pages must not know each other
  const tab = window.open("about:blank", "_blank");
  if (tab) {
    tab.opener = null;
  }
  asked.set(provider.id, { state: "opening" });
  draw();
  try {
    const body = { user_id: owner(), provider: provider.id, ...(replace ? { replace: true } : {}) };
    const { sign_in_url: url } = await call("POST", "/api/auth/session", body, { "Idempotency-Key": crypto.randomUUID() });
    if (tab && !tab.closed) {
      tab.location.replace(url);
      asked.delete(provider.id);
    } else {
      asked.set(provider.id, { state: "popup", url });
    }
  } catch (error) {
    tab?.close();
    const refusal = Refusal.of(error);
    asked.set(provider.id, refusal.code === "already_open" ? { state: "already" } : { state: "trouble", message: refusal.message, next: refusal.next });
  }
  draw();
  look();
}

function settle(provider) {
  asked.delete(provider.id);
  draw();
}

async function stop(session) {
  try {
    await call("POST", `/api/auth/session/${session.session_id}/cancel`);
    asked.delete(session.provider);
  } catch (error) {
    const refusal = Refusal.of(error);
    if (refusal.code !== "session_ended") {
      asked.set(session.provider, { state: "trouble", message: refusal.message, next: refusal.next });
    }
  }
  draw();
  look();
}

let removing = null;

function askRemove(credential) {
  removing = credential;
  const provider = known.providers.find((one) => one.id === credential.provider);
  part("delete-lead").textContent = say("dashboard.credential.confirmLead", {
    provider: nameOf(credential.provider),
    account: credential.account ?? say("dashboard.credential.noAccount"),
  });
  const url = provider?.revoke_url && webAddress(provider.revoke_url);
  const [before, after] = say("dashboard.credential.confirmRevoke").split("{link}");
  part("delete-revoke").replaceChildren(...(url ? [before, outward(url.host + url.pathname, url.href), after] : []));
  part("delete-trouble").hidden = true;
  part("delete").showModal();
  part("delete-keep").focus();
}

async function remove() {
  try {
    await call("DELETE", `/api/credentials/${removing.id}`);
    part("delete").close();
    part("credentials-heading").tabIndex = -1;
    part("credentials-heading").focus();
  } catch (error) {
    const refusal = Refusal.of(error);
    if (refusal.status === 404) {
      part("delete").close();
    } else {
      part("delete-trouble").textContent = say("errors.detail", { message: refusal.message, next: refusal.next });
      part("delete-trouble").hidden = false;
    }
  }
  look();
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

part("delete-keep").addEventListener("click", () => part("delete").close());
part("delete-confirm").addEventListener("click", remove);
document.addEventListener("visibilitychange", () => document.hidden || look());
addEventListener("online", look);
begin();
