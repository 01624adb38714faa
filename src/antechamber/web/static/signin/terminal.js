/* What the tool writes, and its terminal where it has one: shown by xterm.js, to this browser alone, and kept nowhere. */

import { backoff, call, Refusal } from "../api.js";
import { part, say } from "../dom.js";
import { showLink, terminalIn } from "../terminal.js";

const TAKEN_OVER = 4001;
const ENDED = 4010;
const NODE_AWAY = 4011;

export function setUpTerminal(id, container) {
  const state = part("terminal-state");
  const link = part("terminal-link");
  const waits = backoff(500, 10_000);
  let open = false;
  let socket = null;
  let timer = 0;
  let writable = false;

  function tell(name) {
    state.textContent = say(`signIn.terminal.${name}`);
  }

  const shown = terminalIn(container, {
    label: say("signIn.terminal.label"),
    typed: (keys) => writable && socket?.readyState === WebSocket.OPEN && socket.send(new TextEncoder().encode(keys)),
    resized: () => socket?.readyState === WebSocket.OPEN && socket.send(shown.size),
    linked: (address) => showLink(link, say("signIn.terminal.link"), address),
    // where nothing can be typed, Tab is the page's as everywhere
    keeps: (event) => writable || event.key !== "Tab",
  });

  function begin(fresh) {
    writable = fresh.writable;
    shown.term.reset();
    shown.term.options.disableStdin = !writable;
    shown.term.options.convertEol = !writable;
    tell(writable ? "writable" : "readable");
  }

  async function connect() {
    clearTimeout(timer);
    try {
      tell("connecting");
      const [{ ticket }] = await Promise.all([call("POST", `/api/auth/session/${id}/terminal/ticket`), shown.prepare()]);
      if (!open) {
        return;
      }
      const address = new URL(`/api/auth/session/${id}/terminal`, location.href);
      address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
      const mine = new WebSocket(address, ["binary", `ticket.${ticket}`]);
      socket = mine;
      mine.binaryType = "arraybuffer";
      mine.onopen = () => {
        waits.reset();
        mine.send(shown.size);
      };
      mine.onmessage = ({ data }) => (typeof data === "string" ? begin(JSON.parse(data)) : shown.term.write(new Uint8Array(data)));
      mine.onclose = ({ code }) => mine === socket && lost(code);
    } catch (error) {
      const refusal = Refusal.of(error);
      if (open) {
        state.textContent = refusal.code === "wrong_node" ? say("errors.nodeAway") : refusal.message;
        timer = refusal.unreachable || refusal.retryable ? setTimeout(connect, waits.next()) : 0;
      }
    }
  }

  function lost(code) {
    socket = null;
    writable = false;
    if (code === TAKEN_OVER || code === ENDED) {
      tell(code === ENDED ? "ended" : "taken");
      return;
    }
    if (code === NODE_AWAY) {
      state.textContent = say("errors.nodeAway");
    } else {
      tell("lost");
    }
    timer = setTimeout(connect, waits.next());
  }

  return {
    async opened() {
      open = true;
      await connect();
      shown.term?.focus();
    },
    closed() {
      open = false;
      clearTimeout(timer);
      const mine = socket;
      socket = null;
      mine?.close();
      shown.term?.reset();
      link.replaceChildren();
    },
  };
}
