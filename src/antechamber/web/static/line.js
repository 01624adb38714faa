/* The line to a terminal: a ticket, a WebSocket, and anew after a pause whenever it drops. */

import { backoff, call, Refusal } from "./api.js";
import { say } from "./dom.js";

const TAKEN_OVER = 4001;
const ENDED = 4010;
const NODE_AWAY = 4011;

/** Make the line between the terminal at `path` and the one that is `shown`; it is there from `open()` until `close()`.

    `state` is given how it stands: connecting, lost, taken (by another page), ended; `trouble` what to say instead; `refused`
    the refusal of a ticket, and says whether that is all there is to it. `opened` is called when it is there anew, `told`
    with each message of it, and `wrote` with what the tool wrote. */
export function lineTo(path, shown, { state, trouble, opened, told, wrote, refused = () => false }) {
  const waits = backoff(500, 10_000);
  let wanted = false;
  let socket = null;
  let timer = 0;

  async function connect() {
    clearTimeout(timer);
    state("connecting");
    try {
      const [{ ticket }] = await Promise.all([call("POST", `${path}/ticket`), shown.prepare()]);
      if (!wanted) {
        return;
      }
      const address = new URL(path, location.href);
      address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
      const mine = new WebSocket(address, ["binary", `ticket.${ticket}`]);
      socket = mine;
      mine.binaryType = "arraybuffer";
      mine.onopen = () => {
        waits.reset();
        opened();
        mine.send(shown.size);
      };
      mine.onmessage = ({ data }) => mine === socket && (typeof data === "string" ? told(JSON.parse(data)) : wrote(new Uint8Array(data)));
      mine.onclose = ({ code }) => mine === socket && lost(code);
    } catch (error) {
      const refusal = Refusal.of(error);
      if (wanted && !refused(refusal)) {
        trouble(refusal.code === "wrong_node" ? say("errors.nodeAway") : refusal.message);
        timer = refusal.unreachable || refusal.retryable ? setTimeout(connect, waits.next()) : 0;
      }
    }
  }

  function lost(code) {
    socket = null;
    if (code === TAKEN_OVER || code === ENDED) {
      state(code === ENDED ? "ended" : "taken");
      return;
    }
    if (code === NODE_AWAY) {
      trouble(say("errors.nodeAway"));
    } else {
      state("lost");
    }
    timer = setTimeout(connect, waits.next());
  }

  return {
    async open() {
      wanted = true;
      await connect();
    },
    /** Send bytes or a text; nothing happens while it is not there. */
    send(what) {
      if (socket?.readyState === WebSocket.OPEN) {
        socket.send(what);
      }
    },
    close() {
      wanted = false;
      clearTimeout(timer);
      const mine = socket;
      socket = null;
      mine?.close();
    },
  };
}
