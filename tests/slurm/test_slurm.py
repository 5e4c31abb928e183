"""The study through a real Slurm: the bytes of a local run, and nothing lost when jobs, nodes and runs die.

Only the first test belongs to every test run; the others are `make test-slurm`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.study import ROOT, Site
from tests.slurm.cluster import Cluster, Job, missing

LONG = pytest.mark.skipif("COMPGRAPH_TEST_SLURM" not in os.environ, reason="runs with make test-slurm")
PATIENCE = 900
TARGETS = ("effective", "structural")


class ClusterSite(Site):
    """A site whose runs look at their jobs more often than the profile says, so that tests end."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.plain = (folder / "config.yaml").read_text(encoding="utf-8")
        for name in ("Snakefile", "workflow"):
            (folder / name).symlink_to(ROOT / name)
        text = (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
        text, changed = re.subn(r"(status-checks|latency-wait): \d+", r"\1: 2", text)
        assert changed == 2
        (folder / "profiles/slurm").mkdir(parents=True)
        (folder / "profiles/slurm/config.yaml").write_text(text, encoding="utf-8")

    def configure(self, run: str) -> None:
        """Add to the section `run` of the study."""
        (self.folder / "config.yaml").write_text(self.plain.replace("run: {", f"run: {{{run}, "), encoding="utf-8")

    def ends(self, *options: str) -> int:
        """The exit code of a run on the cluster."""
        return self.run("--slurm", *options, timeout=PATIENCE)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes."""
    why = missing()
    if why is not None:
        pytest.skip(f"no Slurm can be started here: {why}")
    folder = Path(tempfile.mkdtemp(prefix="cg"))
    before = os.environ.get("SLURM_CONF")
    try:
        with Cluster(folder, memory=4000, port=free_ports(4)) as started:
            os.environ["SLURM_CONF"] = started.environment["SLURM_CONF"]
            yield started
    finally:
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two stages of the study, made without a cluster."""
    site = Site(tmp_path_factory.mktemp("local"))
    assert site.run(*TARGETS) == 0, site.said
    return site


def free_ports(count: int) -> int:
    """The first of some ports in a row that nobody listens at."""
    for first in range(27817, 60000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for number, one in enumerate(sockets):
                one.bind(("", first + number))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise OSError("no free ports")


def wait_for(cluster: Cluster, holds: Callable[[Job], bool]) -> Job:
    """The first job for which something holds."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for job in cluster.jobs():
            if holds(job):
                return job
        time.sleep(0.2)
    raise TimeoutError(str(cluster.jobs()))


def tries(cluster: Cluster, before: set[str], rule: str) -> list[Job]:
    """Jobs of a rule in the order in which they were submitted."""
    found = [job for job in cluster.jobs() if job.number not in before and rule in job.comment]
    return sorted(found, key=lambda job: int(job.number))


def suspend_worker(job: Job) -> None:
    """Let the process that makes a job's result hang."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                at_work = "compgraph.cli.worker" in process.cmdline()
                if at_work and process.environ().get("SLURM_JOB_ID") == job.number:
                    process.suspend()
                    return
        time.sleep(0.05)
    raise TimeoutError(f"no process of job {job.number}")


def numbers(cluster: Cluster) -> set[str]:
    return {job.number for job in cluster.jobs()}


@pytest.mark.slow
def test_the_bytes_of_a_local_run_from_several_nodes(cluster: Cluster, local: Site, tmp_path: Path) -> None:
    before = numbers(cluster)
    site = ClusterSite(tmp_path)
    assert site.ends(*TARGETS) == 0, site.said
    assert len(local.manifests()) == 6
    assert site.files() == local.files()
    jobs = [job for job in cluster.jobs() if job.number not in before]
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert len({job.node for job in jobs}) > 1
    assert len(jobs) < 5, "a job makes several results"


@LONG
@pytest.mark.slow
def test_every_stage_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    here, there = Site(tmp_path / "local"), ClusterSite(tmp_path / "slurm")
    assert here.run() == 0, here.said
    assert there.ends() == 0, there.said
    assert there.files() == here.files()
    assert there.ends() == 0
    assert "nothing to do" in there.said


@LONG
@pytest.mark.slow
def test_a_job_out_of_memory_is_given_more(cluster: Cluster, local: Site, tmp_path: Path) -> None:
    before = numbers(cluster)
    site = ClusterSite(tmp_path)
    site.configure("resources: {train: {mem_mb: 300}}")
    assert site.ends("effective") == 0, site.said
    tried = tries(cluster, before, "train")
    assert len(tried) > 1 and [job.state for job in tried].count("COMPLETED") == 1
    assert [job.memory for job in tried] == [f"{300 * attempt}M" for attempt in range(1, len(tried) + 1)]
    logs = list((site.folder / ".snakemake/slurm_logs").rglob("*.log"))
    assert logs and all("exceeded memory limit" in log.read_text(encoding="utf-8") for log in logs)
    assert "failed:" not in site.said
    assert site.files().items() <= local.files().items()


@LONG
@pytest.mark.slow
def test_a_job_that_hangs_is_given_more_time(cluster: Cluster, local: Site, tmp_path: Path) -> None:
    before = numbers(cluster)
    site = ClusterSite(tmp_path)
    site.configure("resources: {train: {minutes: 1, cpus: 2}}")
    process = site.start("--slurm", "effective")
    suspend_worker(wait_for(cluster, lambda job: job.number not in before and job.state == "RUNNING"))
    assert process.wait(timeout=PATIENCE) == 0, site.said
    tried = tries(cluster, before, "train")
    assert tried[0].state == "TIMEOUT" and tried[-1].state == "COMPLETED"
    assert [job.limit for job in tried][:2] == ["1:00", "2:00"]
    logs = list((site.folder / ".snakemake/slurm_logs").rglob("*.log"))
    assert logs and "DUE TO TIME LIMIT" in logs[0].read_text(encoding="utf-8")
    assert {job.cpus for job in tried} == {"2"}, "as many CPUs as threads"
    assert "--threads 2" in (site.results / "logs/net/train.log").read_text(encoding="utf-8")
    assert site.files().keys() == {name for name in local.files() if "structural" not in name}


@LONG
@pytest.mark.slow
def test_a_job_that_fails_each_time_is_reported_with_what_slurm_says(cluster: Cluster, tmp_path: Path) -> None:
    before = numbers(cluster)
    site = ClusterSite(tmp_path)
    site.configure("resources: {train: {mem_mb: 60}}")
    assert site.ends("effective") == 1
    assert len(tries(cluster, before, "train")) == 3
    assert "failed: train net" in site.said and "exceeded memory limit" in site.said
    site.configure("resources: {train: {mem_mb: 3000}}")
    assert site.ends("effective") == 0, site.said


@LONG
@pytest.mark.slow
@pytest.mark.parametrize("harm", ["cancel", "kill", "controller"])
def test_a_job_that_is_lost_is_made_again(cluster: Cluster, local: Site, tmp_path: Path, harm: str) -> None:
    before = numbers(cluster)
    site = ClusterSite(tmp_path)
    process = site.start("--slurm", "effective")
    job = wait_for(cluster, lambda job: job.number not in before and job.state == "RUNNING")
    if harm == "cancel":
        cluster.call("scancel", job.number)
    elif harm == "kill":
        cluster.kill_node(job.node)
        time.sleep(5)
        cluster.start_node(job.node)
    else:
        cluster.stop_controller()
        time.sleep(20)
        cluster.start_controller()
    assert process.wait(timeout=PATIENCE) == 0, site.said
    assert site.files().items() <= local.files().items()


@LONG
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on(cluster: Cluster, local: Site, tmp_path: Path, number: signal.Signals) -> None:
    before = numbers(cluster)
    site = ClusterSite(tmp_path)
    process = site.start("--slurm", "effective")
    wait_for(cluster, lambda job: job.number not in before and job.state == "RUNNING" and "train" not in job.comment)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(timeout=120) != 0
    if number != signal.SIGKILL:
        wait_for(cluster, lambda job: job.number not in before and job.state in ("CANCELLED", "COMPLETED"))
        assert not [job for job in cluster.jobs() if job.state in ("RUNNING", "PENDING")]
    assert site.ends("effective") == 0, site.said
    assert site.files().items() <= local.files().items()
