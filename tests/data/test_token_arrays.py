from __future__ import annotations

import pytest

from compgraph.data.token_arrays import pad


@pytest.mark.parametrize(
    ("side", "tokens", "mask"),
    [
        ("right", [[5, 6, 7], [8, 0, 0], [1, 2, 0]], [[1, 1, 1], [1, 0, 0], [1, 1, 0]]),
        ("left", [[5, 6, 7], [0, 0, 8], [0, 1, 2]], [[1, 1, 1], [0, 0, 1], [0, 1, 1]]),
    ],
)
def test_padding(side, tokens, mask) -> None:
    got, real = pad([[5, 6, 7], [8], [1, 2]], 0, side)
    assert got.tolist() == tokens
    assert real.astype(int).tolist() == mask
    assert got.dtype == "int64" and real.dtype == bool


def test_padding_keeps_equal_rows_and_takes_empty_ones() -> None:
    got, real = pad([[1, 2], [3, 4]], 9)
    assert got.tolist() == [[1, 2], [3, 4]] and real.all()
    assert pad([[], [3]], -1)[0].tolist() == [[-1], [3]]
