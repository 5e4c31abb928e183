from __future__ import annotations

import signal
from pathlib import Path

import click
import pytest

from compgraph.cli import run
from compgraph.cli.console import Call
from compgraph.cli.run import Watch, expand_targets, find_config, find_study, interrupted_by_termination
from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import small


def watch(*events: dict[str, object]) -> Watch:
    seen = Watch(quiet=False)
    for event in events:
        seen.see(dict(event))
    return seen


RUN = {"event": "run_info", "stats": {"effective": 2, "all": 1, "total": 3}}
FIRST = {
    "event": "job_info",
    "jobid": 4,
    "rule_name": "effective",
    "wildcards": {"model": "tf", "checkpoint": "step-000100", "dataset": "mix", "name": "heads"},
}


def test_the_line_says_what_runs_and_how_much_is_left() -> None:
    seen = watch(RUN, FIRST)
    assert seen.line() == "0/2 done · effective tf/step-000100/mix heads"
    seen.see({"event": "job_finished", "job_id": 4})
    assert seen.line().startswith("1/2 done, about ")


def test_time_left_is_counted_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(run.time, "monotonic", lambda: clock[0])
    stats = {"train_net": 1, "effective": 3, "report": 1, "all": 1, "total": 6}
    seen = watch({"event": "run_info", "stats": stats}, {**FIRST, "jobid": 1, "rule_name": "train_net"})
    assert seen.seconds_left() is None
    clock[0] = 100.0
    seen.see({"event": "job_finished", "job_id": 1})
    seen.see({**FIRST, "jobid": 2})
    clock[0] = 104.0
    seen.see({"event": "job_finished", "job_id": 2})
    seen.see({**FIRST, "jobid": 3})
    clock[0] = 105.0
    # Two effective graphs at 4 s, of which one is a second old, and a report at the median of all jobs.
    assert seen.seconds_left() == pytest.approx(3 + 4 + 52)


def test_every_finished_job_is_said_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    watch(RUN, FIRST, {"event": "job_finished", "job_id": 4})
    assert capsys.readouterr().err.startswith("1/2 effective tf/step-000100/mix heads, about ")


def test_the_log_of_a_failed_job_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "job.log"
    log.write_text("\n".join(f"line {k}" for k in range(40)))
    seen = watch(RUN, FIRST, {"event": "job_error", "jobid": 4, "rule_name": "effective", "log": [str(log)]})
    seen.conclude(Call("run"), 1, tmp_path / "run.log")
    said = capsys.readouterr().err
    assert f"failed: effective tf/step-000100/mix heads ({log})" in said
    assert "line 39" in said and "line 3\n" not in said


def test_a_sentence_is_shown_without_its_traceback() -> None:
    lines = ["Traceback", "  x", "compgraph data: bad", "  more"]
    assert run.what_went_wrong(lines) == lines[2:]
    assert run.what_went_wrong(["Traceback", "ValueError: x"]) == ["Traceback", "ValueError: x"]


def test_an_error_before_any_job_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = watch({"event": "message", "level": "ERROR", "text": "no such rule"})
    seen.conclude(Call("run"), 1, tmp_path / "run.log")
    assert "no such rule" in capsys.readouterr().err


def test_an_idle_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch().conclude(Call("run"), 0, tmp_path / "run.log")
    assert "nothing to do" in capsys.readouterr().err


def test_targets() -> None:
    study = Study(small())
    assert expand_targets(study, ("rois", "results/x/y.json")) == [
        "results/net/step-000040/digits/rois/km.json",
        "results/net/step-000040/digits/rois/km.partition",
        "results/tf/step-000100/mix/rois/km.json",
        "results/tf/step-000100/mix/rois/km.partition",
        "results/x/y.json",
    ]
    with pytest.raises(ConfigError, match=r"there is no stage 'roi' .did you mean 'rois'"):
        expand_targets(study, ("roi",))


def test_the_config_of_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("/workflow")
    assert find_config(root, Path("mine.yaml")) == Path("mine.yaml")
    assert find_config(root, None) == root / "config.yaml"
    (tmp_path / "config.yaml").touch()
    assert find_config(root, None) == Path("config.yaml")


def test_the_embedded_study_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root, path, study = find_study(Call("plan"), None)
    assert path == root / "config.yaml" and "digits-cnn" in study.config.models
    assert f"the study of {path}; compgraph init" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_bytes(path.read_bytes())
    assert find_study(Call("plan"), None)[1] == Path("config.yaml")
    assert capsys.readouterr().err == ""


def test_a_request_to_terminate_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_by_termination():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("environment", "terminal", "opened"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "w"}, True, True),
        ({}, True, False),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ":0", "CI": "true"}, True, False),
    ],
)
def test_the_report_opens_where_somebody_can_see_it(
    environment: dict[str, str], terminal: bool, opened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import webbrowser

    pages: list[str] = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("sys.stdout", type("Out", (), {"isatty": lambda self: terminal})())
    monkeypatch.setattr(webbrowser, "open", pages.append)
    run._open(Path("results/report/index.html"))
    assert bool(pages) is opened


def test_the_verb_is_a_command() -> None:
    assert isinstance(run.command, click.Command)
