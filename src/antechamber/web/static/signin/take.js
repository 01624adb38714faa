/* Text from the machine's clipboard to the person's own, by their click and in no other way. */

import { make, part, say } from "../dom.js";
import { NoText } from "./rfb.js";

const SHOWN = 80;
/* Controls but tab and line end, format characters (zero-width, direction, tags) and blank letters: they can make a text
   look like another. */
const UNSEEN = /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]/gu;

/** Return the beginning of a text in one line, with a mark for what cannot be seen. */
export function beginning(text) {
  const characters = [...text];
  const shown = characters.slice(0, SHOWN).join("").replace(UNSEEN, "\ufffd").replace(/[\n\t]+/g, " ⏎ ").trim();
  return characters.length > SHOWN ? `${shown}…` : shown;
}

/** Return the name of what the person should know before pasting the text, or null. */
export function caution(text) {
  if (text.search(UNSEEN) >= 0) {
    return "signIn.take.unseen";
  }
  // pasted into a terminal, each line end runs what stands before it: the last one too
  return text.includes("\n") ? "signIn.take.lines" : null;
}

export function setUpTake(screen) {
  const outcome = part("take-outcome");
  const byHand = part("by-hand");
  const field = part("by-hand-text");

  function tell(...content) {
    outcome.replaceChildren(...content.filter(Boolean));
  }

  function told(name, text) {
    const more = caution(text);
    tell(
      make("span", {}, say(name, { n: [...text].length })),
      make("bdi", { class: "code taken", dir: "auto" }, beginning(text)),
      more && make("span", { class: "note warn" }, say(more)),
    );
  }

  async function take() {
    tell(say("signIn.take.asking"));
    let text;
    try {
      text = await screen.takeText();
    } catch (error) {
      if (!(error instanceof NoText)) {
        throw error;
      }
      tell(say(error.why === "long" ? "signIn.take.long" : "signIn.take.none"));
      return;
    }
    try {
      await navigator.clipboard.writeText(text);
      told("signIn.take.taken", text);
    } catch {
      // no such API on a plain http address, or the browser wants a newer click: the person copies by hand
      told("signIn.take.byHand", text);
      field.value = text;
      byHand.showModal();
      field.select();
    }
  }

  part("take").addEventListener("click", take);
  part("by-hand-close").addEventListener("click", () => byHand.close());
  byHand.addEventListener("close", () => {
    field.value = "";
  });
  return {
    closed() {
      tell();
      byHand.close();
    },
  };
}
