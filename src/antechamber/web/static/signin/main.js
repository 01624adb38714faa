/* The sign-in page: opens the link, follows the session, and shows the one view that belongs to its status. */

import { backoff, call, Refusal, setClock } from "../api.js";
import { enter, fillTexts, make, part, say, sayIf } from "../dom.js";
import { showsConnection } from "./connection.js";
import { countdown } from "./countdown.js";
import { setUpDetails } from "./details.js";
import { setUpDrawers } from "./drawers.js";
import { framed, tellEnd } from "./framed.js";
import { setUpLive } from "./live.js";
import * as panels from "./panels.js";
import { setUpOwnPaste, setUpPaste } from "./paste.js";
import { fetchLibrary, Screen } from "./screen.js";
import { asksInTerminal, isTerminal, settle, VIEWS, viewOf } from "./status.js";
import { setUpTake } from "./take.js";
import { setUpTerminal } from "./terminal.js";
import { watch } from "./watch.js";

const SLOW_START_MS = 15_000;
const BOUND = "bound.";

const id = location.pathname.split("/")[2] ?? "";
const frame = part("frame");
const screen = new Screen(id, frame, onScreen);
const time = countdown(part("countdown"), part("spoken"));
const drawers = setUpDrawers(frame, { details: setUpDetails(id, screen, () => session.provider.name), take: setUpTake(screen), live: setUpLive(screen), terminal: setUpTerminal(id, part("terminal")) });
const connection = showsConnection(screen, frame);

let session = null;
let shownView = "";
let shownKey = "";
let watcher = null;
let answer = "";
let answerTrouble = "";
let done = null; // what was done with what is stored: {lines} or {trouble}; null until it is asked for
let againAsked = 0; // the run after which another was asked for
let againTrouble = "";
let againSince = 0;
let shown = false;
let endTold = false;
let away = false;
let startingSince = 0;
let spokenPlace = 0; // the place in the line that was last read out; 0: none

// -- opening the link -----------------------------------------------------------------------------------------------

async function begin() {
  fillTexts();
  show("opening", panels.opening());
  const fragment = location.hash.slice(1);
  const bound = fragment.startsWith(BOUND);
  const code = bound ? fragment.slice(BOUND.length) : fragment.replace(/^code=/, "");
  // the code is spent at once: it stays neither in the address bar nor in the history
  history.replaceState(null, "", location.pathname);
  const first = await open(code, bound ? "return" : "open");
  if (!first) {
    return;
  }
  take(first);
  if (!isTerminal(session.status)) {
    fetchLibrary().catch(() => {});
    watcher = watch(id, { onSession: take, onTrouble: trouble, onNotice: notice });
  }
}

/* Return the session, or null once the page has said why there is none here; `exchange` is the route that takes the code. */
async function open(code, exchange) {
  const waits = backoff(1000, 10_000);
  let unspent = code;
  let refused = null;
  for (;;) {
    try {
      if (unspent) {
        await call("POST", `/api/auth/session/${id}/${exchange}`, framed ? { code, framed } : { code });
        unspent = null;
      }
      return await call("GET", `/api/auth/session/${id}`);
    } catch (error) {
      const refusal = Refusal.of(error);
      if (refusal.code === "too_often") {
        showClosed(refusal);
        await pause((refusal.retryAfter ?? 1) * 1000);
        continue;
      }
      if (unspent && !refusal.unreachable) {
        // opened before, perhaps by this very browser: then its cookie answers
        unspent = null;
        refused = refusal;
        continue;
      }
      if (refusal.code === "bind_needed") {
        // sent on by itself only from the link: whoever comes back by the browser's own button is not sent away again
        return bind(Boolean(code) && exchange === "open" && !refused);
      }
      showClosed(refusal.unreachable ? refusal : (refused ?? refusal));
      if (!refusal.unreachable) {
        return null;
      }
      await pause(waits.next());
    }
  }
}

function pause(wait) {
  return new Promise((resume) => setTimeout(resume, wait));
}

/* The application says first whose browser this is; return null, as there is no session here yet. */
async function bind(going) {
  const waits = backoff(1000, 10_000);
  for (;;) {
    try {
      const way = await call("POST", `/api/auth/session/${id}/binding`);
      show("binding", panels.binding(way, { going }), { variant: going ? "going" : "" });
      if (going) {
        location.assign(way.url);
      }
      return null;
    } catch (error) {
      const refusal = Refusal.of(error);
      showClosed(refusal);
      if (!refusal.unreachable && refusal.code !== "too_often") {
        return null;
      }
      await pause(refusal.retryAfter ? refusal.retryAfter * 1000 : waits.next());
    }
  }
}

