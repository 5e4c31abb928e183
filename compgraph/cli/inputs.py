"""Opening what a verb reads: a network, its tokenizer, a dataset, a graph, a partition, each from its manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compgraph import store
from compgraph.cli import kept
from compgraph.errors import DataError, StoreError

if TYPE_CHECKING:
    from compgraph.graph import ComputationalGraph
    from compgraph.models.network import Network
    from compgraph.partition import Partition

SOURCE = "source.json"
"""File in a model's payload that points to where a pretrained model lies."""

NULL_GRAPHS = "graphs"
"""Kind of a result that holds null graphs."""


def model_source(result: store.Result) -> dict[str, Any]:
    """Where to load a model from: ``path``, ``revision`` and ``dtype``.

    Parameters
    ----------
    result : Result
        An opened result of kind ``"model"``.
    """
    pointer = result.path / SOURCE
    if not pointer.is_file():
        return {"path": str(result.path), "revision": None, "dtype": "float32"}
    source = json.loads(pointer.read_text(encoding="utf-8"))
    return {name: source[name] for name in ("path", "revision", "dtype")}


def open_network(manifest: Path, device: str) -> tuple[Network, store.Result]:
    """Load the network of a model manifest.

    Raises
    ------
    StoreError
        If the manifest is not whole, or if a pretrained model is no longer the one that was registered.
    """
    from compgraph.models.loading import load_network

    result = store.open(manifest, kind="model")
    source = model_source(result)
    how = {"device": device, "dtype": source["dtype"]}
    key = (source["path"], source["revision"], *how.values(), result.summary["digest"])
    net = kept.network(key, lambda: load_network(source["path"], source["revision"], **how))
    if net.digest != result.summary["digest"]:
        raise StoreError(
            f"{manifest} stands for a model with digest {result.summary['digest']}, but {source['path']} now has "
            f"{net.digest}; register it again with import-model"
        )
    return net, result


def open_tokenizer(result: store.Result) -> Any:
    """The tokenizer of an opened model result."""
    from compgraph.models.loading import load_tokenizer

    source = model_source(result)
    return load_tokenizer(source["path"], source["revision"])


def open_pairs(manifest: Path, model: store.Result | None = None) -> tuple[Any, store.Result]:
    """Load prompts or images.

    Parameters
    ----------
    manifest : Path
    model : Result, optional
        The model that reads them, whose tokenizer must be the one that they were written with.

    Raises
    ------
    StoreError
        If it is no whole result of kind ``"pairs"``.
    DataError
        If it holds no item, or was made for another tokenizer.
    """
    from compgraph.data.images import ImagePairs, is_image_folder
    from compgraph.data.prompts import PromptPairs

    result = store.open(manifest, kind="pairs")
    pairs: Any = (ImagePairs if is_image_folder(result.path) else PromptPairs).load(result.path)
    if not pairs.n:
        raise DataError(f"{manifest} holds no items")
    written, read = result.summary.get("tokenizer"), None if model is None else model.summary.get("tokenizer")
    if model is not None and None not in (written, read) and written != read:
        raise DataError(
            f"{manifest} was made for another tokenizer than that of {model.manifest_path}; make it anew with "
            "`compgraph data`"
        )
    return pairs, result


def open_reference(manifest: Path | None) -> tuple[Any, dict[str, store.Result]]:
    """The other data that a baseline is taken from, if any are given, and the result by its role."""
    if manifest is None:
        return None, {}
    pairs, result = open_pairs(manifest)
    return pairs, {"baseline_data": result}


def open_graph(manifest: Path) -> tuple[ComputationalGraph, store.Result]:
    """Load a graph."""
    from compgraph.graph import ComputationalGraph

    result = store.open(manifest, kind="graph")
    return ComputationalGraph.load(result.path), result


def open_null_graphs(manifest: Path | None) -> tuple[list[ComputationalGraph] | None, dict[str, store.Result]]:
    """Graphs of randomised networks, if a manifest is given, and the result by its role."""
    if manifest is None:
        return None, {}
    from compgraph.graph import ComputationalGraph

    result = store.open(manifest, kind=NULL_GRAPHS)
    graphs = [ComputationalGraph.load(path) for path in sorted(result.path.glob("*.graph"))]
    return graphs, {"null_graphs": result}


def graph_name(manifest: Path) -> str:
    """What a graph is called beside others: `effective.heads`, from where its manifest lies."""
    return f"{manifest.absolute().parent.name}.{manifest.stem}"


def with_dictionaries(net: Any, manifest: Path | None) -> tuple[Any, dict[str, store.Result]]:
    """The network with the dictionaries of a manifest attached, if one is given, and the result by its role.

    Raises
    ------
    ModelError
        If they were fitted on another model, or cannot be attached.
    """
    if manifest is None:
        return net, {}
    from compgraph.dictionaries.attached import attach
    from compgraph.dictionaries.files import KIND_OF_SEVERAL, load_dictionaries

    found = load_dictionaries(manifest)
    return attach(net, found), {"dictionaries": store.open(manifest, KIND_OF_SEVERAL)}


