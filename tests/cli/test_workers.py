from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from compgraph.cli import workers
from compgraph.cli.workers import Made, Workers

SAYS_WHO = """
import json, os, sys
for line in sys.stdin:
    verb = json.loads(line)["arguments"][0]
    if verb == "die":
        os._exit(9)
    if verb == "wait":
        open(sys.argv[1] + "/ready", "a").write(".")
        while not os.path.exists(sys.argv[1] + "/go"):
            pass
    cost = {"code": int(verb == "fail"), "seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": os.getpid()}
    print(json.dumps(cost), flush=True)
"""
"""A process that answers with its number in place of its memory."""


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workers:
    monkeypatch.setattr(workers, "COMMAND", (sys.executable, "-c", SAYS_WHO, str(tmp_path)))
    return Workers(batch=3)


def who(pool: Workers, verb: str = "effective", place: str = "", threads: int = 1) -> int:
    return pool.make([verb], place=place, threads=threads).peak_bytes


def test_a_process_makes_a_batch_and_then_another_takes_its_place(pool: Workers) -> None:
    made = [who(pool) for _ in range(7)]
    pool.stop()
    assert len(set(made)) == 3
    assert made[0] == made[1] == made[2] and made[3] == made[4] == made[5]


def test_other_threads_need_another_process(pool: Workers) -> None:
    first, second = who(pool, threads=1), who(pool, threads=2)
    assert first != second
    assert len(pool._idle) == 1, "no more processes than results at a time"
    pool.stop()


def test_a_process_that_failed_or_died_makes_nothing_more(pool: Workers) -> None:
    first = who(pool)
    assert pool.make(["die"]) == Made(9)
    second = who(pool)
    assert pool.make(["fail"]).code == 1
    third = who(pool)
    pool.stop()
    assert len({first, second, third}) == 3


def test_results_of_a_checkpoint_go_where_its_network_is(pool: Workers, tmp_path: Path) -> None:
    found: dict[str, int] = {}
    both = [
        threading.Thread(target=lambda at=at: found.update({at: who(pool, "wait", at)}))  # type: ignore[misc]
        for at in ("a", "b")
    ]
    for thread in both:
        thread.start()
    while not (tmp_path / "ready").exists() or len((tmp_path / "ready").read_text()) < 2:
        pass
    (tmp_path / "go").touch()
    for thread in both:
        thread.join()
    assert found["a"] != found["b"]
    assert [who(pool, place="b"), who(pool, place="a")] == [found["b"], found["a"]]
    pool.stop()
