/* The machine's screen: one connection of noVNC at a time, connected again when it is lost. */

import { backoff, call, Refusal } from "../api.js";
import { say } from "../dom.js";
import { clientOf, NoText } from "./rfb.js";

const TAKEN_OVER = 4001;
const NODE_AWAY = 4011;
const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 10_000;

let library = null;

/** Fetch noVNC early, while the person still reads. */
export function fetchLibrary() {
  library ??= import("../vendor/novnc/core/rfb.js").then((module) => clientOf(module.default));
  library.catch(() => {
    library = null;
  });
  return library;
}

/** Where the connection is: `idle`, `connecting`, `connected`, `waiting`, `taken` or `frozen`. */
export class Screen {
  constructor(id, frame, onState) {
    this._id = id;
    this._frame = frame;
    this._onState = onState;
    this._waits = backoff(FIRST_WAIT_MS, MOST_WAIT_MS);
    this._timer = 0;
    this._life = 0;
    this._quality = 8;
    this._focusesOnClick = true;
    this._line = Promise.resolve();
    this._canvas = null;
    this._picture = null;
    this._rfb = null;
    this.state = "idle";
    addEventListener("online", () => this.state === "waiting" && this.connect());
  }

  get connected() {
    return this.state === "connected";
  }

  set quality(level) {
    this._quality = level;
    if (this._rfb) {
      this._rfb.qualityLevel = level;
    }
  }

  get quality() {
    return this._quality;
  }

  /** Whether a click on the screen takes the focus, and with it the keys. */
  set focusesOnClick(does) {
    this._focusesOnClick = does;
    if (this._rfb) {
      this._rfb.focusOnClick = does;
    }
  }

  /** Connect, now; an earlier connection of this page is given up. */
  async connect() {
    const life = this._renew();
    this._become("connecting");
    try {
      const [Rfb, { ticket }] = await Promise.all([fetchLibrary(), call("POST", `/api/auth/session/${this._id}/ticket`)]);
      if (life !== this._life) {
        return;
      }
      const address = new URL(`/api/auth/session/${this._id}/screen`, location.href);
      address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
      const socket = new WebSocket(address, ["binary", `ticket.${ticket}`]);
      let code = 0;
      // before noVNC's own listener, which tells of the end without its code
      socket.addEventListener("close", (event) => {
        code = event.code;
      });
      this._follow(new Rfb(this._frame, socket, { shared: true }), life, () => code);
    } catch (refusal) {
      if (life === this._life) {
        this._again(refusal);
      }
    }
  }

  _follow(rfb, life, code) {
    this._rfb = rfb;
    this._canvas = this._frame.querySelector("canvas:not(.last)");
    rfb.scaleViewport = true;
    rfb.resizeSession = true;
    rfb.qualityLevel = this._quality;
    rfb.compressionLevel = 2;
    rfb.focusOnClick = this._focusesOnClick;
    rfb.background = "transparent";
    rfb.addEventListener("connect", () => {
      this._picture?.remove();
      this._picture = null;
      this._canvas.tabIndex = 0;
      this._canvas.setAttribute("role", "application");
      this._canvas.setAttribute("aria-label", say("signIn.screen.label"));
      this._waits.reset();
      this._become("connected");
    });
    rfb.addEventListener("disconnect", () => {
      if (life !== this._life) {
        return;
      }
      this._rfb = null;
      this._keepPicture();
      if (code() === TAKEN_OVER) {
        this._become("taken");
      } else {
        this._again(code() === NODE_AWAY ? new Refusal(0, "node_away", say("errors.nodeAway"), "", true) : null);
      }
    });
  }

  /* noVNC takes its canvas off the page at the end; the last picture stays. */
  _keepPicture() {
    if (!this.connected) {
      return;
    }
    this._picture = this._canvas;
    this._picture.tabIndex = -1;
    this._picture.removeAttribute("role");
    this._picture.removeAttribute("aria-label");
    this._picture.setAttribute("aria-hidden", "true");
    this._picture.classList.add("last");
    this._frame.replaceChildren(this._picture);
  }

  _again(refusal) {
    const wait = this._waits.next();
    this.retryAt = Date.now() + wait;
    this._become("waiting", refusal);
    this._timer = setTimeout(() => this.connect(), wait);
  }

  _renew() {
    clearTimeout(this._timer);
    const life = ++this._life;
    const old = this._rfb;
    this._rfb = null;
    if (old) {
      old.disconnect();
      this._keepPicture();
    }
    return life;
  }

  _become(state, refusal = null) {
    this.state = state;
    this._onState(state, refusal);
  }

  /** End the connection for good and keep the last picture. */
  freeze() {
    if (this.state === "frozen") {
      return;
    }
    this._renew();
    this._become("frozen");
  }

  focus() {
    this._rfb?.focus({ preventScroll: true });
  }

  /* One thing after another: a text that is offered must have been fetched before the next is. */
  _then(step) {
    const life = this._life;
    this._line = this._line.then(() => (this.connected && life === this._life ? step(this._rfb) : null));
  }

  /** Type the text: as keys where each key has one, by clipboard and Ctrl+V where not (such keys get lost on the way). */
  type(text) {
    if (!this.connected) {
      return false;
    }
    if (!/^[\x20-\x7e\n\t]*$/.test(text)) {
      this.paste(text);
      return true;
    }
    this._then((rfb) => {
      for (const character of text) {
        rfb.sendKey(character === "\n" ? KEY.enter[0] : character === "\t" ? KEY.tab[0] : character.codePointAt(0), null);
      }
    });
    return true;
  }

  /** Put the text on the machine's clipboard and press Ctrl+V there. */
  paste(text) {
    this._then((rfb) => {
      for (const [keysym, code] of HELD) {
        rfb.sendKey(keysym, code, false);
      }
      const fetched = rfb.offerText(text);
      rfb.sendKey(KEY.control[0], KEY.control[1], true);
      rfb.sendKey(0x76, "KeyV");
      rfb.sendKey(KEY.control[0], KEY.control[1], false);
      return fetched;
    });
  }

  /** Press one of the keys of KEY. */
  press(name) {
    this._then((rfb) => rfb.sendKey(KEY[name][0], KEY[name][1]));
  }

  /** Take the text on the machine's clipboard, once; rejects with NoText. */
  async takeText() {
    if (!this.connected) {
      throw new NoText("none");
    }
    return this._rfb.takeText();
  }
}

/** X keysyms and DOM codes of single keys. */
const KEY = {
  enter: [0xff0d, "Enter"],
  tab: [0xff09, "Tab"],
  backspace: [0xff08, "Backspace"],
  escape: [0xff1b, "Escape"],
  control: [0xffe3, "ControlLeft"],
};

/* Keys that the person may hold while pressing their own Ctrl+V or Cmd+V. */
const HELD = [
  [0xffe3, "ControlLeft"],
  [0xffe4, "ControlRight"],
  [0xffe9, "AltLeft"],
  [0xffe7, "MetaLeft"],
  [0xffeb, "MetaLeft"],
];
