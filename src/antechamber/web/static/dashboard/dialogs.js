/* The questions before something is ended for good: a credential's deletion, a live sign-in's stop, a person's erasure, a run, and before it is
   believed that a credential is no more; and the one form, an application's limits. */

import { call, Refusal } from "../api.js";
import { make, outward, part, say, webAddress } from "../dom.js";
import { slotOf } from "./cards.js";
import { withPage } from "./marks.js";
import { remains } from "./owner.js";

export function setUpDialogs({ labelOf, nameOf, look, draw, asked, providerOf, placeOf }) {
  let removing = null;
  let ending = null;
  let stopping = null;
  let erasing = null;
  let limiting = null;
  let endingRun = null;

  function trouble(id, refusal) {
    part(id).textContent = say("errors.detail", { message: refusal.message, next: refusal.next });
    part(id).hidden = false;
  }

  /* The page behind may be drawn anew meanwhile: what opened the dialog is gone then, and with it where the keyboard was. */
  function open(id) {
    const back = placeOf();
    part(id).addEventListener("close", () => back?.(), { once: true });
    part(id).showModal();
    part(`${id}-keep`).focus();
  }

  function askRemove(credential) {
    removing = credential;
    const account = credential.account ?? say("dashboard.credential.noAccount");
    part("delete-lead").textContent = say("dashboard.credential.confirmLead", { provider: nameOf(credential.provider), account });
    part("delete-revoke").replaceChildren(...withPage(say("dashboard.credential.confirmRevoke"), credential.revoke_url));
    part("delete-trouble").hidden = true;
    open("delete");
  }

  async function remove() {
    try {
      await call("DELETE", `/api/credentials/${removing.id}`);
      part("delete").close();
      document.querySelector("#content h1").focus();
    } catch (error) {
      const refusal = Refusal.of(error);
      if (refusal.status === 404) {
        part("delete").close();
      } else {
        trouble("delete-trouble", refusal);
      }
    }
    look();
  }

  function askEnded(credential) {
    ending = credential;
    part("ended-lead").textContent = say("dashboard.credential.endedLead", { provider: nameOf(credential.provider), account: credential.account ?? say("dashboard.credential.noAccount") });
    part("ended-page").replaceChildren(...withPage(say("dashboard.credential.endedPage"), credential.revoke_url));
    part("ended-trouble").hidden = true;
    open("ended");
  }

  async function sayEnded() {
    try {
      await call("POST", `/api/credentials/${ending.id}/said`, { said: "revoked" });
      part("ended").close();
      document.querySelector("#content h1").focus();
    } catch (error) {
      const refusal = Refusal.of(error);
      if (refusal.status === 404) {
        part("ended").close();
      } else {
        trouble("ended-trouble", refusal);
      }
    }
    look();
  }

  function askStop(session) {
    stopping = session;
    part("stop-lead").textContent = say("dashboard.stop.lead", { provider: nameOf(session.provider), label: labelOf(session) });
    // nobody signs in at the vendor before they have agreed
    const page = session.consented_at && providerOf(session.provider)?.revoke_url;
    part("stop-revoke").replaceChildren(...withPage(say("dashboard.stop.revoke"), page));
    part("stop-trouble").hidden = true;
    open("stop");
  }

  async function stop() {
    try {
      await call("POST", `/api/auth/session/${stopping.session_id}/cancel`);
      asked.delete(slotOf(stopping.provider, stopping.user_id));
      part("stop").close();
    } catch (error) {
      const refusal = Refusal.of(error);
      if (refusal.code === "session_ended") {
        part("stop").close();
      } else {
        trouble("stop-trouble", refusal);
      }
    }
    draw();
    look();
  }

  function askEndRun(run) {
    endingRun = run;
    part("end-run-lead").textContent = say("dashboard.run.endLead", { provider: nameOf(run.provider), label: labelOf(run) });
    part("end-run-trouble").hidden = true;
    open("end-run");
  }

  async function endRun() {
    try {
      await call("POST", `/api/runs/${endingRun.id}/cancel`);
      part("end-run").close();
    } catch (error) {
      const refusal = Refusal.of(error);
      if (refusal.code === "run_ended" || refusal.status === 404) {
        part("end-run").close();
      } else {
        trouble("end-run-trouble", refusal);
      }
    }
    look();
  }

  /* The question names the person, and so does the button: the page behind it could have been another's. */
  function askErase(owner, credentials) {
    erasing = owner;
    part("erase-question").textContent = say("dashboard.erasure.heading", { label: labelOf(owner) });
    part("erase-lead").textContent = say("dashboard.erasure.lead", { label: labelOf(owner), sessions: owner.sessions, credentials: owner.credentials });
    part("erase-confirm").textContent = say("dashboard.erasure.confirm", { label: labelOf(owner) });
    const urls = new Set(credentials.map((one) => providerOf(one.provider)?.revoke_url).filter(Boolean));
    const links = [...urls].map((address) => webAddress(address)).filter(Boolean);
    part("erase-revoke").replaceChildren(
      remains("small"),
      ...(links.length ? [make("p", { class: "small" }, say("dashboard.erasure.revoke")), make("ul", { class: "small" }, links.map((url) => make("li", {}, outward(url.host + url.pathname, url.href))))] : []),
    );
    part("erase-trouble").hidden = true;
    open("erase");
  }

  async function erase() {
    try {
      await call("DELETE", `/api/owners?${new URLSearchParams({ user_id: erasing.user_id, application: erasing.application })}`);
      part("erase").close();
      document.querySelector("#content h1").focus();
    } catch (error) {
      const refusal = Refusal.of(error);
      if (refusal.status === 404) {
        part("erase").close();
      } else {
        trouble("erase-trouble", refusal);
      }
    }
    look();
  }

  function askLimits(application) {
    limiting = application;
    part("limits-heading").textContent = say("dashboard.applications.limitsOf", { application: application.name });
    part("limits-live").value = application.live;
    part("limits-starts").value = application.starts_an_hour;
    part("limits-trouble").hidden = true;
    open("limits");
    part("limits-live").focus();
  }

  async function setLimits(event) {
    event.preventDefault();
    const wanted = { live: part("limits-live"), starts_an_hour: part("limits-starts") };
    const wrong = Object.values(wanted).find((input) => input.value === "" || !input.validity.valid);
    if (wrong) {
      part("limits-trouble").textContent = say("dashboard.applications.limitsWrong");
      part("limits-trouble").hidden = false;
      wrong.focus();
      return;
    }
    try {
      const body = Object.fromEntries(Object.entries(wanted).map(([name, input]) => [name, Number(input.value)]));
      await call("POST", `/api/applications/${limiting.id}/limits`, body);
      part("limits").close();
    } catch (error) {
      trouble("limits-trouble", Refusal.of(error));
    }
    look();
  }

  part("limits-keep").addEventListener("click", () => part("limits").close());
  part("limits-form").addEventListener("submit", setLimits);
  part("erase-keep").addEventListener("click", () => part("erase").close());
  part("erase-confirm").addEventListener("click", erase);
  part("end-run-keep").addEventListener("click", () => part("end-run").close());
  part("end-run-confirm").addEventListener("click", endRun);
  part("delete-keep").addEventListener("click", () => part("delete").close());
  part("delete-confirm").addEventListener("click", remove);
  part("ended-keep").addEventListener("click", () => part("ended").close());
  part("ended-confirm").addEventListener("click", sayEnded);
  part("stop-keep").addEventListener("click", () => part("stop").close());
  part("stop-confirm").addEventListener("click", stop);
  return { askRemove, askEnded, askStop, askErase, askLimits, askEndRun };
}
