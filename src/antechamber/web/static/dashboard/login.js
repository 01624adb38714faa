/* Getting in by the issuer, and out again. */

import { call, Refusal } from "../api.js";
import { button, make, prose, say, webAddress } from "../dom.js";

const LEFT_AT = "antechamber.left-at";

/** Make what leads to the issuer of that name; `troubled` is told when it does not. */
export function byIssuer(name, troubled) {
  const trouble = make("p", { class: "note bad", role: "alert", hidden: true });
  const login = button(say("dashboard.access.signIn", { name }), "main", async () => {
    login.disabled = true;
    trouble.hidden = true;
    try {
      const { url } = await call("POST", "/api/dashboard/login");
      sessionStorage.setItem(LEFT_AT, location.pathname + location.search);
      goTo(url);
    } catch (error) {
      const { message, next } = Refusal.of(error);
      trouble.replaceChildren(message, " ", ...prose(next));
      trouble.hidden = false;
      login.disabled = false;
      troubled();
    }
  });
  return [make("p", { class: "row" }, login), trouble, make("p", { class: "quiet" }, say("dashboard.access.orLink"))];
}

/** Return the address at which the login was begun, of this site and no other; it is forgotten then. */
export function leftAt() {
  const left = new URL(sessionStorage.getItem(LEFT_AT) ?? "/", location.origin);
  sessionStorage.removeItem(LEFT_AT);
  return left.origin === location.origin ? left.pathname + left.search : "/";
}

/** Close the dashboard here; tell whether the browser is on its way to the issuer, to be signed out there too. */
export async function logOut() {
  const { url } = await call("POST", "/api/dashboard/logout");
  if (url) {
    goTo(url);
  }
  return Boolean(url);
}

function goTo(url) {
  location.assign(webAddress(url) ?? "/");
}
