// The controls: which graph, how many edges, which nodes; each writes the state and follows it.

import { KINDS, paletteColour } from "./colours.js";
import { drawCurve, faithfulnessAt, sentence } from "./curve.js";
import { choice, make, percent, tick, uniqueId, whole } from "./dom.js";
import { groupingOf } from "./shown.js";

const STEPS = 1000;
const FEW = 40;

// The slider is logarithmic: half of its way is the square root of the number of edges.
export const toSlider = (edges, count) => (count ? Math.round((STEPS * Math.log1p(edges)) / Math.log1p(count)) : 0);
export const fromSlider = (value, count) => Math.min(count, Math.round(Math.expm1((value / STEPS) * Math.log1p(count))));

export class Controls {
  constructor(page, state, elements, actions) {
    Object.assign(this, { page, state, elements, actions });
    this.buildActions();
  }

  show(shown, changed) {
    this.shown = shown;
    if (!changed || changed.includes("view") || changed.includes("mode")) this.buildSwitches();
    const structural = ["view", "colour", "hide", "kinds", "channels", "task", "group", "curve", "prune"];
    if (!changed || changed.some((key) => structural.includes(key))) this.buildFilters();
    this.follow();
  }

  buildSwitches() {
    const { page, state } = this;
    const distinct = (key) => [...new Set(page.views.map((view) => view[key]))];
    const kinds = distinct("kind");
    const here = state.view;
    const methods = [...new Set(page.views.filter((view) => view.kind === here.kind).map((view) => view.method))];
    const checkpoints = [...new Set(page.views.filter((view) => view.kind === here.kind && view.method === here.method).map((view) => view.checkpoint))];
    // The nearest graph: same kind first, then same method, then same checkpoint.
    const go = (want) => {
      const wished = { kind: here.kind, method: here.method, checkpoint: here.checkpoint, ...want };
      const rank = (view) => 8 * (Object.entries(want).every(([key, value]) => view[key] === value)) +
        4 * (view.kind === wished.kind) + 2 * (view.checkpoint === wished.checkpoint) + (view.method === wished.method);
      const best = page.views.reduce((a, b) => (rank(b) > rank(a) ? b : a));
      state.set({ view: page.views.indexOf(best) });
    };
    const keep = document.activeElement?.id;
    const parts = [];
    if (kinds.length > 1) parts.push(choice("Connectivity", kinds, kinds.indexOf(here.kind), (at) => go({ kind: kinds[at] })));
    if (methods.length > 1) parts.push(choice("Graph", methods, methods.indexOf(here.method), (at) => go({ method: methods[at] })));
    if (checkpoints.length > 1) parts.push(choice("Checkpoint", checkpoints, checkpoints.indexOf(here.checkpoint), (at) => go({ checkpoint: checkpoints[at] })));
    parts.push(choice("View", ["layers", "matrix"], state.values.mode === "matrix" ? 1 : 0, (at) => state.set({ mode: at ? "matrix" : "layers" })));
    parts.forEach((part, at) => {
      const select = part.querySelector("select");
      select.id = `switch-${at}`;
      part.querySelector("label").htmlFor = select.id;
    });
    this.elements.switches.replaceChildren(...parts);
    if (keep?.startsWith("switch-")) document.getElementById(keep)?.focus();
  }

  buildActions() {
    const button = (text, title, act) => make("button", { type: "button", title, onclick: act }, text);
    const { actions } = this;
    this.elements.actions.replaceChildren(
      button("Fit", "Show everything (0)", actions.fit),
      button("Reset", "Undo all filters (r)", () => this.state.reset()),
      button("Link", "Copy a link to this view", actions.link),
      button("SVG", "Save the drawing as SVG", actions.svg),
      button("PNG", "Save what is seen as PNG", actions.png),
      button("CSV", "Save the edges shown as CSV", actions.csv),
      button("Help", "Keys (?)", actions.help),
    );
  }

