"""Readers of files from elsewhere: a damaged or hostile one is one clear error, or harmless; never a crash or a hang.

``COMPGRAPH_FUZZ=2000`` reads 2000 changed copies by each reader instead of a few.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from compgraph import store
from compgraph.config.config import load as load_config
from compgraph.data.files import read_items
from compgraph.data.images import ImagePairs, load_images
from compgraph.data.prompts import PromptPairs
from compgraph.dictionaries.published import read_published
from compgraph.errors import CompgraphError
from compgraph.graph import ComputationalGraph
from compgraph.models.loading import load_network, load_tokenizer
from compgraph.partition import Partition
from compgraph.provenance import Provenance
from tests.fuzz.mutations import mutate

ROUNDS = int(os.environ.get("COMPGRAPH_FUZZ", "40"))
SECONDS = 30
"""No reader of such small files may take longer."""


@dataclass(frozen=True)
class Reader:
    """How something is written and read.

    Attributes
    ----------
    write
        Writes a whole one into a folder.
    read
        Reads it from there.
    same
        What a change that is not refused must leave as it is, since digests cover it.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    same: Callable[[Any], object] = lambda read: None


def _graph(folder: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((5, 5))
    ComputationalGraph.from_matrix(weights + weights.T).save(folder / "x.graph")


def _sealed(folder: Path) -> None:
    with store.create(folder / "x.json", kind="graph", payload="x.graph", provenance=Provenance("functional")) as draft:
        _graph(draft.path.parent / "made")
        shutil.move(draft.path.parent / "made" / "x.graph", draft.path)
        (draft.path.parent / "made").rmdir()


def _network() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    from compgraph.data.vocabulary import word_tokenizer

    torch.manual_seed(0)
    tokenizer = word_tokenizer(["induction"])
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)), tokenizer


def _model(folder: Path) -> None:
    model, tokenizer = _network()
    model.save_pretrained(folder / "net")
    tokenizer.save_pretrained(folder / "net")


def _sequential(folder: Path) -> None:
    from compgraph.models.sequential import Sequential

    wide, narrow = {"type": "linear", "features": 3}, {"type": "linear", "features": 2}
    layers: list[dict[str, Any]] = [{"type": "flatten"}, wide, {"type": "relu"}, narrow]
    shapes = {"linear.0": (3, 4), "logits": (2, 3)}
    weights = {f"{site}.weight": torch.ones(shape) for site, shape in shapes.items()}
    weights |= {f"{site}.bias": torch.zeros(shape[0]) for site, shape in shapes.items()}
    Sequential(layers, (1, 2, 2), weights).save(folder / "net")


def _prompts(folder: Path) -> None:
    from compgraph.data.tokenise import task_pairs

    _, tokenizer = _network()
    task_pairs("induction", tokenizer, 4, 0)[0].save(folder / "pairs")


def _published(folder: Path) -> None:
    import json

    from safetensors.torch import save_file

    tensors = {"W_enc": torch.ones(4, 6), "W_dec": torch.ones(6, 4), "b_enc": torch.zeros(6), "b_dec": torch.zeros(4)}
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {"architecture": "standard", "d_in": 4, "d_sae": 6, "hook_name": "blocks.0.hook_mlp_out"}
    (folder / "cfg.json").write_text(json.dumps(config))


def _items(folder: Path) -> None:
    rows = {"clean": ["a b", "c d"], "corrupted": ["a c", "c b"], "answer": ["x", "y"], "distractor": ["y", "x"]}
    pd.DataFrame(rows).to_csv(folder / "pairs.csv", index=False)


NAMES = {"a": ("a.0", "a.1"), "b": ("b.0",)}
READERS = {
    "manifest": Reader(_sealed, lambda folder: store.verify(folder / "x.json"), lambda read: read.manifest),
    "graph": Reader(_graph, lambda folder: ComputationalGraph.load(folder / "x.graph")),
    "partition": Reader(
        lambda folder: Partition({"a": np.array([0, 1, -1]), "b": np.array([0, 0])}, NAMES).save(folder / "p"),
        lambda folder: Partition.load(folder / "p"),
        lambda read: read.digest,
    ),
    "table": Reader(
        lambda folder: store.write_table(pd.DataFrame({"a": range(9), "b": list("abcdefghi")}), folder / "t.parquet"),
        lambda folder: store.read_table(folder / "t.parquet"),
    ),
    "transformer": Reader(_model, lambda folder: load_network(folder / "net", device="cpu")),
    "tokenizer": Reader(_model, lambda folder: load_tokenizer(folder / "net")("a b")),
    "sequential": Reader(_sequential, lambda folder: load_network(folder / "net", device="cpu")),
    "prompts": Reader(_prompts, lambda folder: PromptPairs.load(folder / "pairs")),
    "images": Reader(
        lambda folder: load_images("digits", 4, "test", 0).save(folder / "images"),
        lambda folder: ImagePairs.load(folder / "images"),
    ),
    "dictionary": Reader(_published, lambda folder: read_published(folder / "sae_weights.safetensors")),
    "pairs file": Reader(_items, lambda folder: read_items(folder / "pairs.csv")),
    "config": Reader(
        lambda folder: shutil.copy(Path(__file__).parents[2] / "config.yaml", folder / "config.yaml"),
        lambda folder: load_config(folder / "config.yaml"),
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a whole one of each kind, written once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("whole") / "it"
            made[name].mkdir()
            READERS[name].write(made[name])
        return made[name]

    return folder


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_one_clear_error_or_harmless(name: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    reader = READERS[name]
    expected = reader.same(reader.read(whole(name)))
    refused = 0
    for number in range(ROUNDS):
        rng = random.Random(f"{name}/{number}")
        folder = tmp_path / str(number)
        shutil.copytree(whole(name), folder)
        path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
        how = mutate(path, rng)
        try:
            with in_time(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = reader.same(reader.read(folder))
            assert found == expected, f"round {number}, {how}: read as if nothing had happened"
        except CompgraphError as error:
            refused += 1
            assert str(error).strip() and "Traceback" not in str(error), how
        except AssertionError:
            raise
        except BaseException as error:
            pytest.fail(f"{name}, round {number}, {how}: {type(error).__name__}: {error}")
        shutil.rmtree(folder)
    assert refused > ROUNDS / 10


@contextmanager
def in_time() -> Iterator[None]:
    """A reader that hangs fails."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
