"""What is wrong between the section ``dictionaries`` and the entries that name one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compgraph.config.base import describe_unknown
from compgraph.config.config import Config
from compgraph.config.outside import files_of
from compgraph.config.problems import Problem
from compgraph.config.rois import WEIGHTS, signals_of
from compgraph.config.study import Study


def named_dictionaries(config: Config, place: tuple[str, ...], stage: str, entry: Any) -> Iterator[Problem]:
    """Dictionaries that an entry names, and files that an entry of their section reads."""
    named = getattr(entry, "dictionaries", None)
    if named is not None and named not in config.dictionaries:
        problem = describe_unknown("entry of dictionaries", named, list(config.dictionaries))
        yield Problem((*place, "dictionaries"), problem)
    if named is not None and WEIGHTS in signals_of(entry):
        yield Problem((*place, "dictionaries"), "features have no weights of their own; leave weights out")
    for word, source in _attributions(config, entry):
        if hasattr(entry, "dictionaries") and source.dictionaries != named:
            units = f"the features of '{source.dictionaries}'" if source.dictionaries else "the units themselves"
            yield Problem((*place, "dictionaries"), f"{word} are of {units}; both must name the same dictionaries")
    if stage == "dictionaries" and entry.method == "load":
        if not entry.path:
            yield Problem((*place, "path"), "this key is missing: the method 'load' reads a folder or file")
        elif not files_of("dictionaries", entry):
            yield Problem((*place, "path"), f"there is no dictionary at '{entry.path}'")
        if entry.n_features is not None:
            yield Problem((*place, "n_features"), "the file decides how many features it has; leave it out")


def _attributions(config: Config, entry: Any) -> Iterator[tuple[str, Any]]:
    """Attributions that an entry reads, as far as they are known."""
    for word in signals_of(entry):
        section, _, name = word.partition(".")
        if section == "attributions" and name in config.attributions:
            yield word, config.attributions[name]


def features_apply(study: Study) -> Iterator[Problem]:
    """Dictionaries must be those of the same dataset, or of only one."""
    for stage in ("attributions", "functional", "effective", "rois"):
        for name, entry in study.entries(stage).items():
            if entry.dictionaries is None:
                continue
            place = (stage, name, "dictionaries")
            wanted = study.config.dictionaries.get(entry.dictionaries)
            if wanted is None:
                continue  # said by the check of names
            for model in study.models_for(stage, entry):
                found = study.datasets_for("dictionaries", wanted, model)
                other = [one for one in study.datasets_for(stage, entry, model) if one not in found]
                if other and len(found) != 1:
                    yield Problem(
                        place,
                        f"for '{model}' on '{other[0]}' there are dictionaries from {len(found)} other datasets; "
                        f"select one in dictionaries.{entry.dictionaries}",
                    )
