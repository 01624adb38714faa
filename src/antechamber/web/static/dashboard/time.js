/* Times as people read them. */

import { now } from "../api.js";
import { language, make, say } from "../dom.js";

const relative = new Intl.RelativeTimeFormat(language(), { numeric: "auto" });
const full = new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(language(), { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const moment = new Intl.DateTimeFormat(language(), { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const calendar = new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeZone: "UTC" });
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

/** Return an element with the time of the day, and with the date when one asks. */
export function clockMark(time) {
  return make("time", { datetime: time, title: full.format(new Date(time)) }, clock.format(new Date(time)));
}

/** Return an element with the date and the time of the day, for what goes on for longer than a day. */
export function momentMark(time) {
  return make("time", { datetime: time, title: full.format(new Date(time)) }, moment.format(new Date(time)));
}

/** Return a day, which the service writes as 2026-01-31, in words; it is the same day everywhere. */
export function day(date) {
  return calendar.format(new Date(date));
}

/** Return the time of the day of a moment in milliseconds. */
export function timeOfDay(moment) {
  return clock.format(new Date(moment));
}

/** Return a number of seconds in words of two units at most. */
export function lasted(seconds) {
  if (seconds < 10) {
    return say("time.short.seconds", { n: seconds.toFixed(1) });
  }
  const whole = Math.round(seconds);
  const parts = [
    ["days", Math.floor(whole / 86_400)],
    ["hours", Math.floor(whole / 3600) % 24],
    ["minutes", Math.floor(whole / 60) % 60],
    ["seconds", whole % 60],
  ];
  const first = parts.findIndex(([, count]) => count);
  return parts
    .slice(first, first + 2)
    .filter(([, count]) => count)
    .map(([unit, n]) => say(`time.short.${unit}`, { n }))
    .join(" ");
}

/** Return how many seconds lie between two times; until now without the second. */
export function between(from, to) {
  return Math.max(0, ((to ? Date.parse(to) : now()) - Date.parse(from)) / 1000);
}
