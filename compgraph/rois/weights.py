"""What units read and write as signals: a row for each coordinate of the vectors in front of and behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError
from compgraph.rois.recordings import ArrayRecording, Floats

if TYPE_CHECKING:
    from torch import Tensor

    from compgraph.models.network import Network


def weight_signals(net: Network, site: str) -> ArrayRecording:
    """Weights of the units of one site, the vectors they read and those they write side by side.

    Each vector is scaled to length 1 first, so that units are alike that read and write the same directions.

    Parameters
    ----------
    net
        Any network.
    site
        A site whose units have vectors of their own: all but `embed`, `input` and `logits`; of a chain those without
        pooling. Attention units: what they read as values, and write. Gains of norms are folded in.

    Returns
    -------
    ArrayRecording
        [rows, n_units] of the site; of transformers 2 d_model rows (gated MLPs 3), of chains the units before and
        those behind.

    Raises
    ------
    DataError
        The site is none of the network's, or its units have no vectors of their own.
    """
    names = [one.name for one in net.architecture.node_sites]
    if site not in names:
        raise DataError(f"rois: weights of {site!r} were asked for; valid are {', '.join(names)}")
    vectors = _of_chain(net, site) if net.kind == "sequential" else _of_stream(net, site)
    rows = np.concatenate([_unit_length(one) for one in vectors], axis=1)
    return ArrayRecording(net.architecture, {site: rows.T})


def _of_stream(net: Any, site: str) -> list[Floats]:
    from compgraph.connectivity.structural.vectors import Ends, Via
    from compgraph.partition import Partition

    if site.partition(".")[0] not in ("attn", "mlp"):
        raise DataError(f"rois: the units of {site!r} have no weights of their own; name sites of attn or mlp")
    partition = Partition.mixed(net, {site: "units"})
    projections: tuple[Via, ...] = ("in", "gate") if net.spec.gated and site.startswith("mlp.") else ("in",)
    ends = [Ends(net, partition, whole=False, lengths=False, via=via) for via in projections]
    read = [one for end in ends for one in _read(end.readers(site))]
    return [*read, _array(ends[0].writer(site).values)]


def _read(readers: Iterable[tuple[str, str, Any]]) -> list[Floats]:
    """What units read, of attention as values alone."""
    return [_array(vectors.values) for _, channel, vectors in readers if channel in ("", "v")]


def _of_chain(net: Any, site: str) -> list[Floats]:
    import torch

    names = [one.name for one in net.architecture.node_sites]
    place = names.index(site)
    if place in (0, len(names) - 1):
        raise DataError(f"rois: the units of {site!r} have no weights of their own on both sides; name a hidden site")
    n_units = net.architecture.site(site).n_units
    found = []
    with torch.no_grad():
        for source, target in ((names[place - 1], site), (site, names[place + 1])):
            each = torch.eye(net.architecture.site(source).n_units, device=net.device, dtype=net.dtype)
            found.append(_array(net.reader(target)(each, bias=False).flatten(1)))
    if found[0].shape[1] != n_units:
        raise DataError(f"rois: {site!r} pools, so that its units have no vectors of their own; name another site")
    return [found[0].T, found[1]]


def _array(values: Tensor) -> Floats:
    array: Floats = values.detach().cpu().double().numpy()
    return array


def _unit_length(vectors: npt.NDArray[np.float64]) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled


def weights_of_sites(net: Network, sites: Sequence[str]) -> ArrayRecording:
    """Weights of several sites in one recording, for `find_rois` over them.

    Sites have different numbers of rows; the missing ones are filled with each unit's mean, which changes no
    correlation. Only where all read and write the same stream, each with one vector, do rows mean the same at all of
    them; elsewhere units of different sites cannot be divided together.

    Raises
    ------
    DataError
        As `weight_signals`; no site.
    """
    if not sites:
        names = ", ".join(one.name for one in net.architecture.node_sites)
        raise DataError(f"rois: no site with weights is chosen; the network has {names}")
    arrays = {site: weight_signals(net, site).arrays[site] for site in sites}
    most = max(len(values) for values in arrays.values())
    filled = {
        site: np.concatenate([values, np.broadcast_to(values.mean(axis=0), (most - len(values), values.shape[1]))])
        for site, values in arrays.items()
    }
    aligned = net.kind == "transformer" and len({len(values) for values in arrays.values()}) == 1
    return ArrayRecording(net.architecture, filled, aligned=aligned)
