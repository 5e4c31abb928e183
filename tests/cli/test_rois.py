from __future__ import annotations

import pytest

from compgraph.cli.rois import recorded


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        (["mlp.*", "conv.*"], ["mlp.*"]),
        (["mlp.0", "conv.0"], ["mlp.0", "conv.0"]),
        (["conv.*"], ["conv.*"]),
        (["*"], ["*"]),
    ],
)
def test_one_list_of_sites_serves_many_networks(patterns: list[str], kept: list[str]) -> None:
    assert recorded(patterns, ["attn.0", "mlp.0", "mlp.1"]) == kept
