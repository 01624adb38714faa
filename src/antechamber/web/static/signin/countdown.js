/* The time that is left, by the service's clock; spoken only when it matters. */

import { now } from "../api.js";
import { say } from "../dom.js";

const SPOKEN_AT_S = [300, 120, 60, 30];
const SHORT_S = 60;

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function words(seconds) {
  if (seconds === 60) {
    return say("time.oneMinute");
  }
  return seconds > 60 ? say("time.minutes", { n: Math.round(seconds / 60) }) : say("time.seconds", { n: seconds });
}

/** Show the time left in `element`, and speak it in `live`; `until(null)` hides it. */
export function countdown(element, live) {
  let deadline = null;
  let spoken = Infinity;

  function tick() {
    if (deadline === null) {
      return;
    }
    const left = Math.max(0, Math.ceil((deadline - now()) / 1000));
    element.textContent = say("time.left", { clock: clock(left) });
    element.classList.toggle("short", left <= SHORT_S);
    const due = SPOKEN_AT_S.findLast((mark) => left <= mark);
    if (due !== undefined && due < spoken) {
      spoken = due;
      live.textContent = say("time.leftSpoken", { words: words(left) });
    }
  }

  setInterval(tick, 500);
  return {
    until(time) {
      const next = time ? Date.parse(time) : null;
      if (next !== deadline) {
        deadline = next;
        spoken = next === null ? Infinity : (next - now()) / 1000;
      }
      element.hidden = deadline === null;
      tick();
    },
  };
}
