/* What the page shows for a session: pure, and total over the statuses (a test reads the service's enum). */

/** Every view of the page with its variants: the tests look into each of them, so that a new one is looked into as well. */
export const VIEWS = Object.freeze({
  opening: [],
  closed: ["used", "browser", "missing", "application", "offline", "odd"],
  binding: ["going"],
  consent: [],
  starting: ["slow", "waiting"],
  screen: [],
  gaveUp: ["asked", "trouble"],
  again: [],
  completed: ["yes", "deleting", "deleted", "trouble"],
  failed: [],
  cancelled: [],
  expired: [],
});

/** The view of each status, once the person has agreed. */
export const VIEW_OF_STATUS = Object.freeze({
  pending: "starting",
  starting: "starting",
  awaiting_sign_in: "screen",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
  expired: "expired",
});

const LIVE = new Set(["pending", "starting", "awaiting_sign_in"]);

/** Whether the status never changes again. */
export function isTerminal(status) {
  return !LIVE.has(status);
}

/** Return the view of a session; a status that this page does not know is an error, never another status. */
export function viewOf(session) {
  const view = VIEW_OF_STATUS[session.status];
  if (!view) {
    throw new Error(`unknown status ${session.status}`);
  }
  if (LIVE.has(session.status) && !session.consented_at) {
    return "consent";
  }
  if (view !== "screen") {
    return view;
  }
  return session.gave_up_at ? "gaveUp" : startsAgain(session) ? "again" : view;
}

function namesOf(session) {
  return (session.steps ?? []).map((step) => step.step ?? step.kind);
}

/** Whether the tool was started again and has asked for nothing since: until it has, its screen is empty. */
export function startsAgain(session) {
  const steps = namesOf(session);
  return steps.lastIndexOf("started_again") > Math.max(steps.lastIndexOf("page_asked"), steps.lastIndexOf("terminal_asks"));
}

/** Return which of two answers to believe: what has ended stays ended, whatever a late or confused answer says. */
export function settle(before, after) {
  if (!before || before.status === after.status) {
    // an answer that was on its way while the tool was started again
    return before && before.attempt > after.attempt ? before : after;
  }
  return isTerminal(before.status) ? before : after;
}

/** Whether the tool waits at its terminal, and has not asked for a page since. */
export function asksInTerminal(session) {
  const steps = namesOf(session);
  return session.cli_terminal === "write" && !session.gave_up_at && steps.lastIndexOf("terminal_asks") > steps.lastIndexOf("page_asked");
}

const ORDER = ["pending", "starting", "awaiting_sign_in"];

/** Return the steps of a start, each `done`, `now` or `later`, by what the service says has happened. */
export function stepsOf(session) {
  const reached = session.status === "completed" ? ORDER.length : ORDER.indexOf(session.status);
  const happened = new Set(namesOf(session));
  const done = {
    created: true,
    machine: reached >= 1,
    browser: reached >= 2 || happened.has("page_asked"),
    page: reached >= 2,
  };
  const first = Object.keys(done).find((step) => !done[step]);
  return Object.entries(done).map(([step, finished]) => ({
    step,
    state: finished ? "done" : step === first ? "now" : "later",
  }));
}
