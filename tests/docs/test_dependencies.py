from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def dependencies() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "docs" / "dependencies.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_now(dependencies: ModuleType) -> None:
    page = dependencies.PAGE.read_text(encoding="utf-8")
    assert dependencies.written(page) == page, "run python docs/dependencies.py"


def test_licences_that_ask_something_are_spoken_of(dependencies: ModuleType) -> None:
    text = dependencies.PAGE.read_text(encoding="utf-8").partition("## Licences")[2]
    rows = [line.split(" | ") for line in dependencies.table().splitlines()[2:]]
    named = {row[0].removeprefix("| ") for row in rows if "GPL" in row[3] and "dev" not in row[4]}
    assert named == {"igraph", "leidenalg", "graph-tool"} and all(f"**{name}**" in text for name in named)
