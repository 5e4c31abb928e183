from __future__ import annotations

import numpy as np
import pytest

from compgraph.architecture import Architecture
from compgraph.graph import ComputationalGraph
from compgraph.partition import Partition
from compgraph.statistics.nulls.stubs import stubs
from compgraph.statistics.view import UndefinedError, View, view
from tests.communities.graphs import chain
from tests.statistics.graphs import cyclic, thinned, whole


def sites(n: int, reads: dict[str, tuple[str, ...]]) -> View:
    """All edges of a chain whose sites read what the test says."""
    plain = chain((2,) * n)
    architecture = Architecture(plain.family, plain.kind, plain.sites, reads, {name: ("",) for name in reads})
    return view(ComputationalGraph.from_architecture(architecture, Partition.units(architecture)))


@pytest.mark.parametrize("make", [lambda: thinned(0.3), lambda: thinned(0.3, parallel=True), lambda: whole(chain())])
def test_stubs_keep_what_every_node_sends_and_the_total(make) -> None:
    seen = make()
    drawn = stubs(seen)(np.random.default_rng(0))
    assert drawn.allowed.has(drawn.source, drawn.target).all()
    assert drawn.out_strength == pytest.approx(seen.out_strength, rel=1e-12)
    assert drawn.total == pytest.approx(seen.total)


def test_degrees_are_kept_counting_edges_that_fall_together() -> None:
    seen = thinned(0.3)
    seen = seen.with_weights(np.ones(seen.n_edges))
    for seed in range(5):
        drawn = stubs(seen)(np.random.default_rng(seed))  # a weight is the number of edges of its pair
        assert drawn.out_strength.tolist() == seen.out_strength.tolist()
        assert drawn.in_strength.tolist() == seen.in_strength.tolist()


def test_mean_edges_are_those_of_karrer_and_newman() -> None:
    seen = thinned(0.5, seed=3)
    seen = seen.with_weights(np.ones(seen.n_edges))
    draw, rng = stubs(seen), np.random.default_rng(0)
    mean = np.mean([draw(rng).dense() for _ in range(2000)], axis=0)
    assert mean == pytest.approx(seen.expected, abs=0.07)  # a mean of 2,000 counts of about 1


def test_what_cannot_be_drawn_by_level_is_refused() -> None:
    with pytest.raises(UndefinedError, match="no levels"):
        stubs(view(cyclic()))
    crossing = {"linear.0": ("input",), "linear.1": ("input", "linear.0"), "logits": ("linear.0", "linear.1")}
    with pytest.raises(UndefinedError, match="partly the same"):
        stubs(sites(4, crossing))
