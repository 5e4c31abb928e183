// The colours of the figures: kinds of sites, signs of weights, channels; a palette for groups and tasks.

export const KINDS = {
  embed: "#66727F", input: "#66727F", attn: "#0B8A83", mlp: "#D0911B", linear: "#D0911B", conv: "#8E6BB0",
  resid: "#9AA5AF", logits: "#2F3E4D",
};
export const SIGNS = { positive: "#BF3F2B", negative: "#2767A8" };
export const PALETTE = [
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C6D31", "#3B7A57", "#A34A6F",
  "#4B5D8A", "#B07C2A",
];
const NONE = "#9AA5AF";

export const paletteColour = (index) => (index < 0 ? NONE : PALETTE[index % PALETTE.length]);

export function nodeColours(page, state, grouping, shareOf) {
  const { nodes, tasks } = page;
  if (grouping) return Array.from(grouping.label, paletteColour);
  if (state.values.colour === "task" && tasks) {
    return nodes.name.map((_, node) => {
      const share = shareOf(tasks, node);
      const best = share.indexOf(Math.max(...share));
      return share[best] > 0 ? paletteColour(best) : NONE;
    });
  }
  return nodes.kind.map((kind) => KINDS[kind] ?? NONE);
}

// Text on a coloured box: black or white, whichever reads better.
export function inkOn(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#11161b" : "#ffffff";
}

// Background of a token: red for positive, blue for negative, as strong as the value against the largest.
export function heat(value, largest) {
  const share = largest > 0 ? Math.min(1, Math.abs(value) / largest) : 0;
  return `rgba(${value < 0 ? "39,103,168" : "191,63,43"},${(0.5 * share).toFixed(3)})`;
}
