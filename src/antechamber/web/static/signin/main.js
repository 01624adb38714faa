/* The sign-in page: opens the link, follows the session, and shows the one view that belongs to its status. */

import { backoff, call, Refusal, setClock } from "../api.js";
import { button, fillTexts, make, part, say, sayIf } from "../dom.js";
import { countdown } from "./countdown.js";
import { setUpDetails } from "./details.js";
import * as panels from "./panels.js";
import { setUpOwnPaste, setUpPaste } from "./paste.js";
import { fetchLibrary, Screen } from "./screen.js";
import { isTerminal, settle, viewOf } from "./status.js";
import { watch } from "./watch.js";

const SLOW_START_MS = 15_000;
const VEIL_AFTER_MS = 900; // a shorter loss of the screen is no news

const id = location.pathname.split("/")[2] ?? "";
const frame = part("frame");
const screen = new Screen(id, frame, onScreen);
const time = countdown(part("countdown"), part("spoken"));
const details = setUpDetails(id, screen);

let session = null;
let shownView = "";
let shownKey = "";
let watcher = null;
let answer = "";
let answerTrouble = "";
let shown = false;
let away = false;
let veilTimer = 0;

// -- opening the link -----------------------------------------------------------------------------------------------

async function begin() {
  fillTexts();
  show("opening", panels.opening());
  const code = location.hash.slice(1).replace(/^code=/, "");
  // the code is spent at once: it stays neither in the address bar nor in the history
  history.replaceState(null, "", location.pathname);
  const first = await open(code);
  if (!first) {
    return;
  }
  take(first);
  if (!isTerminal(session.status)) {
    fetchLibrary().catch(() => {});
    watcher = watch(id, { onSession: take, onTrouble: trouble, onNotice: notice });
  }
}

/* Return the session, or null once the page has said why there is none here. */
async function open(code) {
  const waits = backoff(1000, 10_000);
  let unspent = code;
  let refused = null;
  for (;;) {
    try {
      if (unspent) {
        await call("POST", `/api/auth/session/${id}/open`, { code });
        unspent = null;
      }
      return await call("GET", `/api/auth/session/${id}`);
    } catch (error) {
      const refusal = Refusal.of(error);
      if (unspent && !refusal.unreachable) {
        // opened before, perhaps by this very browser: then its cookie answers
        unspent = null;
        refused = refusal;
        continue;
      }
      show("closed", panels.closed(refusal.unreachable ? refusal : (refused ?? refusal)), refusal.code);
      if (!refusal.unreachable) {
        return null;
      }
      await new Promise((resume) => setTimeout(resume, waits.next()));
    }
  }
}

function take(answered) {
  const back = away;
  away = false;
  setClock(answered.now);
  session = settle(session, answered);
  render();
  if (back && shownView === "screen" && screen.state !== "taken") {
    // a connection that was cut without a word looks open for minutes
    screen.connect();
  }
}

/* Somebody else tried to get in: said until the person has seen it. */
function notice(word) {
  const text = sayIf(`signIn.notices.${word}`);
  if (text) {
    part("notice-text").textContent = text;
    part("notice").hidden = false;
  }
}

function trouble(refusal) {
  if (refusal.unreachable || refusal.retryable) {
    away = true;
    render();
    return;
  }
  // the cookie is gone: another browser opened a newer link
  watcher.stop();
  screen.freeze();
  show("closed", panels.closed(refusal));
}

// -- one view for each status ---------------------------------------------------------------------------------------

function show(view, content, key = view) {
  const panel = part("panel");
  const fresh = shownKey !== key;
  shownKey = key;
  shownView = view;
  document.body.dataset.view = view;
  panel.hidden = content === null;
  const focused = panel.contains(document.activeElement) ? document.activeElement.textContent : null;
  panel.replaceChildren(...(content ? [make("div", { class: "card" }, content)] : []));
  const name = session?.provider.name;
  part("title").textContent = name ? say("signIn.title", { provider: name }) : say("signIn.titlePlain");
  document.title = `${say(`signIn.titleOf.${view}`)} · ${part("title").textContent}`;
  if (fresh && content) {
    panel.querySelector("h1")?.focus({ preventScroll: true });
  } else if (focused) {
    [...panel.querySelectorAll("h1, button, a")].find((element) => element.textContent === focused)?.focus();
  }
}

let drawn = "";