PART = "functional-part"
"""Kind of the results that hold a part of functional statistics."""


def merged_parts(manifests: Sequence[Path]) -> tuple[Any, dict[str, store.Result]]:
    """Parts of functional statistics as one, and the results by role.

    Raises
    ------
    StoreError
        One is no whole result of that kind.
    DataError
        Parts that do not belong together.
    """
    from compgraph.connectivity.functional import Part, merge_parts

    opened = [store.open(manifest, PART) for manifest in manifests]
    numbers = [(one.parameters.get("number"), one.parameters.get("of")) for one in opened]
    if sorted(numbers) != [(number, len(opened)) for number in range(len(opened))]:
        found = ", ".join(f"{number} of {of}" for number, of in numbers)
        raise DataError(f"functional: these are not all parts, each once: {found}")
    roles = {f"part:{number}": one for (number, _), one in zip(numbers, opened, strict=True)}
    return merge_parts([Part.load(one.path) for one in opened]), roles


def open_recordings(
    manifests: Sequence[Path], dictionaries: Path | None, model: Path | None, device: str, role: str = ""
) -> tuple[list[Any], dict[str, store.Result]]:
    """Buffers, each as `open_features` gives it, and results by role.

    The first buffer's role is its kind, the others' its kind and a number, unless they have a `role` of their own.
    """
    from compgraph.data.buffers import open_buffer

    recorded, made = [], {}
    for number, buffer in enumerate(open_buffer(manifest) for manifest in manifests):
        name = role or str(buffer.result.kind)
        made[f"{name}:{number}" if number or role else name] = buffer.result
        one, features = open_features(buffer, dictionaries, model, device)
        recorded.append(one)
        made |= features
    return recorded, made


def open_features(
    buffer: Any, dictionaries: Path | None, model: Path | None, device: str
) -> tuple[Any, dict[str, store.Result]]:
    """A buffer as it is, or seen through dictionaries of the network it was recorded from, and results by role.

    Attributions of the features of these very dictionaries are as they are, too.

    Raises
    ------
    DataError
        If dictionaries are given and no model, which is needed to attach them.
    """
    if dictionaries is None:
        return buffer, {}
    if model is None:
        raise DataError("--dictionaries needs --model, the manifest of the network that they are attached to")
    from compgraph.dictionaries.encoded import EncodedBuffer

    net, made = open_network(model, device)
    featured, inputs = with_dictionaries(net, dictionaries)
    known = buffer.attributes["network"]["digest"]
    return buffer if known == featured.digest else EncodedBuffer(buffer, featured), {"model": made, **inputs}


def build_partition(
    net: Any, choice: str | dict[str, str], rois: Path | None
) -> tuple[Partition, dict[str, store.Result]]:
    """The nodes that a config's ``partition`` means.

    Parameters
    ----------
    net : Network or Architecture
        Where the sites are.
    choice : str or dict
        A granularity, ``rois.NAME``, or one of these per site pattern.
    rois : Path, optional
        Manifest of the partition that ``rois.NAME`` means.

    Returns
    -------
    partition : Partition
    inputs : dict
        The ROI result by its role, if one was read.

    Raises
    ------
    DataError
        If ``rois.NAME`` is asked for and no manifest is given.
    """
    from compgraph.partition import Partition

    rules = {"*": choice} if isinstance(choice, str) else dict(choice)
    named = [word for word in rules.values() if word.startswith("rois.")]
    if not named:
        return Partition.mixed(net, rules) if isinstance(choice, dict) else _plain(net, choice), {}
    if rois is None:
        raise DataError(f"the partition '{named[0]}' needs --rois, the manifest of that partition")
    result = store.open(rois, kind="partition")
    found = Partition.load(result.path)
    return Partition.mixed(net, _by_site(net, rules, found)), {"rois": result}


def _plain(net: Any, word: str) -> Partition:
    from compgraph.partition import Partition

    partition: Partition = getattr(Partition, word)(net)
    return partition


def _by_site(net: Any, rules: dict[str, str], rois: Partition) -> dict[str, Any]:
    """Rules whose ROI patterns are spelled out for the sites that have ROIs; other sites stay whole."""
    from fnmatch import fnmatchcase

    spelled: dict[str, Any] = {}
    for pattern, word in rules.items():
        if word.startswith("rois."):
            spelled |= {site: rois for site in rois.sites if fnmatchcase(site, pattern) and site not in spelled}
        else:
            spelled.setdefault(pattern, word)
    return spelled


def tokenizer_digest(tokenizer: Any) -> str:
    """Digest of what a tokenizer does with text."""
    from compgraph.provenance import json_digest

    return json_digest(
        {"tokenizer": json.loads(tokenizer.backend_tokenizer.to_str()), "special": tokenizer.special_tokens_map}
    )
