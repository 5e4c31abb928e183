"""A small results folder, written as the pipeline writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from compgraph import store
from compgraph.figures import effective, faithfulness
from compgraph.figures.files import save_with_data
from compgraph.provenance import Provenance
from tests.figures.examples import faithfulness_table, transformer_graph

BENCHMARK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def make(
    path: Path, kind: str, *, stage: str = "", summary: dict[str, Any] | None = None, **more: Any
) -> str:
    """Write one result; returns its digest."""
    payload = more.get("payload")
    made = Provenance(
        stage=stage or kind,
        parameters=more.get("parameters", {}),
        seed=more.get("seed"),
        inputs=more.get("inputs", {}),
        code="c0de",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    name = None if payload is None else path.stem + more.get("suffix", ".parquet")
    with store.create(path, kind=kind, payload=name, provenance=made) as draft:
        draft.summary.update(summary or {})
        if payload is not None:
            payload(draft.path)
        for text in more.get("warnings", ()):
            draft.warn(text)
    return store.open(path).digest


def results_folder(root: Path, model: str = "mixture") -> Path:
    """One model, two checkpoints, one dataset, a graph, its curve, blocks, statistics and two figures."""
    for step in ("step-000000", "step-000100"):
        accuracy = {"ioi": 0.5 if step == "step-000000" else 0.978}
        make(
            root / model / step / "model.json",
            "model",
            stage="train",
            summary={"kind": "transformer", "accuracy": accuracy},
        )
    make(
        root / model / "datasets/ioi.json",
        "pairs",
        stage="data",
        summary={"items": 64, "tasks": ["ioi"]},
        warnings=["2 items were dropped"],
    )
    place = root / model / "step-000100" / "ioi"
    graph = transformer_graph()
    digest = make(
        place / "effective/eap.json",
        "graph",
        stage="effective",
        payload=graph.save,
        suffix=".graph",
        summary={"n_nodes": graph.n_nodes, "n_edges": graph.n_edges},
        parameters={"method": "eap", "metric": "logit_difference"},
        seed=3,
    )
    curve = (
        faithfulness_table(1)
        .query("ablation == 'edge'")
        .assign(task="all")
        .drop(columns=["graph", "ablation"])
    )
    summary = {
        "ablation": "edge",
        "baseline": "counterfactual",
        "n_examples": 64,
        "n_edges": 1000,
        "areas": {"logit_difference": {"cpr": 0.91, "cmd": 0.09}},
    }
    curve_digest = make(
        place / "evaluation/curves@edges@effective.eap.json",
        "faithfulness",
        stage="evaluation",
        summary=summary,
        payload=lambda path: store.write_table(curve, path),
        inputs={"graph": digest},
    )
    make(
        place / "sbm/blocks@effective.eap.json",
        "sbm",
        summary={"n_blocks": 4, "gain": 91.2, "agreement": 0.93},
        payload=lambda path: store.write_table(pd.DataFrame({"node": ["embed"], "level0": [0]}), path),
    )
    band = {"low": [0.4, 0.6], "high": [0.6, 0.65], "q": [0.9, 0.02]}
    numbers = pd.DataFrame({"measure": ["density", "gini"], "value": [0.5, 0.71]} | band)
    make(
        place / "statistics/all@effective.eap.json",
        "statistics",
        payload=lambda path: store.write_table(numbers, path),
    )
    drawn = root / "figures" / model / "step-000100" / "ioi"
    make(
        drawn / "effective.eap.json",
        "figure",
        suffix=".figure",
        inputs={"graph-0": digest},
        parameters={"name": "effective"},
        payload=lambda path: save_with_data(
            path, effective.draw(graph, edges=40), effective.data(graph), effective.caption(graph)
        ),
    )
    table = faithfulness_table(1)
    make(
        drawn / "faithfulness.curves@edges@effective.eap.json",
        "figure",
        suffix=".figure",
        inputs={"curve": curve_digest},
        payload=lambda path: save_with_data(
            path, faithfulness.draw(table), table, faithfulness.caption(table)
        ),
    )
    benchmark = root / "benchmarks" / model / "step-000100/ioi/effective/eap.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text(BENCHMARK + "3.25\t0:00:03\t400.0\t1\t1\t1\t0\t0\t90\t2.9\n", encoding="utf-8")
    (root / "benchmarks" / model / "train.tsv").write_text(
        BENCHMARK + "0.1\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n"
    )
    (root / "logs").mkdir()
    (root / "logs/not-a-manifest.json").write_text("{}", encoding="utf-8")
    return root
