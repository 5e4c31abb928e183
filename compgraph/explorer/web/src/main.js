// Puts the page together: one state, and views that follow it.

import { nodeColours } from "./colours.js";
import { Controls } from "./controls.js";
import { readPage } from "./data.js";
import { Details } from "./details.js";
import { make, number } from "./dom.js";
import { download, layersToSvg, toCsv, toPng } from "./exports.js";
import { Layers, paper } from "./layers.js";
import { Matrix } from "./matrix.js";
import { groupingOf, shareOf, shownOf } from "./shown.js";
import { State } from "./state.js";

const LIT = 400; // edges of a node that are lit at most
const element = (id) => document.getElementById(id);

const page = readPage(element("data").textContent);
const state = new State(page);
const stage = element("stage");
const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
const said = make("p", { id: "said", class: "unseen", "aria-live": "polite" });

const handlers = { hover, pick: choose, moved: (zoom) => state.set({ zoom }) };
const layers = new Layers(page, handlers);
const matrix = new Matrix(page, handlers);
const details = new Details(page, element("details"), choose);
stage.append(layers.element, matrix.element, tip, said);
layers.over.setAttribute("aria-label", "Drawing of the graph. Arrow keys move between nodes, Enter chooses, question mark lists all keys.");

const stem = () => page.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").toLowerCase() || "graph";
const controls = new Controls(page, state, {
  switches: element("switches"), actions: element("actions"), filters: element("filters"),
}, {
  fit: () => state.set({ zoom: null }) ?? layers.setZoom(null),
  link: copyLink,
  svg: () => download(`${stem()}.svg`, layersToSvg(page, layers), "image/svg+xml"),
  png: () => toPng(state.values.mode === "matrix" ? matrix.element : layers.element, paper(), (blob) => download(`${stem()}.png`, blob)),
  csv: () => download(`${stem()}.csv`, toCsv(page, state.view, shown), "text/csv"),
  help: () => element("help").showModal(),
  choose,
});

let shown = shownOf(page, state);
let cursor = -1; // the node that the pointer or the arrow keys are on

function update(changed) {
  const filters = ["view", "edges", "prune", "hide", "kinds", "channels", "colour", "group", "task"];
  if (!changed || changed.some((key) => filters.includes(key))) shown = shownOf(page, state);
  const matrixShown = state.values.mode === "matrix";
  layers.element.hidden = matrixShown;
  matrix.element.hidden = !matrixShown;
  controls.show(shown, changed);
  details.show(state, shown);
  if (changed?.length === 1 && ["zoom", "curve", "series"].includes(changed[0])) return;
  const grouping = groupingOf(page, state.values);
  if (matrixShown) matrix.show(state, shown);
  else layers.show(state.view, shown, nodeColours(page, state, grouping, shareOf));
  light(cursor >= 0 ? cursor : state.values.node);
  Object.assign(document.body.dataset, { edges: shown.edges.length, nodes: shown.nodes, view: state.view.key, ready: "1" });
}

function edgesShownOf(node) {
  const kept = new Set(shown.edges);
  return [...state.view.edgesOf(node)].filter((e) => kept.has(e)).slice(0, LIT);
}

function light(node) {
  if (state.values.mode === "layers") layers.highlight(node, node < 0 ? [] : edgesShownOf(node));
}

function hover(node, event, cell = null) {
  const where = node < 0 ? state.values.node : node;
  if (node !== cursor) {
    cursor = node;
    light(where);
  }
  tip.hidden = node < 0;
  if (node < 0) return;
  tip.textContent = cell ? cellText(cell) : page.nodes.name[node];
  const box = stage.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY - box.top + 16}px`;
}

function cellText({ source, target }) {
  const { view } = state;
  const joined = [...view.edgesOf(source)].filter((e) =>
    (view.source[e] === source && view.target[e] === target) || (!view.directed && view.source[e] === target && view.target[e] === source));
  const weights = joined.map((e) => [view.channels[view.channel[e]], number(view.weight[e])].filter(Boolean).join(" ")).join(", ");
  return `${page.nodes.name[source]} ${view.directed ? "\u2192" : "\u2013"} ${page.nodes.name[target]}: ${weights || "no edge"}`;
}

function choose(node) {
  cursor = -1;
  state.set({ node });
  light(node);
  if (node >= 0 && state.values.mode === "layers") layers.reveal(node);
  said.textContent = node < 0 ? "No node chosen." : `${page.nodes.name[node]} chosen.`;
}

async function copyLink() {
  const link = `${location.href.split("#")[0]}#${state.hash()}`;
  history.replaceState(null, "", link);
  try {
    await navigator.clipboard.writeText(link);
    said.textContent = "Link copied.";
  } catch {
    said.textContent = "The address bar holds the link.";
  }
}

