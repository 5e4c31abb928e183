// Which nodes and edges are shown: the strongest edges between the nodes that pass the filters.

export function shownOf(page, state) {
  const { view, values } = state;
  const allowed = allowedNodes(page, values);
  const channels = view.channels.map((name) => !values.channels.includes(name));
  const upTo = Math.min(values.edges, view.count);
  let edges = new Uint32Array(upTo);
  let n = 0;
  for (let e = 0; e < upTo; e += 1) {
    if (allowed[view.source[e]] && allowed[view.target[e]] && channels[view.channel[e]]) edges[n++] = e;
  }
  edges = edges.subarray(0, n);
  if (values.prune && view.inputs.length && view.outputs.length) edges = onPaths(view, edges, page.nodes.count);
  const used = new Uint8Array(page.nodes.count);
  for (const e of edges) used[view.source[e]] = used[view.target[e]] = 1;
  return { edges, allowed, used, nodes: used.reduce((sum, one) => sum + one, 0) };
}

function allowedNodes(page, values) {
  const { nodes, tasks, groupings } = page;
  const allowed = new Uint8Array(nodes.count).fill(1);
  const grouping = groupingOf(page, values);
  for (let node = 0; node < nodes.count; node += 1) {
    if (values.hide.includes(nodes.site[node]) || values.kinds.includes(nodes.kind[node])) allowed[node] = 0;
    if (values.task >= 0 && tasks && !serves(tasks, node, values.task)) allowed[node] = 0;
    if (grouping && values.group >= 0 && grouping.label[node] !== values.group) allowed[node] = 0;
  }
  return allowed;
}

export function groupingOf(page, values) {
  return values.colour.startsWith("group") ? page.groupings[Number(values.colour.slice(5))] : null;
}

export function shareOf(tasks, node) {
  const width = tasks.names.length;
  return tasks.share.subarray(node * width, (node + 1) * width);
}

// A node serves a task that has at least its even share of the node; nodes without attribution serve all.
function serves(tasks, node, task) {
  const share = shareOf(tasks, node);
  return share.every((one) => one === 0) || share[task] * tasks.names.length >= 1;
}

// Edges on a path from an input to an output.
function onPaths(view, edges, nNodes) {
  const forward = reach(view, edges, nNodes, view.inputs, view.source, view.target);
  const backward = reach(view, edges, nNodes, view.outputs, view.target, view.source);
  return edges.filter((e) => {
    const [s, t] = [view.source[e], view.target[e]];
    return forward[s] && backward[s] && forward[t] && backward[t];
  });
}

function reach(view, edges, nNodes, starts, from, to) {
  const next = Array.from({ length: nNodes }, () => []);
  for (const e of edges) next[from[e]].push(to[e]);
  const seen = new Uint8Array(nNodes);
  const open = [...starts];
  for (const node of open) seen[node] = 1;
  while (open.length) {
    for (const node of next[open.pop()]) {
      if (!seen[node]) {
        seen[node] = 1;
        open.push(node);
      }
    }
  }
  return seen;
}
