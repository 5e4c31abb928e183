from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compgraph import catalogue
from compgraph.cli.console import Call, errors_in_one_sentence, verb
from compgraph.errors import CompgraphError, DataError


def test_options_have_the_defaults_and_words_of_the_config() -> None:
    seen: list[Any] = []

    @verb("effective", section="effective")
    def command(call: Call, entry: Any) -> None:
        """Nothing."""
        seen.append(entry)

    shown = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "[default: logit_difference]" in shown
    assert "counterfactual, zero, " in shown
    done = CliRunner().invoke(
        command, ["--partition", "attn.*=heads,mlp.0=units", "--no-split-qkv", "--batch-size", "7"]
    )
    assert done.exit_code == 0, done.output
    assert seen[0].partition == {"attn.*": "heads", "mlp.0": "units"}
    assert (seen[0].split_qkv, seen[0].batch_size, seen[0].metric) == (False, 7, "logit_difference")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "logit"], "there is no metric 'logit' (did you mean 'logit_difference'?)"),
        (["--method", "eapp"], "did you mean 'eap'?"),
        (["--batch-size", "none"], "--batch-size: it should be a valid integer"),
        (["--seed", "-1"], "--seed: it should be greater than or equal to 0"),
        (["--partition", "attn.*=head"], "did you mean 'heads'?"),
    ],
)
def test_a_bad_option_is_a_usage_error(arguments: list[str], said: str) -> None:
    @verb("effective", section="effective")
    def command(call: Call, entry: Any) -> None:
        """Nothing."""

    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_an_option_of_another_method_is_refused() -> None:
    @verb("communities", section="communities")
    def command(call: Call, entry: Any) -> None:
        """Nothing."""

    done = CliRunner().invoke(command, ["--method", "leiden-layered", "--negative", "signed"])
    assert done.exit_code == 2
    assert "--negative is no option of leiden-layered" in done.output


def failing(error: BaseException, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    log = tmp_path / "log.txt"
    with pytest.raises(SystemExit) as caught, errors_in_one_sentence(Call("effective", log_file=log)):
        raise error
    return int(caught.value.code or 0), capsys.readouterr().err, log.read_text() if log.exists() else ""


def test_an_error_is_one_sentence_and_its_traceback_is_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, log = failing(DataError("the dataset 'd' is empty"), tmp_path, capsys)
    assert code == 1
    assert said == "compgraph effective: the dataset 'd' is empty\n"
    assert "Traceback" in log and "the dataset 'd' is empty" in log


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "x.json"), 1, "x.json: No such file or directory"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_errors_of_the_machine(
    error: BaseException, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = failing(error, tmp_path, capsys)
    assert found[0] == code
    assert said in found[1]
    assert "Traceback" not in found[1]


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with pytest.raises(ZeroDivisionError), errors_in_one_sentence(Call("effective", log_file=log)):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError" in log.read_text()


def test_threads_are_set_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")

    @verb("report")
    def command(call: Call) -> None:
        """Nothing."""
        assert os.environ["OMP_NUM_THREADS"] == "3"

    assert CliRunner().invoke(command, ["--threads", "3"]).exit_code == 0


def test_a_result_knows_how_it_was_made(tmp_path: Path) -> None:
    from compgraph import store

    call = Call("report", quiet=True)
    with call.result(tmp_path / "a.json", "note", ".txt", inputs={"model": "sha256:1"}, parameters={"n": 1}) as draft:
        draft.path.write_text("hello")
    made = store.verify(tmp_path / "a.json")
    assert made.path.name == "a.txt"
    assert made.provenance.stage == "report"
    assert made.provenance.inputs == {"model": "sha256:1"}
    assert made.parameters == {"n": 1}
    assert len(made.provenance.code) == 16


def test_code_that_changed_since_planning_is_not_run(tmp_path: Path) -> None:
    call = Call("report", quiet=True, code="0" * 16)
    with (
        pytest.raises(CompgraphError, match="is not what this job was planned with"),
        call.result(tmp_path / "a.json", "note", None, inputs={}),
    ):
        pytest.fail("the body must not run")
    assert not list(tmp_path.iterdir())


def test_stages_are_registered_once() -> None:
    modules = [entry.module for entry in catalogue.STAGES.values()]
    assert len(modules) == len(set(modules))