function take(answered) {
  const back = away;
  away = false;
  setClock(answered.now);
  // an answer may be older than the click that agreed
  const agreed = answered.consented_at ?? session?.consented_at;
  session = settle(session, { ...answered, consented_at: agreed });
  render();
  if (back && isOnScreen(shownView) && screen.state !== "taken") {
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
  showClosed(refusal);
}

// -- one view for each status ---------------------------------------------------------------------------------------

function show(view, content, { key = view, variant = "" } = {}) {
  const panel = part("panel");
  const fresh = shownKey !== key;
  shownKey = key;
  shownView = view;
  enter(VIEWS, view, variant);
  panel.hidden = content === null;
  part("screen-heading").hidden = view !== "screen";
  const focused = panel.contains(document.activeElement) ? document.activeElement.textContent : null;
  panel.replaceChildren(...(content ? [make("div", { class: "card" }, content)] : []));
  const name = session?.provider.name;
  part("title").textContent = name ? say("signIn.title", { provider: name }) : say("signIn.titlePlain");
  document.title = `${say(`signIn.titleOf.${view}`)} · ${part("title").textContent}`;
  if (fresh && content) {
    panel.querySelector("h1")?.focus({ preventScroll: true });
  } else if (focused) {
    focusAgain(focused);
  }
}

/* Focus what bears these words now: the element that had the focus may have been drawn anew. */
function focusAgain(words) {
  [...part("panel").querySelectorAll("h1, button, a")].find((element) => element.textContent === words)?.focus();
}

function showClosed(refusal) {
  const variant = panels.closedKind(refusal);
  show("closed", panels.closed(refusal), { key: refusal.code, variant });
}

let drawn = "";

/* Return the view of the session; a tool that was started again and never asks for its page is not waited for any longer. */
function viewNow() {
  const view = viewOf(session);
  if (view !== "again") {
    againSince = 0;
    return view;
  }
  if (!againSince) {
    againSince = Date.now();
    setTimeout(render, SLOW_START_MS + 100);
  }
  return Date.now() - againSince > SLOW_START_MS ? "screen" : view;
}

function render() {
  const view = viewNow();
  part("practice").hidden = !session.practice;
  part("reference").textContent = session.session_id;
  const onScreen = isOnScreen(view);
  part("tools").hidden = !onScreen;
  part("asks").hidden = !(asksInTerminal(session) && (onScreen || view === "starting"));
  part("terminal-open").hidden = session.cli_terminal === "none";
  part("terminal-none").hidden = session.cli_terminal !== "none";
  time.until(onScreen ? session.expires_at : null);
  if (isTerminal(session.status)) {
    if (!endTold) {
      endTold = true;
      tellEnd(session);
    }
    screen.freeze();
    drawers.close();
    part("cancel").close();
    part("lost").hidden = true;
  }
  const { waiting } = session;
  const slow = view === "starting" && !waiting && startedLongAgo();
  speakPlace(waiting);
  // drawn again only when something in it changed: whoever is in it keeps the place
  const state = JSON.stringify([view, session.status, session.reason, session.steps, session.account, session.plan, answer, answerTrouble, done, session.rejectable, slow, away, session.attempt, session.cli_said, againAsked, againTrouble, waiting]);
  if (state === drawn) {
    return;
  }
  drawn = state;
  DRAW[view](slow);
  showConnection();
}

const DRAW = {
  consent: () => show("consent", panels.consent(session, { agree, decline: askCancel })),
  starting(slow) {
    if (session.waiting) {
      show("starting", panels.waiting(session, { cancel: askCancel }), { key: "waiting", variant: "waiting" });
    } else {
      showStarting(slow);
    }
  },
  screen() {
    if (shownView !== "screen") {
      const wasShown = ["gaveUp", "again"].includes(shownView);
      show("screen", null);
      showScreen();
      if (wasShown) {
        part("spoken").textContent = say("signIn.gaveUp.started");
        screen.focus();
      }
    }
  },
  gaveUp() {
    if (shownView !== "gaveUp") {
      drawers.close();
    }
    const asked = againAsked === session.attempt;
    show("gaveUp", panels.gaveUp(session, { trouble: againTrouble, asked }, { again, cancel: askCancel }), {
      key: `gaveUp ${session.attempt}`,
      variant: againTrouble ? "trouble" : asked ? "asked" : "",
    });
    showScreen();
  },
  again() {
    show("again", panels.again(session, { cancel: askCancel }), { key: `again ${session.attempt}` });
    showScreen();
  },
  completed() {
    const key = `completed ${answer === "yes" || answer === "deleted" ? answer : ""}`;
    show("completed", panels.completed(session, { answer, trouble: answerTrouble, done }, { yes: confirmed, no: reject }), {
      key,
      variant: answerTrouble ? "trouble" : answer,
    });
    tellShown();
    if (answer === "yes" && !done) {
      lookAtDone();
    }
  },
  failed: () => show("failed", panels.ended(session)),
  cancelled: () => show("cancelled", panels.ended(session)),
  expired: () => show("expired", panels.ended(session)),
};

function showStarting(slow) {
  show("starting", panels.starting(session, { slow }, { cancel: askCancel }), { variant: slow ? "slow" : "" });
}

/* The panel is drawn anew with each place, which nothing reads out by itself. */
function speakPlace(waiting) {
  const position = waiting?.position ?? 0;
  if (position !== spokenPlace && session.consented_at) {
    if (position) {
      part("spoken").textContent = panels.placeInLine(session);
    } else if (spokenPlace && !isTerminal(session.status)) {
      part("spoken").textContent = say("signIn.waiting.over");
    }
    spokenPlace = position;
  }
}

/* Whether the screen is connected in that view, seen or not. */
function isOnScreen(view) {
  return ["screen", "gaveUp", "again"].includes(view);
}

/* How the connection stands is said of a screen that is seen. */
function isSeen(view) {
  return isOnScreen(view) && view !== "again";
}

/* The screen stays connected while the tool is started again. */
function showScreen() {
  if (["idle", "frozen"].includes(screen.state)) {
    screen.connect();
  }
}

function startedLongAgo() {
  if (!startingSince) {
    startingSince = Date.now();
    setTimeout(() => shownView === "starting" && render(), SLOW_START_MS + 100);
  }
  return Date.now() - startingSince > SLOW_START_MS;
}

// -- what the person does -------------------------------------------------------------------------------------------

async function agree(event) {
  const clicked = event.currentTarget;
  clicked.setAttribute("aria-disabled", "true");
  try {
    take(await call("POST", `/api/auth/session/${id}/consent`));
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
  const asked = document.activeElement.textContent;
  const backToIt = () => {
    // the browser gives the focus back to the button that was pressed; where a change behind the dialog has replaced
    // that, the focus is still in what is closed now
    if (document.activeElement === document.body || part("cancel").contains(document.activeElement)) {
      focusAgain(asked);
    }
  };
  part("cancel").addEventListener("close", backToIt, { once: true });
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

async function again() {
  againAsked = session.attempt;
  againTrouble = "";
  render();
  try {
    take(await call("POST", `/api/auth/session/${id}/again`, { attempt: session.attempt }));
  } catch (refusal) {
    againAsked = 0;
    againTrouble = say("errors.detail", { message: refusal.message, next: refusal.next });
    render();
  }
  watcher?.look();
}

function confirmed() {
  answer = "yes";
  answerTrouble = "";
  remember();
  render();
}

async function lookAtDone() {
  done = { lines: [] };
  try {
    done = { lines: (await call("GET", `/api/auth/session/${id}/audit`)).done };
  } catch (error) {
    done = { trouble: Refusal.of(error).code };
  }
  render();
}

async function reject() {
  const before = answer;
  answer = "deleting";
  answerTrouble = "";
  render();
  try {
    await call("POST", `/api/auth/session/${id}/reject`);
    answer = "deleted";
    remember();
  } catch (refusal) {
    answer = before;
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

// -- the screen -----------------------------------------------------------------------------------------------------

function onScreen(state, refusal) {
  if (state === "connected" && away) {
    // the service answers again, and this connection is a fresh one: it is not to be made anew
    away = false;
    watcher?.look();
  }
  if (state === "connected" && document.activeElement === document.body) {
    screen.focus();
  }
  if (state === "waiting") {
    watcher?.look();
  }
  connection.show({ onScreen: isSeen(shownView), away, refusal });
}

function showConnection() {
  connection.show({ onScreen: isSeen(shownView), away });
}

part("notice-close").addEventListener("click", () => {
  part("notice").hidden = true;
  // the button had the keyboard, and is gone
  if (isOnScreen(shownView)) {
    screen.focus();
  } else {
    part("panel").querySelector("h1, button, a")?.focus();
  }
});
part("asks-open").addEventListener("click", () => drawers.openTerminal());
part("cancel-open").addEventListener("click", askCancel);
part("cancel-stay").addEventListener("click", () => part("cancel").close());
part("cancel-stop").addEventListener("click", cancel);
["online", "offline"].forEach((event) => addEventListener(event, showConnection));
setUpPaste(screen);
setUpOwnPaste(frame, screen);
begin();
