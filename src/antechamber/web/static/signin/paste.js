/* Text for the machine: the box for phones and long codes, and the person's own Ctrl+V on the screen. */

import { part, say } from "../dom.js";

export function setUpPaste(screen) {
  const form = part("paste");
  const field = part("paste-text");
  const hide = part("paste-hide");
  const outcome = part("paste-outcome");

  function send(thenEnter) {
    const text = field.value;
    if (text && !screen.type(text)) {
      return;
    }
    if (thenEnter) {
      screen.press("enter");
    }
    field.value = "";
    outcome.textContent = say("signIn.paste.sent");
    field.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(event.submitter?.value === "enter");
  });
  field.addEventListener("input", () => {
    outcome.textContent = "";
  });
  hide.addEventListener("change", () => {
    field.type = hide.checked ? "password" : "text";
  });
  form.querySelectorAll("[data-key]").forEach((key) => {
    key.addEventListener("click", () => screen.press(key.dataset.key));
  });
}

/** Let the person's own paste reach the machine: noVNC would swallow the keys and know nothing of their clipboard. */
export function setUpOwnPaste(frame, screen) {
  const onScreen = () => frame.contains(document.activeElement);
  document.addEventListener(
    "keydown",
    (event) => {
      if (onScreen() && (event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "v") {
        // not prevented: the browser answers with its `paste` event, which needs no permission
        event.stopPropagation();
      }
    },
    true,
  );
  document.addEventListener("paste", (event) => {
    if (!onScreen()) {
      return;
    }
    event.preventDefault();
    const text = event.clipboardData?.getData("text/plain");
    if (text) {
      screen.paste(text);
    }
  });
}
