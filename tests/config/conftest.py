from __future__ import annotations

import pytest

from compgraph import catalogue


@pytest.fixture(autouse=True)
def every_library_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about configs: what they find must not depend on the optional libraries of this machine."""
    monkeypatch.setattr(catalogue, "missing", lambda entry: [])
