/* What stands in the middle of the page when the screen does not: one function a view, each returns the panel's content. */

import { button, emphasised, language, make, outward, prose, say, sayIf, strongly, webAddress } from "../dom.js";
import { around, framed } from "./framed.js";
import { stepsOf } from "./status.js";

const stamp = new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

function heading(text) {
  // focused when the panel appears, so that a screen reader begins there
  return make("h1", { tabindex: "-1" }, text);
}

function lead(...content) {
  return make("p", { class: "lead" }, ...content);
}

function timeOfDay(time) {
  return clock.format(new Date(time));
}

function sentence(text) {
  return text.replace(/[.\s]*$/, "");
}

function capitalised(text) {
  return text.charAt(0).toLocaleUpperCase(language()) + text.slice(1);
}

function backLink(session, style) {
  const url = session.return_url && webAddress(session.return_url);
  return url ? make("a", { class: `button ${style}`, href: url.href, rel: "noreferrer", ...(framed ? { target: "_top" } : {}) }, say("signIn.returned", { host: url.host })) : null;
}

/* Where a sign-in is ended at the vendor, in that sentence. */
function revokeLine(address, name) {
  if (!address) {
    return null;
  }
  const url = webAddress(address);
  const [before, after] = say(name).split("{link}");
  return make("p", { class: "quiet" }, before, outward(url ? url.host + url.pathname.replace(/\/$/, "") : say("signIn.completed.revokeLink"), address), after);
}

/* What becomes of the sign-in that is stored already. */
function beforeText({ before, replace_account: any }) {
  if (!before.account) {
    return say("signIn.consent.beforeUnnamed");
  }
  return strongly(any ? "signIn.consent.beforeAny" : "signIn.consent.beforeSame", { account: before.account });
}

export function opening() {
  return [make("div", { class: "row" }, make("span", { class: "spinner", "aria-hidden": "true" }), heading(say("signIn.opening")))];
}

/** The application has to say first whose browser this is; `way` leads there. */
export function binding({ application, url }, { going }) {
  return [
    heading(say("signIn.binding.heading", { application })),
    lead(say("signIn.binding.lead", { application })),
    make("div", { class: "row actions" }, make("a", { class: "button main", href: url, rel: "noreferrer" }, say("signIn.binding.go", { host: webAddress(url)?.host ?? application }))),
    going ? make("p", { class: "quiet small", role: "status" }, say("signIn.binding.going")) : null,
  ];
}

/** What is to be known before, in few words, and the click. */
export function consent(session, actions) {
  const provider = session.provider.name;
  const owner = session.display_name ? `${session.display_name} (${session.owner})` : session.owner;
  const { application } = session;
  const keeper = `signIn.consent.keeper${application ? "Of" : "Text"}${session.purpose ? "For" : ""}`;
  const terms = [
    ["captured", session.provider.captures.join(" ")],
    ["keeper", strongly(keeper, { application, owner, purpose: sentence(session.purpose ?? "") })],
    ...(session.revealed ? [["revealed", strongly("signIn.consent.revealedText", {})]] : []),
    ...(session.before ? [["before", beforeText(session)]] : []),
    ["machine", say("signIn.consent.machineText", { machine: capitalised(session.machine), minutes: Math.round(session.lasts_s / 60) })],
    ["runs", strongly("signIn.consent.runsText", { operator: session.operator })],
    ["screen", say("signIn.consent.screenText")],
  ];
  const notices = session.provider.notices;
  return [
    heading(say("signIn.consent.heading", { provider })),
    lead(...emphasised(say("signIn.consent.lead"))),
    make("dl", { class: "terms" }, terms.map(([term, text]) => [make("dt", {}, say(`signIn.consent.${term}`)), make("dd", {}, text)])),
    notices.length
      ? make("div", { class: "notices" }, make("h2", {}, say("signIn.consent.notices")), make("ul", {}, notices.map((text) => make("li", {}, text))))
      : null,
    make("p", { class: "note warn" }, ...emphasised(say("signIn.consent.stop"))),
    framed ? make("p", { class: "note" }, withinText()) : null,
    make("p", { class: "note bad", role: "alert", hidden: true, "data-trouble": "" }),
    make(
      "div",
      { class: "row actions" },
      button(say("signIn.consent.agree"), "main", actions.agree),
      button(say("signIn.consent.decline"), "bare", actions.decline),
      make("span", { class: "quiet small", role: "status" }, behind(session)),
    ),
  ];
}

/* Whoever shows this in a frame could lay something over it, or have it clicked unseen: the person is told who that is. */
function withinText() {
  const origin = around();
  return origin ? strongly("signIn.consent.within", { host: webAddress(origin).host }) : say("signIn.consent.withinSome");
}

