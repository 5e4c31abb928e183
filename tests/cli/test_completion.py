from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAME = ("communities", "comparison", "costs", "convert-dictionary", "config")
CALL = """
import sys
from compgraph.cli.main import main
try:
    main(prog_name="compgraph")
except SystemExit:
    pass
print("loaded:", *sorted({"torch", "transformers", "pandas", "snakemake"} & set(sys.modules)))
"""


def completed(line: str) -> tuple[list[str], list[str]]:
    """What bash is told for a line, its last word unfinished; and which slow libraries were imported for it."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    environment = os.environ | words | {"_COMPGRAPH_COMPLETE": "bash_complete"}
    done = subprocess.run([sys.executable, "-c", CALL], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *offered, loaded = done.stdout.splitlines()
    return offered, loaded.split()[1:]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("compgraph pl", ["plain,plan"]),
        ("compgraph co", [f"plain,{verb}" for verb in SAME]),
        ("compgraph run --conf", ["plain,--config"]),
        ("compgraph run --config stu", ["file,stu"]),
        ("compgraph effective --partit", ["plain,--partition"]),
    ],
)
def test_words_are_completed_without_slow_imports(line: str, offered: list[str]) -> None:
    assert completed(line) == (offered, [])


def test_the_script_for_bash_is_printed() -> None:
    environment = os.environ | {"_COMPGRAPH_COMPLETE": "bash_source"}
    done = subprocess.run([sys.executable, "-c", CALL], env=environment, capture_output=True, text=True, timeout=60)
    assert "complete -o nosort -F _compgraph_completion compgraph" in done.stdout
