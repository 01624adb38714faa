/* A terminal in a page: xterm.js, with all that a tool could ask of one or set in one muted, beside writing. */

import { make, outward, webAddress } from "./dom.js";

const LINES_KEPT = 2000;
const LEAST = { columns: 20, rows: 20 };
const MOST = { columns: 300, rows: 200 };

let library = null;

function fetchLibrary() {
  if (!library) {
    document.head.append(make("link", { rel: "stylesheet", href: "/static/vendor/xterm/xterm.css" }));
    library = import("./vendor/xterm/xterm.mjs");
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

/* Some of its elements come from the page's document all the same: a few while it opens, and then each span with a colour of
   its own. Nothing else on the page makes style elements, and a style attribute means the same as before. */
function openWith(term, container) {
  document.createElement = term.options.documentOverride.createElement;
  term.open(container);
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

/* What a tool may ask of a terminal: what it is, where the cursor stands, which modes are on. An answer is typed. */
const QUESTIONS = [
  { final: "c" }, { prefix: ">", final: "c" }, { prefix: "=", final: "c" }, { final: "n" }, { prefix: "?", final: "n" },
  { intermediates: "$", final: "p" }, { prefix: "?", intermediates: "$", final: "p" }, { prefix: ">", final: "q" },
];
/* What it asks and sets beside writing: titles, colours, the clipboard and the window are none of its business. */
const CSI = [{ final: "t" }];
const OSC = [0, 1, 2, 4, 5, 7, 9, 10, 11, 12, 17, 19, 50, 52, 104, 110, 111, 112, 133, 633, 777, 1337];
const DCS = [{ intermediates: "$", final: "q" }, { intermediates: "+", final: "q" }];

function mute(parser, answers) {
  const ignored = () => true;
  [...CSI, ...(answers ? [] : QUESTIONS)].forEach((sequence) => parser.registerCsiHandler(sequence, ignored));
  OSC.forEach((number) => parser.registerOscHandler(number, ignored));
  DCS.forEach((sequence) => parser.registerDcsHandler(sequence, ignored));
}

/** Show in `link` where a tool's link leads, or nothing where that is no web address; `words` come before it. */
export function showLink(link, words, address) {
  // a tool's link can say one thing and be another: the address itself is what is clicked
  link.replaceChildren(...(webAddress(address) ? [words, " ", outward(address, address)] : []));
}

/** Make a terminal in `container`, which needs to be on the page from `prepare()` on.

    `typed` is given what is typed, `resized` the size whenever it changes, `linked` the address of a link that was clicked;
    `keeps` says of a key whether the terminal takes it. `answers`: what a tool asks of its terminal is answered here; else the
    machine has done so. */
export function terminalIn(container, { label, typed, resized, linked, keeps, answers = false }) {
  let term = null;

  function fit() {
    const screen = container.querySelector(".xterm-screen");
    if (!screen || !screen.clientWidth) {
      return;
    }
    const columns = Math.floor((container.clientWidth - 20) / (screen.clientWidth / term.cols));
    const rows = Math.floor((container.clientHeight - 8) / (screen.clientHeight / term.rows));
    term.resize(Math.min(MOST.columns, Math.max(LEAST.columns, columns)), Math.min(MOST.rows, Math.max(LEAST.rows, rows)));
  }

  function colours() {
    const look = getComputedStyle(container);
    return { background: look.backgroundColor, foreground: look.color, cursor: look.color, selectionBackground: "#7aa2f766" };
  }

  return {
    fit,
    /** xterm.js' own, once it is there. */
    get term() {
      return term;
    },
    get size() {
      return JSON.stringify({ columns: term.cols, rows: term.rows });
    },
    async prepare() {
      const { Terminal } = await fetchLibrary();
      if (term) {
        return;
      }
      term = new Terminal({
        documentOverride: documentForTerminals(),
        scrollback: LINES_KEPT,
        screenReaderMode: true,
        allowProposedApi: false,
        cursorBlink: false,
        fontSize: 13,
        fontFamily: getComputedStyle(container).fontFamily,
        theme: colours(),
        minimumContrastRatio: 4.5,
        windowOptions: {},
        linkHandler: { activate: (_event, address) => linked(address), allowNonHttpProtocols: false },
      });
      mute(term.parser, answers);
      openWith(term, container);
      container.querySelector("textarea").setAttribute("aria-label", label);
      term.attachCustomKeyEventHandler(keeps);
      term.onData(typed);
      term.onResize(resized);
      new ResizeObserver(fit).observe(container);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        term.options.theme = colours();
      });
      fit();
    },
  };
}
