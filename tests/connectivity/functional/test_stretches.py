"""Parts of whole items that make up all rows, read without the rest."""

from __future__ import annotations

import numpy as np
import pytest

from compgraph.connectivity.functional import divided, functional_connectivity, gather_part, merge_parts, unit_scale
from compgraph.errors import DataError

from .recordings import Memory
from .test_methods import activations, close, table, units


class Recorded(Memory):
    """With any rows at hand, like a buffer on disk."""

    chunk_rows = 11

    def read(self, site: str, rows: slice) -> np.ndarray:
        assert rows.stop - rows.start <= self.chunk_rows and rows.start // 11 == (rows.stop - 1) // 11
        return self.data[site][rows]


def two() -> list[Recorded]:
    data = activations()
    cuts = [slice(0, 176), slice(176, 640)]
    return [Recorded({s: x[cut] for s, x in data.items()}, 11, table()[cut]) for cut in cuts]


@pytest.mark.parametrize("of", [1, 3, 7])
def test_every_row_once_and_no_item_torn(of: int) -> None:
    buffers = two()
    parts = [divided(buffers, number, of) for number in range(of)]
    rows = [chunk["mlp.0"] for part in parts for stretch in part for chunk in stretch.chunks(["mlp.0"])]
    assert np.array_equal(np.concatenate(rows), activations()["mlp.0"])
    assert all(sum(stretch.n_rows for stretch in part) % 16 == 0 for part in parts)
    sizes = [sum(stretch.n_rows for stretch in part) for part in parts]
    assert max(sizes) - min(sizes) <= 32
    assert all(stretch.n_chunks == len(list(stretch.chunks(["mlp.0"]))) for part in parts for stretch in part)


def test_parts_of_a_pool_merge_into_the_whole() -> None:
    buffers, part = two(), units(activations())
    scale = unit_scale(buffers)
    merged = merge_parts([gather_part(divided(buffers, k, 3), part, scale) for k in range(3)])
    whole = functional_connectivity(buffers, part)
    graph = functional_connectivity(merged, part)
    close(graph.weight, whole.weight, 1e-11)
    close(graph.columns["effective_n"], whole.columns["effective_n"], 1e-7)


def test_more_parts_than_items() -> None:
    with pytest.raises(DataError, match=r"part \d+ of 90 has no item: there are 40 in 640 rows; take fewer parts"):
        for number in range(90):
            divided(two(), number, 90)
    with pytest.raises(DataError, match="there is no part 3 of 3"):
        divided(two(), 3, 3)
