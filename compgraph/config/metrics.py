"""Metrics as a config names them: registered ones, and functions of the user's own by their import path.

Reading a config never runs code of the user's: of a function of their own only the form of its name is checked, and
that its module is there. What the function says of itself (`compgraph.metrics.describe`) shows when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator

from compgraph import catalogue
from compgraph.config.base import unknown_word
from compgraph.importing import is_import_path

OWN = "package.module:function"
"""The form of a user's function."""
STAGES = ("attributions", "effective", "evaluation", "tests")
"""Sections whose entries name metrics."""


def _check(value: str) -> str:
    if value not in catalogue.METRICS and not is_import_path(value):
        raise unknown_word("metric", value, [*catalogue.METRICS, OWN])
    return value


_check.words = (*catalogue.METRICS, OWN)  # type: ignore[attr-defined]

MetricName = Annotated[str, AfterValidator(_check)]
"""A registered metric, or `package.module:function`."""


def metric_entry(name: str) -> catalogue.Entry:
    """What is known of a metric without importing it: a user's function is taken to serve whatever it is used for."""
    if name in catalogue.METRICS:
        return catalogue.METRICS[name]
    module, _, function = name.partition(":")
    return catalogue.Entry(name, module, name, function)


def named_metrics(entry: Any) -> list[str]:
    """The metrics that an entry of a section names."""
    return [entry.metric] if hasattr(entry, "metric") else list(getattr(entry, "metrics", ()))


def user_metrics(config: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """(place, name) of every function of the user's own in a `Config`, whose module is built on this one."""
    for stage in STAGES:
        for name, entry in getattr(config, stage).items():
            for metric in named_metrics(entry):
                if metric not in catalogue.METRICS:
                    yield (stage, name, "metric" if hasattr(entry, "metric") else "metrics"), metric


def own_code(config: Any) -> list[str]:
    """What a study runs that is no part of the package, in words: one sentence a function."""
    places: dict[str, list[str]] = {}
    for (stage, name, _), metric in user_metrics(config):
        if metric.startswith("compgraph."):
            continue
        places.setdefault(metric, []).append(f"{stage}.{name}")
    return [f"code of your own runs: {metric} ({', '.join(where)})" for metric, where in places.items()]
