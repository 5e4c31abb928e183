"""Dictionaries in the file layouts of other libraries: SAELens, dictionary_learning, sparsify.

Each layout's tensors and conventions (which bias the encoder subtracts, what is scaled when) become one encoder and one
decoder; `tests/dictionaries/test_published.py` has the same conventions written out as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from compgraph.dictionaries.dictionary import Dictionary
from compgraph.dictionaries.kinds import gated_autoencoder, sparse_autoencoder
from compgraph.dictionaries.transcoder import Transcoder
from compgraph.errors import ModelError

CONFIGS = ("cfg.json", "config.json")
LAYOUTS = ("saelens", "dictionary-learning", "sparsify")
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Published:
    """A folder of published weights, read.

    Attributes
    ----------
    path
        The folder or file it was read from.
    tensors, config
        What the files hold.
    layout
        One of `LAYOUTS`.
    """

    path: Path
    tensors: Tensors
    config: Mapping[str, Any]
    layout: str

    @property
    def needs_mean_norm(self) -> bool:
        """Whether it expects inputs scaled by their mean length, which must be measured."""
        return self.config.get("normalize_activations") == "expected_average_only_in"

    def tensor(self, name: str) -> Tensor:
        """A tensor, in float32 where it is narrower.

        Raises
        ------
        ModelError
            It is not there.
        """
        if name not in self.tensors:
            raise ModelError(f"{self.path}: there is no tensor {name!r}; it has {', '.join(sorted(self.tensors))}")
        value = self.tensors[name]
        return value if value.dtype == torch.float64 else value.float()


def read_published(path: str | Path, layout: str | None = None) -> Published:
    """Read a folder with a safetensors file and a config (`cfg.json`, `config.json`), or the safetensors file itself.

    Parameters
    ----------
    layout
        One of `LAYOUTS`; None: told by the names of tensors and keys.

    Raises
    ------
    ModelError
        No such file, several, a pickle (see `compgraph convert-dictionary`), or a layout that is not known.
    """
    path = Path(path).expanduser()
    file = _weights_file(path)
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is no whole safetensors file: {error}") from error
    config: dict[str, Any] = {}
    for name in CONFIGS:
        if (file.parent / name).is_file():
            try:
                config = json.loads((file.parent / name).read_text(encoding="utf-8"))
            except ValueError as error:
                raise ModelError(f"{file.parent / name} is no JSON: {error}") from error
            break
    found = layout or _layout(tensors, config)
    if found not in LAYOUTS:
        raise ModelError(
            f"{path}: the layout of tensors {', '.join(sorted(tensors))} is not known; valid are {', '.join(LAYOUTS)}"
        )
    return Published(path, tensors, config, found)


def _weights_file(path: Path) -> Path:
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        files = [file for file in files if "sparsity" not in file.name] or sorted(
            file for file in path.iterdir() if file.suffix in (".pt", ".npz")
        )
    else:
        raise ModelError(f"there is no file or folder {path}")
    if not files:
        raise ModelError(f"{path} holds no safetensors file")
    if len(files) > 1:
        raise ModelError(f"{path} holds {len(files)} files of weights; name one: {', '.join(f.name for f in files)}")
    if files[0].suffix != ".safetensors":
        raise ModelError(f"{files[0]} is no safetensors file; make one with: compgraph convert-dictionary {files[0]}")
    return files[0]


def _layout(tensors: Tensors, config: Mapping[str, Any]) -> str:
    if "dict_class" in config.get("trainer", {}):
        return "dictionary-learning"
    if "encoder.weight" in tensors:
        return "sparsify" if "W_dec" in tensors else "dictionary-learning"
    if "group_sizes" in tensors:
        return "dictionary-learning"
    return "saelens" if "W_enc" in tensors else ""


def from_published(
    found: Published, space: str, site: str | None = None, mean_norm: float | None = None
) -> Dictionary | Transcoder:
    """The dictionary that a published file stands for.

    Parameters
    ----------
    space, site
        What it describes, and where; the file's own names for places mean other libraries' hooks.
    mean_norm
        Mean length of the activations, where `found.needs_mean_norm`.

    Raises
    ------
    ModelError
        An activation or a normalisation that features linear in x cannot have, or tensors that do not fit.
    """
    build = {"saelens": _saelens, "dictionary-learning": _dictionary_learning, "sparsify": _sparsify}[found.layout]
    made = build(found, space, mean_norm)
    return replace(made, site=site)


def _refused(found: Published, what: str, valid: str) -> ModelError:
    return ModelError(f"{found.path}: {what} cannot be expressed as features linear in x; valid: {valid}")


def _saelens(found: Published, space: str, mean_norm: float | None) -> Dictionary | Transcoder:
    config = found.config
    default = "jumprelu" if "threshold" in found.tensors else "gated" if "b_gate" in found.tensors else "standard"
    kind = str(config.get("architecture", default))
    transcoder = kind.endswith("transcoder")
    kind = {"transcoder": "standard", "skip_transcoder": "standard"}.get(kind, kind.removesuffix("_transcoder"))
    chosen = str(config.get("activation_fn", config.get("activation_fn_str", "relu")))
    if kind == "standard" and chosen == "topk":
        kind = "topk"  # before version 6 the activation stood apart
    elif kind == "standard" and chosen != "relu":
        raise _refused(found, f"activation_fn {chosen!r}", "relu, topk")
    if kind not in ("standard", "topk", "jumprelu", "gated"):
        raise _refused(found, f"architecture {kind!r}", "standard, topk, jumprelu, gated, transcoders")
    normalised = config.get("normalize_activations") or "none"
    if normalised not in ("none", "expected_average_only_in"):
        raise _refused(found, f"normalize_activations {normalised!r}", "none, expected_average_only_in")
    encoder, rows, bias = found.tensor("W_enc"), found.tensor("W_dec"), found.tensor("b_dec")
    offset = None if kind == "gated" else found.tensor("b_enc")
    threshold = found.tensor("threshold") if kind == "jumprelu" else None
    if config.get("rescale_acts_by_decoder_norm") and offset is not None:
        length = rows.norm(dim=1)
        encoder, offset, rows = encoder * length, offset * length, rows / length[:, None]
    subtract = bool(config.get("apply_b_dec_to_input", False)) and not transcoder
    if kind == "gated":
        gate, magnitude, scale = (found.tensor(name) for name in ("b_gate", "b_mag", "r_mag"))
        made = gated_autoencoder(space, encoder, rows, gate, magnitude, scale, bias, subtract_bias=subtract)
    else:
        options = config.get("activation_fn_kwargs") or {}
        k = config.get("k", options.get("k")) if kind == "topk" else None
        activation = {"standard": "relu"}.get(kind, kind)
        made = sparse_autoencoder(
            space, encoder, rows, offset, bias, activation=activation, k=k, threshold=threshold, subtract_bias=subtract
        )
    if normalised == "expected_average_only_in":
        made = _for_scaled(found, made, mean_norm)
    if not transcoder:
        return made
    return Transcoder(made, found.tensor("W_skip") if "W_skip" in found.tensors else None)


def _for_scaled(found: Published, one: Dictionary, mean_norm: float | None) -> Dictionary:
    """A dictionary of c x as one of x, with c = sqrt(width) / mean |x|."""
    if mean_norm is None or not mean_norm > 0:
        raise ModelError(
            f"{found.path}: it is for activations scaled to a mean length, so that length must be measured; it is "
            f"{mean_norm}"
        )
    c = one.width**0.5 / mean_norm
    assert one.bias is not None
    return replace(one, encoder=one.encoder * c, rows=one.rows / c, bias=one.bias / c)


def _dictionary_learning(found: Published, space: str, mean_norm: float | None) -> Dictionary | Transcoder:
    trainer = found.config.get("trainer", {})
    name = str(trainer.get("dict_class") or _dictionary_class(found.tensors))
    builders: dict[str, Callable[[Published, str], Dictionary]] = {
        "AutoEncoder": lambda f, s: _dl_plain(f, s, "bias", True),
        "AutoEncoderNew": lambda f, s: _dl_plain(f, s, "decoder.bias", False),
        "GatedAutoEncoder": _dl_gated,
        "AutoEncoderTopK": _dl_topk,
        "BatchTopKSAE": _dl_batch_topk,
        "MatryoshkaBatchTopKSAE": _dl_batch_topk,
        "JumpReluAutoEncoder": _dl_jumprelu,
    }
    if name not in builders:
        raise _refused(found, f"dict_class {name!r}", ", ".join(builders))
    return builders[name](found, space)


def _dictionary_class(tensors: Tensors) -> str:
    """The class whose tensors these are, as far as they tell; topk and batch-topk are told apart by a config only."""
    marks = {
        "gate_bias": "GatedAutoEncoder",
        "group_sizes": "MatryoshkaBatchTopKSAE",
        "bias": "AutoEncoder",
        "decoder.bias": "AutoEncoderNew",
    }
    return next((name for mark, name in marks.items() if mark in tensors), "unknown")


def _dl_plain(found: Published, space: str, bias: str, subtract: bool) -> Dictionary:
    encoder, offset = found.tensor("encoder.weight").T, found.tensor("encoder.bias")
    rows = found.tensor("decoder.weight").T
    return sparse_autoencoder(space, encoder, rows, offset, found.tensor(bias), subtract_bias=subtract)


def _dl_gated(found: Published, space: str) -> Dictionary:
    gate, magnitude, scale = (found.tensor(name) for name in ("gate_bias", "mag_bias", "r_mag"))
    encoder, rows = found.tensor("encoder.weight").T, found.tensor("decoder.weight").T
    bias = found.tensor("decoder_bias")
    return gated_autoencoder(space, encoder, rows, gate, magnitude, scale, bias, subtract_bias=True)


def _dl_topk(found: Published, space: str) -> Dictionary:
    encoder, offset = found.tensor("encoder.weight").T, found.tensor("encoder.bias")
    k = found.tensors["k"] if "k" in found.tensors else found.config.get("trainer", {}).get("k")
    if k is None:
        raise ModelError(f"{found.path}: neither the tensors nor the config say k")
    rows, bias = found.tensor("decoder.weight").T, found.tensor("b_dec")
    return sparse_autoencoder(space, encoder, rows, offset, bias, activation="topk", k=int(k), subtract_bias=True)


def _dl_batch_topk(found: Published, space: str) -> Dictionary:
    if "W_enc" in found.tensors:  # Matryoshka: groups matter in training only
        encoder, rows, offset = found.tensor("W_enc"), found.tensor("W_dec"), found.tensor("b_enc")
    else:
        encoder, offset = found.tensor("encoder.weight").T, found.tensor("encoder.bias")
        rows = found.tensor("decoder.weight").T
    threshold = float(found.tensor("threshold"))
    bias = found.tensor("b_dec")
    if threshold < 0:  # never set
        return sparse_autoencoder(space, encoder, rows, offset, bias, subtract_bias=True)
    same = torch.full_like(offset, threshold)
    return sparse_autoencoder(
        space, encoder, rows, offset, bias, activation="jumprelu", threshold=same, subtract_bias=True
    )


def _dl_jumprelu(found: Published, space: str) -> Dictionary:
    encoder, rows, offset, bias = (found.tensor(name) for name in ("W_enc", "W_dec", "b_enc", "b_dec"))
    return sparse_autoencoder(
        space, encoder, rows, offset, bias, activation="jumprelu", threshold=found.tensor("threshold")
    )


def _sparsify(found: Published, space: str, mean_norm: float | None) -> Dictionary | Transcoder:
    config = found.config
    activation = config.get("activation", "topk")
    if activation != "topk" or config.get("signed"):
        what = "signed features" if config.get("signed") else f"activation {activation!r}"
        raise _refused(found, what, "topk")
    if "k" not in config:
        raise ModelError(f"{found.path}: its cfg.json does not say k")
    transcoder = bool(config.get("transcode"))
    made = sparse_autoencoder(
        space,
        found.tensor("encoder.weight").T,
        found.tensor("W_dec"),
        found.tensor("encoder.bias"),
        found.tensor("b_dec"),
        activation="topk",
        k=int(config["k"]),
        subtract_bias=not transcoder,
    )
    if not transcoder:
        return made
    return Transcoder(made, found.tensor("W_skip").T if "W_skip" in found.tensors else None)
