/* The drawers beside the screen, one open at a time, and the chord that leaves the screen for them. */

import { part } from "../dom.js";

export function setUpDrawers(frame, { details, take, live, terminal }) {
  const drawers = [
    { opener: part("paste-open"), panel: part("paste-panel"), first: "#paste-text", opened() {}, closed: take.closed },
    { opener: part("live-open"), panel: part("live"), first: "#live-text", opened: live.opened, closed: live.closed },
    { opener: part("details-open"), panel: part("details-panel"), first: "[data-close]", opened: details.open, closed: details.close },
    // its opener is within the details, which close when it opens
    { opener: part("terminal-open"), back: part("details-open"), panel: part("terminal-panel"), first: "[data-close]", opened: terminal.opened, closed: terminal.closed },
  ];

  function set(drawer, open) {
    if (drawer.panel.hidden === !open) {
      return;
    }
    drawer.panel.hidden = !open;
    drawer.opener.setAttribute("aria-expanded", String(open));
    if (open) {
      drawer.opened();
      drawer.panel.querySelector(drawer.first).focus();
    } else {
      drawer.closed();
    }
  }

  function close() {
    drawers.forEach((drawer) => set(drawer, false));
  }

  drawers.forEach((drawer) => {
    const leave = () => {
      set(drawer, false);
      (drawer.back ?? drawer.opener).focus();
    };
    drawer.opener.addEventListener("click", () => {
      const open = drawer.panel.hidden;
      close();
      set(drawer, open);
    });
    // a terminal has its own use for Escape
    drawer.panel.addEventListener("keydown", (event) => event.key === "Escape" && !event.target.closest(".terminal") && leave());
    drawer.panel.querySelector("[data-close]").addEventListener("click", leave);
  });

  // the screen takes every key, Tab included: this chord is the way out of it for whoever has no mouse
  document.addEventListener(
    "keydown",
    (event) => {
      const within = frame.contains(document.activeElement) || document.activeElement.closest(".terminal");
      if (within && event.ctrlKey && event.altKey && event.shiftKey) {
        event.preventDefault();
        event.stopPropagation();
        part("paste-open").focus();
      }
    },
    true,
  );
  return { close, openTerminal: () => drawers.at(-1).panel.hidden && part("terminal-open").click() };
}
