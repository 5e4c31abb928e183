// Small helpers for building the page. Text always enters as text, never as markup.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

let numbered = 0;
export const uniqueId = (stem) => `${stem}-${(numbered += 1)}`;

export function choice(label, options, value, change) {
  const id = uniqueId("choice");
  const select = make("select", { id, onchange: () => change(select.selectedIndex) },
    ...options.map((text) => make("option", {}, text)));
  select.selectedIndex = value;
  return make("span", { class: "field" }, make("label", { for: id }, label), select);
}

export function tick(label, on, change, swatch = null) {
  const box = make("input", { type: "checkbox", checked: on, onchange: () => change(box.checked) });
  const mark = swatch ? make("span", { class: "swatch", "aria-hidden": "true" }) : null;
  if (mark) mark.style.background = swatch;
  return make("label", { class: "tick" }, box, mark, make("span", {}, label));
}

export const number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(3)));
};
export const whole = (value) => value.toLocaleString("en");
export const percent = (share) => `${share >= 0.1 || share === 0 ? Math.round(100 * share) : Number((100 * share).toPrecision(2))} %`;
