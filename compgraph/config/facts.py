"""What can be known of a model before it is loaded: its kind, checkpoints, sites and sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from compgraph import catalogue
from compgraph.config.base import did_you_mean
from compgraph.config.models import (
    IMAGE_SHAPES,
    AnyModel,
    Pretrained,
    TrainedCnn,
    TrainedLayers,
    TrainedMlp,
    TrainedTransformer,
    revision_name,
    step_name,
)

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class Facts:
    """What is known of one model.

    Attributes
    ----------
    kind : str
        ``"transformer"`` or ``"sequential"``.
    checkpoints : tuple of str
        Names of its checkpoints, the last one last.
    sites : dict or None
        Units of every site; None where only loading the model would tell.
    tasks : tuple of str or None
        Tasks whose words its tokenizer has; None: any.
    image_shape : tuple or None
        Channels, height and width that it reads; None: unknown, or no image model.
    """

    kind: str
    checkpoints: tuple[str, ...]
    sites: dict[str, int] | None = None
    tasks: tuple[str, ...] | None = None
    image_shape: tuple[int, int, int] | None = None

    def matching(self, patterns: list[str]) -> list[str]:
        """Known sites that match one of the patterns; empty where sites are unknown."""
        return [site for site in self.sites or () if any(fnmatchcase(site, pattern) for pattern in patterns)]


def facts_of(model: AnyModel) -> Facts:
    """What is known of a model of the config.

    Raises
    ------
    ValueError
        With a sentence for the user, if a pretrained model cannot be used.
    """
    if isinstance(model, Pretrained):
        return _pretrained(model)
    checkpoints = tuple(step_name(step) for step in model.checkpoint_steps())
    if isinstance(model, TrainedTransformer):
        sites = transformer_sites(model.layers, model.width, model.width, model.neurons, 0)
        return Facts("transformer", checkpoints, sites, tasks=tuple(model.tasks))
    shape = IMAGE_SHAPES.get(model.images)
    known = _image_model_sites(model, shape) if shape and not isinstance(model, TrainedLayers) else None
    return Facts("sequential", checkpoints, known, image_shape=shape)


def transformer_sites(layers: int, width: int, attention: int, neurons: int, vocabulary: int) -> dict[str, int]:
    """Sites of a transformer and their units, in the order of computation."""
    sites = {"embed": width}
    for layer in range(layers):
        sites |= {f"attn.{layer}": attention, f"mlp.{layer}": neurons, f"resid.{layer}": width}
    return sites | {"logits": vocabulary}


def _image_model_sites(model: TrainedCnn | TrainedMlp, shape: tuple[int, int, int]) -> dict[str, int]:
    channels, height, width = shape
    sites = {"input": channels * height * width}
    for index, out in enumerate(model.channels if isinstance(model, TrainedCnn) else []):
        height, width = height // 2, width // 2
        sites[f"conv.{index}"] = out * height * width
    sites |= {f"linear.{index}": neurons for index, neurons in enumerate(model.hidden)}
    return sites | {"logits": 10}


def local_folder(path: str) -> Path | None:
    """The folder that a model's path means, or None where it is a name on the hub."""
    folder = Path(path).expanduser()
    if folder.exists() or path.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(path):
        return folder
    return None


def _pretrained(model: Pretrained) -> Facts:
    checkpoints = tuple(revision_name(revision) for revision in model.revisions)
    if len(set(checkpoints)) < len(checkpoints):
        raise ValueError(f"the revisions {', '.join(model.revisions)} would share a folder name; rename one")
    folder = local_folder(model.path)
    if folder is None:
        return Facts("transformer", checkpoints)
    _check_revisions(folder, model.revisions)
    first = model.revisions[0]
    folder = folder / first if (folder / first).is_dir() else folder
    values = _model_config(folder)
    if values.get("compgraph_model") == "sequential":
        return Facts("sequential", checkpoints)
    if "model_type" not in values and {"n_layers", "d_vocab"} <= set(values):  # in the layout of TransformerLens
        return Facts("transformer", checkpoints)
    family = values.get("model_type")
    if family not in catalogue.FAMILIES:
        near = did_you_mean(family, list(catalogue.FAMILIES))
        raise ValueError(
            f"{folder / 'config.json'} has model_type '{family}'{near}; supported: {', '.join(catalogue.FAMILIES)}"
        )
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"{folder} holds no .safetensors weights (other formats can run code and are not loaded)")
    return Facts("transformer", checkpoints, _sites_from(values))


def _check_revisions(folder: Path, revisions: Sequence[str]) -> None:
    """Each revision of a local model is a folder, or a weights file, in the model's."""
    places = {one: (folder / one, folder / f"{one}.safetensors") for one in revisions if one != "main"}
    missing = [one for one, (below, file) in places.items() if not below.is_dir() and not file.is_file()]
    if missing and folder.is_dir():
        raise ValueError(f"{folder} holds no checkpoints {', '.join(missing)}: neither folders nor .safetensors files")


def _model_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ValueError(f"there is no folder '{folder}'; give a folder with config.json, or a name on the hub")
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} has no config.json, so it is not a saved model") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{folder / 'config.json'} is not a mapping")
    return values


def _sites_from(values: dict[str, Any]) -> dict[str, int] | None:
    def first(*names: str) -> Any:
        return next((values[name] for name in names if values.get(name) is not None), None)

    layers, width = first("num_hidden_layers", "n_layer"), first("hidden_size", "n_embd")
    heads = first("num_attention_heads", "n_head")
    if not all(isinstance(number, int) and number > 0 for number in (layers, width, heads)):
        return None
    head = first("head_dim") or width // heads
    neurons = first("intermediate_size", "n_inner") or 4 * width
    return transformer_sites(layers, width, heads * head, neurons, first("vocab_size") or 0)
