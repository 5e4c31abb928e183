"""What a block model fit found."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.communities.agreement import n_parts
from compgraph.communities.blocks.pattern import pattern
from compgraph.errors import GraphError
from compgraph.formats import other_format
from compgraph.tables import notebook_table, read_table, write_table

if TYPE_CHECKING:
    import pandas as pd

Labels = npt.NDArray[np.int32]
FORMAT = 3
ANEW = "fit it anew, by compgraph run or compgraph sbm"
_TABLES = ("runs", "models", "parts", "memberships", "blocks")
_SCALARS = (
    "description_length",
    "description_length_one_block",
    "description_length_configuration",
    "nested",
    "degree_corrected",
    "structure",
    "agreement",
)


@dataclass(frozen=True)
class BlockModel:
    """A partition of a graph's nodes into blocks, and what it is worth.

    Attributes
    ----------
    levels
        Blocks of the nodes, finest level first, each int32 [n_nodes]; levels above a flat model, and the
        trivial level of one block above all others, are not listed. -1: the node has no pair that the model
        explains.
    description_length
        graph-tool's entropy of this model with its data, nats (values are continuous, so it can be negative);
        without graph-tool the closed form of the same, see `parameters["judge"]`.
    description_length_one_block
        The same for all nodes in one block, of the better model (degree-corrected or not).
    description_length_configuration
        The same for the configuration model: one block, degree-corrected; where the architecture says where edges
        may be, one block is that model already.
    nested, degree_corrected, structure
        The model that was kept; its structure is `any`, or the name of one: `assortative`, `core-periphery`, ….
    parameters
        Everything that decided the result, with the transform of the weights; JSON-able.
    runs
        One row a run: run, n_blocks, description_length, nested, degree_corrected, start, overlap (adjusted Rand
        index with the partition that was kept).
    models
        One row a model, by its shortest fit: model (`one block`, `flat`, `nested`, a structure, or `layers apart`:
        blocks of its own for every layer), weighted (false where the
        result is weighted: blocks of the presence of edges, and one law for all weights), degree_corrected,
        n_blocks, description_length, log_odds (nats by which the result's description is shorter: the log of
        its posterior odds against that model, if both are as probable beforehand), comparable (whether the model
        describes the same data; false with NaN where it does not serve the graph), reason (why it does not).
    parts
        The description length by what is told: part, nats, nats_per_edge. `partition`, `edge counts` between blocks,
        `degrees`, `edges` (where they are, given those), `weight parameters`, `weights`, `hierarchy` (all above the
        finest level); `whole` where it is not known by parts.
    memberships
        One row a node and block that some of its edges are in: node, block, share; empty unless blocks overlap.
    agreement
        Mean adjusted Rand index between the runs' finest levels; NaN for one run.
    blocks
        One row a layer and a pair of blocks with a used pair of nodes: level, layer, source, target, pairs (how many),
        weight (their mean), magnitude (mean |weight|), value (mean on the model's scale; edges over expected
        ones for presence among allowed pairs; else NaN where only presence counts). Undirected: source <= target.
    names, sites
        Of the nodes.
    directed
        Whether (source, target) of blocks is ordered.
    notes
        Sentences that a reader of the result should know.
    """

    levels: tuple[Labels, ...]
    description_length: float
    description_length_one_block: float
    description_length_configuration: float
    nested: bool
    degree_corrected: bool
    structure: str
    parameters: Mapping[str, Any]
    runs: pd.DataFrame
    models: pd.DataFrame
    parts: pd.DataFrame
    memberships: pd.DataFrame
    agreement: float
    blocks: pd.DataFrame
    names: tuple[str, ...]
    sites: tuple[str, ...]
    directed: bool
    notes: tuple[str, ...] = field(default=())

    @property
    def labels(self) -> Labels:
        """Blocks of the nodes at the finest level, int32 [n_nodes]."""
        return self.levels[0]

    @cached_property
    def n_blocks(self) -> int:
        """Number of blocks of the finest level."""
        return n_parts(self.labels)

    @property
    def gain(self) -> float:
        """Nats by which the description is shorter than with one block; exp(gain) are the posterior odds."""
        return self.description_length_one_block - self.description_length

    @property
    def compression(self) -> float:
        """Share of the one-block description that the blocks save; 0 for one block."""
        return self._saved(self.description_length_one_block)

    @property
    def compression_configuration(self) -> float:
        """Share of the configuration model's description that the blocks save; below 0 where it is the shorter one."""
        return self._saved(self.description_length_configuration)

    def _saved(self, whole: float) -> float:
        return (whole - self.description_length) / abs(whole) if whole else 0.0

    @property
    def nats_per_edge(self) -> float:
        """Description length per explained pair of nodes, nats; NaN without any."""
        pairs = int(self.parameters["pairs"])
        return self.description_length / pairs if pairs else math.nan

    def block_matrix(self, level: int = 0, value: str = "weight", layer: str | None = None) -> pd.DataFrame:
        """Blocks by blocks at a level.

        Parameters
        ----------
        level
            0 is the finest.
        value
            `weight`, `magnitude`, `value` (means over pairs of nodes) or `pairs` (their number).
        layer
            Which of several layers; the first if not given.

        Returns
        -------
        DataFrame
            Row: source block, column: target block; NaN (0 for `pairs`) where no pair was used. Symmetric for
            undirected graphs.
        """
        if not 0 <= level < len(self.levels):
            raise ValueError(f"level must be 0 … {len(self.levels) - 1}, not {level}")
        if value not in ("weight", "magnitude", "value", "pairs"):
            raise ValueError(f"value must be 'weight', 'magnitude', 'value' or 'pairs', not {value!r}")
        import pandas as pd

        n = n_parts(self.levels[level])
        matrix = np.full((n, n), 0.0 if value == "pairs" else np.nan)
        known = list(dict.fromkeys(self.blocks["layer"]))
        if layer is not None and layer not in known:
            raise ValueError(f"layer must be one of {', '.join(map(repr, known))}, not {layer!r}")
        chosen = layer if layer is not None or not known else known[0]
        rows = self.blocks[(self.blocks["level"] == level) & (self.blocks["layer"] == chosen)]
        source, target = rows["source"].to_numpy(), rows["target"].to_numpy()
        matrix[source, target] = rows[value]
        if not self.directed:
            matrix[target, source] = rows[value]
        index = pd.RangeIndex(n, name="source")
        return pd.DataFrame(matrix, index=index, columns=pd.RangeIndex(n, name="target"))

    def ties(self, level: int = 0, layer: str | None = None) -> npt.NDArray[np.float64]:
        """How strongly blocks are joined, float64 [K, K]: what the model explains of it.

        The share of pairs of nodes that have an edge, where presence is explained and not every pair has one; else
        mean values on the model's scale. NaN where no pair could tell.
        """
        values = self.block_matrix(level, "value", layer).to_numpy()
        if self.parameters["constraint"] in ("layers", "levels"):
            return values
        sizes = np.bincount(self.levels[level], minlength=len(values)).astype(np.float64)
        possible = np.outer(sizes, sizes) - np.diag(sizes)
        if not self.directed:
            np.fill_diagonal(possible, possible.diagonal() / 2)
        pairs = self.block_matrix(level, "pairs", layer).to_numpy()
        if pairs.sum() and (pairs >= possible).all() and np.isfinite(values).any():
            return values
        density: npt.NDArray[np.float64] = np.divide(
            pairs, possible, out=np.full_like(possible, np.nan), where=possible > 0
        )
        return density

    @cached_property
    def pattern(self) -> str:
        """What the finest blocks are to each other, in the first layer: see `blocks.pattern`."""
        return pattern(self.ties(), self.directed and self.parameters["constraint"] not in ("layers", "levels"))

    def to_table(self) -> pd.DataFrame:
        """One row a node: node, site, level0, level1, … (int32, finest first)."""
        import pandas as pd

        columns: dict[str, Any] = {"node": list(self.names), "site": list(self.sites)}
        return pd.DataFrame(columns | {f"level{k}": labels for k, labels in enumerate(self.levels)})

    def summary(self) -> dict[str, Any]:
        """The result without the labels, JSON-able; undefined numbers are None."""
        return {
            "n_blocks": self.n_blocks,
            "blocks_by_level": [n_parts(labels) for labels in self.levels],
            **{name: _plain(getattr(self, name)) for name in _SCALARS},
            "pattern": self.pattern,
            "gain": self.gain,
            "compression": self.compression,
            "compression_configuration": self.compression_configuration,
            "nats_per_edge": _plain(self.nats_per_edge),
            "parameters": dict(self.parameters),
            "notes": list(self.notes),
        }

    def save(self, folder: str | Path) -> None:
        """Write a folder: `nodes.parquet`, a table for each of the attributes that are tables, and `model.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_table(self.to_table(), folder / "nodes.parquet")
        for name in _TABLES:
            write_table(getattr(self, name), folder / f"{name}.parquet")
        page = {"format": FORMAT, "directed": self.directed, "n_levels": len(self.levels), **self.summary()}
        text = json.dumps(page, sort_keys=True, indent=1, allow_nan=False)
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> BlockModel:
        """Read what `save` wrote.

        Raises
        ------
        GraphError
            If the folder does not hold a block model of this version.
        StoreError
            If one of its tables is missing or damaged.
        """
        folder = Path(folder)
        try:
            page = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if page["format"] != FORMAT:
                raise GraphError(other_format(folder, "block model", page["format"], FORMAT, ANEW))
            nodes = read_table(folder / "nodes.parquet")
            scalars: dict[str, Any] = {name: math.nan if page[name] is None else page[name] for name in _SCALARS}
            return cls(
                levels=tuple(nodes[f"level{k}"].to_numpy(np.int32) for k in range(page["n_levels"])),
                parameters=page["parameters"],
                **{name: read_table(folder / f"{name}.parquet") for name in _TABLES},
                names=tuple(nodes["node"]),
                sites=tuple(nodes["site"]),
                directed=page["directed"],
                notes=tuple(page["notes"]),
                **scalars,
            )
        except (OSError, KeyError, json.JSONDecodeError) as error:
            raise GraphError(f"{folder} does not hold a block model: {error}") from error

    def __repr__(self) -> str:
        sizes = " < ".join(str(n_parts(labels)) for labels in self.levels)
        return (
            f"BlockModel({sizes} blocks of {len(self.labels)} nodes, description length "
            f"{self.description_length:.1f}, {self.gain:.1f} nats under one block)"
        )

    def _repr_html_(self) -> str:
        """A line of numbers and the models it was compared with, for notebooks."""
        return notebook_table(repr(self), self.models)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
