// Faithfulness against the number of edges, and what it is at the slider.

import { extent } from "d3-array";
import { scaleLinear, scaleSymlog } from "d3-scale";
import { area, line } from "d3-shape";
import { make, makeSvg, number, percent, whole } from "./dom.js";

const SIZE = { width: 250, height: 130, left: 34, right: 18, top: 8, bottom: 30 };

// Faithfulness at a share of edges: as evaluated, or between two evaluated sizes (linear in the share).
export function faithfulnessAt(points, share) {
  const known = points.fraction.map((fraction, at) => ({ fraction, at }))
    .filter(({ at }) => points.faithfulness[at] !== null);
  if (!known.length) return null;
  const exact = known.find(({ fraction }) => Math.abs(fraction - share) <= 1e-9 + 1e-6 * share);
  if (exact) return { kind: "evaluated", ...rowAt(points, exact.at) };
  const after = known.findIndex(({ fraction }) => fraction > share);
  if (after <= 0) return { kind: "outside", ...rowAt(points, known[after === 0 ? 0 : known.length - 1].at) };
  const [low, high] = [known[after - 1], known[after]];
  const t = (share - low.fraction) / (high.fraction - low.fraction);
  const [a, b] = [rowAt(points, low.at), rowAt(points, high.at)];
  const mix = (name) => (a[name] === null || b[name] === null ? null : a[name] + t * (b[name] - a[name]));
  return { kind: "between", ...Object.fromEntries(Object.keys(a).map((name) => [name, mix(name)])) };
}

function rowAt(points, at) {
  const get = (name) => (name in points ? points[name][at] : null);
  return {
    faithfulness: get("faithfulness"), low: get("low"), high: get("high"), random: get("null_mean"), p: get("p"),
    n: get("n_edges"), fraction: get("fraction"),
  };
}

export function sentence(series, found, share) {
  const of = `${series.metric.replaceAll("_", " ")}${series.task === "all" ? "" : `, ${series.task}`}`;
  if (!found) return `Faithfulness (${of}) was not defined at any size.`;
  const interval = found.low === null ? "" : ` [${number(found.low)}, ${number(found.high)}]`;
  const random = found.random === null ? "" : `; random circuits ${number(found.random)}`;
  const p = found.p === null || found.kind !== "evaluated" ? "" : `, p = ${number(found.p)}`;
  const how = {
    evaluated: `evaluated at this size, ${whole(found.n ?? 0)} edges on a path`,
    between: "between two evaluated sizes, interpolated",
    outside: `nearest evaluated size: ${percent(found.fraction)} of the edges`,
  }[found.kind];
  return `${number(found.faithfulness)}${interval}${random}${p} (${of}; ${how}).`;
}

export function drawCurve(points, share, pick) {
  const { width, height, left, right, top, bottom } = SIZE;
  const rows = points.fraction.map((fraction, at) => ({ fraction, ...rowAt(points, at) }));
  const drawn = rows.filter((row) => row.faithfulness !== null);
  const smallest = Math.min(...rows.map((row) => row.fraction).filter((fraction) => fraction > 0), 0.01);
  const x = scaleSymlog().constant(smallest / 2).domain([0, 1]).range([left, width - right]);
  const [low, high] = extent(drawn.flatMap((row) => [row.faithfulness, row.low, row.high, row.random, 0, 1].filter((v) => v !== null)));
  const y = scaleLinear().domain([Math.max(low ?? 0, -1), Math.min(high ?? 1, 2)]).range([height - bottom, top]).clamp(true);
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": "Faithfulness against the share of edges" });
  const put = (shape, attributes) => svg.append(makeSvg("path", { d: shape ?? "", ...attributes }));
  const nulls = rows.filter((row) => "null_low" in points && row.random !== null);
  const index = (row) => rows.indexOf(row);
  put(area().x((row) => x(row.fraction)).y0((row) => y(points.null_low[index(row)])).y1((row) => y(points.null_high[index(row)]))(nulls), { class: "null" });
  put(area().x((row) => x(row.fraction)).y0((row) => y(row.low)).y1((row) => y(row.high))(drawn.filter((row) => row.low !== null)), { class: "interval" });
  put(line().x((row) => x(row.fraction)).y((row) => y(row.faithfulness))(drawn), { class: "line" });
  for (const row of drawn) svg.append(makeSvg("circle", { cx: x(row.fraction), cy: y(row.faithfulness), r: 2.6, class: "point" }));
  for (const value of y.ticks(4)) {
    svg.append(makeSvg("line", { x1: left - 3, x2: left, y1: y(value), y2: y(value), class: "axis" }));
    svg.append(makeSvg("text", { x: left - 5, y: y(value) + 3, "text-anchor": "end" }, number(value)));
  }
  for (const value of ticks(smallest)) {
    svg.append(makeSvg("line", { x1: x(value), x2: x(value), y1: height - bottom, y2: height - bottom + 3, class: "axis" }));
    svg.append(makeSvg("text", { x: x(value), y: height - bottom + 13, "text-anchor": "middle" }, percent(value)));
  }
  svg.append(makeSvg("path", { d: `M${left},${top}V${height - bottom}H${width - right}`, class: "axis" }));
  svg.append(makeSvg("text", { x: (left + width) / 2, y: height - 2, "text-anchor": "middle" }, "share of edges kept"));
  svg.append(makeSvg("line", { x1: x(share), x2: x(share), y1: top, y2: height - bottom, class: "here" }));
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    pick(Math.min(1, Math.max(0, x.invert(((event.clientX - box.left) / box.width) * width))));
  });
  return make("div", { class: "chart" }, svg);
}

function ticks(smallest) {
  const found = [0];
  for (let value = 1; value >= smallest && found.length < 6; value /= 10) found.push(value);
  return found;
}
