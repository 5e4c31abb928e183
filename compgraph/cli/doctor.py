"""``compgraph doctor``: what this installation has and lacks."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click

from compgraph.cli.console import Call, verb

DISTRIBUTIONS = [
    "compgraph",
    "numpy",
    "scipy",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "zarr",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "networkx",
    "igraph",
    "leidenalg",
    "matplotlib",
    "pydantic",
    "click",
    "rich",
    "jinja2",
    "snakemake",
]


@verb("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the same sentences by name.")
def command(call: Call, as_json: bool) -> None:
    """Show versions, optional libraries, threads, disk and accelerator, and what each missing part is needed for."""
    rows = [*_python(), *_libraries(), *_graph_tool(), *_machine()]
    if as_json:
        click.echo(json.dumps(dict(rows)))
        return
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def _python() -> Iterator[tuple[str, str]]:
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"


def _libraries() -> Iterator[tuple[str, str]]:
    for name in DISTRIBUTIONS:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "missing"


def _graph_tool() -> Iterator[tuple[str, str]]:
    if importlib.util.find_spec("graph_tool") is None:
        yield (
            "graph-tool",
            "missing: nested block models need it (Debian: apt-get install python3-graph-tool; conda-forge: "
            "graph-tool); everything else works without",
        )
        return
    import graph_tool

    yield "graph-tool", f"{graph_tool.__version__.split()[0]}, {graph_tool.openmp_get_num_threads()} threads"


def _machine() -> Iterator[tuple[str, str]]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cores", f"{cores} usable of {os.cpu_count()}; jobs take one each (--threads of a verb)"
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    yield "memory", f"{pages * page / 1e9:.1f} GB"
    usage = shutil.disk_usage(Path.cwd())
    yield "disk", f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB here"
    yield "accelerator", _accelerator()


def _accelerator() -> str:
    if importlib.util.find_spec("torch") is None:
        return "unknown: torch is missing"
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return "none; networks run on the processor"