function render() {
  const view = viewOf(session);
  part("practice").hidden = !session.practice;
  part("reference").textContent = session.session_id;
  part("tools").hidden = view !== "screen";
  part("state").hidden = view !== "screen" && !away;
  time.until(view === "screen" ? session.expires_at : null);
  if (isTerminal(session.status)) {
    screen.freeze();
    closeDrawers();
    part("cancel").close();
    part("lost").hidden = true;
  }
  const slow = view === "starting" && startedLongAgo();
  // drawn again only when something in it changed: whoever is in it keeps the place
  const state = JSON.stringify([view, session.status, session.reason, session.steps, session.account, session.plan, answer, answerTrouble, slow, away]);
  if (state === drawn) {
    return;
  }
  drawn = state;
  DRAW[view](slow);
  connection();
}

const DRAW = {
  consent: () => show("consent", panels.consent(session, { agree, decline: askCancel })),
  starting: (slow) => show("starting", panels.starting(session, { slow }, { cancel: askCancel })),
  screen() {
    if (shownView !== "screen") {
      show("screen", null);
      screen.connect();
    }
  },
  completed() {
    const key = `completed ${answer === "yes" || answer === "deleted" ? answer : ""}`;
    show("completed", panels.completed(session, { answer, trouble: answerTrouble }, { yes: confirmed, no: reject }), key);
    tellShown();
  },
  failed: () => show("failed", panels.ended(session)),
  cancelled: () => show("cancelled", panels.ended(session)),
  expired: () => show("expired", panels.ended(session)),
};

function startedLongAgo() {
  if (!startedLongAgo.at) {
    startedLongAgo.at = Date.now();
    setTimeout(() => shownView === "starting" && render(), SLOW_START_MS + 100);
  }
  return Date.now() - startedLongAgo.at > SLOW_START_MS;
}

// -- what the person does -------------------------------------------------------------------------------------------

async function agree(event) {
  const clicked = event.currentTarget;
  clicked.setAttribute("aria-disabled", "true");
  try {
    await call("POST", `/api/auth/session/${id}/consent`);
    // shown at once; the answer to the next look says the same
    session = { ...session, consented_at: session.consented_at ?? new Date().toISOString() };
    render();
  } catch (refusal) {
    clicked.removeAttribute("aria-disabled");
    const note = part("panel").querySelector("[data-trouble]");
    note.textContent = say("errors.detail", { message: refusal.message, next: refusal.next });
    note.hidden = false;
  }
  watcher?.look();
}

function askCancel() {
  part("cancel-trouble").hidden = true;
  part("cancel").showModal();
  part("cancel-stay").focus();
}

async function cancel() {
  try {
    await call("POST", `/api/auth/session/${id}/cancel`);
    part("cancel").close();
  } catch (refusal) {
    if (refusal.code === "session_ended") {
      part("cancel").close();
    } else {
      part("cancel-trouble").textContent = say("signIn.cancel.failed", { message: refusal.message });
      part("cancel-trouble").hidden = false;
    }
  }
  watcher?.look();
}

function confirmed() {
  answer = "yes";
  answerTrouble = "";
  remember();
  render();
}

async function reject() {
  answer = "deleting";
  answerTrouble = "";
  render();
  try {
    await call("POST", `/api/auth/session/${id}/reject`);
    answer = "deleted";
    remember();
  } catch (refusal) {
    answer = "";
    answerTrouble = say("errors.detail", { message: refusal.message, next: refusal.next });
  }
  render();
}

/* A reload of the page does not ask again. */
function remember() {
  try {
    sessionStorage.setItem(`answer ${id}`, answer);
  } catch {
    // storage is off: the question comes again
  }
}

function recall() {
  if (session.rejected_at) {
    return "deleted";
  }
  try {
    return sessionStorage.getItem(`answer ${id}`) ?? "";
  } catch {
    return "";
  }
}

/* The machine may go as soon as the person has seen the outcome; unheard, it goes by itself. */
function tellShown() {
  if (shown) {
    return;
  }
  shown = true;
  answer = recall();
  if (answer) {
    render();
  }
  requestAnimationFrame(() => {
    setTimeout(() => call("POST", `/api/auth/session/${id}/shown`).catch(() => {}), 0);
  });
}

// -- the screen's connection ----------------------------------------------------------------------------------------

