// Places of nodes and shapes of edges in the drawing's own units; the drawing and the SVG export share them.

const ROW = 96; // least distance of two rows
const ASPECT = 0.62; // height over width that many nodes a row are given at least
export const BOX = { height: 24, pad: 8, font: 12 };
const MANY = 400;

export class Geometry {
  constructor(nodes, measure) {
    this.nodes = nodes;
    this.boxes = nodes.count <= MANY;
    const counts = new Map();
    for (const row of nodes.row) counts.set(row, (counts.get(row) ?? 0) + 1);
    const widest = Math.max(...counts.values());
    const label = Math.max(...nodes.label.map((text) => measure(text)), 12);
    const pitch = this.boxes ? Math.min(Math.max(label + 2 * BOX.pad + 10, 34), 120) : 26;
    this.width = Math.max(420, widest * pitch);
    const rows = Math.max(...nodes.row) + 1;
    this.pitch = Math.max(ROW, (ASPECT * this.width) / rows);
    this.height = rows * this.pitch;
    this.x = Float64Array.from(nodes.x, (x) => x * this.width);
    this.y = Float64Array.from(nodes.row, (row) => this.height - (row + 0.5) * this.pitch);
    this.half = Float64Array.from(nodes.label, (text) => (this.boxes ? measure(text) / 2 + BOX.pad : 5));
    this.radius = this.boxes ? BOX.height / 2 : 5;
  }

  // The curve of an edge: leaves and enters vertically, bows out where both ends lie in one row.
  curve(source, target) {
    const [x0, y0, x1, y1] = [this.x[source], this.y[source], this.x[target], this.y[target]];
    if (y0 === y1) {
      const rise = y0 - this.radius - Math.min(60, 18 + 0.15 * Math.abs(x1 - x0));
      return [x0, y0 - this.radius, x0, rise, x1, rise, x1, y1 - this.radius];
    }
    const up = y1 < y0 ? -this.radius : this.radius;
    const bend = 0.5 * (y1 - y0 - 2 * up);
    return [x0, y0 + up, x0, y0 + up + bend, x1, y1 - up - bend, x1, y1 - up];
  }

  at(x, y, used) {
    let best = -1;
    let nearest = Infinity;
    for (let node = 0; node < this.nodes.count; node += 1) {
      if (used && !used[node]) continue;
      const dx = Math.max(0, Math.abs(x - this.x[node]) - this.half[node] + 4);
      const dy = Math.max(0, Math.abs(y - this.y[node]) - this.radius + 4);
      const distance = dx * dx + dy * dy;
      if (distance < nearest) [best, nearest] = [node, distance];
    }
    return nearest <= 100 ? best : -1;
  }
}

export const lineWidth = (share) => 0.5 + 3.6 * share ** 0.7;
export const lineAlpha = (share) => 0.3 + 0.6 * share;
