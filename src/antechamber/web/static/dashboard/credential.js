/* One credential: how it stands, what it says of itself, what the vendor may still hold, and what happened to it. */

import { call, Refusal } from "../api.js";
import { button, make, say, sayIf } from "../dom.js";
import { outcome, slotOf } from "./cards.js";
import { credentialMark, credentialWhy, head, isLive, ownerLink, storyLink, terms, within, withPage } from "./marks.js";
import { OPERATORS, SECTIONS } from "./routes.js";
import { momentMark, timeMark } from "./time.js";

const GRAVE = new Set(["needs_sign_in", "revoked"]);

function label(name, values) {
  return say(`dashboard.credential.${name}`, values);
}

function factsOf(credential, { labelOf }) {
  return terms([
    [label("label"), ownerLink(credential, labelOf)],
    [label("account"), credential.account ?? (credential.deleted_at ? null : label("noAccount"))],
    [label("plan"), credential.plan],
    [label("version"), String(credential.version)],
    [label("stored"), timeMark(credential.stored_at)],
    [label("since"), timeMark(credential.status_at)],
    [label("ends"), credential.ends_at ? timeMark(credential.ends_at) : null],
    [label("token"), credential.expires_at ? make("span", {}, timeMark(credential.expires_at), credential.renewable ? ` · ${label("renewed")}` : "") : null],
    [label("id"), make("span", { class: "code" }, credential.id)],
  ]);
}

function atTheVendor(credential, vendor, own) {
  const there = withPage(label("endThere"), credential.revoke_url);
  const gone = Boolean(credential.deleted_at);
  return make(
    "section",
    { class: "panel", "aria-labelledby": "vendor-heading" },
    make("h2", { id: "vendor-heading" }, label("atVendor", { vendor })),
    make("p", {}, label(gone ? "mayHold" : "holds", { vendor })),
    there.length ? make("p", {}, there) : make("p", { class: "quiet" }, label("noPage")),
    gone || credential.status === "revoked" ? null : make("div", { class: "row" }, button(label("endedThere"), "slim", () => own.ended(credential))),
  );
}

/* Without a named account there is nothing to compare, and so nothing to allow. */
function allowing(credential, own) {
  if (!credential.account) {
    return null;
  }
  const box = make("input", { type: "checkbox", id: "replace-account", checked: own.allowed, "aria-describedby": "replace-account-hint", on: { change: () => own.allow(box.checked) } });
  return make("div", { class: "choice" }, box, make("label", { for: "replace-account" }, label("replace")), make("p", { id: "replace-account-hint", class: "quiet small" }, label("replaceHint", { account: credential.account })));
}

function happening(one) {
  const account = sayIf(`dashboard.credential.accounts.${one.fields.account}`);
  return make(
    "li",
    { class: one.reason ? "move" : "noted" },
    make("div", { class: "at small quiet" }, momentMark(one.at)),
    make(
      "div",
      { class: "what" },
      make("p", {}, make("span", { class: "about" }, label("versionOf", { n: one.version })), sayIf(`dashboard.credential.facts.${one.kind}`) ?? one.kind),
      account ? make("p", { class: "quiet small" }, account) : null,
      one.session_id ? make("p", { class: "small" }, storyLink(one.session_id, label("itsSession"), { "aria-label": label("sessionOf", { n: one.version }) })) : null,
    ),
    one.reason ? make("div", { class: "to" }, credentialMark(one.after)) : null,
  );
}

