"""Opening networks and tokenizers, and refusing what is broken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compgraph.errors import ModelError
from compgraph.models.loading import find_device, load_network, load_tokenizer
from compgraph.models.network import Network
from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer
from tests.models.tiny import ONE_PER_FAMILY, reference_inputs, save_tiny, tiny_model, tiny_tokens


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """One saved tiny model per family; never to be changed in place."""
    root = tmp_path_factory.mktemp("models")
    return {variant: save_tiny(root / variant, variant) for variant in ONE_PER_FAMILY}


@pytest.fixture
def llama(folders, tmp_path) -> Path:
    """A copy of the tiny Llama that a test may break."""
    return Path(shutil.copytree(folders["llama"], tmp_path / "llama"))


def edit_config(folder: Path, **fields) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def edit_weights(folder: Path, edit) -> None:
    """Rewrite the weights with `edit(tensors)`, which may change the dictionary or return another."""
    tensors = load_file(folder / "model.safetensors")
    edited = edit(tensors)
    tensors = {
        name: value.contiguous() for name, value in (edited if isinstance(edited, dict) else tensors).items()
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("variant", ONE_PER_FAMILY)
def test_saved_models_open(folders, variant):
    net = load_network(folders[variant], device="cpu")
    assert isinstance(net, Network) and net.kind == "transformer"
    assert net.family == tiny_model(variant).config.model_type
    assert net.digest.startswith("sha256:") and len(net.digest) == 71
    expected = Transformer(*from_transformers(tiny_model(variant)))
    tokens = tiny_tokens(2, 12)
    assert torch.equal(net.run(tokens).logits, expected.run(tokens).logits)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_dtype_is_that_asked_for_and_leaves_the_digest_alone(folders, dtype):
    net = load_network(str(folders["llama"]), device="cpu", dtype=dtype)
    assert net.dtype == getattr(torch, dtype)
    assert net.run(tiny_tokens(1, 5)).logits.dtype == net.dtype
    assert net.digest == load_network(folders["llama"], device="cpu").digest


def test_digest_depends_on_content_alone(folders, llama, tmp_path):
    digest = load_network(folders["llama"]).digest
    sharded = tmp_path / "sharded"
    tiny_model("llama").save_pretrained(sharded, max_shard_size="8KB")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    assert load_network(sharded).digest == digest
    edit_config(llama, rms_norm_eps=1e-3)
    changed = load_network(llama).digest
    assert changed != digest
    edit_weights(llama, lambda tensors: tensors["model.norm.weight"][0].add_(1e-3))
    assert load_network(llama).digest not in (digest, changed)


def test_half_precision_files_open_in_float32(llama):
    edit_weights(llama, lambda tensors: {name: value.bfloat16() for name, value in tensors.items()})
    net = load_network(llama, device="cpu")
    assert net.dtype == torch.float32
    assert torch.equal(net.weights.embedding, net.weights.embedding.bfloat16().float())


def test_old_gpt2_names_open(folders, tmp_path):
    """The first GPT-2 files have no prefix and carry their causal masks."""
    folder = Path(shutil.copytree(folders["gpt2"], tmp_path / "old"))

    def age(tensors):
        old = {name.removeprefix("transformer."): value for name, value in tensors.items()}
        masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 32, 32).tril().bool() for i in range(2)}
        return old | masks | {"h.0.attn.masked_bias": torch.tensor(-1e4)}

    edit_weights(folder, age)
    assert load_network(folder).digest == load_network(folders["gpt2"]).digest
    tokens = tiny_tokens(2, 12)
    assert torch.equal(
        load_network(folder).run(tokens).logits, load_network(folders["gpt2"]).run(tokens).logits
    )


@pytest.mark.parametrize("head", ["embed_out.weight", "lm_head.weight"])
def test_old_pythia_names_open(folders, tmp_path, head):
    """Pythia's files call the head `embed_out`, and older ones carry masks and rotary frequencies."""
    folder = Path(shutil.copytree(folders["neox"], tmp_path / "old"))

    def age(tensors):
        tensors[head] = tensors.pop("embed_out.weight")
        tensors["gpt_neox.layers.0.attention.bias"] = torch.ones(1, 1, 8, 8).bool()
        tensors["gpt_neox.layers.0.attention.masked_bias"] = torch.tensor(-1e9)
        tensors["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = torch.ones(2)

    edit_weights(folder, age)
    tokens = tiny_tokens(2, 12)
    assert load_network(folder).digest == load_network(folders["neox"]).digest
    assert torch.equal(
        load_network(folder).run(tokens).logits, load_network(folders["neox"]).run(tokens).logits
    )


def test_tied_models_may_store_either_name(tmp_path):
    folder = save_tiny(tmp_path, "llama-biases")
    tokens = tiny_tokens(2, 12)
    logits = load_network(folder).run(tokens).logits
    edit_weights(folder, lambda t: t.__setitem__("lm_head.weight", t.pop("model.embed_tokens.weight")))
    assert torch.equal(load_network(folder).run(tokens).logits, logits)
    edit_weights(folder, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(ModelError, match=r"lm_head\.weight, model\.embed_tokens\.weight missing"):
        load_network(folder)


def test_heads_that_differ_from_a_tied_embedding_are_used(tmp_path):
    """`transformers` lets a stored head win over `tie_word_embeddings`; so do we."""
    from transformers import AutoModelForCausalLM

    folder = save_tiny(tmp_path, "llama-biases")
    edit_weights(folder, lambda t: t.__setitem__("lm_head.weight", t["model.embed_tokens.weight"].flip(0)))
    model, tokens = AutoModelForCausalLM.from_pretrained(folder), tiny_tokens(2, 12)
    with torch.no_grad():
        torch.testing.assert_close(
            load_network(folder).run(tokens).logits, model(tokens).logits, atol=1e-4, rtol=0
        )


def test_sequential_folders_open(tmp_path):
    from compgraph.models.sequential import Sequential

    layers = [{"type": "linear", "features": 5}, {"type": "relu"}, {"type": "linear", "features": 3}]
    generator = torch.Generator().manual_seed(0)
    shapes = {"linear.0.weight": (5, 4), "linear.0.bias": (5,), "logits.weight": (3, 5), "logits.bias": (3,)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    saved = Sequential(layers, (4,), weights)
    saved.save(tmp_path)
    net = load_network(tmp_path, device="cpu", dtype="float64")
    assert net.kind == "sequential" and net.dtype == torch.float64
    values = torch.randn(2, 4, generator=generator)
    torch.testing.assert_close(net.run(values).logits.float(), saved.run(values).logits)


def test_opening_is_silent_and_leaves_logging_as_it_was(folders, capfd):
    from transformers.utils import logging

    logging.set_verbosity_info()
    try:
        load_network(folders["gpt2"])
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def test_importing_does_not_import_transformers():
    code = "import sys, compgraph.models.loading; print('transformers' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---------------------------------------------------------------- refusals


def only_bin(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def to_nan(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors["model.layers.1.mlp.up_proj.weight"][0].fill_(float("nan")))


def drop(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.pop("model.layers.0.self_attn.k_proj.weight"))


def add(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.__setitem__("model.layers.7.extra", torch.ones(2)))


def as_integers(folder: Path) -> None:
    edit_weights(folder, lambda t: t.__setitem__("lm_head.weight", t["lm_head.weight"].to(torch.int8)))


REFUSALS = {
    "bin only": (only_bin, ["pytorch_model.bin", "model.safetensors"]),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ["no weights", "model.safetensors"]),
    "truncated": (truncate, ["model.safetensors", "truncated", "bytes"]),
    "remote code": (
        lambda f: edit_config(f, auto_map={"AutoModelForCausalLM": "modeling.Model"}),
        ["auto_map", "modeling.Model"],
    ),
    "unknown family": (
        lambda f: edit_config(f, model_type="lama"),
        ["'lama'", "did you mean llama", "gpt2", "gemma2"],
    ),
    "no family": (lambda f: edit_config(f, model_type=None), ["model_type is None", "gpt_neox"]),
    "no config": (lambda f: (f / "config.json").unlink(), ["config.json"]),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), ["config.json", "JSON"]),
    "config not an object": (lambda f: (f / "config.json").write_text("[]"), ["config.json", "object"]),
    "config of wrong type": (lambda f: edit_config(f, hidden_size="wide"), ["config.json", "hidden_size"]),
    "config impossible": (lambda f: edit_config(f, num_attention_heads=5), ["config.json", "attention"]),
    "option": (lambda f: edit_config(f, hidden_act="mish"), ["hidden_act", "mish", "silu"]),
    "wrong shape": (
        lambda f: edit_config(f, intermediate_size=40),
        [
            "config.json",
            "model.layers.{0-1}.mlp.down_proj.weight of shape (24, 36) instead of (24, 40)",
            "gate_proj.weight, model.layers.{0-1}.mlp.up_proj.weight of shape (36, 24) instead of (40, 24)",
        ],
    ),
    "missing tensor": (drop, ["model.layers.0.self_attn.k_proj.weight missing"]),
    "missing layer": (
        lambda f: edit_config(f, num_hidden_layers=3),
        ["model.layers.2.mlp.up_proj.weight", "missing"],
    ),
    "unexpected layer": (
        lambda f: edit_config(f, num_hidden_layers=1),
        ["model.layers.1.mlp.up_proj.weight", "unexpected"],
    ),
    "unexpected tensor": (add, ["model.layers.7.extra unexpected"]),
    "NaN": (to_nan, ["model.layers.1.mlp.up_proj.weight", "NaN"]),
    "integers": (as_integers, ["lm_head.weight", "I8", "BF16"]),
    "redirected weights": (lambda f: edit_config(f, transformers_weights="x.bin"), ["transformers_weights"]),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_broken_checkpoints_are_refused(llama, name):
    damage, words = REFUSALS[name]
    damage(llama)
    with pytest.raises(ModelError) as caught:
        load_network(llama)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message and message.endswith(".")


def test_float16_overflow_is_refused(llama):
    edit_weights(llama, lambda tensors: tensors["model.norm.weight"][0].fill_(1e6))
    with pytest.raises(ModelError, match=r"model\.norm\.weight overflows in float16"):
        load_network(llama, dtype="float16")
    assert load_network(llama, dtype="bfloat16").run(tiny_tokens(1, 3)).logits.isfinite().all()


@pytest.mark.parametrize("dtype", ["int8", "float", "torch.float32", ""])
def test_unknown_dtypes_are_refused(dtype):
    with pytest.raises(ModelError, match=r"dtype is .*float32, float64, bfloat16, float16"):
        load_network("anything", dtype=dtype)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:1", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ModelError, match=r"device is .*auto, cpu, cuda and cuda:N"):
        load_network("anything", device=device)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(ModelError, match=r"'cuda', but .* has none; use cpu or auto"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda")
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ModelError, match=r"'cuda:2'.*it has 2 \(cuda:0 to cuda:1\)"):
        find_device("cuda:2")


# ---------------------------------------------------------------- tokenizers


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "cat": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def test_tokenizers_open(llama):
    save_tokenizer(llama)
    assert load_tokenizer(llama)("the cat sat")["input_ids"] == [1, 2, 0]


def test_missing_or_broken_tokenizers_are_refused(llama):
    with pytest.raises(ModelError, match=r"no tokenizer; expected tokenizer\.json"):
        load_tokenizer(llama)
    save_tokenizer(llama)
    (llama / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["x.Y", null]}}')
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: auto_map"):
        load_tokenizer(llama)
    (llama / "tokenizer_config.json").unlink()
    (llama / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelError, match="tokenizer cannot be read"):
        load_tokenizer(llama)


# ---------------------------------------------------------------- a real model


def test_stories_logits_equal_those_of_transformers(shared):
    from transformers import AutoModelForCausalLM

    folder = shared / "models" / "stories260k"
    net, tokenizer = load_network(folder, device="cpu"), load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    texts = [
        "Once upon a time, there was a big dog.",
        "The cat sat",
        "Lily and Ben like to play in the park. They",
    ]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    time = max(map(len, rows))
    tokens = torch.tensor([[0] * (time - len(row)) + row for row in rows])
    mask = torch.tensor([[False] * (time - len(row)) + [True] * len(row) for row in rows])
    with torch.no_grad():
        theirs = model(**reference_inputs(tokens, mask)).logits
        ours = net.run(tokens, mask).logits
    assert theirs[mask].std() > 2
    assert (ours - theirs)[mask].abs().max() < 1e-4


def test_stories_greedy_text(shared):
    folder = shared / "models" / "stories260k"
    net, tokenizer = load_network(folder, device="cpu"), load_tokenizer(folder)
    tokens = torch.tensor([tokenizer("Once upon a time")["input_ids"]])
    with torch.no_grad():
        for _ in range(60):
            last = torch.tensor([tokens.shape[1] - 1])
            tokens = torch.cat([tokens, net.run(tokens, positions=last).logits.argmax(-1, keepdim=True)], 1)
    assert tokenizer.decode(tokens[0], skip_special_tokens=True) == (
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
        "One day, she saw a big, red ball. She wanted to play with it, but it was too high.\nLily"
    )
