/* One run: its tool's terminal, worked in here and found again after a reload or a dropped line; or how it stands. */

import { call, Refusal } from "../api.js";
import { button, make, part, prose, say } from "../dom.js";
import { lineTo } from "../line.js";
import { showLink, terminalIn } from "../terminal.js";
import { head, terms, within } from "./marks.js";
import { OPERATORS, runOf, SECTIONS } from "./routes.js";
import { endOf, runMark, startRun } from "./runs.js";
import { timeMark } from "./time.js";

/* What a soft keyboard lacks. */
const KEYS = { escape: "\x1b", tab: "\t", up: "\x1b[A", down: "\x1b[B", interrupt: "\x03" };

function label(name, values) {
  return say(`dashboard.run.${name}`, values);
}

/* The terminal of a run and the line to it, from `open()` until `close()`. */
function lineOf(id, onEnd) {
  const box = make("div", { class: "terminal code" });
  const told = make("p", { id: "run-state", class: "quiet small", role: "status" });
  const link = make("p", { class: "small terminal-link", role: "status" });
  const here = make("div", { class: "row", hidden: true });
  let again = false;
  /* Pieces that are still being drawn of what a reader has had before: what they ask has been answered then. */
  let drawing = 0;
  let behind = false;
  let over = false;

  function send(keys) {
    line.send(new TextEncoder().encode(keys));
  }

  const shown = terminalIn(box, {
    label: label("terminal"),
    answers: true,
    typed: (keys) => drawing || send(keys),
    resized: () => line.send(shown.size),
    linked: (address) => showLink(link, label("link"), address),
    // where nothing is typed any more, Tab is the page's as everywhere
    keeps: (event) => (over ? event.key !== "Tab" : takes(event)),
  });

  /* Copying and pasting are the browser's: Control with C copies what is selected, and else interrupts as ever. */
  function takes(event) {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || event.altKey) {
      return true;
    }
    if (key === "c" && (event.shiftKey || shown.term.hasSelection())) {
      if (event.type === "keydown") {
        event.preventDefault();
        copy();
      }
      return false;
    }
    return key !== "v";
  }

  function screenText() {
    if (!shown.term) {
      return "";
    }
    const { active } = shown.term.buffer;
    const lines = Array.from({ length: shown.term.rows }, (_, row) => active.getLine(active.viewportY + row)?.translateToString(true) ?? "");
    return lines.join("\n").trimEnd();
  }

  async function copy() {
    const text = shown.term?.getSelection() || screenText();
    // at once, as the same keys again interrupt; the lines for screen readers lie over it and are selected with it
    getSelection().removeAllRanges();
    shown.term?.clearSelection();
    try {
      await navigator.clipboard.writeText(text);
      told.textContent = label("copied");
    } catch {
      told.textContent = label("notCopied");
    }
  }

  async function paste() {
    try {
      const text = await navigator.clipboard.readText();
      shown.term?.paste(text);
      shown.term?.focus();
    } catch {
      told.textContent = label("notPasted");
    }
  }

  const keys = make(
    "div",
    { class: "row keys", role: "group", "aria-label": label("keys") },
    Object.entries(KEYS).map(([name, typed]) =>
      button(label(name), "slim", () => {
        send(typed);
        shown.term?.focus();
      }, { "aria-label": label(`${name}Name`) }),
    ),
    button(label("copy"), "slim", copy, { title: label("copyHint") }),
    button(label("paste"), "slim", paste),
  );

  const line = lineTo(`/api/runs/${id}/terminal`, shown, {
    state(name) {
      here.hidden = name !== "taken";
      if (name === "ended") {
        onEnd();
      } else {
        told.textContent = label(name);
      }
    },
    trouble(text) {
      told.textContent = text;
    },
    refused(refusal) {
      const ended = refusal.code === "run_ended";
      if (ended) {
        onEnd();
      }
      return ended;
    },
    opened: begin,
    told: hear,
    wrote: draw,
  });
  here.append(button(label("here"), "", line.open));

  /* All of it comes again: what was on the screen is drawn anew. */
  function begin() {
    again = false;
    behind = false;
    shown.term.reset();
    told.textContent = label("starting");
  }

  function draw(piece) {
    told.textContent = label("writable");
    if (!again) {
      shown.term.write(piece);
      return;
    }
    drawing += 1;
    shown.term.write(piece, () => {
      drawing -= 1;
    });
  }

  function hear(message) {
    if (message.waits) {
      told.textContent = label("waits", { n: message.waits });
    }
    if (message.lost) {
      behind = true;
    }
    if (message.again !== undefined) {
      again = message.again;
    }
    if (behind && !again) {
      // its beginning is gone: a tool that draws all over the screen draws it anew when the size changes
      behind = false;
      const { columns, rows } = JSON.parse(shown.size);
      line.send(JSON.stringify({ columns, rows: rows + 1 }));
      line.send(shown.size);
    }
    if (message.end) {
      onEnd();
    }
  }

  return {
    root: make("div", { class: "run" }, box, link, told, here, keys),
    keys,
    async open() {
      await line.open();
      if (document.activeElement === document.body || document.activeElement?.matches("h1")) {
        shown.term?.focus();
      }
    },
    /** Take no more typing; what was written stays to be read. */
    end() {
      over = true;
      line.close();
      told.textContent = "";
      if (shown.term) {
        shown.term.options.disableStdin = true;
      }
    },
    close: line.close,
  };
}

