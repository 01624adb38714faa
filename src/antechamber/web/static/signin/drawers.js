/* The drawers beside the screen, one open at a time, and the chord that leaves the screen for them. */

import { part } from "../dom.js";

export function setUpDrawers(frame, { details, take, live }) {
  const drawers = [
    { opener: part("paste-open"), panel: part("paste-panel"), first: "#paste-text", opened() {}, closed: take.closed },
    { opener: part("live-open"), panel: part("live"), first: "#live-text", opened: live.opened, closed: live.closed },
    { opener: part("details-open"), panel: part("details-panel"), first: "[data-close]", opened: details.open, closed: details.close },
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
      drawer.opener.focus();
    };
    drawer.opener.addEventListener("click", () => {
      const open = drawer.panel.hidden;
      close();
      set(drawer, open);
    });
    drawer.panel.addEventListener("keydown", (event) => event.key === "Escape" && leave());
    drawer.panel.querySelector("[data-close]").addEventListener("click", leave);
  });

  // the screen takes every key, Tab included: this chord is the way out of it for whoever has no mouse
  document.addEventListener(
    "keydown",
    (event) => {
      if (frame.contains(document.activeElement) && event.ctrlKey && event.altKey && event.shiftKey) {
        event.preventDefault();
        event.stopPropagation();
        part("paste-open").focus();
      }
    },
    true,
  );
  return { close };
}
