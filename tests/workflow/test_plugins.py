"""The Snakemake plugins of the workflow: which jobs run when, together, and how."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.workflow.conftest import ROOT


def plugin(name: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # Snakemake looks for plugins when it is imported, not again when this test changes the path.
    importlib.import_module("snakemake.cli")
    monkeypatch.syspath_prepend(str(ROOT / "workflow" / folder))
    return importlib.import_module(name)


@dataclass(eq=False)
class Job:
    """What plugins ask of a job."""

    output: list[Any]
    rule: Any = field(default_factory=lambda: Rule("effective"))
    wildcards_dict: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    priority: int = 0

    @property
    def scheduler_resources(self) -> dict[str, Any]:
        return self.resources

    def is_group(self) -> bool:
        return False


@dataclass(frozen=True)
class Rule:
    name: str


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("compgraph sbm a.json --output 'b c.json' --quiet", ["sbm", "a.json", "--output", "b c.json", "--quiet"]),
        ("compgraph figure x --subject 'a, b'", ["figure", "x", "--subject", "a, b"]),
        ("compgraph sbm a.json > log", None),
        ("compgraph sbm $(ls)", None),
        ("compgraph sbm a.json && touch b", None),
        ("snakemake --version", None),
        ("", None),
    ],
)
def test_only_plain_calls_share_a_process(
    line: str, arguments: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = plugin("snakemake_executor_plugin_compgraph", "plugins", monkeypatch)
    assert executor.arguments_of(line) == arguments


def test_results_are_at_home_with_their_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = plugin("snakemake_executor_plugin_compgraph", "plugins", monkeypatch)
    named = {"model": "tf", "checkpoint": "step-1", "dataset": "mix"}
    assert executor.place_of(Job([], wildcards_dict=named)) == "tf/step-1"
    assert executor.place_of(Job([], wildcards_dict={"place": "tf/step-1/mix"})) == "tf/step-1"
    assert executor.place_of(Job([])) == ""


def test_costs_are_written_as_snakemake_writes_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from snakemake.benchmark import write_benchmark_records

    from compgraph.cli.workers import Made
    from compgraph.report.costs import read_costs

    executor = plugin("snakemake_executor_plugin_compgraph", "plugins", monkeypatch)
    (tmp_path / "tf/step-1/sbm").mkdir(parents=True)
    made = Made(0, seconds=2.5, cpu_seconds=1.25, peak_bytes=3 * 2**20)
    write_benchmark_records([executor.record_of(made)], str(tmp_path / "tf/step-1/sbm/a.tsv"), False)
    (cost,) = read_costs(tmp_path)
    assert (cost.seconds, cost.cpu_seconds, cost.peak_bytes) == (2.5, 1.25, 3 * 2**20)


def test_one_checkpoint_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = plugin("snakemake_scheduler_plugin_compgraph", "plugins", monkeypatch).Scheduler(None, None, None)
    names = ["tf/b/sbm/x.json", "tf/a/sbm/x.json", "tf/a/effective/x.json"]
    jobs = [Job([name], resources={"_cores": 1, "mem_mb": 10}) for name in names]
    jobs.append(Job(["tf/c/x.json"], resources={"_cores": 1}, priority=5))
    chosen = scheduler.select_jobs(jobs, jobs, {"_cores": 3, "mem_mb": 15}, {})
    assert [job.output[0] for job in chosen] == ["tf/c/x.json", "tf/a/effective/x.json"]
    assert scheduler.select_jobs(jobs, jobs, {"_cores": 0, "mem_mb": 15}, {}) == []


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("snakemake_executor_plugin_slurm")
    return plugin("snakemake_executor_plugin_compgraph_slurm", "cluster", monkeypatch)


def test_a_cluster_job_is_of_one_stage_and_model(cluster: ModuleType) -> None:
    jobs = [
        Job([f"{model}/{step}/{name}.json"], Rule(name), {"model": model})
        for step in (2, 1, 0)
        for model in ("a", "b")
        for name in ("effective", "ablation")
    ]
    cut = [[job.output[0] for job in batch] for batch in cluster.batches(jobs, 2)]
    assert ["a/0/effective.json", "a/1/effective.json"] in cut and ["a/2/effective.json"] in cut
    assert sorted(map(len, cut)) == [1] * 4 + [2] * 4
    assert [len(batch) for batch in cluster.batches(jobs, 1)] == [1] * 12


def test_parts_of_a_result_are_made_at_the_same_time(cluster: ModuleType) -> None:
    parts = [
        Job([f"m/{step}/{number}.json"], Rule("functional_part"), {"model": "m", "number": str(number)})
        for step in (0, 1)
        for number in (0, 1)
    ]
    cut = [[job.output[0] for job in batch] for batch in cluster.batches(parts, 8)]
    assert cut == [["m/0/0.json", "m/1/0.json"], ["m/0/1.json", "m/1/1.json"]]


def test_a_batch_is_no_longer_than_a_partition_allows(cluster: ModuleType) -> None:
    jobs = [
        Job([f"{number:02}"], resources={"runtime": minutes}) for number, minutes in enumerate([60] * 13 + [900, 5])
    ]
    assert [len(batch) for batch in cluster.batches(jobs, 32)] == [12, 1, 1, 1]


def test_a_batch_needs_the_time_of_all_and_the_memory_of_one(cluster: ModuleType) -> None:
    jobs = [
        Job([], resources={"_cores": 1, "mem_mb": 500, "runtime": 5, "slurm_account": "lab"}),
        Job([], resources={"_cores": 2, "mem_mb": 900, "runtime": 7}),
    ]
    batch = cluster.Batch.__new__(cluster.Batch)
    batch._jobs, batch._toposorted = frozenset(jobs), [jobs]
    assert dict(batch.resources.items()) == {"_cores": 2, "mem_mb": 900, "runtime": 12, "slurm_account": "lab"}


def test_jobs_are_not_forgotten_while_slurm_is_silent(cluster: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio
    from types import SimpleNamespace

    async def check(self: Any, active_jobs: list[Any]) -> Any:
        self._reported.add("1")
        yield active_jobs[1]

    async def asked_again() -> list[str]:
        return [job.external_jobid async for job in executor.check_active_jobs(active)]

    monkeypatch.setattr(cluster.slurm.Executor, "check_active_jobs", check)
    executor = cluster.Executor.__new__(cluster.Executor)
    executor._reported = set()
    active = [SimpleNamespace(external_jobid=number) for number in ("1", "2", "3")]
    assert asyncio.run(asked_again()) == ["2", "3"]


def test_what_is_whole_when_a_cluster_job_fails_is_made(cluster: ModuleType, tmp_path: Path) -> None:
    from types import SimpleNamespace

    paths = [tmp_path / f"{name}.json" for name in ("before", "anew", "old", "none")]
    jobs = [Job([str(path), str(path.with_suffix(".graph"))]) for path in paths]
    for path in paths[1:3]:
        path.write_text("1")
    executor = SimpleNamespace(_before={job: cluster.seals(job) for job in jobs})
    paths[0].write_text("2")
    paths[1].unlink()
    paths[1].with_suffix(".new").write_text("2")
    paths[1].with_suffix(".new").rename(paths[1])
    assert [cluster.Executor._is_made(executor, job) for job in jobs] == [True, True, False, False]


@pytest.mark.parametrize(
    ("last", "left"), [("compgraph.errors.DataError: no items\n\ncompgraph data: no items\n", 0), ("MemoryError\n", 2)]
)
def test_a_refused_input_is_not_tried_again(
    last: str, left: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slurm = plugin("snakemake_executor_plugin_compgraph_slurm", "cluster", monkeypatch)
    monkeypatch.setattr(slurm.slurm.Executor, "handle_job_error", lambda executor, job: None)
    executor = object.__new__(slurm.Executor)
    job = Job([])
    job.restart_times, job._attempt = 2, 1  # type: ignore[attr-defined]
    log = tmp_path / "job.log"
    executor._logs = {job: {str(log): slurm.state(log)}}
    log.write_text(f"$ compgraph data\nTraceback (most recent call last):\n{last}")
    executor.handle_job_error(job)
    assert job.restart_times - (job._attempt - 1) == left  # type: ignore[attr-defined]
