// Creates elements and sets their text. Data from records is always inserted as text and never parsed as HTML.

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

/** Creates an HTML element. An attribute whose value is a function becomes a listener for the event of that name. */
export function h(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Creates an SVG element. */
export function s(name, attributes, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Sets the text of an element only if it differs, so that screen readers do not announce unchanged text. */
export function setText(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Sets or removes an attribute, only if its value changes. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

let lastId = 0;

/** Returns an element id that is unique on the page. */
export function freshId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

/** Returns an element with a label and its control. */
export function field(label, control, attributes) {
  control.id ||= freshId("field");
  return h("div", { class: "field", ...attributes }, h("label", { for: control.id }, label), control);
}

/** Creates a `select` element from `[value, text]` pairs. */
export function choice(value, choices, onchange) {
  const select = h("select", { change: () => onchange(select.value) });
  for (const [key, text] of choices) select.append(h("option", { value: key }, text));
  select.value = value;
  return select;
}

/** Announces a text to screen readers. */
export function announce(text) {
  const region = document.getElementById("announcer");
  // Screen readers do not announce a text that has not changed.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Returns a function that calls `work` once, `wait` ms after its last call. */
export function debounce(wait, work) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
}

/** Makes `wanted` the children of `parent`, in this order, and does not move children that are already in position. */
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
}
