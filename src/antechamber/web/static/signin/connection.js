/* How the connection to the screen stands: the mark in the bar, and the veil over the last picture while it is away. */

import { button, make, part, say } from "../dom.js";

const VEIL_AFTER_MS = 900; // a shorter loss of the screen is no news
const WORDS = {
  idle: "connecting",
  connecting: "connecting",
  connected: "connected",
  waiting: "reconnecting",
  taken: "taken",
  frozen: "connected",
};
const NODE_AWAY = new Set(["wrong_node", "node_away"]);
const MARKS = { connected: "good", taken: "warn" };

export function showsConnection(screen, frame) {
  const mark = part("state");
  const veil = part("lost");
  let timer = 0;

  function showMark(onScreen, away) {
    // a computer without any network says that it is offline, and still reaches a service of its own
    const offline = screen.state === "waiting" && !navigator.onLine;
    const again = screen.state === "connecting" && !veil.hidden;
    const word = offline ? "offline" : again ? "reconnecting" : WORDS[screen.state];
    const text = !onScreen || away ? say("errors.unreachable") : say(`signIn.screen.${word}`);
    if (mark.textContent !== text) {
      mark.textContent = text;
    }
    mark.className = `mark ${away || offline ? "bad" : (MARKS[screen.state] ?? "busy")}`;
    mark.hidden = !onScreen && !away;
  }

  function content(refusal) {
    const lost = Boolean(frame.querySelector(".last"));
    if (screen.state === "taken") {
      return [
        make("h2", {}, say("signIn.screen.takenHeading")),
        make("p", { class: "quiet" }, say("signIn.screen.takenLead")),
        button(say("signIn.screen.takeBack"), "main", () => screen.connect()),
      ];
    }
    const waiting = screen.state === "waiting";
    // which node it is, and that there are several, is for the operator
    const away = NODE_AWAY.has(refusal?.code);
    const why = away ? say("errors.nodeAway") : refusal && !refusal.unreachable ? refusal.message : say("signIn.screen.lostLead");
    return [
      make("h2", {}, say(`signIn.screen.${lost ? "lost" : "connecting"}`)),
      lost || waiting ? make("p", { class: "quiet" }, why) : null,
      waiting ? button(say("common.tryNow"), "", () => screen.connect()) : make("span", { class: "spinner", "aria-hidden": "true" }),
    ];
  }

  function showVeil(onScreen, refusal) {
    clearTimeout(timer);
    if (!onScreen || screen.connected || screen.state === "frozen") {
      veil.hidden = true;
      return;
    }
    const put = () => {
      veil.replaceChildren(make("div", { class: "card" }, content(refusal)));
      veil.hidden = false;
    };
    if (screen.state === "taken" || !veil.hidden || !frame.querySelector(".last")) {
      put();
    } else {
      timer = setTimeout(put, VEIL_AFTER_MS);
    }
  }

  return {
    show({ onScreen, away, refusal = null }) {
      showMark(onScreen, away);
      showVeil(onScreen, refusal);
    },
  };
}
