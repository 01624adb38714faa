/* The panel of details: the names that the machine asked for, and the picture's quality. */

import { call } from "../api.js";
import { make, part, say, sayIf } from "../dom.js";

const LOOK_MS = 3000;
const units = ["B", "kB", "MB", "GB"];

/** Return a number of bytes as people read it. */
export function readable(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function rowOf(destination) {
  const port = [0, 443].includes(destination.port) ? "" : `:${destination.port}`;
  return make(
    "li",
    {},
    make("span", { class: "code" }, `${destination.name}${port}`),
    make("span", { class: "quiet small" }, sayIf(`signIn.details.verdicts.${destination.verdict}`) ?? destination.verdict),
    destination.verdict === "allowed" ? make("span", { class: destination.known ? "origin quiet small" : "origin mark" }, say(`signIn.details.${destination.known ? "known" : "unknown"}`)) : null,
    make("span", { class: "quiet small bytes" }, destination.bytes_in || destination.bytes_out ? `${readable(destination.bytes_in)} / ${readable(destination.bytes_out)}` : ""),
  );
}

/** `provider` gives the name of the provider, once it is known. */
export function setUpDetails(id, screen, provider) {
  const list = part("destinations");
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    try {
      const { destinations } = await call("GET", `/api/auth/session/${id}/destinations`);
      const unknown = destinations.some(({ verdict, known }) => verdict === "allowed" && !known);
      part("compare").textContent = unknown ? say("signIn.details.compare", { provider: provider() }) : "";
      part("compare").hidden = !unknown;
      list.replaceChildren(...(destinations.length ? destinations.map(rowOf) : [make("li", { class: "quiet" }, say("signIn.details.none"))]));
    } catch {
      list.replaceChildren(make("li", { class: "quiet" }, say("signIn.details.unavailable")));
    }
    timer = setTimeout(look, LOOK_MS);
  }

  document.querySelectorAll("[name=quality]").forEach((choice) => {
    choice.addEventListener("change", () => {
      screen.quality = choice.value === "light" ? 2 : 8;
    });
  });
  return { open: look, close: () => clearTimeout(timer) };
}
