/* What is stored and how it stands, and what is left of what was deleted. */

import { call } from "../api.js";
import { button, make, say } from "../dom.js";
import { cell, credentialLink, credentialMark, credentialWhy, head, ownerLink, table } from "./marks.js";
import { timeMark } from "./time.js";

const COLUMNS = ["tool", "status", "account", "label", "version", "stored"];
const TOMBSTONE_COLUMNS = ["tool", "label", "version", "stored", "deleted"];
const URGENT = ["needs_sign_in", "revoked", "expiring"];

function label(name, values) {
  return say(`dashboard.credential.${name}`, values);
}

function ownerCell(row, labelOf) {
  return cell("label", label("label"), ownerLink(row, labelOf));
}

function toolCell(row, nameOf) {
  return make("th", { scope: "row", "data-column": label("tool") }, credentialLink(row.id, nameOf(row.provider), { "aria-label": label("page", { provider: nameOf(row.provider), label: row.user_id }) }));
}

/* The most urgent first; the rest stays in the service's order. */
function byUrgency(rows) {
  const rank = ({ status }) => (URGENT.includes(status) ? URGENT.indexOf(status) : URGENT.length);
  return [...rows].sort((one, other) => rank(one) - rank(other));
}

/* How many there are of each that needs somebody; nothing where none does. */
function attentionTo(rows) {
  const found = URGENT.map((status) => ({ status, n: rows.filter((row) => row.status === status).length })).filter(({ n }) => n);
  return found.map(({ status, n }) => label(`attention.${status}`, { n })).join(" ");
}

/* Below a mark or a value, in the same cell. */
function below(...content) {
  return make("p", { class: "quiet small" }, ...content);
}

function statusOf(row) {
  return make(
    "div",
    {},
    credentialMark(row.status),
    below(credentialWhy(row), " · ", timeMark(row.status_at)),
    // an end says nothing any more once a sign-in is needed for another reason
    row.ends_at && ["active", "expiring"].includes(row.status) ? below(label("ends"), " ", timeMark(row.ends_at)) : null,
  );
}

function stored(rows, { labelOf, nameOf, remove }) {
  return table(
    "credentials",
    [...COLUMNS.map((name) => label(name)), make("span", { class: "unseen" }, label("remove"))],
    rows.map((row) => {
      const account = row.account ?? label("noAccount");
      return make(
        "tr",
        {},
        toolCell(row, nameOf),
        cell("status", label("status"), statusOf(row)),
        cell("account", label("account"), make("div", {}, account, row.plan ? below(say("dashboard.card.plan", { plan: row.plan })) : null)),
        ownerCell(row, labelOf),
        cell("version", label("version"), String(row.version)),
        cell("stored", label("stored"), timeMark(row.stored_at)),
        make("td", { class: "act" }, button(label("remove"), "slim", () => remove(row), { "aria-label": label("removeName", { provider: nameOf(row.provider), account }) })),
      );
    }),
  );
}

function tombstones(rows, { labelOf, nameOf }) {
  return table(
    "credentials tombstones",
    TOMBSTONE_COLUMNS.map((name) => label(name)),
    rows.map((row) =>
      make(
        "tr",
        {},
        toolCell(row, nameOf),
        ownerCell(row, labelOf),
        cell("version", label("version"), String(row.version)),
        cell("stored", label("stored"), timeMark(row.stored_at)),
        cell("deleted", label("deleted"), make("div", {}, timeMark(row.deleted_at), below(credentialWhy(row)))),
      ),
    ),
  );
}

export function credentialsView() {
  const attention = make("p", { class: "note warn", hidden: true });
  const list = make("div", { id: "credentials", class: "list" });
  const left = make("section", { "aria-labelledby": "tombstones-heading", hidden: true });

  return {
    root: [head(say("dashboard.credentials"), say("dashboard.credentialsLead")), attention, list, left],
    async load() {
      const [live, gone] = await Promise.all([call("GET", "/api/credentials"), call("GET", "/api/tombstones")]);
      return { credentials: byUrgency(live.credentials), tombstones: gone.credentials };
    },
    moving: () => false,
    variant: (known) => (known.credentials.length || known.tombstones.length ? "credentials" : "credentials-none"),
    fill(known, own) {
      attention.textContent = attentionTo(known.credentials);
      attention.hidden = !attention.textContent;
      list.replaceChildren(known.credentials.length ? stored(known.credentials, own) : make("p", { class: "empty quiet" }, label("empty")));
      left.hidden = !known.tombstones.length;
      left.replaceChildren(
        make("h2", { id: "tombstones-heading" }, label("tombstones")),
        make("p", { class: "quiet small" }, label("tombstonesLead")),
        make("div", { class: "list" }, tombstones(known.tombstones, own)),
      );
    },
  };
}
