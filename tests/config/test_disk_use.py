from __future__ import annotations

from pathlib import Path

import pytest

from compgraph.config import disk_use
from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import SMALL, small


def test_the_disk_that_buffers_need() -> None:
    study = Study(small(SMALL.replace("n: 32", "n: 1000")))
    conv = 8 * 4 * 4 + 16 * 2 * 2 + 32
    net = study.config.models["tf"]
    tokens = disk_use.PROMPT_TOKENS * net.layers * (net.width + net.neurons)  # type: ignore[union-attr]
    activations = 2 * (conv + tokens)
    # Patched: one checkpoint of tf; product: one position at all three of tf and both of net.
    attributions = 4 * (tokens + 3 * tokens // disk_use.PROMPT_TOKENS + 2 * conv)
    assert disk_use.disk_needed(study) == 1000 * (activations + attributions)


def test_too_small_a_disk_is_an_error_before_any_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_use, "free_bytes", lambda path: 10_000)
    with pytest.raises(ConfigError, match=r"the buffers would take about .* GB, but only 0.0 GB are free"):
        small()


def test_free_space_of_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert disk_use.free_bytes(tmp_path / "a" / "b") > 0
