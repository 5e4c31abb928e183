from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compgraph import store
from compgraph.cli.costs import measured, measured_table, planned_table, stage_of_job
from compgraph.cli.prediction import Experience, predict
from compgraph.config.config import from_mapping
from compgraph.config.disk_use import buffer_size
from compgraph.config.resources import likely
from compgraph.config.study import Study
from compgraph.provenance import Provenance
from compgraph.report.costs import by_stage, read_costs

HEADER = "s\th:m:s\tmax_rss\tcpu_time\n"


def study(results: Path, width: int = 16) -> Study:
    net = {"source": "trained", "architecture": "transformer", "tasks": ["induction"], "width": width, "checkpoints": 2}
    values: dict[str, Any] = {
        "models": {"net": net},
        "datasets": {"prompts": {"kind": "task", "task": "induction", "n": 1000}},
        "activations": {"sites": ["mlp.*"]},
        "effective": {"heads": {"partition": "heads", "checkpoints": "all"}, "units": {}},
        "figures": {"draw": []},
        "run": {"results": str(results)},
    }
    return Study(from_mapping(values), Path("study.yaml"))


def benchmark(results: Path, name: str, seconds: float, cpu: float, mebibytes: float = 100) -> None:
    path = results / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t-\t{mebibytes}\t{cpu}\n")


def sealed(path: Path, stage: str, size: int) -> None:
    with store.create(path, kind="graph", payload=f"{path.stem}.graph", provenance=Provenance(stage)) as draft:
        draft.path.write_bytes(b"x" * size)


def planned(results: Path, rule: str, name: str, **more: object) -> dict[str, Any]:
    return {"rule_name": rule, "benchmark": str(results / "benchmarks" / f"{name}.tsv"), **more}


PLACE = "net/step-000{}/prompts/effective/{}"


def test_costs_are_those_of_the_studys_own_jobs(tmp_path: Path) -> None:
    one = study(tmp_path)
    first, last = one.facts["net"].checkpoints
    benchmark(tmp_path, "net/train", 40, 30, 900)
    for checkpoint, seconds in ((first, 2), (last, 4)):
        benchmark(tmp_path, f"net/{checkpoint}/prompts/effective/heads", seconds, 1)
        sealed(tmp_path / f"net/{checkpoint}/prompts/effective/heads.json", "effective", 50)
        sealed(tmp_path / f"net/{checkpoint}/model.json", "train", 1000)
    benchmark(tmp_path, f"net/{last}/prompts/effective/gone", 99, 99)  # of an entry that is no more
    costs, sizes = measured(one)
    rows = {row.stage: row for row in by_stage(costs, {stage_of_job(name): size for name, size in sizes.items()})}
    assert {"train", "effective"} == set(rows)
    assert (rows["effective"].jobs, rows["effective"].seconds, rows["effective"].cpu_seconds) == (2, 6, 2)
    assert rows["train"].size == 2000 and rows["train"].peak_bytes == 900 * 2**20
    text = "\n".join(measured_table(list(rows.values()), 4, 9))
    assert "4 of the study's 9 results" in text and "46.0 s" in text and "32.0 s" in text


def test_parts_count_for_their_stage(tmp_path: Path) -> None:
    benchmark(tmp_path, "net/main/prompts/functional/heads.parts/0-of-2", 3, 2)
    assert [cost.stage for cost in read_costs(tmp_path / "benchmarks")] == ["functional"]


def test_without_measurements_the_model_of_resources_counts(tmp_path: Path) -> None:
    small, large = study(tmp_path), study(tmp_path, 512)
    last = small.facts["net"].checkpoints[-1]
    job = planned(tmp_path, "effective", f"net/{last}/prompts/effective/heads")
    rows = [predict([job], Experience(one, [], {}), tmp_path / "benchmarks")[0] for one in (small, large)]
    assert rows[0].cpu_seconds == likely(small, "effective", "net", "prompts").seconds and rows[0].measured == 0
    assert rows[1].cpu_seconds > 10 * rows[0].cpu_seconds and rows[1].peak_bytes > rows[0].peak_bytes


def test_what_was_measured_corrects_it_most_like_first(tmp_path: Path) -> None:
    one = study(tmp_path)
    first, last = one.facts["net"].checkpoints
    benchmark(tmp_path, f"net/{first}/prompts/effective/heads", 9, 8)
    benchmark(tmp_path, f"net/{last}/prompts/effective/units", 40, 38)
    costs, sizes = measured(one)
    jobs = [
        planned(tmp_path, "effective", f"net/{last}/prompts/effective/heads"),  # as the first checkpoint's
        planned(tmp_path, "activations", f"net/{last}/prompts/activations"),  # like nothing before
    ]
    rows = {row.stage: row for row in predict(jobs, Experience(one, costs, sizes), tmp_path / "benchmarks")}
    assert rows["effective"].cpu_seconds == pytest.approx(8) and rows["effective"].measured == 1
    (buffer,) = [result for result in one.results() if result.stage == "activations"]
    assert rows["activations"].size == buffer_size(one, buffer) and rows["activations"].measured == 0
    text = "\n".join(planned_table(list(rows.values())))
    assert "1 of 2" in text and planned_table([]) == ["A run has nothing to do."]
    assert json.loads(json.dumps([vars(row) for row in rows.values()]))
