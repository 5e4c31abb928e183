"""Finding checkpoints and reading their headers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file

from compgraph.errors import ModelError
from compgraph.models.checkpoint import listed, open_checkpoint, read_header, read_headers
from compgraph.models.loading import load_network
from tests.models.tiny import save_tiny, tiny_model, tiny_tokens


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("saved"), "llama")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(2, 3), "b.0.c": torch.zeros(4, dtype=torch.bfloat16)}, path)
    return path


@pytest.fixture
def sharded(tmp_path) -> Path:
    tiny_model("llama").save_pretrained(tmp_path / "sharded", max_shard_size="8KB")
    return tmp_path / "sharded"


def test_headers_say_what_safetensors_wrote(file):
    headers = read_header(file)
    assert {name: (h.dtype, h.shape) for name, h in headers.items()} == {
        "a": ("F32", (2, 3)),
        "b.0.c": ("BF16", (4,)),
    }


@pytest.mark.parametrize("kept", [0, 5, 8, 20, -1])
def test_truncated_files_are_refused(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"x\.safetensors: truncated"):
        read_header(file)


def test_longer_files_are_refused(file):
    file.write_bytes(file.read_bytes() + b"\0" * 8)
    with pytest.raises(ModelError, match=r"too long; its header describes .* bytes, the file has"):
        read_header(file)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"not json", "header cannot be read"),
        (b'{"a": 3}', "header cannot be read"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}', "header cannot be read"),
        (
            b'{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}',
            r"a is F32\[3\], but takes 8 bytes",
        ),
        (
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},'
            b' "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
            "do not tile",
        ),
    ],
)
def test_damaged_headers_are_refused(tmp_path, header, words):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(ModelError, match=words):
        read_header(path)


def test_shards_are_read_together(sharded, saved):
    ours, single = read_headers(open_checkpoint(sharded)), read_headers(open_checkpoint(saved))
    assert {name: h.shape for name, h in ours.items()} == {name: h.shape for name, h in single.items()}
    assert len({h.file for h in ours.values()}) > 2


def test_broken_shards_are_refused(sharded):
    index = sharded / "model.safetensors.index.json"
    shards = sorted(sharded.glob("*.safetensors"))
    shards[1].rename(sharded / "aside")
    with pytest.raises(ModelError, match=rf"index\.json names files that are missing: {shards[1].name}\."):
        read_headers(open_checkpoint(sharded))
    (sharded / "aside").rename(shards[1])
    content = json.loads(index.read_text())
    content["weight_map"]["model.more.weight"] = shards[0].name
    index.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"its shards do not hold model\.more\.weight\."):
        read_headers(open_checkpoint(sharded))
    content["weight_map"] = {"a": "../../elsewhere.safetensors"}
    index.write_text(json.dumps(content))
    with pytest.raises(
        ModelError, match=r"'../../elsewhere.safetensors'; valid are .safetensors files of that folder"
    ):
        read_headers(open_checkpoint(sharded))
    index.write_text("{}")
    with pytest.raises(ModelError, match="weight_map is missing or empty"):
        read_headers(open_checkpoint(sharded))


@pytest.mark.parametrize(
    "name",
    ["./no/such", "/no/such/folder", "results/model/step/main", "no\\such", "~/no-such", "models/", ""],
)
def test_missing_folders_are_not_looked_up_on_the_hub(name):
    with pytest.raises(ModelError, match="no such folder; give a folder"):
        open_checkpoint(name)


def test_files_and_revisions_of_folders_are_refused(saved):
    with pytest.raises(ModelError, match=r"model\.safetensors is a file; give the folder"):
        open_checkpoint(saved / "model.safetensors")
    with pytest.raises(ModelError, match=r"revision is 'step1000', but the folder .* holds no folder step1000"):
        open_checkpoint(saved, "step1000")
    assert open_checkpoint(saved, "main").config["model_type"] == "llama"


# ---------------------------------------------------------------- the hub, without network


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty hub cache, offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_in_cache(cache: Path, folder: Path, name: str, revision: str, commit: str) -> Path:
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    return Path(shutil.copytree(folder, repository / "snapshots" / commit))


def test_unreachable_hub_names_are_refused(cache):
    with pytest.raises(ModelError) as caught:
        load_network("someone/some-model", revision="step1000")
    message = str(caught.value)
    for word in ("someone/some-model", "step1000", "no such folder", "hub cannot be reached (offline)"):
        assert word in message
    assert "\n" not in message


def test_impossible_hub_names_are_refused(cache):
    with pytest.raises(ModelError, match="neither a folder nor a valid hub name"):
        load_network("no such model!")


def test_cached_hub_models_open_offline_by_revision(cache, saved, tmp_path):
    other = save_tiny(tmp_path / "other", "llama", seed=1)
    put_in_cache(cache, saved, "someone/tiny", "main", "a" * 40)
    put_in_cache(cache, other, "someone/tiny", "step1", "b" * 40)
    assert load_network("someone/tiny").digest == load_network(saved).digest
    net = load_network("someone/tiny", revision="step1")
    assert net.digest == load_network(other).digest
    assert torch.equal(net.run(tiny_tokens(1, 4)).logits, load_network(other).run(tiny_tokens(1, 4)).logits)
    with pytest.raises(ModelError, match="revision step2"):
        load_network("someone/tiny", revision="step2")


def test_cached_hub_models_without_safetensors_are_refused(cache, saved):
    snapshot = put_in_cache(cache, saved, "someone/tiny", "main", "c" * 40)
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"someone/tiny: its weights are pickled \(pytorch_model\.bin\)"):
        load_network("someone/tiny")
    (snapshot / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match="someone/tiny: no weights found"):
        load_network("someone/tiny")


def answer(monkeypatch, error_type, status: int) -> None:
    """Let the hub answer every request with an error."""
    import huggingface_hub

    def refuse(*args, **kwargs):
        raise error_type("refused", response=mock.MagicMock(status_code=status))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ("RepositoryNotFoundError", 404, "the hub has no public model of that name"),
        ("GatedRepoError", 403, "does not give access"),
        ("RevisionNotFoundError", 404, "no revision 'v9'"),
        ("HfHubHTTPError", 500, r"the hub answered with an error for config\.json"),
        ("RemoteEntryNotFoundError", 404, r"has no config\.json"),
    ],
)
def test_answers_of_the_hub_become_one_sentence(monkeypatch, error, status, words):
    from huggingface_hub import errors

    answer(monkeypatch, getattr(errors, error), status)
    with pytest.raises(ModelError, match=words):
        open_checkpoint("someone/tiny", "v9")


# ---------------------------------------------------------------- wording


def test_layers_are_listed_together():
    names = [f"h.{i}.ln_1.{part}" for i in (0, 1, 2, 5) for part in ("weight", "bias")]
    assert listed([*names, "wte.weight"]) == "h.{0-2, 5}.ln_1.weight, h.{0-2, 5}.ln_1.bias, wte.weight"
    assert listed(["h.3.x"]) == "h.3.x"
