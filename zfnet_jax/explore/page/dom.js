// Small tools of the page. Text from the server reaches it as textContent or attributes, never as
// HTML.

export const $ = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const number = (value) => Number(value.toPrecision(3)).toString();

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

export const plural = (count, word) =>
  `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** What our names of rules look like to a reader: 'forward mask'. */
export const words = (name) => name.replaceAll("_", " ");

/** Our name of a layer, and in brackets what it is called where the net comes from. */
export const layerName = ({ name, title }) => (title ? `${name} (${title})` : name);

/** Shows a line of trouble in an element, or hides it. */
export function tell(place, text) {
  place.hidden = !text;
  place.textContent = text ?? "";
}

export function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

/** Replaces the choices of a <select>: [value, text] each. */
export function fillSelect(select, choices, value) {
  select.replaceChildren(...choices.map(([of, text]) => element("option", { value: of }, text)));
  select.value = value;
}
