// Reads the page's data: base64 columns become typed arrays, each view gets its adjacency when first asked.

const TYPES = { f4: Float32Array, u4: Uint32Array, u2: Uint16Array, i4: Int32Array, u1: Uint8Array };

function unpack(column) {
  const text = atob(column.data);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return new TYPES[column.type](bytes.buffer);
}

export function readPage(text) {
  const raw = JSON.parse(text);
  const nodes = readNodes(raw.nodes);
  return {
    title: raw.title,
    nodes,
    views: raw.views.map((view) => readView(view, nodes.count)),
    groupings: raw.groupings.map((one) => ({ ...one, label: unpack(one.label) })),
    tasks: raw.tasks && { names: raw.tasks.names, share: unpack(raw.tasks.share) },
    examples: raw.examples,
    items: raw.items,
    notes: raw.notes,
  };
}

function readNodes(raw) {
  const count = raw.name.length;
  return {
    count,
    name: raw.name,
    site: raw.site,
    kind: raw.site.map((site) => site.split(".")[0]),
    label: raw.name.map((name, index) => (name === raw.site[index] ? name : name.slice(raw.site[index].length + 1))),
    size: unpack(raw.size),
    level: unpack(raw.level),
    x: unpack(raw.x),
    row: unpack(raw.row),
    sites: [...new Set(raw.site)],
  };
}

function readView(raw, nNodes) {
  const view = {
    ...raw,
    source: unpack(raw.source),
    target: unpack(raw.target),
    channel: unpack(raw.channel),
    weight: unpack(raw.weight),
    columns: Object.fromEntries(Object.entries(raw.columns).map(([name, column]) => [name, unpack(column)])),
  };
  view.count = view.weight.length;
  view.strongest = view.count ? Math.abs(view.weight[0]) : 0;
  let adjacency = null;
  view.edgesOf = (node) => {
    adjacency ??= adjacencyOf(view, nNodes);
    return adjacency.edges.subarray(adjacency.start[node], adjacency.start[node + 1]);
  };
  return view;
}

// Edges of each node, either end, strongest first (edges come sorted).
function adjacencyOf(view, nNodes) {
  const start = new Uint32Array(nNodes + 1);
  for (let e = 0; e < view.count; e += 1) {
    start[view.source[e] + 1] += 1;
    start[view.target[e] + 1] += 1;
  }
  for (let node = 0; node < nNodes; node += 1) start[node + 1] += start[node];
  const next = start.slice();
  const edges = new Uint32Array(2 * view.count);
  for (let e = 0; e < view.count; e += 1) {
    edges[next[view.source[e]]++] = e;
    edges[next[view.target[e]]++] = e;
  }
  return { start, edges };
}