  buildFilters() {
    const keep = document.activeElement?.dataset?.keep;
    const sections = [
      this.threshold(), this.curve(), this.search(), this.colouring(), this.sites(), this.channels(), this.taskFilter(),
    ];
    this.elements.filters.replaceChildren(...sections.filter((section) => section !== null));
    if (keep) this.elements.filters.querySelector(`[data-keep="${CSS.escape(keep)}"]`)?.focus();
  }

  threshold() {
    const { state } = this;
    const { count } = state.view;
    const id = uniqueId("edges");
    this.slider = make("input", {
      type: "range", min: "0", max: String(STEPS), step: "1", id, "data-keep": "slider",
      oninput: () => state.set({ edges: fromSlider(Number(this.slider.value), count) }),
    });
    this.typed = make("input", {
      type: "number", min: "0", max: String(count), "aria-label": "Number of edges", "data-keep": "typed",
      onchange: () => state.set({ edges: Math.max(0, Math.min(count, Math.round(Number(this.typed.value) || 0))) }),
    });
    this.level = make("p", { class: "level" });
    const paths = state.view.inputs.length && state.view.outputs.length;
    const prune = tick("only edges on a path from input to output", state.values.prune, (on) => state.set({ prune: on }));
    prune.querySelector("input").dataset.keep = "prune";
    return make("section", {}, make("h2", {}, make("label", { for: id }, "Strongest edges")),
      make("div", { class: "range" }, this.slider, this.typed), this.level, paths ? prune : null);
  }

  curve() {
    const { state } = this;
    const { curves } = state.view;
    this.chart = make("div", { class: "chart" });
    this.reading = make("p", { class: "reading", id: "faithfulness", "aria-live": "polite" });
    const section = make("section", {}, make("h2", {}, "Faithfulness of this circuit"));
    if (!curves.length) {
      section.append(make("p", { class: "none" }, "This graph's circuits were not run."));
      return section;
    }
    if (curves.length > 1) section.append(choice("Run", curves.map((one) => one.name), state.values.curve, (at) => state.set({ curve: at, series: 0 })));
    const { series } = curves[state.values.curve];
    const names = series.map((one) => `${one.metric.replaceAll("_", " ")}, ${one.task}`);
    if (series.length > 1) section.append(choice("Metric", names, state.values.series, (at) => state.set({ series: at })));
    section.append(this.reading, this.chart);
    return section;
  }

  search() {
    const { page, state } = this;
    const id = uniqueId("search");
    const names = make("datalist", { id: `${id}-names` }, ...page.nodes.name.slice(0, 5000).map((name) => make("option", { value: name })));
    const found = make("p", { class: "none", "aria-live": "polite" });
    const box = make("input", {
      type: "search", id, list: `${id}-names`, autocomplete: "off", "data-keep": "search",
      onchange: () => {
        const text = box.value.trim().toLowerCase();
        if (!text) return;
        const matches = page.nodes.name.map((name, node) => [name.toLowerCase(), node]).filter(([name]) => name.includes(text));
        const exact = matches.find(([name]) => name === text) ?? matches[0];
        found.textContent = matches.length ? `${whole(matches.length)} of ${whole(page.nodes.count)} nodes match.` : "No node matches.";
        if (exact) this.actions.choose(exact[1]);
      },
    });
    this.searchBox = box;
    return make("section", {}, make("h2", {}, make("label", { for: id }, "Find a node")), box, names, found);
  }

  colouring() {
    const { page, state } = this;
    const names = ["kind", ...(page.tasks ? ["task"] : []), ...page.groupings.map((_, at) => `group${at}`)];
    const words = ["kind of site", ...(page.tasks ? ["task it serves most"] : []), ...page.groupings.map((one) => one.name)];
    const pickColour = choice("Colour and sort by", words, names.indexOf(state.values.colour), (at) => state.set({ colour: names[at], group: -1 }));
    pickColour.querySelector("select").dataset.keep = "colour";
    const section = make("section", {}, make("h2", {}, "Groups"), pickColour, this.legend());
    const grouping = groupingOf(page, state.values);
    if (grouping) {
      const groups = choice("Show only", ["all groups", ...grouping.groups], state.values.group + 1, (at) => state.set({ group: at - 1 }));
      groups.querySelector("select").dataset.keep = "group";
      section.append(groups);
    }
    return section;
  }