/* What the machine does while the page is read. */
function behind(session) {
  if (session.waiting) {
    return placeInLine(session);
  }
  return say(session.status === "awaiting_sign_in" ? "signIn.consent.ready" : "signIn.consent.behind");
}

/** Return the sentence that says where in the line the session is. */
export function placeInLine({ waiting: { position } }) {
  return say(position === 1 ? "signIn.waiting.next" : "signIn.waiting.place", { n: position });
}

/** All machines are in use: the place in the line, which `main.js` speaks when it changes. */
export function waiting(session, actions) {
  return [
    heading(say("signIn.waiting.heading")),
    make("p", { class: "lead place" }, placeInLine(session)),
    make("p", {}, say("signIn.waiting.lead")),
    make("p", { class: "quiet small" }, say("signIn.waiting.until", { time: timeOfDay(session.expires_at) })),
    make("div", { class: "row actions" }, button(say("signIn.tools.cancel"), "bare", actions.cancel)),
  ];
}

export function starting(session, { slow }, actions) {
  const states = { done: say("signIn.starting.done"), now: say("signIn.starting.now"), later: "" };
  return [
    heading(say("signIn.starting.heading")),
    lead(say(slow ? "signIn.starting.slow" : "signIn.starting.lead")),
    make(
      "ol",
      { class: "steps", "aria-label": say("signIn.starting.steps") },
      stepsOf(session).map(({ step, state }) =>
        make(
          "li",
          { class: state, "aria-current": state === "now" ? "step" : null },
          say(`signIn.steps.${step}`, { provider: session.provider.name }),
          states[state] ? make("span", { class: "unseen" }, ` (${states[state]})`) : null,
        ),
      ),
    ),
    make("div", { class: "row actions" }, button(say("signIn.tools.cancel"), slow ? "" : "bare", actions.cancel)),
  ];
}

/** The tool stopped without a sign-in: what it said, and the click that starts it again. */
export function gaveUp(session, { trouble, asked }, actions) {
  const provider = session.provider.name;
  const said = session.cli_said ?? [];
  return [
    heading(say("signIn.gaveUp.heading", { provider })),
    lead(say("signIn.gaveUp.lead")),
    said.length ? make("h2", { id: "said" }, say("signIn.gaveUp.said")) : null,
    said.length ? make("pre", { class: "said code small", tabindex: "0", role: "region", "aria-labelledby": "said" }, said.join("\n")) : null,
    trouble ? make("p", { class: "note bad", role: "alert" }, trouble) : null,
    make(
      "div",
      { class: "row actions" },
      button(asked ? say("signIn.gaveUp.starting") : say("signIn.gaveUp.again"), "main", actions.again, { disabled: asked }),
      button(say("signIn.tools.cancel"), "bare", actions.cancel),
    ),
  ];
}

/** The tool was started again and has not asked for its page yet. */
export function again(session, actions) {
  const provider = session.provider.name;
  return [
    make("div", { class: "row" }, make("span", { class: "spinner", "aria-hidden": "true" }), heading(say("signIn.again.heading", { provider }))),
    lead(say("signIn.again.lead")),
    make("div", { class: "row actions" }, button(say("signIn.tools.cancel"), "bare", actions.cancel)),
  ];
}

/* What was stored, to keep: with which tool, for whom, and where it is ended. */
function receipt(session) {
  const { receipt: kept, provider } = session;
  if (!kept) {
    return null;
  }
  const rows = [
    ["stored", stamp.format(new Date(kept.stored_at))],
    ["account", [session.account, session.plan].filter(Boolean).join(" · ")],
    ["owner", session.application ? `${session.owner} · ${session.application}` : session.owner],
    ["tool", kept.tool_sha256 ? say("signIn.completed.toolText", { provider: provider.name, version: kept.tool_version, sha256: kept.tool_sha256.slice(0, 16) }) : `${provider.name} ${kept.tool_version}`],
    ["endIt", webAddress(provider.revoke_url) ? outward(webAddress(provider.revoke_url).host, provider.revoke_url) : ""],
    ["reference", session.session_id],
  ];
  return make(
    "section",
    { class: "kept", "aria-labelledby": "receipt" },
    make("h2", { id: "receipt" }, say("signIn.completed.receipt")),
    make("dl", { class: "terms" }, rows.filter(([, value]) => value).map(([name, value]) => [make("dt", {}, say(`signIn.completed.${name}`)), make("dd", {}, value)])),
  );
}

