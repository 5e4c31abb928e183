"""What every test of a study reads and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.ablation.baselines import Baseline, make_baseline
from compgraph.attribution.scores import Attributed
from compgraph.attribution.some import SomeItems
from compgraph.catalogue import BASELINES, EFFECTIVE
from compgraph.connectivity.effective.attribution import effective_connectivity
from compgraph.data.holding_out import Examples, examples_for, held_out
from compgraph.errors import DataError
from compgraph.evaluation.planning import circuit_of_size
from compgraph.evaluation.profiles import Labelled
from compgraph.graph import ComputationalGraph
from compgraph.models.network import Network
from compgraph.partition import Partition

if TYPE_CHECKING:
    import pandas as pd

UNCONNECTED = "the circuit has no path from an input to an output: there is nothing to test"


@dataclass(frozen=True)
class Given:
    """What a test reads.

    Attributes
    ----------
    net, pairs
        The network and all examples.
    reference
        Other data that baselines are taken from; None: the examples themselves.
    graph
        An effective graph of the two.
    made_by
        The parameters that made it.
    attributions
        Of units, of all examples.
    blocks
        Labels of the graph's nodes; None: every node by itself.
    partitions
        Regions by name.
    replicates
        What differs (seeds, phrasings) to other graphs of the same nodes by name, each with all of its examples.
    cache
        Folder in which constants that are learned for baselines are kept.
    """

    net: Network
    pairs: Any
    reference: Any = None
    graph: ComputationalGraph | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)
    attributions: Attributed | None = None
    blocks: Labelled | None = None
    partitions: Mapping[str, Partition] = field(default_factory=dict)
    replicates: Mapping[str, Mapping[str, tuple[ComputationalGraph, Any]]] = field(default_factory=dict)
    cache: Path | None = None

    @property
    def the_graph(self) -> ComputationalGraph:
        """The graph; an error where none is given."""
        if self.graph is None:
            raise DataError("this test is of a graph, and none is given (--input graph=MANIFEST)")
        return self.graph

    @property
    def the_attributions(self) -> Attributed:
        """The attributions; an error where none are given."""
        if self.attributions is None:
            raise DataError("this test reads attributions, and none are given (--input buffer=MANIFEST)")
        return self.attributions

    @property
    def held_out(self) -> float:
        """Share of the examples that the graph was not made from."""
        return float(self.the_graph.attributes.get("held_out", 0))

    def examples(self, which: Examples) -> Any:
        """Those that were held out from the graph's scores, those that were not, or all."""
        return examples_for(self.pairs, self.held_out, which)

    def attributions_of(self, which: Examples) -> Attributed:
        """The same for attributions, which must be of all examples."""
        if which == "all" or not self.held_out:
            return self.the_attributions
        rows = held_out(self.pairs, self.held_out)
        return SomeItems(self.the_attributions, rows if which == "held-out" else ~rows)

    def baseline(self, name: str, pairs: Any, seed: int) -> Baseline:
        """What removed edges and nodes carry; nothing is learned from examples that were held out."""
        nodes, reference = None if self.graph is None else self.partition, self.reference
        if reference is None and self.graph is not None and self.held_out and BASELINES[name].per_node:
            reference = self.examples("chosen")
        return make_baseline(
            name, self.net, pairs, reference=reference, seed=seed, partition=nodes, cache=self.cache
        )  # fmt: skip

    def circuit(self, size: float, selection: str, options: Mapping[str, Any]) -> ComputationalGraph | None:
        """The pruned circuit of a size; None where no path is left."""
        circuit = circuit_of_size(self.the_graph, size, selection, options).prune()
        return circuit if circuit.n_edges else None

    def made_again(self, pairs: Any, partition: Partition, batch_size: int | None = None) -> ComputationalGraph:
        """The graph as it was made, from other examples or over other nodes.

        Raises
        ------
        DataError
            The parameters that made the graph are not known, or its baseline came from other data.
        """
        made = self.made_by
        if made.get("method") not in EFFECTIVE:
            raise DataError("this test makes a graph again, and the parameters of this one are not known")
        if self.reference is not None or self.the_graph.attributes.get("baseline_data", "own") != "own":
            raise DataError("this test cannot make a graph again whose baseline was taken from other data")
        options: dict[str, Any] = {option.name: made[option.name] for option in EFFECTIVE[made["method"]].options}
        return effective_connectivity(
            self.net, pairs, partition, made["method"], metric=made["metric"], baseline=made["baseline"],
            split_qkv=made["split_qkv"], batch_size=batch_size, seed=made["seed"], **options,
        )  # fmt: skip

    @property
    def partition(self) -> Partition:
        """The nodes of the graph, without those that stand for attention patterns."""
        from compgraph.ablation.circuits import masks_for

        return masks_for(self.net, self.the_graph).partition


@dataclass(frozen=True)
class Outcome:
    """What a test found.

    Attributes
    ----------
    tables
        Tidy tables by name.
    verdict
        One sentence.
    summary
        Numbers for the manifest.
    notes
        What the reader should know before believing it.
    """

    tables: Mapping[str, pd.DataFrame]
    verdict: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def nothing(name: str, *more: str) -> Outcome:
    """The outcome for a graph whose circuit is not connected."""
    import pandas as pd

    text = UNCONNECTED[0].upper() + UNCONNECTED[1:] + "."
    return Outcome({one: pd.DataFrame({"reason": np.array([], object)}) for one in (name, *more)}, text, notes=(text,))
