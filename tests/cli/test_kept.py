from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from compgraph.cli import kept


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    kept.forget()
    yield
    kept.forget()


def loader(loaded: list[str], name: str) -> Callable[[], object]:
    def load() -> object:
        assert kept._kept.network is None, "never two networks at once"
        loaded.append(name)
        return object()

    return load


def test_a_network_is_loaded_once_for_results_in_a_row() -> None:
    loaded: list[str] = []
    for name in ("a", "a", "b", "a"):
        with kept.over_results():
            kept.network(name, loader(loaded, name))  # type: ignore[arg-type]
    assert loaded == ["a", "b", "a"]


def test_a_result_without_a_network_lets_it_go() -> None:
    loaded: list[str] = []
    for name in ("a", "", "a"):
        with kept.over_results():
            if name:
                kept.network(name, loader(loaded, name))  # type: ignore[arg-type]
    assert loaded == ["a", "a"]


def test_one_result_keeps_nothing() -> None:
    loaded: list[str] = []
    for _ in range(2):
        kept.network("a", loader(loaded, "a"))  # type: ignore[arg-type]
    assert loaded == ["a", "a"]
