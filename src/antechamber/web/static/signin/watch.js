/* Following one session: the event stream says *that* something happened, the session itself says what. */

import { backoff, call, Refusal } from "../api.js";
import { isTerminal } from "./status.js";

const SLOW_LOOK_MS = 10_000;

/**
 * Call `onSession` with each answer, `onTrouble` with each Refusal and `onNotice` with the word of what somebody else
 * tried, until the session has ended or `stop()`.
 * A look that fails is repeated with growing waits; the stream is only a hint, so losing it loses nothing.
 */
export function watch(id, { onSession, onTrouble, onNotice }) {
  const path = `/api/auth/session/${id}`;
  const waits = backoff(1000, 15_000);
  let stream = null;
  let timer = 0;
  let looking = false;
  let again = false;
  let stopped = false;
  let muted = false;

  function stop() {
    stopped = true;
    clearTimeout(timer);
    stream?.close();
    removeEventListener("online", look);
    document.removeEventListener("visibilitychange", onVisible);
  }

  function listen() {
    if (muted || (stream && stream.readyState !== EventSource.CLOSED)) {
      return;
    }
    stream = new EventSource(`${path}/events`);
    stream.onmessage = look;
    stream.addEventListener("end", look);
    stream.addEventListener("waiting", look);
    stream.addEventListener("notice", (event) => onNotice(JSON.parse(event.data).notice));
    // too many pages of this session: the slow look has to do
    stream.addEventListener("replaced", () => {
      stream.close();
      muted = true;
    });
  }

  async function look() {
    if (stopped) {
      return;
    }
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    clearTimeout(timer);
    let wait = SLOW_LOOK_MS;
    try {
      const session = await call("GET", path);
      waits.reset();
      if (!stopped) {
        onSession(session);
        if (isTerminal(session.status)) {
          stop();
        } else {
          listen();
        }
      }
    } catch (error) {
      wait = waits.next();
      const refusal = Refusal.of(error);
      if (!stopped) {
        onTrouble(refusal);
      }
    }
    looking = false;
    if (stopped) {
      return;
    }
    if (again) {
      again = false;
      look();
    } else {
      timer = setTimeout(look, wait);
    }
  }

  function onVisible() {
    if (!document.hidden) {
      look();
    }
  }

  addEventListener("online", look);
  document.addEventListener("visibilitychange", onVisible);
  look();
  return { look, stop };
}
