"""How long people wait before anything happens: import, help, parsing the workflow.

    python -m benchmarks.startup

Whole processes, wall seconds, the fastest of several (the machine's noise only adds); `python -c pass` is the
floor that the interpreter itself takes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "import compgraph": ([sys.executable, "-c", "import compgraph"], 0.3),
    "compgraph --help": ([str(BIN / "compgraph"), "--help"], 0.5),
    "Snakefile parse (default study)": ([str(BIN / "snakemake"), "--list-rules"], 2.0),
}


def seconds(command: list[str], runs: int) -> float:
    """Fastest wall time of a command."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main(runs: int = 5) -> None:
    for name, (command, goal) in COMMANDS.items():
        wanted = "" if goal is None else f"  (goal: under {goal} s)"
        print(f"{name:34} {seconds(command, runs):6.2f} s{wanted}")


if __name__ == "__main__":
    main()