export function runView(context, route) {
  const top = make("div", { class: "content" });
  const foot = make("div", { class: "content" });
  const place = make("div", { hidden: true });
  const trouble = make("p", { id: "run-trouble", class: "note bad", role: "alert", hidden: true });
  let line = null;
  let failed = false;
  let workspace = null;

  // the screen takes every key, Tab included: this chord is the way out of it for whoever has no mouse
  function leave(event) {
    if (place.contains(document.activeElement?.closest(".terminal")) && event.ctrlKey && event.altKey && event.shiftKey) {
      event.preventDefault();
      event.stopPropagation();
      (foot.querySelector("button") ?? part("main")).focus();
    }
  }

  function onEnd() {
    line.end();
    context.look();
  }

  async function startAgain(run) {
    failed = false;
    try {
      const { id } = await startRun(run, workspace);
      context.go(runOf(id));
    } catch (error) {
      const { message, next } = Refusal.of(error);
      trouble.replaceChildren(...prose(say("errors.detail", { message, next })));
      failed = true;
    }
    trouble.hidden = !failed;
    context.draw();
  }

  function connect() {
    line = lineOf(route.id, onEnd);
    place.replaceChildren(line.root);
    place.hidden = false;
    document.addEventListener("keydown", leave, true);
    // it is measured where it stands, and it does not stand anywhere before the view is on the page
    setTimeout(() => line.open());
  }

  function about(run, own) {
    return [
      head(label("title", { provider: own.nameOf(run.provider), label: own.labelOf(run) }), null, runMark(run)),
      run.status === "ended" ? make("p", { class: run.exit_code === 0 ? "note" : "note warn", role: "status" }, endOf(run)) : null,
      run.redacted ? make("p", { class: "note warn" }, label("redacted")) : null,
      run.terminal || run.status === "ended" ? null : make("p", { class: "note" }, label("noTerminal")),
    ].filter(Boolean);
  }

  function below(run, own) {
    const startable = run.terminal && run.application === OPERATORS;
    return [
      trouble,
      make(
        "div",
        { class: "row" },
        run.status === "ended" ? (startable ? button(label("again"), "main", () => startAgain(run)) : null) : button(label("end"), "", () => own.endRun(run)),
      ),
      terms([
        [label("begun"), timeMark(run.created_at)],
        [label("until"), run.status === "running" ? timeMark(run.expires_at) : null],
        [label("workspace"), workspace ? make("span", { class: "code" }, workspace) : null],
        [label("id"), make("span", { class: "code" }, run.id)],
      ]),
      run.status === "ended" || !run.terminal ? null : make("p", { class: "quiet small" }, label("left")),
    ].filter(Boolean);
  }

  return {
    root: [make("p", { class: "back" }, within(SECTIONS.runs, label("back"))), top, place, foot],
    async load() {
      try {
        return { run: await call("GET", `/api/runs/${encodeURIComponent(route.id)}`) };
      } catch (error) {
        const refusal = Refusal.of(error);
        if (refusal.status === 404 || refusal.code === "malformed_id") {
          return { run: null };
        }
        throw refusal;
      }
    },
    moving: ({ run }) => Boolean(run && run.status !== "ended"),
    state: () => failed,
    variant: ({ run }) => (run ? (run.status === "ended" ? (failed ? "run-trouble" : "run-ended") : run.terminal ? "run" : "run-plain") : "run-missing"),
    fill({ run }, own) {
      if (!run) {
        line?.close();
        place.hidden = true;
        top.replaceChildren(head(label("missing"), label("missingLead")));
        foot.replaceChildren();
        return;
      }
      // it is told of a run that goes on alone
      workspace = run.workspace ?? workspace;
      top.replaceChildren(...about(run, own));
      foot.replaceChildren(...below(run, own));
      if (run.status === "ended") {
        line?.end();
        line?.keys.remove();
      } else if (run.terminal && !line) {
        connect();
      }
    },
    close() {
      document.removeEventListener("keydown", leave, true);
      line?.close();
    },
  };
}
