// The layered drawing on two canvases: all edges and nodes below, what the pointer or the keyboard is on above.

import { select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";
import { SIGNS, inkOn } from "./colours.js";
import { make } from "./dom.js";
import { BOX, Geometry, lineAlpha, lineWidth } from "./geometry.js";

const STEPS = 12;
const SMOOTH = 14; // milliseconds a full drawing may take to be made at every move
const LEFT = 74;

export class Layers {
  constructor(page, { hover, pick, moved }) {
    this.page = page;
    this.base = make("canvas", { class: "base", "aria-hidden": "true" });
    this.over = make("canvas", { class: "over", tabindex: "0", role: "application" });
    this.element = make("div", { class: "drawing" }, this.base, this.over);
    this.pen = this.base.getContext("2d");
    this.light = this.over.getContext("2d");
    this.pen.font = font(BOX.font);
    this.geometry = new Geometry(page.nodes, (text) => this.pen.measureText(text).width);
    this.transform = zoomIdentity;
    this.behaviour = zoom().scaleExtent([0.05, 40]).on("zoom", (event) => this.move(event.transform, event.sourceEvent))
      .on("end", (event) => event.sourceEvent && moved(this.zoom()));
    select(this.over).call(this.behaviour).on("dblclick.zoom", null);
    this.over.addEventListener("pointermove", (event) => hover(this.nodeAt(event), event));
    this.over.addEventListener("pointerleave", () => hover(-1));
    this.over.addEventListener("click", (event) => pick(this.nodeAt(event)));
  }

  nodeAt(event) {
    const box = this.over.getBoundingClientRect();
    const [x, y] = this.transform.invert([event.clientX - box.left, event.clientY - box.top]);
    return this.geometry.at(x, y, this.shown?.allowed);
  }

  zoom() {
    return [this.transform.k, this.transform.x, this.transform.y];
  }

  resize() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !clientHeight) return false;
    this.ratio = window.devicePixelRatio || 1;
    const before = this.base.width;
    for (const canvas of [this.base, this.over]) {
      canvas.width = Math.round(clientWidth * this.ratio);
      canvas.height = Math.round(clientHeight * this.ratio);
    }
    return before !== this.base.width;
  }

  fitted() {
    const { clientWidth, clientHeight } = this.element;
    const { width, height } = this.geometry;
    const k = Math.min((clientWidth - LEFT - 12) / width, (clientHeight - 12) / height, 1.6);
    return zoomIdentity.translate(LEFT + (clientWidth - LEFT - 12 - k * width) / 2, (clientHeight - k * height) / 2).scale(k);
  }

  setZoom(zoom) {
    const to = zoom ? zoomIdentity.translate(zoom[1], zoom[2]).scale(zoom[0]) : this.fitted();
    select(this.over).call(this.behaviour.transform, to);
  }

  scaleBy(factor) {
    select(this.over).call(this.behaviour.scaleBy, factor);
  }

  panBy(dx, dy) {
    select(this.over).call(this.behaviour.translateBy, dx / this.transform.k, dy / this.transform.k);
  }

  // Brings a node into sight if it is not.
  reveal(node) {
    const [x, y] = this.transform.apply([this.geometry.x[node], this.geometry.y[node]]);
    const { clientWidth, clientHeight } = this.element;
    if (x < LEFT || y < 20 || x > clientWidth - 20 || y > clientHeight - 20) {
      select(this.over).call(this.behaviour.translateTo, this.geometry.x[node], this.geometry.y[node]);
    }
  }

  show(view, shown, colours) {
    Object.assign(this, { view, shown, colours });
    this.paths = this.buckets(shown.edges);
    this.draw();
  }

  // Edges of like sign and strength share one path, so that tens of thousands take a few strokes.
  buckets(edges) {
    const { view, geometry } = this;
    const paths = new Map();
    for (let at = edges.length - 1; at >= 0; at -= 1) {
      const e = edges[at];
      const share = Math.abs(view.weight[e]) / (view.strongest || 1);
      const step = Math.min(STEPS - 1, Math.floor(Math.sqrt(share) * STEPS));
      const key = 2 * step + (view.weight[e] < 0 ? 0 : 1);
      if (!paths.has(key)) paths.set(key, { path: new Path2D(), share: ((step + 0.5) / STEPS) ** 2, sign: key % 2 });
      trace(paths.get(key).path, geometry.curve(view.source[e], view.target[e]));
    }
    return [...paths.entries()].sort((a, b) => a[0] - b[0]).map((entry) => entry[1]);
  }

  move(transform, byHand) {
    this.transform = transform;
    if (!this.paths) return;
    clearTimeout(this.later);
    if (byHand && this.cost > SMOOTH && this.snapshot) {
      this.drawSnapshot();
      this.later = setTimeout(() => this.draw(), 90);
    } else {
      this.draw();
    }
  }

  draw() {
    const begin = performance.now();
    this.clear(this.pen, this.base);
    this.world(this.pen, this.transform);
    for (const { path, share, sign } of this.paths) {
      this.pen.globalAlpha = lineAlpha(share);
      this.pen.strokeStyle = sign ? SIGNS.positive : SIGNS.negative;
      this.pen.lineWidth = lineWidth(share) / Math.sqrt(this.transform.k);
      this.pen.stroke(path);
    }
    this.pen.globalAlpha = 1;
    this.drawNodes();
    this.drawRows();
    this.drawLight();
    this.cost = performance.now() - begin;
    this.element.dataset.cost = this.cost.toFixed(1);
    if (this.cost > SMOOTH) this.takeSnapshot();
  }

  takeSnapshot() {
    this.snapshot ??= document.createElement("canvas");
    this.snapshot.width = this.base.width;
    this.snapshot.height = this.base.height;
    this.snapshot.getContext("2d").drawImage(this.base, 0, 0);
    this.taken = this.transform;
  }

  drawSnapshot() {
    const { k, x, y } = this.transform;
    const scale = k / this.taken.k;
    this.clear(this.pen, this.base);
    this.pen.setTransform(scale, 0, 0, scale, this.ratio * (x - scale * this.taken.x), this.ratio * (y - scale * this.taken.y));
    this.pen.drawImage(this.snapshot, 0, 0);
    this.drawLight();
  }

  clear(pen, canvas) {
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
  }

  world(pen, { k, x, y }) {
    pen.setTransform(this.ratio * k, 0, 0, this.ratio * k, this.ratio * x, this.ratio * y);
  }

  drawNodes() {
    const { geometry, shown, colours, page, pen } = this;
    const scale = this.transform.k * BOX.font;
    for (let node = 0; node < page.nodes.count; node += 1) {
      if (!shown.allowed[node]) continue;
      pen.globalAlpha = shown.used[node] ? 1 : 0.22;
      this.box(pen, node, colours[node]);
      const roomy = geometry.boxes ? scale > 5 : scale > 22;
      if (roomy) this.label(pen, node, geometry.boxes ? inkOn(colours[node]) : textColour());
    }
    pen.globalAlpha = 1;
  }

  box(pen, node, colour) {
    const { geometry } = this;
    const [x, y, half, radius] = [geometry.x[node], geometry.y[node], geometry.half[node], geometry.radius];
    pen.fillStyle = colour;
    pen.beginPath();
    if (geometry.boxes) pen.roundRect(x - half, y - radius, 2 * half, 2 * radius, 5);
    else pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fill();
  }

  label(pen, node, colour) {
    const { geometry, page } = this;
    pen.font = font(geometry.boxes ? BOX.font : 5);
    pen.fillStyle = colour;
    pen.textAlign = "center";
    pen.textBaseline = geometry.boxes ? "middle" : "top";
    pen.fillText(page.nodes.label[node], geometry.x[node], geometry.y[node] + (geometry.boxes ? 0.5 : 6));
  }

  // Names of the sites at the left edge, wherever the drawing is moved to.
  drawRows() {
    const { nodes } = this.page;
    const first = new Map();
    for (let node = 0; node < nodes.count; node += 1) {
      const key = nodes.level[node];
      if (!first.has(key)) first.set(key, { sites: new Set(), rows: [] });
      first.get(key).sites.add(nodes.site[node]);
      first.get(key).rows.push(nodes.row[node]);
    }
    const pen = this.pen;
    pen.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    pen.font = font(12);
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    let last = Infinity;
    for (const { sites, rows } of [...first.values()].sort((a, b) => a.rows[0] - b.rows[0])) {
      const middle = (Math.min(...rows) + Math.max(...rows)) / 2;
      const y = this.transform.applyY(this.geometry.height - (middle + 0.5) * this.geometry.pitch);
      if (Math.abs(last - y) < 15 * sites.size) continue;
      last = y;
      [...sites].forEach((site, at) => {
        const where = y + 15 * (at - (sites.size - 1) / 2);
        pen.fillStyle = paper();
        pen.globalAlpha = 0.85;
        pen.fillRect(4, where - 8, pen.measureText(site).width + 8, 16);
        pen.globalAlpha = 1;
        pen.fillStyle = textColour();
        pen.fillText(site, 8, where);
      });
    }
  }

  highlight(node, edges) {
    this.lit = node < 0 ? null : { node, edges };
    this.base.classList.toggle("dimmed", node >= 0);
    if (this.paths) this.drawLight();
  }

  drawLight() {
    this.clear(this.light, this.over);
    if (!this.lit) return;
    const { view, geometry, colours, light, lit } = this;
    this.world(light, this.transform);
    const ends = new Set([lit.node]);
    for (const e of [...lit.edges].reverse()) {
      const share = Math.abs(view.weight[e]) / (view.strongest || 1);
      const path = new Path2D();
      trace(path, geometry.curve(view.source[e], view.target[e]));
      light.globalAlpha = Math.max(0.6, lineAlpha(share));
      light.strokeStyle = view.weight[e] < 0 ? SIGNS.negative : SIGNS.positive;
      light.lineWidth = (lineWidth(share) + 0.8) / Math.sqrt(this.transform.k);
      light.stroke(path);
      ends.add(view.source[e]).add(view.target[e]);
    }
    light.globalAlpha = 1;
    for (const node of ends) {
      this.box(light, node, colours[node]);
      if (geometry.boxes) this.label(light, node, inkOn(colours[node]));
    }
    light.strokeStyle = textColour();
    light.lineWidth = 2 / this.transform.k;
    const [x, y, half, radius] = [geometry.x[lit.node], geometry.y[lit.node], geometry.half[lit.node] + 3, geometry.radius + 3];
    light.beginPath();
    light.roundRect(x - half, y - radius, 2 * half, 2 * radius, 7);
    light.stroke();
  }
}

function trace(path, [x0, y0, x1, y1, x2, y2, x3, y3]) {
  path.moveTo(x0, y0);
  path.bezierCurveTo(x1, y1, x2, y2, x3, y3);
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const textColour = () => style("--ink");
export const paper = () => style("--paper");
export const font = (size) => `${size}px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif`;
