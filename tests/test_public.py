"""The public face: every name is there, and importing the package costs no library."""

from __future__ import annotations

import subprocess
import sys

import pytest

import compgraph


@pytest.mark.parametrize("name", compgraph.__all__)
def test_every_name_can_be_had(name: str) -> None:
    assert getattr(compgraph, name) is not None


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'effective_conectivity'"):
        compgraph.effective_conectivity  # noqa: B018


def test_import_loads_no_heavy_library() -> None:
    script = "import sys, compgraph; print([m for m in ('torch', 'numpy', 'pandas', 'zarr') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