// Arrow keys: left and right within a row, up and down to the nearest node of the next row that is shown.
function step(dx, dy) {
  const { x, y } = layers.geometry;
  const from = cursor >= 0 ? cursor : state.values.node;
  const open = [...shown.allowed.keys()].filter((node) => shown.allowed[node] && node !== from);
  if (!open.length) return;
  if (from < 0) return focusOn(open[0]);
  const ahead = open.filter((node) => (dx ? y[node] === y[from] && (x[node] - x[from]) * dx > 0 : (y[node] - y[from]) * dy > 0));
  const far = (node) => (dx ? Math.abs(x[node] - x[from]) : 1e4 * Math.abs(y[node] - y[from]) + Math.abs(x[node] - x[from]));
  if (ahead.length) focusOn(ahead.reduce((a, b) => (far(b) < far(a) ? b : a)));
}

function focusOn(node) {
  cursor = node;
  layers.reveal(node);
  light(node);
  said.textContent = page.nodes.name[node];
}

const KEYS = {
  ArrowLeft: ["move to the node on the left", () => step(-1, 0)],
  ArrowRight: ["move to the node on the right", () => step(1, 0)],
  ArrowUp: ["move to the row above", () => step(0, -1)],
  ArrowDown: ["move to the row below", () => step(0, 1)],
  Enter: ["choose the node", () => cursor >= 0 && choose(cursor)],
  Escape: ["back to the graph", () => choose(-1)],
  "+": ["zoom in", () => layers.scaleBy(1.3)],
  "-": ["zoom out", () => layers.scaleBy(1 / 1.3)],
  0: ["show everything", () => controls.actions.fit()],
  "[": ["fewer edges", () => state.set({ edges: Math.max(0, Math.min(state.values.edges - 1, Math.round(state.values.edges / 1.25))) })],
  "]": ["more edges", () => state.set({ edges: Math.min(state.view.count, Math.max(state.values.edges + 1, Math.round(state.values.edges * 1.25))) })],
  m: ["layers or matrix", () => state.set({ mode: state.values.mode === "matrix" ? "layers" : "matrix" })],
  p: ["only edges on a path", () => state.set({ prune: !state.values.prune })],
  r: ["undo all filters", () => state.reset()],
  "/": ["find a node", () => controls.searchBox.focus()],
  "?": ["these keys", () => element("help").showModal()],
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || element("help").open) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.key !== "Escape";
  const onButton = event.target.tagName === "BUTTON" && event.key === "Enter";
  if (typing || onButton || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key][1]();
});

element("help").append(
  make("h2", { id: "help-title" }, "Keys"),
  make("dl", {}, ...Object.entries(KEYS).flatMap(([key, [what]]) => [make("dt", {}, make("kbd", {}, key.replace("Arrow", ""))), make("dd", {}, what)])),
  make("p", {}, "Drag to move, scroll to zoom, click a node to choose it. Red edges raise the metric, blue edges lower it, in effective graphs; elsewhere the colour is the sign of the weight."),
  make("form", { method: "dialog" }, make("button", {}, "Close")),
);

state.on(update);
new ResizeObserver(() => {
  if (state.values.mode === "matrix") return matrix.draw();
  if (layers.resize() || !layers.placed) {
    layers.placed = true;
    layers.setZoom(state.values.zoom);
  } else {
    layers.draw();
  }
}).observe(stage);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => update());
window.addEventListener("hashchange", () => location.reload());
layers.resize();
update();
layers.setZoom(state.values.zoom);
