/* The field for a phone's soft keyboard: whatever is written in it is done at the machine, as it is written.

   A soft keyboard sends no keys but edits: words that are suggested, corrected, composed. So the field's text is compared
   with what the machine has been sent, and the difference is sent: Backspace for what went, then what came. */

import { part } from "../dom.js";

const HOLD = "\u200b"; // an empty field has nothing to delete, and says nothing of it
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
const PLAIN = /^[\x20-\x7e]*$/;

function split(text) {
  return [...graphemes.segment(text)].map(({ segment }) => segment);
}

/* How often Backspace is pressed for it: once for an emoji, of whatever it is made, else once for each code point. */
function presses(grapheme) {
  return /\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(grapheme) ? 1 : [...grapheme].length;
}

/** Return what turns one text into another, at its end: how often to erase, then what to add. */
export function difference(before, after) {
  const [old, fresh] = [split(before), split(after)];
  let same = 0;
  while (same < old.length && same < fresh.length && old[same] === fresh[same]) {
    same += 1;
  }
  return { erase: old.slice(same).reduce((sum, grapheme) => sum + presses(grapheme), 0), add: fresh.slice(same).join("") };
}

export function setUpLive(screen) {
  const form = part("live");
  const field = part("live-text");
  const hide = part("live-hide");
  let sent = HOLD;

  function clear() {
    field.value = HOLD;
    sent = HOLD;
    field.setSelectionRange(HOLD.length, HOLD.length);
  }

  function send(composing) {
    const change = difference(sent, field.value);
    // a word being composed from other letters becomes itself only at its end
    if (composing && !PLAIN.test(change.add)) {
      return;
    }
    sent = field.value;
    for (let n = 0; n < change.erase; n += 1) {
      screen.press("backspace");
    }
    if (change.add) {
      screen.type(change.add);
    }
    if (!composing && !field.value) {
      clear();
    }
  }

  function fit() {
    // where the keyboard lies over the page, the page ends above it
    document.body.style.height = form.hidden ? "" : `${Math.round(visualViewport.height)}px`;
    scrollTo(0, 0);
  }

  field.addEventListener("input", (event) => send(event.isComposing));
  field.addEventListener("compositionend", () => send(false));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(false);
    screen.press("enter");
    clear();
    field.focus();
  });
  form.querySelectorAll("[data-key]").forEach((key) => {
    key.addEventListener("click", () => screen.press(key.dataset.key));
  });
  form.querySelectorAll("button:not([data-close])").forEach((key) => {
    // the focus stays in the field, or its keyboard would go
    key.addEventListener("mousedown", (event) => event.preventDefault());
  });
  hide.addEventListener("change", () => {
    clear();
    field.type = hide.checked ? "password" : "text";
    field.focus();
  });
  visualViewport.addEventListener("resize", () => !form.hidden && fit());
  return {
    opened() {
      screen.focusesOnClick = false;
      clear();
      fit();
    },
    closed() {
      clear();
      screen.focusesOnClick = true;
      fit();
    },
  };
}
