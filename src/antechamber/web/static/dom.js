/* Making and filling elements. Foreign text only ever becomes a text node. */

import texts from "./texts.js";

/** Return the text of that dotted name, with `{name}` replaced from `values`; a name without a text is a bug and throws. */
export function say(name, values = {}) {
  const found = name.split(".").reduce((branch, part) => branch?.[part], texts);
  if (typeof found !== "string") {
    throw new Error(`no text named ${name}`);
  }
  return fill(found, values);
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

/** Return the text of that name, or undefined when there is none. */
export function sayIf(name, values = {}) {
  const found = name.split(".").reduce((branch, part) => branch?.[part], texts);
  return typeof found === "string" ? say(name, values) : undefined;
}

/** Return the language of the page, for times and numbers. */
export function language() {
  return document.documentElement.lang || "en";
}

/** Make an element: attributes by name, `class`, `on` = {event: listener}; children are nodes or strings, nothing is left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      Object.entries(value).forEach(([event, listener]) => element.addEventListener(event, listener));
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Make a button that runs `action`. */
export function button(label, style, action, attributes = {}) {
  return make("button", { type: "button", class: `button ${style}`, on: { click: action }, ...attributes }, label);
}

/** Split a text at `**` into plain and strong parts. */
export function emphasised(text) {
  return text.split("**").map((part, index) => (index % 2 ? make("strong", {}, part) : part));
}

/** Return the text of that name with its strong parts, filled in afterwards: what is filled in is emphasised as a whole or not at all. */
export function strongly(name, values) {
  return emphasised(say(name)).map((piece) => {
    if (typeof piece === "string") {
      return fill(piece, values);
    }
    piece.textContent = fill(piece.textContent, values);
    return piece;
  });
}

/** Split a service's sentence at backticks: what stands between them is to be typed as it is. */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", { class: "code" }, part) : part));
}

/** Give each element with data-text, data-label or data-hint its text, its accessible name or its tooltip. */
export function fillTexts(root = document) {
  root.querySelectorAll("[data-text]").forEach((element) => {
    element.replaceChildren(...emphasised(say(element.dataset.text)));
  });
  root.querySelectorAll("[data-label]").forEach((element) => {
    element.setAttribute("aria-label", say(element.dataset.label));
  });
  root.querySelectorAll("[data-hint]").forEach((element) => {
    element.title = say(element.dataset.hint);
  });
}

/** Write into the body which view the page shows, one of `views` ({view: [variants]}); one that is not listed there is a bug. */
export function enter(views, view, variant = "") {
  if (!views[view] || (variant && !views[view].includes(variant))) {
    throw new Error(`no view ${view} ${variant}`);
  }
  document.body.dataset.view = view;
  document.body.dataset.variant = variant;
}

/** Return the element with that id. */
export function part(id) {
  const element = document.getElementById(id);
  if (!element) {
    throw new Error(`no element #${id}`);
  }
  return element;
}

/** Return the URL if it is a web address, else null: nothing else is ever made a link. */
export function webAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

/** Make a link to a foreign site, or the bare text where the address is no web address. */
export function outward(label, address) {
  const url = webAddress(address);
  return url ? make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, label) : label;
}
