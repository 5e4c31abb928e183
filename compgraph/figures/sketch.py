"""What of a graph one picture can hold: strongest edges, merged nodes, shared rows, short labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from compgraph.figures import style
from compgraph.graph import ComputationalGraph

NODE_LIMIT = 100
EDGE_LIMIT = 600
ROW_LIMIT = 36


@dataclass(frozen=True)
class Sketch:
    """What a drawing shows, small enough to be read.

    Attributes
    ----------
    nodes
        Columns name (of the graph node; empty where it stands for several), label, title (row label), site (of its
        colour), level, members (graph nodes it stands for).
    edges
        Columns source, target (positions in `nodes`), channel, weight.
    merged
        Graph nodes that are shown only as part of a "+n" box.
    hidden
        Graph edges that are weaker than the ones drawn and left out.
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame
    merged: int
    hidden: int

    @property
    def omissions(self) -> list[str]:
        """What was left out for legibility, in sentences without a full stop."""
        parts = []
        if self.hidden:
            parts.append(f"The {style.count(self.hidden, 'weakest edge', 'weakest edges')} not drawn")
        if self.merged:
            boxes = int((self.nodes["members"] > 1).sum())
            parts.append(
                f"{style.count(self.merged, 'weaker node')} merged into"
                f" {style.count(boxes, 'dashed box', 'dashed boxes')}"
            )
        return parts

    @property
    def note(self) -> str:
        """The omissions as the end of a caption; empty if there are none."""
        return "".join(f" {sentence}." for sentence in self.omissions)


def node_label(name: str) -> str:
    """Short label of a node: `attn.3/head.5` -> `3.5`, `mlp.3` -> `mlp 3`, `logits/class.2` -> `class 2`."""
    site, _, part = name.partition("/")
    layer = re.search(r"\.(\d+)$", site)
    index = re.search(r"\.(\d+)$", part)
    if not part:
        return site.replace(".", " ")
    if index is None:
        return part
    word = part[: index.start()]
    if layer is None:
        return f"{word} {index[1]}"
    return (
        f"{layer[1]}.{index[1]}"
        if word in ("head", "channel", "neuron")
        else f"{layer[1]}.{word[0]}{index[1]}"
    )


def sketch(
    graph: ComputationalGraph,
    *,
    merge_channels: bool = True,
    node_limit: int = NODE_LIMIT,
    edge_limit: int = EDGE_LIMIT,
) -> Sketch:
    """Reduce a graph to what one picture can hold: its strongest edges, their nodes, at most `node_limit`
    boxes.

    Beyond the limit the weakest nodes (sum of absolute weights of their edges) of every site are drawn as one
    box, and the weights between two boxes are added up. Graphs with very many sites have neighbouring sites
    share a row.
    """
    hidden = max(0, graph.n_edges - edge_limit)
    if hidden:
        graph = graph.top(edge_limit)
    edges = pd.DataFrame(
        {
            "source": np.asarray(graph.source, dtype=int),
            "target": np.asarray(graph.target, dtype=int),
            "channel": [graph.channels[c] for c in np.asarray(graph.channel)],
            "weight": np.asarray(graph.weight, dtype=float),
        }
    )
    nodes = graph.nodes.reset_index(drop=True)
    used = np.unique(edges[["source", "target"]].to_numpy())
    strength = np.bincount(edges["source"], edges["weight"].abs(), len(nodes)) + np.bincount(
        edges["target"], edges["weight"].abs(), len(nodes)
    )
    table = pd.DataFrame(
        {"name": nodes["name"], "site": nodes["site"].astype(str), "level": nodes["level"]}
    ).loc[used]
    table = _share_rows(table)
    table["strength"] = strength[used]
    table["box"] = _boxes(table, node_limit)
    boxes = table.groupby("box", sort=False).agg(
        name=("name", lambda names: str(names.iloc[0]) if len(names) == 1 else ""),
        label=("name", lambda names: node_label(str(names.iloc[0])) if len(names) == 1 else f"+{len(names)}"),
        title=("title", "first"),
        site=("site", "first"),
        level=("level", "first"),
        members=("name", "size"),
    )
    position = pd.Series(np.arange(len(boxes)), index=boxes.index)
    box_of = position.reindex(table["box"]).set_axis(table.index)
    drawn = edges.assign(
        source=box_of.reindex(edges["source"]).to_numpy(), target=box_of.reindex(edges["target"]).to_numpy()
    )
    drawn = drawn[drawn["source"] != drawn["target"]]
    keys = ["source", "target"] if merge_channels else ["source", "target", "channel"]
    drawn = drawn.groupby(keys, sort=True, as_index=False).agg(
        channel=("channel", lambda c: "+".join(sorted(set(c)))), weight=("weight", "sum")
    )
    merged = int(boxes.loc[boxes["members"] > 1, "members"].sum())
    return Sketch(
        boxes.reset_index(drop=True), drawn[["source", "target", "channel", "weight"]], merged, hidden
    )


def _share_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Number the levels from 0, several neighbouring ones together where there are more than a page holds."""
    levels = np.unique(table["level"])
    group = np.searchsorted(levels, table["level"])
    if len(levels) > ROW_LIMIT:
        group = group * ROW_LIMIT // len(levels)
    table = table.assign(level=group)
    titles = {
        level: _row_title(list(dict.fromkeys(part["site"])))
        for level, part in table.sort_values("level", kind="stable").groupby("level")
    }
    return table.assign(title=table["level"].map(titles))


def _row_title(sites: Sequence[str]) -> str:
    return " \u00b7 ".join(sites) if len(sites) <= 2 else f"{sites[0]} \u2026 {sites[-1]}"


def _boxes(table: pd.DataFrame, limit: int) -> NDArray[Any]:
    """Box of each node: its own name, or its row's rest."""
    if len(table) <= limit:
        return np.asarray(table["name"].to_numpy(dtype=object))
    order = np.argsort(-table["strength"].to_numpy(), kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    # As many nodes of their own as leave room for one box of the rest in every row that has a rest.
    n_own = next(
        k for k in range(limit, -1, -1) if k + table["level"][rank >= k].nunique() <= limit or k == 0
    )
    rest = table["level"].where(rank >= n_own)
    own = (rank < n_own) | (rest.map(rest.value_counts()).to_numpy() == 1)
    return np.where(own, table["name"], "rest of row " + table["level"].astype(str))
