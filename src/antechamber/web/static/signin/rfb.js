/* noVNC's client, held to what this page wants of it: a screen that is wide enough, and the machine's clipboard only when
   it was asked for. What the machine sends is a claim: a message beyond the limits is passed over or ends the connection. */

import Inflator from "../vendor/novnc/core/inflator.js";

/** Bytes of UTF-8 that are taken from the machine's clipboard at most. */
export const CLIPBOARD_BYTES = 64 * 1024;

const LEAST_WIDTH = 500; // below this the machine's browser cuts its own address bar off
const WIRE_BYTES = 2 * CLIPBOARD_BYTES + 1; // there each line ends in two bytes, and the text in a NUL
const PASSED_OVER_BYTES = 4 * 1024 * 1024; // of one message; a longer one would have to be held to be passed over
const FETCHED_MS = 1000;
const ANSWERED_MS = 3000;

/* The extended clipboard of RFB (community RFB protocol specification, 7.7.27): formats and actions in one word. */
const TEXT = 1;
const ACTIONS = 0xff000000;
const REQUEST = 1 << 25;
const NOTIFY = 1 << 27;
const PROVIDE = 1 << 28;
const HEAD = 8; // type, padding, length

/** Why there is no text: `none`, or `long` for more than the page takes. */
export class NoText extends Error {
  constructor(why) {
    super(why);
    this.why = why;
  }
}

/* Return the text of a message that provides one; throws NoText. */
function textOf(zipped) {
  const inflator = new Inflator();
  inflator.setInput(zipped);
  let bytes;
  try {
    const [a, b, c, d] = inflator.inflate(4);
    const size = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
    // before it is inflated: a few bytes can stand for gigabytes
    if (size > WIRE_BYTES) {
      throw new NoText("long");
    }
    bytes = inflator.inflate(size);
  } catch (error) {
    throw error instanceof NoText ? error : new NoText("none");
  }
  // NUL is an end of text and no part of one; every other character stays as it is
  const text = new TextDecoder().decode(bytes).replaceAll("\0", "").replaceAll("\r\n", "\n");
  if (!text) {
    throw new NoText("none");
  }
  if (new TextEncoder().encode(text).length > CLIPBOARD_BYTES) {
    throw new NoText("long");
  }
  return text;
}

/** Return the client's class, made from noVNC's. */
export function clientOf(RFB) {
  return class extends RFB {
    /* A narrow window is shown a wider screen, scaled down: noVNC asks for the window's own size otherwise. */
    _requestRemoteResize() {
      this._asking = true;
      super._requestRemoteResize();
      this._asking = false;
    }

    _screenSize() {
      const size = super._screenSize();
      if (!this._asking || size.w >= LEAST_WIDTH || size.w <= 0) {
        return size;
      }
      return { w: LEAST_WIDTH, h: Math.round((size.h * LEAST_WIDTH) / size.w) };
    }

    /* noVNC would fetch each text that the machine announces, of any size. Here nothing is fetched without `takeText`. */
    _handleServerCutText() {
      if (this._sock.rQwait("clipboard header", HEAD - 1, 1)) {
        return false;
      }
      const head = this._sock.rQpeekBytes(HEAD - 1);
      const length = new DataView(head.buffer).getInt32(3);
      const size = Math.abs(length);
      if (size > PASSED_OVER_BYTES) {
        return this._fail("a clipboard message without end");
      }
      if (this._sock.rQwait("clipboard", HEAD - 1 + size, 1)) {
        return false;
      }
      const body = this._sock.rQpeekBytes(HEAD - 1 + size).subarray(HEAD - 1);
      if (length >= 0 || size < 4) {
        // the old form comes unasked for
        this._sock.rQskipBytes(HEAD - 1 + size);
        return true;
      }
      const flags = new DataView(body.buffer, body.byteOffset).getUint32(0);
      const action = flags & ACTIONS;
      if (action === NOTIFY || action === PROVIDE) {
        this._sock.rQskipBytes(HEAD - 1 + size);
        if (action === PROVIDE && flags & TEXT) {
          this._provided(body.subarray(4));
        }
        return true;
      }
      const taken = super._handleServerCutText();
      if (action === REQUEST) {
        this._fetched?.();
      }
      return taken;
    }

    _provided(zipped) {
      const taking = this._taking;
      if (!taking) {
        return;
      }
      this._taking = null;
      try {
        taking.resolve(textOf(zipped));
      } catch (error) {
        taking.reject(error);
      }
    }

    /** Ask for the text on the machine's clipboard; rejects with NoText. */
    takeText() {
      this._taking?.reject(new NoText("none"));
      return new Promise((resolve, reject) => {
        const taking = { resolve, reject };
        this._taking = taking;
        // a machine whose clipboard holds no text of its own does not answer at all
        setTimeout(() => {
          if (this._taking === taking) {
            this._taking = null;
          }
          reject(new NoText("none"));
        }, ANSWERED_MS);
        RFB.messages.extendedClipboardRequest(this._sock, [TEXT]);
      });
    }

    /** Offer a text; resolves when the machine has fetched it, or does not want it: only then may another be offered. */
    offerText(text) {
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, FETCHED_MS);
        this._fetched = () => {
          clearTimeout(timer);
          this._fetched = null;
          resolve();
        };
        this.clipboardPasteFrom(text);
      });
    }
  };
}
