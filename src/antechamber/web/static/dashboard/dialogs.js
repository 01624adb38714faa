/* The two questions before something is ended for good: a credential's deletion, and a live sign-in's stop. */

import { call, Refusal } from "../api.js";
import { outward, part, say, webAddress } from "../dom.js";

export function setUpDialogs({ nameOf, look, draw, asked, providerOf }) {
  let removing = null;
  let stopping = null;

  function trouble(id, refusal) {
    part(id).textContent = say("errors.detail", { message: refusal.message, next: refusal.next });
    part(id).hidden = false;
  }

  function askRemove(credential) {
    removing = credential;
    const account = credential.account ?? say("dashboard.credential.noAccount");
    part("delete-lead").textContent = say("dashboard.credential.confirmLead", { provider: nameOf(credential.provider), account });
    const revoke = providerOf(credential.provider)?.revoke_url;
    const url = revoke && webAddress(revoke);
    const [before, after] = say("dashboard.credential.confirmRevoke").split("{link}");
    part("delete-revoke").replaceChildren(...(url ? [before, outward(url.host + url.pathname, url.href), after] : []));
    part("delete-trouble").hidden = true;
    part("delete").showModal();
    part("delete-keep").focus();
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

  function askStop(session) {
    stopping = session;
    part("stop-lead").textContent = say("dashboard.stop.lead", { provider: nameOf(session.provider), label: session.user_id });
    part("stop-trouble").hidden = true;
    part("stop").showModal();
    part("stop-keep").focus();
  }

  async function stop() {
    try {
      await call("POST", `/api/auth/session/${stopping.session_id}/cancel`);
      asked.delete(stopping.provider);
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

  part("delete-keep").addEventListener("click", () => part("delete").close());
  part("delete-confirm").addEventListener("click", remove);
  part("stop-keep").addEventListener("click", () => part("stop").close());
  part("stop-confirm").addEventListener("click", stop);
  return { askRemove, askStop };
}
