from __future__ import annotations

import numpy as np
import pytest

from compgraph.communities.dense import moves
from compgraph.communities.dense.description import Description, Partitioned
from compgraph.communities.dense.moves import Moves
from tests.communities.dense.graphs import MODELS, random_graph, random_labels


def renumbered(labels: np.ndarray) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_changes_are_differences_of_lengths(model: str | None, directed: bool) -> None:
    rng = np.random.default_rng(0)
    for density, topology, corrected in ((1.0, True, False), (0.3, True, True), (0.3, False, False)):
        for k in (2, 4, 14):
            graph = random_graph(14, density, directed, model, topology, seed=k)
            labels = random_labels(14, k, seed=k)
            description = Description(graph, corrected)
            before = description.reported(labels)
            found = Moves(description, Partitioned.of(graph, labels))
            n_blocks = int(labels.max()) + 1
            nodes = np.arange(14)
            blocks = (labels + rng.integers(1, n_blocks, size=14)) % n_blocks
            for node, block, change in zip(nodes, blocks, found.of_nodes(nodes, blocks), strict=True):
                after = np.where(nodes == node, block, labels)
                assert change == pytest.approx(description.reported(renumbered(after)) - before, abs=1e-8)
            first, second = np.triu_indices(n_blocks, 1)
            for a, b, change in zip(first, second, found.of_merges(first, second), strict=True):
                after = np.where(labels == b, a, labels)
                assert change == pytest.approx(description.reported(renumbered(after)) - before, abs=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_the_linearised_length_finds_a_good_block_for_most_nodes(
    model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = random_graph(60, 0.5, False, model, True, seed=1)
    found = Moves(Description(graph, False), Partitioned.of(graph, random_labels(60, 12, seed=1)))
    exact, _ = found.best()
    assert exact.mean() < 0
    monkeypatch.setattr(moves, "EVALUATED", 0)
    monkeypatch.setattr(moves, "PROMISING", 4)
    few, _ = found.best()
    assert (few >= exact - 1e-9).all()
    assert few.mean() < 0.65 * exact.mean()
