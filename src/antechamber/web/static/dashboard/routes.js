/* The dashboard's views and their addresses. */

/** Every view of the page with its variants: the tests look into each of them, so that a new one is looked into as well. */
export const VIEWS = Object.freeze({
  opening: [],
  closed: ["used", "issuer", "issuer-trouble", "left"],
  open: ["loading", "trouble", "connect", "connect-trouble", "sessions", "sessions-none", "session", "session-missing", "credentials", "credentials-none", "credential", "credential-gone", "credential-missing", "machines", "machines-none", "health", "health-bad", "owner", "owner-erasing", "owner-none", "applications", "applications-none", "runs", "runs-none", "runs-trouble", "run", "run-plain", "run-ended", "run-trouble", "run-missing"],
});

/** The sections, in the order of the bar. */
export const SECTIONS = Object.freeze({ connect: "/", runs: "/runs", sessions: "/sessions", credentials: "/credentials", machines: "/machines", applications: "/applications", health: "/health" });

/** The sections of which each row has a page of its own. */
const OWN_PAGES = new Set(["sessions", "credentials", "runs"]);

/** Whose the labels are that the operator uses here. */
export const OPERATORS = "default";

/** The page of one label, which no section leads to: what names the label does. */
const OWNERS = "/owners";

/** Return what an address asks for: {section, id, filter}; an address that there is not leads to the first section. */
export function routeOf(location) {
  const [, first, id] = location.pathname.split("/");
  const given = new URLSearchParams(location.search);
  if (`/${first}` === OWNERS) {
    return { section: "owners", id: given.get("user_id") ?? "", application: given.get("application") ?? OPERATORS, filter: {} };
  }
  const section = Object.keys(SECTIONS).find((name) => SECTIONS[name] === `/${first}`) ?? "connect";
  const filter = Object.fromEntries(["status", "provider", "user_id", "application"].map((name) => [name, given.get(name) ?? ""]));
  return { section, id: OWN_PAGES.has(section) ? (id ?? "") : "", filter };
}

/** Return the address of one session's story. */
export function storyOf(id) {
  return `${SECTIONS.sessions}/${id}`;
}

/** Return the address of one credential's page. */
export function credentialOf(id) {
  return `${SECTIONS.credentials}/${id}`;
}

/** Return the address of one run's page. */
export function runOf(id) {
  return `${SECTIONS.runs}/${id}`;
}

/** Return the address of the page of the label that a session or credential has; in the query, because it may be any text. */
export function ownerOf({ user_id: label, application }) {
  return `${OWNERS}?${new URLSearchParams({ user_id: label, ...(application === OPERATORS ? {} : { application }) })}`;
}

/** Return the address of the sessions that a filter leaves. */
export function sessionsOf(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
  return SECTIONS.sessions + (query ? `?${query}` : "");
}
