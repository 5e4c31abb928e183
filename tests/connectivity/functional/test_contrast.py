"""Two datasets that differ nowhere are found to differ at the nominal rate; a planted difference is found."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.connectivity.functional import functional_connectivity
from compgraph.connectivity.functional.contrast import functional_contrast
from compgraph.errors import DataError

from .recordings import Memory
from .test_methods import activations, close, table, units, upper, wide
from .test_significance import PART, smooth


def test_by_definition_and_a_planted_difference() -> None:
    one, other = activations(), activations(seed=3)
    other = {site: x * 2 + 1 for site, x in other.items()}
    graph = functional_contrast(Memory(one, 9, table()), Memory(other, 9, table()), units(one), n_permutations=99)
    difference = np.corrcoef(wide(one).T) - np.corrcoef(wide(other).T)
    close(graph.weight, upper(difference))
    close(graph.columns["r_a"] - graph.columns["r_b"], graph.weight)
    strong = np.abs(graph.weight) > 1
    assert strong.any() and (graph.columns["p"][strong] == 0.01).all()
    assert graph.attributes["items_of_each"] == [40, 40]


def test_nominal_rate_between_equal_smooth_datasets() -> None:
    p = functional_contrast(smooth(0, 0.8), smooth(1, 0.8), PART, n_permutations=99).columns["p"]
    assert 0.03 < (p <= 0.05).mean() < 0.07


def test_too_few_items() -> None:
    data = activations()
    few = Memory({site: x[:16] for site, x in data.items()}, 9, table()[:16])
    with pytest.raises(DataError, match="the datasets have 40 and 1 items"):
        functional_contrast(Memory(data, 9, table()), few, units(data))


def test_as_a_method() -> None:
    one, other = activations(), activations(seed=3)
    a, b, part = Memory(one, 9, table()), Memory(other, 9, table()), units(one)
    graph = functional_connectivity(a, part, "contrast", against=b, n_permutations=9)
    same = functional_contrast(a, b, part, n_permutations=9)
    assert graph.attributes == same.attributes and graph.edges.equals(same.edges)
    with pytest.raises(DataError, match="needs against"):
        functional_connectivity(a, part, "contrast")