function page({ credential, story, versions, sessions }, own) {
  const provider = own.providers.find((one) => one.id === credential.provider);
  const name = own.nameOf(credential.provider);
  const asked = own.asked.get(slotOf(credential.provider, credential.user_id));
  const gone = Boolean(credential.deleted_at);
  // a sign-in of an application's user is the application's to ask for
  const ours = !gone && credential.application === OPERATORS;
  const live = gone ? undefined : sessions.find(isLive);
  return [
    make("div", { class: "head story-head" }, make("h1", { tabindex: "-1" }, say("dashboard.story.heading", { provider: name, label: own.labelOf(credential) })), credentialMark(credential.status)),
    make(
      "div",
      { class: `note ${GRAVE.has(credential.status) ? "bad" : credential.status === "expiring" ? "warn" : ""}` },
      make("p", {}, make("strong", {}, credentialWhy(credential))),
      make("p", { class: "small" }, label(`next.${credential.status}`)),
    ),
    live ? make("p", { class: "note" }, label("underWay"), " ", storyLink(live.session_id, label("underWayStory"))) : null,
    ours && provider ? outcome(provider, asked, live, own) : null,
    ours && provider?.installed ? allowing(credential, own) : null,
    gone
      ? null
      : make(
          "div",
          { class: "row" },
          ours
            ? button(asked?.state === "opening" ? say("dashboard.card.opening") : say("dashboard.card.again"), GRAVE.has(credential.status) ? "main" : "", () => own.connect(provider, false), {
                "aria-label": say("dashboard.card.againName", { provider: name }),
                disabled: !provider?.installed || asked?.state === "opening",
              })
            : null,
          button(label("remove"), "slim", () => own.remove(credential), { "aria-label": label("removeName", { provider: name, account: credential.account ?? label("noAccount") }) }),
        ),
    make(
      "div",
      { class: "two" },
      make("section", { class: "panel", "aria-labelledby": "facts-heading" }, make("h2", { id: "facts-heading" }, label("saysOfItself")), factsOf(credential, own)),
      atTheVendor(credential, provider?.vendor ?? name, own),
    ),
    make("section", { "aria-labelledby": "story-heading" }, make("h2", { id: "story-heading" }, say("dashboard.story.moves")), story.length ? make("ol", { class: "list story" }, story.map(happening)) : make("p", { class: "quiet" }, label("forgotten"))),
    make(
      "section",
      { "aria-labelledby": "versions-heading" },
      make("h2", { id: "versions-heading" }, label("versions")),
      make("p", { class: "quiet small" }, label("versionsLead")),
      make("ol", { class: "list versions" }, versions.map((one) => make("li", { class: "small" }, make("span", {}, label("versionOf", { n: one.version })), timeMark(one.stored_at), storyLink(one.session_id, label("itsSession"), { "aria-label": label("sessionOf", { n: one.version }) })))),
    ),
  ].filter(Boolean);
}

export function credentialView(context, route) {
  const body = make("div", { class: "content" });
  let owner = "";
  let allowed = false;

  function allow(chosen) {
    allowed = chosen;
    context.draw();
  }

  return {
    root: [make("p", { class: "back" }, within(SECTIONS.credentials, label("back"))), body],
    owner: () => owner,
    async load() {
      const id = encodeURIComponent(route.id);
      try {
        const [{ credential, story }, { versions }] = await Promise.all([call("GET", `/api/credentials/${id}/story`), call("GET", `/api/credentials/${id}/versions`)]);
        owner = credential.user_id;
        const query = new URLSearchParams({ user_id: owner, application: credential.application, provider: credential.provider, limit: "1" });
        const { sessions } = await call("GET", `/api/auth/sessions?${query}`);
        return { credential, story, versions, sessions };
      } catch (error) {
        const refusal = Refusal.of(error);
        if (refusal.status === 404 || refusal.code === "malformed_id") {
          return { credential: null, sessions: [] };
        }
        throw refusal;
      }
    },
    moving: (known) => known.sessions.some((row) => isLive(row)),
    state: (_, own) => JSON.stringify([allowed, [...own.asked]]),
    variant: ({ credential }) => (credential ? (credential.deleted_at ? "credential-gone" : "credential") : "credential-missing"),
    fill(known, own) {
      const actions = { ...own, allowed, allow, connect: (provider, replace) => own.connect(provider, replace, allowed) };
      body.replaceChildren(...(known.credential ? page(known, actions) : [head(label("missing"), label("missingLead"))]));
    },
  };
}
