"""Names and folders that would be more than a word of a shell line or a path: refused, with one sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest

from compgraph.config.base import NAME_PATTERN
from compgraph.config.config import from_mapping
from compgraph.config.models import revision_name
from compgraph.errors import ConfigError

HOSTILE = (
    *("..", "../up", ".hidden", "a/b", "/abs", "~", "-rf", "", "x" * 300),
    *("a b", "a'b", 'a"b', "a\nb", "a\tb", "a\0b", "a\\b", "\u202eb", "é", "A"),
    *("a;b", "a&b", "a|b", "$(touch x)", "`touch x`", "$HOME", "a>b", "a*", "a?b", "a#b"),
    *("<script>alert(1)</script>", "a&amp;b", "a{b}", "{wildcards.name}", "a@b", "a,b", "%s"),
)
FOLDERS = ("..", "../up", ".hidden", "a/b", "/abs", "é", "A", "a@b", "x" * 300)
"""Those that a results folder may have: whoever writes a config says where its results lie."""
STUDY: dict[str, Any] = {
    "models": {"net": {"source": "trained", "architecture": "transformer", "tasks": ["induction"], "checkpoints": 2}},
    "datasets": {"p": {"kind": "task", "task": "induction", "n": 8}},
    "attributions": {"t": {}},
    "structural": {"c": {"method": "composition", "partition": "heads"}},
    "functional": {"f": {"partition": "heads"}},
    "effective": {"h": {"partition": "heads", "checkpoints": "all"}},
    "rois": {"k": {"n_rois": 2}},
    "dictionaries": {"d": {"method": "pca", "sites": ["mlp.0"], "n_features": 4}},
    "ablation": {"e": {}},
    "evaluation": {"v": {}},
    "communities": {"l": {}},
    "sbm": {"b": {"nested": False}},
    "tests": {"kn": {"method": "knock-out"}},
    "statistics": {"s": {}},
    "comparison": {"x": {"graphs": ["effective.h", "functional.f"]}},
    "tracking": {"tr": {}},
}


def test_the_study_itself_is_valid() -> None:
    from_mapping(STUDY)


@pytest.mark.parametrize("section", STUDY)
def test_names_of_entries(section: str) -> None:
    for name in HOSTILE:
        entries = dict(STUDY[section])
        entries[name] = entries.pop(next(iter(entries)))
        with pytest.raises(ConfigError) as refused:
            from_mapping({**STUDY, section: entries})
        # The name itself is shown as it would be written, so a line break cannot forge another line.
        assert section in str(refused.value) and str(refused.value).count("\n") <= 12, repr(name)


@pytest.mark.parametrize("folder", [one for one in HOSTILE if one not in FOLDERS])
def test_the_results_folder(folder: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.results"):
        from_mapping({**STUDY, "run": {"results": folder}})


@pytest.mark.parametrize("revision", ["../../etc", "a b", "$(touch x)", "a;b", "<script>", "a\nb"])
def test_revisions_become_harmless_folder_names(revision: str) -> None:
    assert re.fullmatch(NAME_PATTERN, revision_name(revision)) and ".." not in revision_name(revision).split("/")


@pytest.mark.parametrize("word", ["lab; touch x", "$(x)", "a b", "--wrap=x", "-A", "a\nb", "<b>"])
def test_words_for_slurm(word: str) -> None:
    for key in ("account", "partition", "qos", "constraint"):
        with pytest.raises(ConfigError, match=rf"run\.slurm\.{key}"):
            from_mapping({**STUDY, "run": {"slurm": {key: word}}})
    with pytest.raises(ConfigError, match=r"run\.slurm\.options"):
        from_mapping({**STUDY, "run": {"slurm": {"options": [word]}}})


@pytest.mark.parametrize("path", ["a<b>", "a{b}", "a\nb", "a\0b", "a\x1b[31mb"])
def test_paths_that_the_workflow_would_misread(path: str) -> None:
    data = {"kind": "pairs", "path": path}
    with pytest.raises(ConfigError, match=r"datasets\.p\.path: a path holds none of < > { }") as refused:
        from_mapping({**STUDY, "datasets": {"p": data}})
    assert path in ("a<b>", "a{b}") or path not in str(refused.value)
