// Elements, and text in them. Whatever comes in a record goes in as text and is never parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element. An attribute that is a function listens to the event of that name. */
export function h(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function s(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Writes a text only where it is another, so that a screen reader isn't told what hasn't changed. */
export function setText(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Sets or takes away an attribute, only where it changes. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

let lastId = 0;

/** An id that no other element of the page has. */
export function freshId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

/** A label with its control beside it. */
export function field(label, control, attributes) {
  control.id ||= freshId("field");
  return h("div", { class: "field", ...attributes }, h("label", { for: control.id }, label), control);
}

/** A select with `[value, text]` choices. */
export function choice(value, choices, onchange) {
  const select = h("select", { change: () => onchange(select.value) });
  for (const [key, text] of choices) select.append(h("option", { value: key }, text));
  select.value = value;
  return select;
}

/** Says something to those who cannot see that it has changed. */
export function announce(text) {
  const region = document.getElementById("announcer");
  // The same text twice would not be read a second time.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Calls `work` once after `wait` ms, however often it is asked for in between. */
export function debounce(wait, work) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
}

/** Makes `parent` hold exactly `wanted`, in order, and moves nothing that is in its place already. */
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}
