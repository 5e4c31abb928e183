"""Every effective method against the known edges of the compiled networks: the table of docs/methods.md.

    python -m benchmarks.ground_truth [--n 64] [--methods eap exact]

One thread, float64, deterministic. Columns are the cases, entries are AUROC (`edge_recovery`); the last column is the
mean of the InterpBench variant. All options are defaults but those that the rows name. Granger and transfer entropy get
more examples, for they need more than they have coefficients; what a method refuses is a dash.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from compgraph.catalogue import EFFECTIVE
from compgraph.errors import CompgraphError
from compgraph.evaluation.ground_truth import recover_known
from compgraph.models.compiled import CASES, compile_case
from compgraph.models.compiled.plan import CompiledCase

MORE: dict[str, dict[str, Any]] = {"acdc": {"taus": "autocircuit"}, "node-ig": {"edge_steps": 5}}
"""A second row with other options."""
SERIES = ("granger", "transfer-entropy")
SERIES_OPTIONS = {"max_order": 1}
SERIES_EXAMPLES = 256


def row(name: str, cases: Sequence[CompiledCase], n: int, options: dict[str, Any]) -> list[str]:
    """AUROC of each case, and the mean of the InterpBench variant."""
    cells, others = [], []
    for case in cases:
        try:
            found = recover_known([name], [case], n=n, options={name: options}).areas.iloc[0]
        except CompgraphError:
            cells.append("–")
            continue
        cells.append(_cut(found["auroc"]))
        others.append(found["interpbench_auroc"])
    return [*cells, _cut(sum(others) / len(others)) if others else "–"]


def _cut(value: float) -> str:
    """Two decimals, cut rather than rounded: only what is 1 reads 1."""
    return "1" if value == 1 else f"{int(100 * value) / 100:.2f}"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--methods", nargs="+", default=list(EFFECTIVE))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cases = [compile_case(name) for name in CASES]
    titles = ["method", *CASES, "InterpBench variant"]
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}", flush=True)
    for name in chosen.methods:
        series = name in SERIES
        for options in [SERIES_OPTIONS] if series else [{}, *([MORE[name]] if name in MORE else [])]:
            said = ", ".join(f"{key} {value}" for key, value in options.items())
            cells = row(name, cases, SERIES_EXAMPLES if series else chosen.n, options)
            print(f"| `{name}`{f' ({said})' if said else ''} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
