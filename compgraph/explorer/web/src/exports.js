// What is seen, as SVG, PNG or CSV.

import { SIGNS, inkOn } from "./colours.js";
import { makeSvg } from "./dom.js";
import { BOX, lineAlpha, lineWidth } from "./geometry.js";

export function toCsv(page, view, shown) {
  const names = Object.keys(view.columns);
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = [["source", "target", "channel", "weight", ...names]];
  for (const e of shown.edges) {
    rows.push([
      page.nodes.name[view.source[e]], page.nodes.name[view.target[e]], view.channels[view.channel[e]],
      String(view.weight[e]), ...names.map((name) => String(view.columns[name][e])),
    ]);
  }
  return `${rows.map((row) => row.map(quote).join(",")).join("\r\n")}\r\n`;
}

export function layersToSvg(page, layers) {
  const { geometry, view, shown, colours } = layers;
  const left = 90;
  const svg = makeSvg("svg", {
    xmlns: "http://www.w3.org/2000/svg", viewBox: `${-left} 0 ${geometry.width + left} ${geometry.height}`,
    width: geometry.width + left, height: geometry.height, "font-family": "system-ui, Arial, sans-serif", "font-size": BOX.font,
  });
  svg.append(makeSvg("title", {}, page.title));
  const lines = makeSvg("g", { fill: "none" });
  for (const e of [...shown.edges].reverse()) {
    const share = Math.abs(view.weight[e]) / (view.strongest || 1);
    const [x0, y0, x1, y1, x2, y2, x3, y3] = geometry.curve(view.source[e], view.target[e]).map((value) => Number(value.toFixed(1)));
    lines.append(makeSvg("path", {
      d: `M${x0},${y0}C${x1},${y1} ${x2},${y2} ${x3},${y3}`, stroke: view.weight[e] < 0 ? SIGNS.negative : SIGNS.positive,
      "stroke-width": lineWidth(share).toFixed(2), "stroke-opacity": lineAlpha(share).toFixed(2),
    }));
  }
  svg.append(lines);
  for (let node = 0; node < page.nodes.count; node += 1) if (shown.used[node]) svg.append(nodeMark(page, geometry, colours[node], node));
  const rows = new Map();
  page.nodes.site.forEach((site, node) => rows.set(site, page.nodes.row[node]));
  const level = new Map();
  for (const [site, row] of rows) level.set(row, [...(level.get(row) ?? []), site]);
  for (const [row, sites] of level) {
    svg.append(makeSvg("text", { x: -left + 4, y: geometry.height - (row + 0.5) * geometry.pitch + 4 }, sites.join(", ")));
  }
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(svg)}\n`;
}

function nodeMark(page, geometry, colour, node) {
  const [x, y, half, radius] = [geometry.x[node], geometry.y[node], geometry.half[node], geometry.radius];
  const group = makeSvg("g", {}, makeSvg("title", {}, page.nodes.name[node]));
  group.append(makeSvg("rect", { x: x - half, y: y - radius, width: 2 * half, height: 2 * radius, rx: geometry.boxes ? 5 : radius, fill: colour }));
  if (geometry.boxes) {
    group.append(makeSvg("text", { x, y: y + 4, "text-anchor": "middle", fill: inkOn(colour) }, page.nodes.label[node]));
  }
  return group;
}

// The canvases of a drawing on its paper.
export function toPng(element, paper, done) {
  const canvases = [...element.querySelectorAll("canvas")];
  const joined = document.createElement("canvas");
  joined.width = canvases[0].width;
  joined.height = canvases[0].height;
  const pen = joined.getContext("2d");
  pen.fillStyle = paper;
  pen.fillRect(0, 0, joined.width, joined.height);
  for (const canvas of canvases) pen.drawImage(canvas, 0, 0);
  joined.toBlob(done, "image/png");
}

export function download(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
