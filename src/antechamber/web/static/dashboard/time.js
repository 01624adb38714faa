/* Times as people read them. */

import { now } from "../api.js";
import { make, say } from "../dom.js";

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const UNITS = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

/** Return how long ago, or how far off, a time is. */
export function ago(time) {
  const seconds = Math.round((Date.parse(time) - now()) / 1000);
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? [];
  return unit ? relative.format(Math.trunc(seconds / size), unit) : say(seconds > 0 ? "time.soon" : "time.justNow");
}

/** Return an element with the time in words, and exactly when one asks. */
export function timeMark(time) {
  return make("time", { datetime: time, title: full.format(new Date(time)) }, ago(time));
}
