/* Speaking to the service: JSON, one envelope of errors, and the service's clock. */

import { say } from "./dom.js";

/** An answer that was an error, or none at all (`code` is then "unreachable"). */
export class Refusal extends Error {
  constructor(status, code, message, next, retryable, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.next = next;
    this.retryable = retryable;
    /** Seconds after which the same request would not be refused, where the service knows it. */
    this.retryAfter = retryAfter;
  }

  /** Return the error if it is a Refusal; a fault of the page itself goes on its way. */
  static of(error) {
    if (error instanceof Refusal) {
      return error;
    }
    throw error;
  }

  get unreachable() {
    return this.code === "unreachable";
  }
}

const PATIENCE_MS = 20_000;
let skew = 0;

/** The service's present time in milliseconds, by its last answer that told it. */
export function now() {
  return Date.now() + skew;
}

/** Set the clock by the time that an answer told. */
export function setClock(time) {
  const told = Date.parse(time);
  skew = Number.isNaN(told) ? skew : told - Date.now();
}

function unreachable() {
  return new Refusal(0, "unreachable", say("errors.unreachable"), say("errors.unreachableNext"), true);
}

/** Send a request and return the answer's JSON (null when it has none); throws Refusal. */
export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, cache: "no-store", credentials: "same-origin" };
  if (method !== "GET") {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  let answer;
  let text;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
    text = await answer.text();
  } catch {
    throw unreachable();
  }
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch {
    json = null;
  }
  if (answer.ok) {
    return json;
  }
  const error = json?.error;
  if (!error?.code) {
    // a proxy in front answers when the service does not
    throw answer.status >= 502 && answer.status <= 504
      ? unreachable()
      : new Refusal(answer.status, "unknown", say("errors.unknown"), say("errors.unknownNext"), true);
  }
  throw new Refusal(answer.status, error.code, error.message, error.next, Boolean(error.retryable), Number(answer.headers.get("Retry-After")) || null);
}

/** Waiting times that double from `first` to `most` milliseconds, with a little chance so that pages do not march in step. */
export function backoff(first, most) {
  let wait = first;
  return {
    next() {
      const chosen = wait * (0.85 + Math.random() * 0.3);
      wait = Math.min(most, wait * 2);
      return Math.min(most, chosen);
    },
    reset() {
      wait = first;
    },
  };
}
