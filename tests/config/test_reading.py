from __future__ import annotations

from pathlib import Path

import pytest

from compgraph.config.reading import parse, read
from compgraph.errors import ConfigError


def test_values_and_lines() -> None:
    document = parse("a:\n  b: [1, {c: 2}]\nd: 1e-3\n", "file")
    assert document.values == {"a": {"b": [1, {"c": 2}]}, "d": 0.001}
    assert document.lines[("a", "b", 1, "c")] == 2
    assert document.lines[("d",)] == 3


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("2E+5", 2e5), ("1.5", 1.5), ("12", 12), ("1e", "1e")])
def test_numbers(text: str, value: object) -> None:
    assert parse(f"x: {text}").values == {"x": value}


def test_an_empty_file_is_an_empty_config() -> None:
    assert parse("# nothing\n").values == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "a: line 3: the key is given twice, first in line 1"),
        ("a:\n  b: 1\n  b: 2", "a.b: line 3: the key is given twice, first in line 2"),
        ("a: !!python/object/apply:os.system [id]", "the YAML tag"),
        ("a: !include other.yaml", "the YAML tag !include is not allowed"),
        ("a: [1, 2", "line 1, column 9: this is not valid YAML"),
        ("- a\n- b", "must be a mapping of sections"),
        ("1: a", "line 1: the key '1' is not text"),
        ("? [a, b]\n: c", "line 1: a key must be text"),
        ("a: &x [*x]", "an alias refers to itself"),
        ("a: \tb\n\tc: d", "this is not valid YAML"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "study.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("study.yaml: 1 error")


def test_every_repetition_is_reported() -> None:
    with pytest.raises(ConfigError, match="2 errors"):
        parse("a: 1\na: 2\nb: {c: 1, c: 2}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(tmp_path / "latin.yaml")
