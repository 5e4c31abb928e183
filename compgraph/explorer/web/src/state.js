// What the page shows, kept in the address so that a link brings it back.

const DEFAULTS = {
  view: 0,
  mode: "layers",
  edges: null,
  prune: false,
  hide: [],
  kinds: [],
  channels: [],
  colour: "kind",
  group: -1,
  task: -1,
  node: -1,
  curve: 0,
  series: 0,
  zoom: null,
};

export class State {
  constructor(page) {
    this.page = page;
    this.listeners = [];
    this.values = { ...DEFAULTS, ...this.parse(location.hash.slice(1)) };
    this.values.edges ??= this.usualEdges();
  }

  get view() {
    return this.page.views[this.values.view];
  }

  // A number of edges that can be read: a fifth of them, at most 150.
  usualEdges() {
    const { count } = this.page.views[this.values?.view ?? 0];
    return Math.min(150, Math.max(1, Math.ceil(count / 5)), count);
  }

  on(listener) {
    this.listeners.push(listener);
  }

  set(changes) {
    const changed = Object.keys(changes).filter((key) => !same(this.values[key], changes[key]));
    if (!changed.length) return;
    this.values = { ...this.values, ...changes };
    if ("view" in changes) {
      this.values.edges = Math.min(this.values.edges, this.view.count);
      this.values.channels = this.values.channels.filter((name) => this.view.channels.includes(name));
      this.values.curve = 0;
      this.values.series = 0;
    }
    for (const listener of this.listeners) listener(changed);
    this.remember();
  }

  reset() {
    const { view, mode } = this.values;
    this.set({ ...DEFAULTS, view, mode, edges: this.usualEdges() });
  }

  remember() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => history.replaceState(null, "", `#${this.hash()}`), 150);
  }

  hash() {
    const { values, page } = this;
    const out = new URLSearchParams();
    const put = (key, value) => {
      if (!same(values[key], DEFAULTS[key])) out.set(key, value);
    };
    put("view", this.view.key);
    put("mode", values.mode);
    out.set("edges", values.edges);
    put("prune", 1);
    for (const key of ["hide", "kinds", "channels"]) put(key, values[key].join(","));
    put("colour", values.colour);
    put("group", values.group);
    put("task", values.task >= 0 ? page.tasks.names[values.task] : "");
    put("node", values.node >= 0 ? page.nodes.name[values.node] : "");
    put("curve", values.curve);
    put("series", values.series);
    put("zoom", values.zoom?.map((number) => Number(number.toPrecision(5))).join(","));
    return out.toString();
  }

  // What a link does not say, or says wrongly, is as usual.
  parse(hash) {
    const given = new URLSearchParams(hash);
    const { page } = this;
    const found = {};
    const keep = (key, value, valid) => {
      if (given.has(key) && valid) found[key] = value;
    };
    const whole = (key) => (/^\d+$/.test(given.get(key) ?? "") ? Number(given.get(key)) : -1);
    const within = (key, length) => keep(key, whole(key), whole(key) >= 0 && whole(key) < length);
    const list = (key) => (given.get(key) ?? "").split(",").filter((text) => text !== "" || key === "channels");
    const view = page.views.findIndex((one) => one.key === given.get("view"));
    keep("view", view, view >= 0);
    const shown = page.views[Math.max(view, 0)];
    keep("mode", given.get("mode"), ["layers", "matrix"].includes(given.get("mode")));
    keep("edges", Math.min(whole("edges"), shown.count), whole("edges") >= 0);
    keep("prune", true, given.get("prune") === "1");
    keep("hide", list("hide").filter((site) => page.nodes.sites.includes(site)), true);
    keep("kinds", list("kinds").filter((kind) => page.nodes.kind.includes(kind)), true);
    keep("channels", list("channels").filter((name) => shown.channels.includes(name)), true);
    const colour = given.get("colour");
    keep("colour", colour, isColour(colour, page));
    keep("group", whole("group"), whole("group") >= 0);
    const task = page.tasks ? page.tasks.names.indexOf(given.get("task")) : -1;
    keep("task", task, task >= 0);
    const node = page.nodes.name.indexOf(given.get("node"));
    keep("node", node, node >= 0);
    within("curve", shown.curves.length);
    within("series", shown.curves[found.curve ?? 0]?.series.length ?? 0);
    const zoom = (given.get("zoom") ?? "").split(",").map(Number);
    keep("zoom", zoom, zoom.length === 3 && zoom.every(Number.isFinite) && zoom[0] > 0);
    return found;
  }
}

export function isColour(name, page) {
  if (name === "kind" || (name === "task" && page.tasks)) return true;
  const match = /^group(\d+)$/.exec(name ?? "");
  return match !== null && Number(match[1]) < page.groupings.length;
}

const same = (a, b) => (Array.isArray(a) && Array.isArray(b) ? a.join("\n") === b.join("\n") : a === b);
