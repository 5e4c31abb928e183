"""Block models tell generated structures apart, which communities do not."""

from __future__ import annotations

import pytest

pytest.importorskip("graph_tool")


def test_every_kind_of_structure_is_named() -> None:
    from compgraph.communities.blocks.recovered import find_structures

    found = find_structures(n_nulls=19)
    assert found.graphs["pattern"].tolist() == ["assortative", "core-periphery", "ordered", "one block"]
    assert (found.graphs["blocks_ari"] > 0.9).all()
    apart = found.graphs.set_index("graph")["communities_ari"]
    assert apart["modular"] > 0.9 and apart["core-periphery"] < 0.3 and apart["ordered"] < 0.3
    assert found.models.groupby("graph")["kept"].sum().tolist() == [1, 1, 1, 1]