/* What was done with the stored credential; null while it is not known. */
function history(done) {
  if (!done) {
    return null;
  }
  const words = (line) => {
    const what = say(`signIn.done.actions.${line.action}`, { purpose: line.purpose ? say(`signIn.done.purposes.${line.purpose}`) : "" });
    return line.outcome === "denied" ? say("signIn.done.denied", { what }) : what;
  };
  return make(
    "section",
    { class: "kept", "aria-labelledby": "done" },
    make("h2", { id: "done" }, say("signIn.done.heading")),
    make("p", { class: "quiet small" }, done.trouble ? say("signIn.done.unavailable") : say("signIn.done.lead")),
    make("ol", { class: "history" }, (done.lines ?? []).map((line) => make("li", {}, words(line), line.reason ? make("p", {}, say("signIn.done.because", { reason: line.reason })) : null, make("p", { class: "quiet small" }, say("signIn.done.at", { when: stamp.format(new Date(line.at)), actor: say(`signIn.done.actors.${line.actor}`) }))))),
  );
}

/** After the capture: the question, then what followed from its answer (`answer` is "", "yes", "deleting" or "deleted"). */
export function completed(session, { answer, trouble, done }, actions) {
  const provider = session.provider.name;
  const { account } = session;
  if (answer === "deleted") {
    return [
      heading(say("signIn.completed.deletedHeading")),
      lead(say("signIn.completed.deletedLead")),
      revokeLine(session.provider.revoke_url, "signIn.completed.revoke"),
      make("div", { class: "row actions" }, backLink(session, "main")),
    ];
  }
  if (answer === "yes") {
    return [
      make("span", { class: "seal", "aria-hidden": "true" }),
      heading(say("signIn.completed.doneHeading")),
      lead(account ? say("signIn.completed.doneLead", { provider, account }) : say("signIn.completed.doneLeadPlain", { provider })),
      trouble ? make("p", { class: "note bad", role: "alert" }, say("signIn.completed.notDeleted", { message: trouble })) : null,
      receipt(session),
      history(done),
      make("div", { class: "row actions" }, backLink(session, "main"), session.rejectable ? button(say("signIn.completed.later"), "", actions.no) : null),
    ];
  }
  const deleting = answer === "deleting";
  return [
    make("span", { class: "seal", "aria-hidden": "true" }),
    heading(account ? say("signIn.completed.heading", { account }) : say("signIn.completed.headingPlain")),
    session.plan ? make("p", { class: "plan" }, say("signIn.completed.plan", { plan: session.plan })) : null,
    lead(make("strong", {}, account ? say("signIn.completed.question") : say("signIn.completed.questionPlain", { provider }))),
    trouble ? make("p", { class: "note bad", role: "alert" }, say("signIn.completed.notDeleted", { message: trouble })) : null,
    make(
      "div",
      { class: "row actions" },
      button(say("signIn.completed.yes"), "main", actions.yes, { disabled: deleting }),
      button(deleting ? say("signIn.completed.deleting") : say("signIn.completed.no"), "", actions.no, { disabled: deleting }),
    ),
    make("p", { class: "quiet small" }, say("signIn.completed.kept", { provider })),
  ];
}

/** `failed`, `cancelled` and `expired`: why, and what to do next. */
export function ended(session) {
  const reason = session.explanation ?? {};
  return [
    heading(say(`signIn.ended.${session.status}`)),
    lead(prose(reason.message ?? say("signIn.ended.noReason"))),
    reason.next ? make("p", {}, prose(reason.next)) : null,
    revokeLine(session.revoke_url, "signIn.ended.revoke"),
    make("div", { class: "row actions" }, backLink(session, "main")),
    make("p", { class: "quiet small code" }, say("signIn.ended.reference", { id: session.session_id })),
  ];
}

/** Return why no session is open in this browser, in one of the words that the view `closed` has variants for. */
export function closedKind(refusal) {
  if (refusal.unreachable) {
    return "offline";
  }
  if (refusal.code === "application_not_found") {
    return "application";
  }
  if (refusal.status === 404 || refusal.code === "malformed_id") {
    return "missing";
  }
  if (refusal.code === "link_not_valid") {
    return "used";
  }
  return refusal.status === 401 || refusal.status === 403 ? "browser" : "odd";
}

/** No session is open in this browser: `refusal` says why. */
export function closed(refusal) {
  const words = (name) => sayIf(`signIn.closed.${closedKind(refusal)}${name}`);
  return [
    heading(words("Heading")),
    lead(words("Lead") ?? refusal.message),
    make("p", { class: "quiet" }, words("Next") ?? refusal.next),
  ];
}