  legend() {
    const { page, state } = this;
    const grouping = groupingOf(page, state.values);
    let entries = [...new Set(page.nodes.kind)].map((kind) => [kind, KINDS[kind] ?? paletteColour(-1)]);
    if (grouping) entries = grouping.groups.map((name, at) => [name, paletteColour(at)]);
    else if (state.values.colour === "task") entries = page.tasks.names.map((name, at) => [name, paletteColour(at)]);
    const marks = entries.slice(0, FEW).map(([name, colour]) => {
      const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = colour;
      return make("li", {}, swatch, name);
    });
    if (entries.length > FEW) marks.push(make("li", {}, `and ${entries.length - FEW} more`));
    return make("ul", { class: "legend" }, ...marks);
  }

  sites() {
    const { page, state } = this;
    const toggle = (key, name) => (on) => {
      const left = state.values[key].filter((one) => one !== name);
      state.set({ [key]: on ? left : [...left, name] });
    };
    const ticks = (key, names) => names.map((name) => {
      const box = tick(name, !state.values[key].includes(name), toggle(key, name), KINDS[name.split(".")[0]]);
      box.querySelector("input").dataset.keep = `${key}-${name}`;
      return box;
    });
    const kinds = [...new Set(page.nodes.kind)];
    return make("section", {}, make("h2", {}, "Kinds and layers"), make("div", { class: "ticks" }, ...ticks("kinds", kinds)),
      make("details", { open: state.values.hide.length > 0 }, make("summary", {}, `${page.nodes.sites.length} sites`),
        make("div", { class: "ticks" }, ...ticks("hide", page.nodes.sites))));
  }

  channels() {
    const { state } = this;
    const words = { q: "query", k: "key", v: "value", "": "MLP, logits" };
    if (state.view.channels.length < 2) return null;
    const ticks = state.view.channels.map((name) => {
      const box = tick(words[name] ?? name, !state.values.channels.includes(name), (on) => {
        const left = state.values.channels.filter((one) => one !== name);
        state.set({ channels: on ? left : [...left, name] });
      });
      box.querySelector("input").dataset.keep = `channel-${name}`;
      return box;
    });
    return make("section", {}, make("h2", {}, "Read as"), make("div", { class: "ticks" }, ...ticks));
  }

  taskFilter() {
    const { page, state } = this;
    if (!page.tasks) return null;
    const pickTask = choice("Nodes that serve", ["any task", ...page.tasks.names], state.values.task + 1, (at) => state.set({ task: at - 1 }));
    pickTask.querySelector("select").dataset.keep = "task";
    return make("section", {}, make("h2", {}, "Task"), pickTask);
  }

  // What changes at every move of the slider.
  follow() {
    const { state, shown } = this;
    const { view, values } = state;
    const share = view.total ? values.edges / view.total : 0;
    this.slider.value = String(toSlider(values.edges, view.count));
    this.typed.value = String(values.edges);
    const threshold = values.edges && view.count ? Math.abs(view.weight[Math.min(values.edges, view.count) - 1]) : view.strongest;
    this.level.textContent = `${percent(share)} of ${whole(view.total)}, |weight| \u2265 ${threshold.toPrecision(3)}; ${whole(shown.edges.length)} shown between ${whole(shown.nodes)} nodes`;
    const curve = view.curves[values.curve];
    const series = curve?.series[values.series];
    if (!series) return;
    this.reading.textContent = sentence(series, faithfulnessAt(series.points, share), share);
    this.chart.replaceChildren(drawCurve(series.points, share, (at) => state.set({ edges: Math.round(at * view.total) })));
  }
}
