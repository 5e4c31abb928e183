"""Which block each node is in, with what probability: partitions drawn from the posterior of a block model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.communities.agreement import Labels, adjusted_rand, n_parts
from compgraph.communities.block_model import BlockModel
from compgraph.communities.blocks.chains import Chain, GraphToolChain, MaskedChain
from compgraph.communities.blocks.diagnostics import (
    FEWEST,
    SHRINK,
    autocorrelation_time,
    effective_samples,
    scale_reduction,
)
from compgraph.communities.blocks.library import load_graph_tool, reproducible
from compgraph.communities.blocks.modes import Mode, consensus, modes
from compgraph.communities.blocks.problem import Graphs, Problem, described_again
from compgraph.communities.blocks.states import States
from compgraph.communities.optimise import run_seeds
from compgraph.communities.pairs import Floats
from compgraph.communities.sbm_engines import MASKED
from compgraph.errors import GraphError
from compgraph.tables import write_table

if TYPE_CHECKING:
    import pandas as pd

BURN_IN = 0.5
"""Share of the kept sweeps that are run before, and thrown away."""

DIGITS = 6
"""Lengths are rounded to so many digits (nats): what rounding adds would look like a chain that drifts."""

COMPARED = 50
"""Samples of each chain whose partitions are compared with those of others."""


@dataclass(frozen=True)
class BlockSample:
    """Partitions of a graph drawn from the posterior of a block model.

    Attributes
    ----------
    consensus
        The partition that the samples have most in common, int32 [n]; -1 for nodes that the model says nothing of.
    marginals
        Probability of each node to be in each block of the consensus, float64 [n, K]; rows of NaN for those.
    chains
        One row a chain: chain, start, sweeps, acceptance (share of the proposed moves that were made),
        description_length, deviation (mean and standard deviation over the samples, nats), autocorrelation (time, in
        samples), effective_samples, n_blocks (mean), overlap_within, overlap_between (mean adjusted Rand index of a
        sample with others of its chain, and with those of other chains).
    trace
        One row a sample: chain, sample, description_length, n_blocks, mode.
    modes
        One row for each kind of partition among the samples, the most frequent first (Peixoto 2021): mode, share (of
        all samples), least, most (share of the samples of one chain, over chains), n_blocks (of its consensus),
        certainty (probability of a node's block in that, mean), description_length (mean, nats).
    mode_labels
        Consensus of each mode, int32 [modes, n]; -1 for nodes that the model says nothing of.
    scale_reduction
        Of the description length over the chains (Gelman & Rubin); 1 if they agree.
    names
        Of the nodes.
    parameters
        Everything that decided the result; JSON-able.
    """

    consensus: Labels
    marginals: Floats
    chains: pd.DataFrame
    trace: pd.DataFrame
    modes: pd.DataFrame
    mode_labels: Labels
    scale_reduction: float
    names: tuple[str, ...]
    parameters: Mapping[str, Any]

    @property
    def equilibrated(self) -> bool:
        """Whether chains from different starts agree, and each is worth enough independent samples."""
        return self.scale_reduction < SHRINK and bool((self.chains["effective_samples"] >= FEWEST).all())

    @cached_property
    def n_blocks(self) -> int:
        """Number of blocks of the consensus."""
        return n_parts(self.consensus)

    def to_table(self) -> pd.DataFrame:
        """One row a node and block of the consensus with probability above 0: node, block, probability."""
        import pandas as pd

        node, block = np.nonzero(np.nan_to_num(self.marginals))
        names = np.asarray(self.names, dtype=object)[node]
        probability = self.marginals[node, block]
        return pd.DataFrame({"node": names, "block": block.astype(np.int32), "probability": probability})

    def nodes(self) -> pd.DataFrame:
        """One row a node: node, consensus, certainty (probability of its block in the consensus), mode0, mode1, …: its
        block in the consensus of each mode.
        """
        import pandas as pd

        live = self.consensus >= 0
        certainty = np.full(len(live), np.nan)
        certainty[live] = self.marginals[live, self.consensus[live]]
        columns = {"node": list(self.names), "consensus": self.consensus, "certainty": certainty}
        return pd.DataFrame(columns | {f"mode{k}": labels for k, labels in enumerate(self.mode_labels)})

    def summary(self) -> dict[str, Any]:
        """The result without the tables, JSON-able; undefined numbers are None."""
        reduction = self.scale_reduction
        return {
            "n_blocks": self.n_blocks,
            "n_modes": len(self.modes),
            "equilibrated": self.equilibrated,
            "scale_reduction": reduction if np.isfinite(reduction) else None,
            "effective_samples": float(self.chains["effective_samples"].sum()),
            "acceptance": float(self.chains["acceptance"].mean()),
            "parameters": dict(self.parameters),
        }

    def save(self, folder: str | Path) -> None:
        """Write `marginals`, `consensus`, `modes`, `chains` and `trace`, all `.parquet`, and `sample.json`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tables = {"marginals": self.to_table(), "consensus": self.nodes()}
        tables |= {"modes": self.modes, "chains": self.chains, "trace": self.trace}
        for name, table in tables.items():
            write_table(table, folder / f"{name}.parquet")
        text = json.dumps(self.summary(), sort_keys=True, indent=1, allow_nan=False)
        (folder / "sample.json").write_text(text + "\n", encoding="utf-8")


def sample_blocks(
    graph: Graphs, fit: BlockModel, *, n_samples: int = 100, thin: int = 5, n_chains: int = 2, seed: int = 0
) -> BlockSample:
    """Draw partitions from the posterior of the model that a fit kept.

    The first chain starts at the fit, the second at one block, further ones at random partitions. Half as many sweeps
    as are kept are run before and thrown away.

    Parameters
    ----------
    graph
        What the fit was made of.
    fit
        From `fit_sbm`: decides the model, nested or not, degree-corrected or not.
    n_samples
        Partitions kept of each chain.
    thin
        Sweeps from one to the next; a sweep tries each node about once, and merges and splits.
    n_chains
        Chains; with fewer than two nothing is known of whether they agree.
    seed
        The same seed gives the same result.

    Raises
    ------
    MissingDependency
        If graph-tool is not installed: it finds the consensus.
    GraphError
        If the fit is of another graph, of one structure only, or of a graph without evidence.
    """
    if min(n_samples, thin, n_chains) < 1:
        raise ValueError(f"n_samples, thin and n_chains must be at least 1, not {n_samples}, {thin} and {n_chains}")
    if fit.structure != "any":
        raise GraphError(f"sbm: samples are drawn from the general model, and this fit is {fit.structure}")
    load_graph_tool()
    problem = described_again(graph, fit)
    if not len(problem.nodes):
        raise GraphError("sbm: no pair of nodes holds evidence about blocks, so there is nothing to draw")
    runs = []
    for number, own in enumerate(run_seeds(seed, n_chains)):
        with reproducible(own):
            start, chain = _chain(problem, fit, number, own)
            runs.append((start, *_run(chain, n_samples, thin)))
    samples = np.stack([labels for _, labels, _, _ in runs])
    lengths = np.stack([found for _, _, found, _ in runs])
    drawn = samples.reshape(-1, samples.shape[2])
    with reproducible(seed):
        found, marginals = consensus(drawn)
        kinds = modes(drawn)
    full = np.full((len(problem.names), marginals.shape[1]), np.nan)
    full[problem.nodes] = marginals
    return BlockSample(
        consensus=problem.on_all_nodes(found),
        marginals=full,
        chains=_chains_table(runs, samples, thin),
        trace=_trace(samples, lengths, kinds),
        modes=_modes_table(kinds, lengths),
        mode_labels=np.stack([problem.on_all_nodes(mode.consensus) for mode in kinds]),
        scale_reduction=scale_reduction(lengths),
        names=problem.names,
        parameters={"n_samples": n_samples, "thin": thin, "n_chains": n_chains, "seed": seed, "nested": fit.nested},
    )


def _chain(problem: Problem, fit: BlockModel, number: int, seed: int) -> tuple[str, Chain]:
    """Where a chain starts, and the chain."""
    n = len(problem.nodes)
    if number == 0:
        start, levels = "fit", tuple(labels[problem.nodes] for labels in fit.levels)
    elif number == 1:
        start, levels = "one block", (np.zeros(n, np.int32),)
    else:
        drawn = np.random.default_rng(seed).integers(max(2, fit.n_blocks), size=n)
        start, levels = "random", (drawn.astype(np.int32),)
    levels = tuple(problem.cut(labels) for labels in levels)
    if fit.parameters["engine"] == MASKED:
        return start, MaskedChain(problem.masked, levels[0], seed)
    return start, GraphToolChain(States(problem.observed), levels, fit.degree_corrected, fit.nested)


def _run(chain: Chain, n_samples: int, thin: int) -> tuple[Any, Floats, float]:
    """Labels [samples, n], lengths [samples], and the share of moves that were made."""
    chain.step(max(1, int(BURN_IN * n_samples * thin)))
    labels, lengths, tried, made = [], [], 0, 0
    for _ in range(n_samples):
        attempts, moves = chain.step(thin)
        tried, made = tried + attempts, made + moves
        labels.append(chain.labels())
        lengths.append(round(chain.length(), DIGITS))
    return np.stack(labels), np.array(lengths), made / max(tried, 1)


def _chains_table(runs: list[tuple[str, Any, Floats, float]], samples: Any, thin: int) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for number, (start, labels, lengths, acceptance) in enumerate(runs):
        others = [samples[k] for k in range(len(runs)) if k != number]
        rows.append(
            {
                "chain": number,
                "start": start,
                "sweeps": len(labels) * thin,
                "acceptance": acceptance,
                "description_length": lengths.mean(),
                "deviation": lengths.std(),
                "autocorrelation": autocorrelation_time(lengths),
                "effective_samples": effective_samples(lengths),
                "n_blocks": float(np.mean([n_parts(one) for one in labels])),
                "overlap_within": _overlap(labels, np.roll(labels, len(labels) // 2, axis=0)),
                "overlap_between": float(np.mean([_overlap(labels, one) for one in others])) if others else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _overlap(first: Any, second: Any) -> float:
    """Mean adjusted Rand index of samples side by side."""
    chosen = np.linspace(0, len(first) - 1, min(COMPARED, len(first))).astype(int)
    return float(np.mean([adjusted_rand(first[k], second[k]) for k in chosen]))


def _modes_table(kinds: list[Mode], lengths: Floats) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for number, mode in enumerate(kinds):
        own = np.zeros(lengths.size, bool)
        own[mode.members] = True
        share = own.reshape(lengths.shape).mean(axis=1)
        certainty = mode.marginals[np.arange(len(mode.consensus)), mode.consensus].mean()
        rows.append(
            {
                "mode": number,
                "share": own.mean(),
                "least": share.min(),
                "most": share.max(),
                "n_blocks": n_parts(mode.consensus),
                "certainty": certainty,
                "description_length": lengths.ravel()[own].mean(),
            }
        )
    return pd.DataFrame(rows)


def _trace(samples: Any, lengths: Floats, kinds: list[Mode]) -> pd.DataFrame:
    import pandas as pd

    chain, sample = np.indices(lengths.shape).reshape(2, -1)
    blocks = [n_parts(labels) for labels in samples.reshape(-1, samples.shape[2])]
    of_mode = np.zeros(lengths.size, np.int32)
    for number, mode in enumerate(kinds):
        of_mode[mode.members] = number
    columns = {"chain": chain, "sample": sample, "description_length": lengths.ravel(), "n_blocks": blocks}
    return pd.DataFrame(columns | {"mode": of_mode})
