/* What the tool writes, and its terminal where it has one: shown by xterm.js, to this browser alone, and kept nowhere. */

import { backoff, call, Refusal } from "../api.js";
import { make, outward, part, say, webAddress } from "../dom.js";

const TAKEN_OVER = 4001;
const ENDED = 4010;
const NODE_AWAY = 4011;
const LINES_KEPT = 2000;
const LEAST = { columns: 20, rows: 20 };

let library = null;

function fetchLibrary() {
  if (!library) {
    document.head.append(make("link", { rel: "stylesheet", href: "/static/vendor/xterm/xterm.css" }));
    library = import("../vendor/xterm/xterm.mjs");
    library.catch(() => {
      library = null;
    });
  }
  return library;
}

/* xterm.js writes rules into style elements and attributes, which the page's policy refuses; it allows the same by way of
   sheets and of an element's own style. */
function documentForTerminals() {
  const create = (tag, options) => Document.prototype.createElement.call(document, tag, options);
  return new Proxy(document, {
    get(real, name) {
      if (name === "createElement") {
        // even an empty style element is refused: another stands in its place
        return (tag, options) => (tag === "style" ? ruled(create("span")) : styled(create(tag, options)));
      }
      const value = Reflect.get(real, name);
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
}

/* Some of its elements come from the page's document all the same while it opens, which is done when `open` returns. */
function openWith(term, container) {
  document.createElement = term.options.documentOverride.createElement;
  try {
    term.open(container);
  } finally {
    delete document.createElement;
  }
}

function styled(element) {
  element.setAttribute = (name, value) => {
    if (name === "style") {
      element.style.cssText = value;
    } else {
      Element.prototype.setAttribute.call(element, name, value);
    }
  };
  return element;
}

function ruled(element) {
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, "textContent", { set: (rules) => sheet.replaceSync(rules), get: () => "" });
  element.hidden = true;
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

/* What a tool may ask of a terminal and set in one, beside writing: the machine has answered what is to be answered, and an
   answer from here would be typed; titles, colours, the clipboard and the window are none of its business. */
const CSI = [
  { final: "c" }, { prefix: ">", final: "c" }, { prefix: "=", final: "c" }, { final: "n" }, { prefix: "?", final: "n" },
  { intermediates: "$", final: "p" }, { prefix: "?", intermediates: "$", final: "p" }, { prefix: ">", final: "q" }, { final: "t" },
];
const OSC = [0, 1, 2, 4, 5, 7, 9, 10, 11, 12, 17, 19, 50, 52, 104, 110, 111, 112, 133, 633, 777, 1337];
const DCS = [{ intermediates: "$", final: "q" }, { intermediates: "+", final: "q" }];

function mute(parser) {
  const ignored = () => true;
  CSI.forEach((sequence) => parser.registerCsiHandler(sequence, ignored));
  OSC.forEach((number) => parser.registerOscHandler(number, ignored));
  DCS.forEach((sequence) => parser.registerDcsHandler(sequence, ignored));
}

export function setUpTerminal(id, container) {
  const state = part("terminal-state");
  const link = part("terminal-link");
  const waits = backoff(500, 10_000);
  let open = false;
  let term = null;
  let socket = null;
  let timer = 0;
  let writable = false;

  function tell(name) {
    state.textContent = say(`signIn.terminal.${name}`);
  }

  function showLink(address) {
    // a tool's link can say one thing and be another: the address itself is what is clicked
    link.replaceChildren(...(webAddress(address) ? [say("signIn.terminal.link"), " ", outward(address, address)] : []));
  }

  async function prepare() {
    const { Terminal } = await fetchLibrary();
    if (term) {
      return;
    }
    const look = getComputedStyle(container);
    term = new Terminal({
      documentOverride: documentForTerminals(),
      scrollback: LINES_KEPT,
      screenReaderMode: true,
      allowProposedApi: false,
      cursorBlink: false,
      fontSize: 13,
      fontFamily: look.fontFamily,
      theme: { background: look.backgroundColor, foreground: look.color, cursor: look.color, selectionBackground: "#7aa2f766" },
      minimumContrastRatio: 4.5,
      windowOptions: {},
      linkHandler: { activate: (_event, address) => showLink(address), allowNonHttpProtocols: false },
    });
    mute(term.parser);
    openWith(term, container);
    container.querySelector("textarea").setAttribute("aria-label", say("signIn.terminal.label"));
    // where nothing can be typed, Tab is the page's as everywhere
    term.attachCustomKeyEventHandler((event) => writable || event.key !== "Tab");
    term.onData((typed) => {
      if (writable && socket?.readyState === WebSocket.OPEN) {
        socket.send(new TextEncoder().encode(typed));
      }
    });
    term.onResize(({ cols, rows }) => {
      if (socket?.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({ columns: cols, rows }));
      }
    });
    new ResizeObserver(fit).observe(container);
    fit();
  }

  function fit() {
    const screen = container.querySelector(".xterm-screen");
    if (!open || !screen || !screen.clientWidth) {
      return;
    }
    const columns = Math.floor((container.clientWidth - 20) / (screen.clientWidth / term.cols));
    const rows = Math.floor((container.clientHeight - 8) / (screen.clientHeight / term.rows));
    term.resize(Math.min(300, Math.max(LEAST.columns, columns)), Math.min(200, Math.max(LEAST.rows, rows)));
  }

  function begin(fresh) {
    writable = fresh.writable;
    term.reset();
    term.options.disableStdin = !writable;
    term.options.convertEol = !writable;
    tell(writable ? "writable" : "readable");
  }

  async function connect() {
    clearTimeout(timer);
    try {
      tell("connecting");
      const [{ ticket }] = await Promise.all([call("POST", `/api/auth/session/${id}/terminal/ticket`), prepare()]);
      if (!open) {
        return;
      }
      const address = new URL(`/api/auth/session/${id}/terminal`, location.href);
      address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
      const mine = new WebSocket(address, ["binary", `ticket.${ticket}`]);
      socket = mine;
      mine.binaryType = "arraybuffer";
      mine.onopen = () => {
        waits.reset();
        mine.send(JSON.stringify({ columns: term.cols, rows: term.rows }));
      };
      mine.onmessage = ({ data }) => (typeof data === "string" ? begin(JSON.parse(data)) : term.write(new Uint8Array(data)));
      mine.onclose = ({ code }) => mine === socket && lost(code);
    } catch (error) {
      const refusal = Refusal.of(error);
      if (open) {
        state.textContent = refusal.code === "wrong_node" ? say("errors.nodeAway") : refusal.message;
        timer = refusal.unreachable || refusal.retryable ? setTimeout(connect, waits.next()) : 0;
      }
    }
  }

  function lost(code) {
    socket = null;
    writable = false;
    if (code === TAKEN_OVER || code === ENDED) {
      tell(code === ENDED ? "ended" : "taken");
      return;
    }
    if (code === NODE_AWAY) {
      state.textContent = say("errors.nodeAway");
    } else {
      tell("lost");
    }
    timer = setTimeout(connect, waits.next());
  }

  return {
    async opened() {
      open = true;
      await connect();
      term?.focus();
    },
    closed() {
      open = false;
      clearTimeout(timer);
      const mine = socket;
      socket = null;
      mine?.close();
      term?.reset();
      link.replaceChildren();
    },
  };
}