function onScreen(state, refusal) {
  if (state === "connected" && document.activeElement === document.body) {
    screen.focus();
  }
  if (state === "waiting") {
    watcher?.look();
  }
  connection(refusal);
}

function connection(refusal) {
  const mark = part("state");
  const names = { connected: "good", taken: "warn" };
  const words = {
    idle: "connecting",
    connecting: part("lost").hidden ? "connecting" : "reconnecting",
    connected: "connected",
    waiting: "reconnecting",
    taken: "taken",
    frozen: "connected",
  };
  if (shownView === "screen" && !away) {
    // a computer without any network says that it is offline, and still reaches a service of its own
    const offline = screen.state === "waiting" && !navigator.onLine;
    const text = say(`signIn.screen.${offline ? "offline" : words[screen.state]}`);
    if (mark.textContent !== text) {
      mark.textContent = text;
    }
    mark.className = `mark ${offline ? "bad" : (names[screen.state] ?? "busy")}`;
  } else {
    mark.textContent = say("errors.unreachable");
    mark.className = "mark bad";
  }
  veil(refusal);
}

/* What lies over the last picture while the screen is away. */
function veil(refusal) {
  const element = part("lost");
  clearTimeout(veilTimer);
  if (shownView !== "screen" || screen.connected || screen.state === "frozen") {
    element.hidden = true;
    return;
  }
  const asked = screen.state === "taken";
  const heading = say(`signIn.screen.${asked ? "takenHeading" : (frame.querySelector(".last") ? "lost" : "connecting")}`);
  const note = asked ? say("signIn.screen.takenLead") : refusal && !refusal.unreachable ? refusal.message : say("signIn.screen.lostLead");
  const content = [make("h2", {}, heading), asked || frame.querySelector(".last") || screen.state === "waiting" ? make("p", { class: "quiet" }, note) : null];
  if (asked) {
    content.push(button(say("signIn.screen.takeBack"), "main", () => screen.connect()));
  } else if (screen.state === "waiting") {
    content.push(button(say("common.tryNow"), "", () => screen.connect()));
  } else {
    content.push(make("span", { class: "spinner", "aria-hidden": "true" }));
  }
  const put = () => {
    element.replaceChildren(make("div", { class: "card" }, content.filter(Boolean)));
    element.hidden = false;
  };
  if (asked || !element.hidden || !frame.querySelector(".last")) {
    put();
  } else {
    veilTimer = setTimeout(put, VEIL_AFTER_MS);
  }
}

// -- drawers and keys -----------------------------------------------------------------------------------------------

const drawers = [
  { opener: part("paste-open"), panel: part("paste-panel"), opened: () => part("paste-text").focus(), closed: () => {} },
  { opener: part("details-open"), panel: part("details-panel"), opened: () => { details.open(); part("details-panel").querySelector("[data-close]").focus(); }, closed: details.close },
];

function setDrawer(drawer, open) {
  if (drawer.panel.hidden === !open) {
    return;
  }
  drawer.panel.hidden = !open;
  drawer.opener.setAttribute("aria-expanded", String(open));
  (open ? drawer.opened : drawer.closed)();
}

function closeDrawers() {
  drawers.forEach((drawer) => setDrawer(drawer, false));
}

drawers.forEach((drawer) => {
  drawer.opener.addEventListener("click", () => {
    const open = drawer.panel.hidden;
    closeDrawers();
    setDrawer(drawer, open);
  });
  drawer.panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      setDrawer(drawer, false);
      drawer.opener.focus();
    }
  });
  drawer.panel.querySelector("[data-close]").addEventListener("click", () => {
    setDrawer(drawer, false);
    drawer.opener.focus();
  });
});

// the screen takes every key, Tab included: this chord is the way out of it for whoever has no mouse
document.addEventListener(
  "keydown",
  (event) => {
    if (frame.contains(document.activeElement) && event.ctrlKey && event.altKey && event.shiftKey) {
      event.preventDefault();
      event.stopPropagation();
      part("paste-open").focus();
    }
  },
  true,
);

part("notice-close").addEventListener("click", () => {
  part("notice").hidden = true;
});
part("cancel-open").addEventListener("click", askCancel);
part("cancel-stay").addEventListener("click", () => part("cancel").close());
part("cancel-stop").addEventListener("click", cancel);
["online", "offline"].forEach((event) => addEventListener(event, () => connection()));
setUpPaste(screen);
setUpOwnPaste(frame, screen);
begin();
