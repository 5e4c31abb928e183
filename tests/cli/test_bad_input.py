"""Bad input: one clear message, exit code 1, no traceback, nothing else lost."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from compgraph import disk, store
from compgraph.cli.main import main
from tests.workflow.conftest import models  # noqa: F401 (a fixture)


@dataclass
class Files:
    """A private copy of a model and of the results made from it."""

    root: Path

    @property
    def stream(self) -> Path:
        return self.root / "models" / "stream"

    @property
    def model(self) -> Path:
        return self.root / "results" / "model.json"

    @property
    def data(self) -> Path:
        return self.root / "results" / "prompts.json"

    @property
    def buffer(self) -> Path:
        return self.root / "results" / "activations.json"

    @property
    def graph(self) -> Path:
        return self.root / "results" / "heads.json"

    @property
    def out(self) -> Path:
        return self.root / "results" / "out.json"


def call(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:  # noqa: F811
    files = Files(tmp_path_factory.mktemp("made"))
    shutil.copytree(models, files.root / "models")
    for arguments in (
        ["import-model", "--path", files.stream, "-o", files.model],
        ["data", files.model, "-o", files.data, "--kind", "task", "--task", "induction", "--n", 12],
        ["activations", files.model, files.data, "-o", files.buffer],
        ["effective", files.model, files.data, "-o", files.graph, "--partition", "heads"],
    ):
        code, said = call(*arguments, "--quiet")
        assert code == 0, said
    return files.root


@pytest.fixture
def files(made: Path, tmp_path: Path) -> Files:
    shutil.copytree(made, tmp_path / "copy")
    copy = Files(tmp_path / "copy")
    pointer = copy.model.with_suffix("") / "source.json"
    source = json.loads(pointer.read_text())
    text = pointer.read_text().replace(source["path"], str(copy.stream))
    # The pointer is part of a sealed result; register the copied folder anew instead of editing it.
    assert text != pointer.read_text()
    assert call("import-model", "--path", copy.stream, "-o", copy.model, "--quiet")[0] == 0
    return copy


def weights(files: Files, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = files.stream / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def truncated(files: Files) -> None:
    path = files.stream / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def missing(files: Files) -> None:
    (files.stream / "model.safetensors").unlink()


def pickled(files: Files) -> None:
    (files.stream / "model.safetensors").rename(files.stream / "pytorch_model.bin")


def disagreeing(files: Files) -> None:
    path = files.stream / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": 32}))


def not_a_number(files: Files) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"][0] = torch.nan

    weights(files, change)


def unknown_family(files: Files) -> None:
    path = files.stream / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "bert"}))


def remote_code(files: Files) -> None:
    path = files.stream / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoConfig": "x.Y"}}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (truncated, "model.safetensors"),
        (missing, "model.safetensors"),
        (pickled, "only safetensors are read"),
        (disagreeing, "config.json and the weights disagree"),
        (not_a_number, "model.norm.weight holds NaN"),
        (unknown_family, "bert"),
        (remote_code, "auto_map asks to run code"),
    ],
)
def test_models(harm: Callable[[Files], None], said: str, files: Files) -> None:
    harm(files)
    for arguments in (
        ["import-model", "--path", files.stream, "-o", files.out],
        ["effective", files.model, files.data, "-o", files.out],
    ):
        code, output = call(*arguments)
        assert code == 1
        assert said in output
        assert "Traceback" not in output
        assert not files.out.exists()
    assert not list(files.out.parent.glob("*.partial"))


def test_a_model_that_changed_since_it_was_registered(files: Files) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] += 1

    weights(files, change)
    code, output = call("effective", files.model, files.data, "-o", files.out)
    assert code == 1
    assert "register it again with import-model" in output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("clean,corrupted,answer,distractor\n", "is empty"),
        ("clean,corrupted,answer\napple\n", "line 2"),
        ("prompt,answer\na,b\n", "clean"),
        ("clean,corrupted,answer,distractor\napple zzzz,apple,apple,pear\n", "0 of 1 items kept"),
    ],
)
def test_pair_files(content: str, said: str, files: Files) -> None:
    path = files.root / "pairs.csv"
    path.write_text(content)
    code, output = call("data", files.model, "-o", files.out, "--kind", "pairs", "--path", path)
    assert code == 1
    assert said in output
    assert "Traceback" not in output
    assert not files.out.exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("{first},{first} {second},{second},{first}\n", "number of tokens"),
        ("{first},{second},{second} {first},{first}\n", "token"),
        ("{first},{second},nosuchword,{first}\n", "token"),
    ],
)
def test_prompts_that_a_tokenizer_cannot_serve(rows: str, said: str, files: Files) -> None:
    words = [word for word in vocabulary(files) if word.isalpha()][:2]
    path = files.root / "pairs.csv"
    path.write_text("clean,corrupted,answer,distractor\n" + rows.format(first=words[0], second=words[1]))
    code, output = call("data", files.model, "-o", files.out, "--kind", "pairs", "--path", path)
    assert code == 1
    assert "0 of 1 items kept" in output
    assert said in output


def vocabulary(files: Files) -> list[str]:
    return list(json.loads((files.stream / "tokenizer.json").read_text())["model"]["vocab"])


def test_a_tokenizer_without_the_words_of_a_task(files: Files) -> None:
    code, output = call("data", files.model, "-o", files.out, "--kind", "task", "--task", "ioi")
    assert code == 1
    assert "ioi: 256 items were asked for" in output
    assert "Traceback" not in output


def test_no_tokenizer(files: Files) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (files.stream / name).unlink()
    code, output = call("data", files.model, "-o", files.out, "--kind", "task", "--task", "induction")
    assert code == 1
    assert "has no tokenizer" in output


def chunk_of(files: Files) -> Path:
    chunks = [path for path in files.buffer.with_suffix(".zarr").rglob("units/*/c/*") if path.is_file()]
    chunks = chunks or [path for path in files.buffer.with_suffix(".zarr").rglob("units/**/*/c/**/*") if path.is_file()]
    return sorted(chunks)[0]


def flipped(files: Files) -> None:
    path = chunk_of(files)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def shortened(files: Files) -> None:
    path = chunk_of(files)
    path.write_bytes(path.read_bytes()[:-1])


def lost(files: Files) -> None:
    chunk_of(files).unlink()


def other_version(files: Files) -> None:
    manifest = json.loads(files.buffer.read_text())
    manifest["format"] = 99
    files.buffer.write_text(json.dumps(manifest))


def torn(files: Files) -> None:
    files.buffer.write_text(files.buffer.read_text()[:100])


def absent(files: Files) -> None:
    files.buffer.unlink()


def foreign(files: Files) -> None:
    files.buffer.write_text('{"hello": 1}')


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flipped, "damaged"),
        (shortened, "bytes instead of"),
        (lost, "is missing"),
        (other_version, "results format 99"),
        (torn, "torn"),
        (absent, "there is no result"),
        (foreign, "not a manifest of compgraph"),
    ],
)
def test_buffers(harm: Callable[[Files], None], said: str, files: Files) -> None:
    harm(files)
    code, output = call("functional", files.buffer, "-o", files.out, "--partition", "heads")
    assert code == 1, output
    assert said in output
    assert "Traceback" not in output
    assert not files.out.exists()


def test_a_result_of_another_kind(files: Files) -> None:
    code, output = call("functional", files.graph, "-o", files.out)
    assert code == 1
    assert "holds a result of kind 'graph'; expected 'activations'" in output


def test_a_disk_too_small_for_a_buffer(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_space", lambda path: 1000)
    before = files.buffer.read_bytes()
    code, output = call("activations", files.model, files.data, "-o", files.buffer)
    assert code == 1
    assert "1.0 kB" in output or "1,000" in output or "1000" in output
    assert "Traceback" not in output
    assert files.buffer.read_bytes() == before
    store.verify(files.buffer)


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "full"), (errno.EACCES, "permission")])
def test_a_full_disk_and_a_folder_that_may_not_be_written(
    number: int, said: str, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compgraph.graph import ComputationalGraph

    def save(self: ComputationalGraph, path: Path) -> None:
        raise OSError(number, "as the machine says it", str(path))

    monkeypatch.setattr(ComputationalGraph, "save", save)
    before = files.graph.read_bytes()
    code, output = call("effective", files.model, files.data, "-o", files.graph, "--partition", "heads")
    assert code == 1
    assert said in output.lower()
    assert "Traceback" not in output
    assert files.graph.read_bytes() == before
    store.verify(files.graph)


def test_no_write_permission_for_the_results(files: Files) -> None:
    # Even root may not make a folder inside a file.
    code, output = call("effective", files.model, files.data, "-o", files.graph / "below" / "x.json")
    assert code == 1
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--partition", "channels"], "channels"),
        (["--partition", "attn.9=heads"], "attn.9"),
        (["--partition", "rois.x"], "needs --rois"),
        (["--metric", "kl"], "kl"),
    ],
)
def test_nodes_and_metrics_that_do_not_fit(arguments: list[str], said: str, files: Files) -> None:
    code, output = call("effective", files.model, files.data, "-o", files.out, *arguments)
    assert code == 1
    assert said in output
    assert "Traceback" not in output


def test_the_results_that_were_there_are_still_whole(made: Path) -> None:
    for path in (made / "results").glob("*.json"):
        store.verify(path)
    assert np.isfinite(1.0)


def test_prompts_of_another_tokenizer(files: Files) -> None:
    tokenizer = files.stream / "tokenizer.json"
    words = json.loads(tokenizer.read_text())
    vocabulary = words["model"]["vocab"]
    first, second = list(vocabulary)[5:7]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    tokenizer.write_text(json.dumps(words))
    other = files.root / "results" / "other.json"
    assert call("import-model", "--path", files.stream, "--output", other)[0] == 0
    code, said = call("effective", other, files.data, "--method", "eap", "--output", files.out)
    assert code == 1 and "was made for another tokenizer" in said and str(other) in said
