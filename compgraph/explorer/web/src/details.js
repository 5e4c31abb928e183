// The right-hand side: what is known about a node, or, with none chosen, about the graph.

import { heat, paletteColour } from "./colours.js";
import { choice, make, number, percent, whole } from "./dom.js";
import { shareOf } from "./shown.js";

const LISTED = 12;

export class Details {
  constructor(page, element, pick) {
    Object.assign(this, { page, element, pick, kind: 0 });
  }

  show(state, shown) {
    const { node } = state.values;
    this.element.replaceChildren(...(node < 0 ? this.graph(state, shown) : this.node(state, shown, node)));
  }

  graph(state, shown) {
    const { view } = state;
    const { nodes, notes } = this.page;
    const facts = [
      ["graph", `${view.kind}, ${view.directed ? "directed" : "undirected"}`],
      ["entry", view.method], ["checkpoint", view.checkpoint],
      ["nodes", `${whole(shown.nodes)} of ${whole(nodes.count)} with an edge`],
      ["edges", `${whole(shown.edges.length)} of ${whole(view.total)}`],
      ["strongest", number(view.strongest)], ["digest", view.digest],
    ];
    return [
      make("h2", {}, "The graph"),
      list(facts.filter(([, value]) => value)),
      make("h3", {}, "Strongest edges shown"),
      this.edges(state, [...shown.edges.subarray(0, LISTED)]),
      ...(notes.length ? [make("h3", {}, "Notes"), make("ul", { class: "notes" }, ...notes.map((text) => make("li", {}, text)))] : []),
    ];
  }

  node(state, shown, node) {
    const { nodes, tasks } = this.page;
    const kept = new Set(shown.edges);
    const mine = [...state.view.edgesOf(node)];
    const into = mine.filter((e) => (state.view.directed ? state.view.target[e] === node : true));
    const out = state.view.directed ? mine.filter((e) => state.view.source[e] === node) : [];
    const facts = [["site", nodes.site[node]], ["units", whole(nodes.size[node])], ...this.groups(node)];
    return [
      make("div", { class: "chosen" }, make("h2", {}, nodes.name[node]),
        make("button", { type: "button", class: "close", onclick: () => this.pick(-1) }, "Back to the graph")),
      list(facts),
      ...(tasks ? this.tasks(tasks, node) : []),
      make("h3", {}, state.view.directed ? `Strongest in (${whole(into.length)})` : `Strongest edges (${whole(into.length)})`),
      this.edges(state, into.slice(0, LISTED), kept),
      ...(state.view.directed ? [make("h3", {}, `Strongest out (${whole(out.length)})`), this.edges(state, out.slice(0, LISTED), kept)] : []),
      ...this.examples(node),
    ];
  }

  groups(node) {
    return this.page.groupings
      .filter((one) => one.label[node] >= 0)
      .map((one) => [one.name, one.groups[one.label[node]]]);
  }

  tasks(tasks, node) {
    const share = shareOf(tasks, node);
    if (share.every((one) => one === 0)) return [];
    const bars = tasks.names.map((name, at) => {
      const bar = make("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${100 * share[at]}%`;
      bar.style.background = paletteColour(at);
      return make("li", {}, make("span", {}, `${name} ${percent(share[at])}`), make("span", { class: "track" }, bar));
    });
    return [make("h3", {}, "Share of each task in its attribution"), make("ul", { class: "bars" }, ...bars)];
  }

  edges(state, edges, kept = null) {
    const { view } = state;
    const { nodes } = this.page;
    if (!edges.length) return make("p", { class: "none" }, "None.");
    const arrow = view.directed ? "\u2192" : "\u2013";
    const several = view.channels.length > 1;
    const rows = edges.map((e) => {
      const [source, target] = [view.source[e], view.target[e]];
      const end = (node) => make("button", { type: "button", onclick: () => this.pick(node) }, nodes.name[node]);
      const weight = make("td", { class: view.weight[e] < 0 ? "negative" : "positive" }, number(view.weight[e]));
      const error = view.columns.stderr ? ` \u00b1 ${number(view.columns.stderr[e])}` : "";
      if (error) weight.title = `standard error${error}`;
      return make("tr", { class: kept && !kept.has(e) ? "weak" : "" },
        make("td", {}, end(source), ` ${arrow} `, end(target)),
        several ? make("td", {}, view.channels[view.channel[e]]) : null, weight);
    });
    const head = make("tr", {}, make("th", { scope: "col" }, "edge"),
      several ? make("th", { scope: "col" }, "reads") : null, make("th", { scope: "col" }, "weight"));
    return make("table", { class: "edges" }, make("thead", {}, head), make("tbody", {}, ...rows));
  }

  examples(node) {
    const kinds = this.page.examples.filter((kind) => kind.nodes[node]);
    if (!kinds.length) return [];
    const shown = kinds[Math.min(this.kind, kinds.length - 1)];
    const switcher = choice("Coloured by", kinds.map((kind) => kind.quantity), kinds.indexOf(shown), (at) => {
      this.kind = at;
      const old = this.element.querySelector(".examples");
      old.replaceWith(this.found(kinds[at], node));
    });
    return [make("h3", {}, "Top examples"), switcher, this.found(shown, node)];
  }

  found(kind, node) {
    const items = kind.nodes[node].map((example) => this.example(example));
    const looked = make("p", { class: "none" }, `of the first ${whole(kind.looked)} items`);
    return make("div", { class: "examples" }, make("ol", {}, ...items), looked);
  }

  example(example) {
    const item = this.page.items[example.item];
    const head = make("p", { class: "item" }, `item ${example.item}`, item.task ? `, ${item.task}` : "", `: ${number(example.peak)}`);
    const largest = Math.abs(example.peak);
    const parts = [head];
    if (item.tokens) parts.push(tokens(item.tokens, example, largest));
    if (item.image) parts.push(picture(item, example.place));
    return make("li", {}, ...parts);
  }
}

function list(facts) {
  return make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function tokens(texts, example, largest) {
  const value = new Map(example.position.map((position, at) => [position, example.value[at]]));
  const spans = texts.map((text, position) => {
    const span = make("span", { class: "token" }, text.trim() === "" ? "\u2423" : text);
    if (value.has(position)) {
      span.style.background = heat(value.get(position), largest);
      span.title = `${text.trim()}: ${number(value.get(position))}`;
      span.classList.add("recorded");
    }
    return span;
  });
  return make("p", { class: "text" }, ...spans.flatMap((span) => [span, " "]));
}

// The image, with a frame where the node's strongest unit lies.
function picture(item, place) {
  const { shape, data } = item.image;
  const [height, width] = shape;
  const deep = shape.length === 3;
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const canvas = make("canvas", { class: "image", width, height, role: "img", "aria-label": `image of class ${item.task}` });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(width, height);
  for (let at = 0; at < width * height; at += 1) {
    for (let part = 0; part < 3; part += 1) pixels.data[4 * at + part] = bytes[deep ? 3 * at + part : at];
    pixels.data[4 * at + 3] = 255;
  }
  pen.putImageData(pixels, 0, 0);
  const frame = make("div", { class: "framed" }, canvas);
  if (place.length) {
    const mark = make("span", { class: "place", "aria-hidden": "true" });
    mark.style.left = `${100 * place[0]}%`;
    mark.style.top = `${100 * place[1]}%`;
    frame.append(mark);
  }
  return frame;
}
