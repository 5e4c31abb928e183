"""Parts made apart, saved, and merged in any order equal one pass over everything."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from compgraph.connectivity.functional import functional_connectivity
from compgraph.connectivity.functional.parts import Part, gather_part, merge_parts, unit_scale
from compgraph.errors import DataError
from compgraph.partition import Partition

from .recordings import Memory
from .test_methods import PARTS, activations, close, table, units


def buffers(data: dict[str, np.ndarray]) -> list[Memory]:
    bounds = [0, 160, 192, 640]
    cuts = [slice(a, b) for a, b in pairwise(bounds)]
    return [Memory({s: x[cut] for s, x in data.items()}, 11, table()[cut]) for cut in cuts]


@pytest.mark.parametrize("partition", [None, PARTS])
@pytest.mark.parametrize(
    ("method", "options"), [("pearson", {}), ("partial", {"estimator": "oas"}), ("covariance", {})]
)
def test_parts_merge_into_the_whole(tmp_path, partition: Partition | None, method: str, options: dict) -> None:
    data = activations()
    data["mlp.0"][:200] += 4
    part = partition or units(data)
    whole = functional_connectivity(Memory(data, 50, table()), part, method, **options)
    scale = unit_scale(buffers(data))
    for k, buffer in enumerate(buffers(data)):
        gather_part(buffer, part, scale, standardise=method != "covariance").save(tmp_path / str(k))
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = merge_parts([Part.load(tmp_path / str(k)) for k in order])
        graph = functional_connectivity(merged, part, method, **options)
        close(graph.weight, whole.weight, 1e-11)
        for name, values in whole.columns.items():
            close(graph.columns[name], values, 1e-7)
        assert graph.attributes["rows"] == 640
        assert graph.attributes["heavy_tailed_units"] == whole.attributes["heavy_tailed_units"]


def test_what_parts_cannot_do(tmp_path) -> None:
    data = activations()
    part, scale = units(data), unit_scale(buffers(data))
    one, two, _ = (gather_part(buffer, part, scale) for buffer in buffers(data))
    merged = merge_parts([one, two])
    assert one.n_rows == 160 and merged.n_rows == 192
    for options, message in (
        ({"method": "spearman"}, "parts keep only sums; give the buffers themselves"),
        ({"method": "cka"}, "parts keep only sums"),
        ({"confounds": ["position"]}, "parts keep only sums"),
        ({"method": "covariance"}, "hold sums of standardised units"),
        ({"sites": ["mlp.1"]}, "gathered for another partition or other sites"),
    ):
        with pytest.raises(DataError, match=message):
            functional_connectivity(merged, part, **options)
    other = gather_part(buffers(data)[2], part, unit_scale(buffers(data)[2]))
    with pytest.raises(DataError, match="part 1 is of another network, partition or scale"):
        merge_parts([one, other])
    one.save(tmp_path / "p")
    (tmp_path / "p" / "upper.npy").write_bytes((tmp_path / "p" / "upper.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match="is not a whole part"):
        Part.load(tmp_path / "p")
    with pytest.raises(DataError, match="the scale has no site"):
        gather_part(buffers(data)[0], part, {})
