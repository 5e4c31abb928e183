"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from compgraph import progress

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared models and data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("COMPGRAPH_SHARED", ROOT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(f"no shared models and data at {folder} (set COMPGRAPH_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def silent_progress() -> Iterator[None]:
    """Verbs that a test calls in this process turn progress on; the next test starts without it."""
    yield
    progress.disable()
