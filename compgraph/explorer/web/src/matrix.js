// The same edges as a matrix, rows and columns sorted by site or by the groups and their nested levels.

import { SIGNS } from "./colours.js";
import { make } from "./dom.js";
import { font, paper, textColour } from "./layers.js";
import { groupingOf } from "./shown.js";

const EDGE = 96;

export class Matrix {
  constructor(page, { hover, pick }) {
    this.page = page;
    this.canvas = make("canvas", { class: "base", tabindex: "0", role: "application", "aria-label": "Matrix of edges" });
    this.element = make("div", { class: "drawing" }, this.canvas);
    this.canvas.addEventListener("pointermove", (event) => {
      const cell = this.cellAt(event);
      hover(cell ? cell.target : -1, event, cell);
    });
    this.canvas.addEventListener("pointerleave", () => hover(-1));
    this.canvas.addEventListener("click", (event) => {
      const cell = this.cellAt(event);
      pick(cell ? cell.target : -1);
    });
  }

  show(state, shown) {
    Object.assign(this, { state, view: state.view, shown });
    const grouping = groupingOf(this.page, state.values);
    this.levels = grouping ? nested(this.page.groupings, grouping) : [];
    this.order = this.sorted(shown.allowed);
    this.place = new Int32Array(this.page.nodes.count).fill(-1);
    this.order.forEach((node, at) => (this.place[node] = at));
    this.draw();
  }

  sorted(allowed) {
    const order = [...allowed.keys()].filter((node) => allowed[node]);
    return order.sort((a, b) => {
      for (const { label } of this.levels) if (label[a] !== label[b]) return last(label[a]) - last(label[b]);
      return a - b;
    });
  }

  geometry() {
    const { clientWidth, clientHeight } = this.element;
    const size = Math.max(40, Math.min(clientWidth - EDGE - 16, clientHeight - EDGE - 16));
    return { left: EDGE, top: EDGE, size, cell: size / Math.max(1, this.order.length) };
  }

  cellAt(event) {
    if (!this.order?.length) return null;
    const box = this.canvas.getBoundingClientRect();
    const { left, top, cell } = this.geometry();
    const column = Math.floor((event.clientX - box.left - left) / cell);
    const row = Math.floor((event.clientY - box.top - top) / cell);
    const n = this.order.length;
    if (row < 0 || column < 0 || row >= n || column >= n) return null;
    return { source: this.order[row], target: this.order[column] };
  }

  draw() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !this.order) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { left, top, size, cell } = this.geometry();
    pen.fillStyle = "#ffffff";
    pen.fillRect(left, top, size, size);
    this.cells(pen, left, top, cell);
    this.borders(pen, left, top, size, cell);
    this.names(pen, left, top, cell);
  }

  // Weakest first, so that where several edges share a cell the strongest is seen.
  cells(pen, left, top, cell) {
    const { view, shown } = this;
    const side = Math.max(cell, 0.7);
    for (let at = shown.edges.length - 1; at >= 0; at -= 1) {
      const e = shown.edges[at];
      pen.fillStyle = view.weight[e] < 0 ? SIGNS.negative : SIGNS.positive;
      pen.globalAlpha = 0.15 + 0.85 * Math.sqrt(Math.abs(view.weight[e]) / (view.strongest || 1));
      const [row, column] = [this.place[view.source[e]], this.place[view.target[e]]];
      pen.fillRect(left + column * cell, top + row * cell, side, side);
      if (!view.directed) pen.fillRect(left + row * cell, top + column * cell, side, side);
    }
    pen.globalAlpha = 1;
  }

  borders(pen, left, top, size, cell) {
    const levels = this.levels.length ? this.levels.map(({ label }) => (node) => label[node]) : [(node) => this.page.nodes.site[node]];
    levels.forEach((groupOf, depth) => {
      pen.strokeStyle = "#1F2933";
      pen.lineWidth = Math.max(0.6, 2.2 - 0.7 * depth);
      pen.beginPath();
      for (let at = 0; at <= this.order.length; at += 1) {
        const inside = at > 0 && at < this.order.length;
        if (inside && groupOf(this.order[at]) === groupOf(this.order[at - 1])) continue;
        pen.moveTo(left + at * cell, top);
        pen.lineTo(left + at * cell, top + size);
        pen.moveTo(left, top + at * cell);
        pen.lineTo(left + size, top + at * cell);
      }
      pen.stroke();
    });
  }

  names(pen, left, top, cell) {
    pen.fillStyle = textColour();
    pen.font = font(12);
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    pen.fillText(this.view.directed ? "target" : "node", left + 0.5 * cell * this.order.length, 12);
    const finest = this.levels.at(-1);
    const named = cell >= 11;
    pen.font = font(named ? Math.min(12, cell) : 12);
    const groups = this.runs((node) => (named ? node : finest ? finest.label[node] : this.page.nodes.site[node]));
    for (const { begin, end } of groups) {
      const middle = (begin + end) / 2;
      if ((end - begin) * cell < 11) continue;
      const node = this.order[begin];
      const text = named ? this.page.nodes.name[node] : finest ? (finest.groups[finest.label[node]] ?? "none") : this.page.nodes.site[node];
      pen.textAlign = "right";
      pen.fillText(text, left - 6, top + middle * cell, left - 10);
      pen.save();
      pen.translate(left + middle * cell, top - 6);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "left";
      pen.fillText(text, 0, 0, top - 28);
      pen.restore();
    }
  }

  runs(groupOf) {
    const found = [];
    this.order.forEach((node, at) => {
      if (at && groupOf(node) === groupOf(this.order[at - 1])) found.at(-1).end = at + 1;
      else found.push({ begin: at, end: at + 1 });
    });
    return found;
  }
}

const last = (label) => (label < 0 ? Infinity : label); // nodes without a group come last

// The levels of one nested partition, coarsest first, down to the chosen one.
export function nested(groupings, chosen) {
  const family = /^(.*), level (\d+)(.*)$/.exec(chosen.name);
  if (!family) return [chosen];
  const level = (one) => {
    const found = /^(.*), level (\d+)(.*)$/.exec(one.name);
    return found && found[1] === family[1] && found[3] === family[3] ? Number(found[2]) : -1;
  };
  return groupings.filter((one) => level(one) >= Number(family[2])).sort((a, b) => level(b) - level(a));
}
