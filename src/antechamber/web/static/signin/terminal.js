/* What the tool writes, and its terminal where it has one: shown by xterm.js, to this browser alone, and kept nowhere. */

import { part, say } from "../dom.js";
import { lineTo } from "../line.js";
import { showLink, terminalIn } from "../terminal.js";

export function setUpTerminal(id, container) {
  const state = part("terminal-state");
  const link = part("terminal-link");
  let writable = false;

  function tell(name) {
    state.textContent = say(`signIn.terminal.${name}`);
  }

  const shown = terminalIn(container, {
    label: say("signIn.terminal.label"),
    typed: (keys) => writable && line.send(new TextEncoder().encode(keys)),
    resized: () => line.send(shown.size),
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

  const line = lineTo(`/api/auth/session/${id}/terminal`, shown, {
    state(name) {
      writable = false;
      tell(name);
    },
    trouble(text) {
      writable = false;
      state.textContent = text;
    },
    opened: () => {},
    told: begin,
    wrote: (piece) => shown.term.write(piece),
  });

  return {
    async opened() {
      await line.open();
      shown.term?.focus();
    },
    closed() {
      line.close();
      shown.term?.reset();
      link.replaceChildren();
    },
  };
}
