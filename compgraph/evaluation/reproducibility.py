"""Whether another sample, another seed or another wording gives the same circuit.

Agreement of circuits (`compgraph.evaluation.stability`) says little by itself: a strongest tenth shares edges with any
other tenth, the more so where scores prefer some layers. Its null keeps how scores are spread over layers and forgets
which edge has which: the scores of every graph are shuffled among the edges between the same two sites (`layers`), or
among all (`size`). The circuits of shuffled scores are random ones of the same size, with the same layer profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from compgraph.ablation.circuits import masks_for
from compgraph.circuits.ensemble import check_same_edges
from compgraph.data.holding_out import contents, examples_for
from compgraph.errors import DataError
from compgraph.evaluation.intervals import band, tail_p
from compgraph.evaluation.planning import FRACTIONS
from compgraph.evaluation.random_circuits import cells_of
from compgraph.evaluation.stability import cpr_stability, overlaps, stability
from compgraph.graph import ComputationalGraph
from compgraph.graph_select import Order, strength
from compgraph.models.network import Network
from compgraph.multiple_testing import benjamini_hochberg
from compgraph.progress import track

if TYPE_CHECKING:
    import pandas as pd

Among = Literal["layers", "size"]
AMONG = ("layers", "size")
MEASURES = ("jaccard", "rbo")
Floats = npt.NDArray[np.float64]


def reproducibility(
    replicates: Mapping[str, Sequence[ComputationalGraph]],
    sizes: Sequence[float | int] = FRACTIONS,
    *,
    by: Order = "abs",
    among: Among = "layers",
    n_null: int = 199,
    seed: int = 0,
) -> pd.DataFrame:
    """Agreement of the circuits of several graphs of one network, against that of random circuits.

    Parameters
    ----------
    replicates
        What differs (`seeds`, `phrasings`) to at least two graphs with the same edges.
    sizes, by
        As for `compgraph.evaluation.stability.stability`.
    among
        Edges that exchange scores under the null: those between the same two sites and into the same channel
        (`layers`), or all (`size`).
    n_null
        Shuffles; 0 for none.
    seed
        Of the shuffles.

    Returns
    -------
    DataFrame
        The table of `stability` with, for `jaccard` and `rbo`, `_null`, `_null_low`, `_null_high` (mean and central
        95 %), `_p` (shuffles that agree as much, one-sided, with +1) and `_q` (Benjamini and Hochberg over all rows);
        and `among`.

    Raises
    ------
    GraphError, DataError
        As `stability`; an unknown null.
    """
    if among not in AMONG:
        raise DataError(f"among {among!r} is not known; valid are {', '.join(AMONG)}")
    if n_null < 0:
        raise DataError(f"n_null is {n_null}; it must be at least 0")
    table = stability(dict(replicates), sizes, by=by)
    found = np.full((len(MEASURES), len(table), 4), np.nan)
    for source, graphs in replicates.items():
        rows = np.flatnonzero(table["source"] == source)
        counts = table["n_edges"].to_numpy()[rows].tolist()
        drawn = list(_null(graphs, counts, by, among, n_null, seed)) if len(rows) else []
        nulls = np.array(drawn).reshape(len(drawn), len(rows), len(MEASURES))
        for m, name in enumerate(MEASURES):
            values, one = table[name].to_numpy(float)[rows], nulls[..., m]
            mean = one.mean(0) if len(one) else np.full(len(rows), np.nan)
            found[m, rows] = np.stack([mean, *band(one), tail_p(values, one, "above")], 1)
    for m, name in enumerate(MEASURES):
        columns = [f"{name}_{what}" for what in ("null", "null_low", "null_high", "p")]
        table[columns] = found[m]
        table[f"{name}_q"] = benjamini_hochberg(found[m, :, 3])
    return table.assign(among=among)


def spread_of_areas(
    net: Network,
    replicates: Mapping[str, Mapping[str, tuple[ComputationalGraph, Any]]],
    sizes: Sequence[float] = FRACTIONS,
    *,
    metrics: Sequence[str] = ("logit_difference",),
    by: Order = "abs",
    baseline: Any = "counterfactual",
    batch_size: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """CPR and CMD of every replicate's circuits on the data of every replicate.

    On one set of data the areas differ because the circuits do; the areas of one graph over several sets of data say
    what the data do. Each set is represented by the examples that its own graph was not made from, less those that
    another graph was: their share is read from the graphs (`held_out`).

    Parameters
    ----------
    replicates
        What differs to named replicates: a graph, and all of the examples that it was made and can be tested from.
    sizes
        Kept shares, ascending.
    baseline
        Name of a baseline, or a function of examples that makes one.

    Returns
    -------
    DataFrame
        `source`, `graph` and `data` (names of replicates), `metric`, `cpr`, `cmd`, `reason`, `n_examples`; `n_seen`,
        how many of the data another graph was made from; `fresh`, whether they are left out. They are kept only where
        nothing else is left.
    """
    import pandas as pd

    tables = []
    for source, named in replicates.items():
        graphs = [graph for graph, _ in named.values()]
        for graph in graphs:
            masks_for(net, graph, same_model=False)
        check_same_edges(graphs)
        for data, tested, seen in _tested(named):
            fresh = not seen.all()
            examples = tested.subset(np.flatnonzero(~seen)) if fresh else tested
            made = baseline if isinstance(baseline, str) else baseline(examples)
            table = cpr_stability(
                net, graphs, examples, sizes, metrics=metrics, select=by, baseline=made, batch_size=batch_size,
                seed=seed,
            )  # fmt: skip
            table["graph"] = np.array(list(named), object)[table["graph"]]
            table.insert(0, "source", source)
            table.insert(2, "data", data)
            tables.append(table.assign(n_examples=examples.n, n_seen=int(seen.sum()), fresh=fresh))
    return pd.concat(tables, ignore_index=True)


def _tested(named: Mapping[str, tuple[ComputationalGraph, Any]]) -> Iterator[tuple[str, Any, npt.NDArray[np.bool_]]]:
    """Every set of data once: its name, its test examples, and which of these another graph was made from."""
    shares = {name: float(graph.attributes.get("held_out", 0)) for name, (graph, _) in named.items()}
    chosen = {name: set(contents(examples_for(pairs, shares[name], "chosen"))) for name, (_, pairs) in named.items()}
    done: set[bytes] = set()
    for name, (_, pairs) in named.items():
        tested = examples_for(pairs, shares[name], "held-out")
        shown = contents(tested)
        key = b"".join(sorted(shown))
        if key not in done:
            others = set().union(*(seen for other, seen in chosen.items() if shares[other] or other != name))
            yield name, tested, np.array([one in others for one in shown])
        done.add(key)


def _null(
    graphs: Sequence[ComputationalGraph], counts: Sequence[int], by: Order, among: Among, n_null: int, seed: int
) -> Iterator[list[tuple[float, float]]]:
    """Mean overlaps of shuffled scores, [sizes][Jaccard, RBO]; shuffle k is the same however many there are."""
    values = np.stack([strength(np.asarray(graph.weight, np.float64), by) for graph in graphs])
    groups = cells_of(graphs[0], among)
    place = np.argsort(groups, kind="stable")
    rng = np.random.default_rng(seed)
    for _ in track(range(n_null), "shuffled scores", unit="draws"):
        shuffled = np.empty_like(values)
        for row, own in zip(shuffled, values, strict=True):
            row[place] = own[np.lexsort((rng.random(len(own)), groups))]
        found = [overlaps(shuffled, n, n / (n + 1)) for n in counts]
        yield [(float(jaccard.mean()), float(rbo.mean())) for jaccard, rbo in found]
