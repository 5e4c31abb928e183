"""The study that a workflow is started for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compgraph.config.config import from_mapping, load, validate
from compgraph.config.reading import read
from compgraph.config.study import Study

MERGED = Path(".snakemake/compgraph-config.yaml")
"""Where a config is kept that no single file holds, because values were given on the command line (JSON is YAML)."""


def open_study(files: Sequence[str | Path], values: Mapping[str, Any], default: Path) -> Study:
    """The study that a workflow is started for.

    Parameters
    ----------
    files : sequence of paths
        Config files given on the command line.
    values : mapping
        The config that Snakemake made of them and of ``--config`` settings.
    default : Path
        The file to read where none is given.

    Raises
    ------
    ConfigError
        As :func:`compgraph.config.config.load` does.
    """
    if not values:
        source = Path(files[-1]) if files else default
        return Study(load(source), source)
    if len(files) == 1:
        document = read(files[0])
        if document.values == values:
            return Study(validate(document), Path(files[0]))
    MERGED.parent.mkdir(exist_ok=True)
    MERGED.write_text(json.dumps(values, indent=1), encoding="utf-8")
    return Study(from_mapping(values, " with ".join(["command line", *map(str, files)])), MERGED)
