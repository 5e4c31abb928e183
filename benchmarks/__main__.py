"""All benchmarks, one behind the other: `python -m benchmarks`, or some: `python -m benchmarks eap startup`."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "startup", "planning", "forward", "eap", "recompute", "exact", "buffers", "structural", "functional", "graphs",
    "neurons", "ablation", "ground_truth", "block_models", "dictionaries", "communities",
)  # fmt: skip


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    for name in names or NAMES:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
