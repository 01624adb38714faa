/* What is stored, version by version, and what is left of what was deleted. */

import { call, Refusal } from "../api.js";
import { button, make, say } from "../dom.js";
import { cell, head, storyLink, table, within } from "./marks.js";
import { ownerOf } from "./routes.js";
import { timeMark } from "./time.js";

const COLUMNS = ["tool", "account", "plan", "label", "version", "stored", "expires"];
const TOMBSTONE_COLUMNS = ["tool", "label", "version", "stored", "deleted"];

function versionsRow(versions, width) {
  const content = Array.isArray(versions)
    ? make(
        "ol",
        { class: "versions" },
        versions.map((one) =>
          make("li", { class: "small" }, make("span", {}, say("dashboard.credential.versionOf", { n: one.version })), timeMark(one.stored_at), storyLink(one.session_id, say("dashboard.credential.itsSession"))),
        ),
      )
    : make("p", { class: "small quiet" }, versions);
  return make("tr", { class: "versions-row" }, make("td", { colspan: String(width) }, content));
}

function versionButton(row, name, opened, toggle) {
  return button(String(row.version), "slim bare unfolds", () => toggle(row.id), {
    "aria-expanded": String(opened),
    "aria-label": say("dashboard.credential.versionsName", { provider: name, n: row.version }),
  });
}

function stored(rows, open, toggle, { nameOf, remove }) {
  const label = (name) => say(`dashboard.credential.${name}`);
  return table(
    "credentials",
    [...COLUMNS.map(label), make("span", { class: "unseen" }, label("remove"))],
    rows.flatMap((row) => {
      const account = row.account ?? label("noAccount");
      const opened = open.has(row.id);
      return [
        make(
          "tr",
          {},
          make("th", { scope: "row", "data-column": label("tool") }, nameOf(row.provider)),
          cell("account", label("account"), account),
          cell("plan", label("plan"), row.plan ?? say("time.none")),
          cell("label", label("label"), within(ownerOf(row.user_id), row.user_id, { "aria-label": say("dashboard.owner.page", { label: row.user_id }) })),
          cell("version", label("version"), versionButton(row, nameOf(row.provider), opened, toggle)),
          cell("stored", label("stored"), timeMark(row.stored_at)),
          cell("expires", label("expires"), row.expires_at ? timeMark(row.expires_at) : say("time.none")),
          make("td", { class: "act" }, button(label("remove"), "slim", () => remove(row), { "aria-label": say("dashboard.credential.removeName", { provider: nameOf(row.provider), account }) })),
        ),
        opened ? versionsRow(open.get(row.id), COLUMNS.length + 1) : null,
      ];
    }),
  );
}

function tombstones(rows, open, toggle, { nameOf }) {
  const label = (name) => say(`dashboard.credential.${name}`);
  return table(
    "credentials tombstones",
    TOMBSTONE_COLUMNS.map(label),
    rows.flatMap((row) => {
      const opened = open.has(row.id);
      return [
        make(
          "tr",
          {},
          make("th", { scope: "row", "data-column": label("tool") }, nameOf(row.provider)),
          cell("label", label("label"), within(ownerOf(row.user_id), row.user_id, { "aria-label": say("dashboard.owner.page", { label: row.user_id }) })),
          cell("version", label("version"), versionButton(row, nameOf(row.provider), opened, toggle)),
          cell("stored", label("stored"), timeMark(row.stored_at)),
          cell("deleted", label("deleted"), timeMark(row.deleted_at)),
        ),
        opened ? versionsRow(open.get(row.id), TOMBSTONE_COLUMNS.length) : null,
      ];
    }),
  );
}

export function credentialsView(context) {
  const list = make("div", { id: "credentials", class: "list" });
  const left = make("section", { "aria-labelledby": "tombstones-heading", hidden: true });
  const open = new Map();

  async function toggle(id) {
    if (open.delete(id)) {
      context.draw();
      return;
    }
    open.set(id, say("common.loading"));
    context.draw();
    try {
      open.set(id, (await call("GET", `/api/credentials/${id}/versions`)).versions);
    } catch (error) {
      open.set(id, Refusal.of(error).message);
    }
    context.draw();
  }

  return {
    root: [head(say("dashboard.credentials"), say("dashboard.credentialsLead")), list, left],
    async load() {
      const [live, gone] = await Promise.all([call("GET", "/api/credentials"), call("GET", "/api/tombstones")]);
      return { credentials: live.credentials, tombstones: gone.credentials };
    },
    moving: () => false,
    state: () => JSON.stringify([...open]),
    variant: (known) => (known.credentials.length || known.tombstones.length ? "credentials" : "credentials-none"),
    fill(known, own) {
      list.replaceChildren(known.credentials.length ? stored(known.credentials, open, toggle, own) : make("p", { class: "empty quiet" }, say("dashboard.credential.empty")));
      left.hidden = !known.tombstones.length;
      left.replaceChildren(
        make("h2", { id: "tombstones-heading" }, say("dashboard.credential.tombstones")),
        make("p", { class: "quiet small" }, say("dashboard.credential.tombstonesLead")),
        make("div", { class: "list" }, tombstones(known.tombstones, open, toggle, own)),
      );
    },
  };
}
