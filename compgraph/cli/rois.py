"""``compgraph rois``: groups of units that respond alike."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, dictionaries_option, model_option, output_option, verb
from compgraph.errors import DataError

if TYPE_CHECKING:
    from compgraph.connectivity.functional.recordings import Recording
    from compgraph.partition import Partition
    from compgraph.store import Result


@verb("rois", section="rois", device=True)
@click.argument("signals", type=TO_BE_GIVEN, nargs=-1, required=True)
@dictionaries_option
@model_option
@output_option
def command(
    call: Call, signals: tuple[Path, ...], dictionaries: Path | None, model: Path | None, output: Path, entry: Any
) -> None:
    """SIGNALS are manifests of recorded activations or attributions, or of a model, for its weights; several count
    alike. Random ROIs that are like others read these too."""
    from compgraph import catalogue
    from compgraph.cli.inputs import open_features
    from compgraph.cli.saving import method_options
    from compgraph.rois.evidence import write_evidence
    from compgraph.rois.find import chosen_sites, find_rois
    from compgraph.rois.recordings import Concatenated
    from compgraph.rois.stability import consensus, roi_stability

    method = catalogue.ROIS[entry.method]
    inputs, recordings, like = _opened(signals, entry.sites)
    if dictionaries is not None and any(result.kind == "model" for result in inputs.values()):
        raise DataError("rois: --dictionaries are of activations; leave the model, which stands for weights, out")
    for number, one in enumerate(recordings):
        recordings[number], features = open_features(one, dictionaries, model, call.device)
        inputs |= features
    recording = recordings[0] if len(recordings) == 1 else Concatenated(recordings)
    sites = chosen_sites(recording, recorded(entry.sites, list(recording.sites["site"])))
    options = {"scope": entry.scope, **method_options(method, entry)}
    if entry.method == "random":
        options["like"] = like
    partition = find_rois(recording, sites, entry.method, entry.n_rois, entry.seed, **options)
    stability = None
    if entry.n_repeats:
        stability = roi_stability(
            recording, partition, sites, entry.method, entry.n_rois, entry.seed, n_repeats=entry.n_repeats, **options
        )
        if entry.consensus:
            partition = consensus(partition, stability.repeats, sites)
    with call.result(output, "partition", ".partition", inputs=inputs) as draft:
        partition.save(draft.path)
        summary = write_evidence(
            draft.path, partition, recordings, stability, n_permutations=entry.n_permutations, seed=entry.seed
        )
        draft.summary.update(parts={site: partition.n_parts(site) for site in partition.sites}, **summary)


def recorded(patterns: list[str], sites: list[str]) -> list[str]:
    """The patterns that match a recorded site, so that one list serves many networks; names stay in any case."""
    kept = [p for p in patterns if not set("*?[") & set(p) or any(fnmatchcase(site, p) for site in sites)]
    return kept or patterns


def _opened(
    manifests: Sequence[Path], patterns: Sequence[str]
) -> tuple[dict[str, Result], list[Recording], Partition | None]:
    """Results by role, their signals, buffers before weights, and the partition that random ROIs are like."""
    from compgraph import store
    from compgraph.data.buffers import open_buffer
    from compgraph.partition import Partition

    inputs: dict[str, Result] = {}
    buffers: list[Recording] = []
    model, like = None, None
    for manifest in manifests:
        result = store.open(manifest, lazy=True)
        role = result.kind if result.kind not in inputs else f"{result.kind}-{len(inputs)}"
        inputs[role] = result
        if result.kind == "model":
            model = manifest
        elif result.kind == "partition":
            like = Partition.load(store.open(manifest).path)
        else:
            buffers.append(open_buffer(manifest))
    if model is not None:
        buffers.append(_weights(model, patterns, buffers))
    if not buffers:
        raise DataError("rois: no signals are given; name a buffer of activations or attributions, or a model")
    return inputs, buffers, like


def _weights(model: Path, patterns: Sequence[str], buffers: Sequence[Recording]) -> Recording:
    """Weights of the chosen sites, as far as their units have some of their own."""
    from compgraph.cli.inputs import open_network
    from compgraph.rois.weights import weights_of_sites

    net, _ = open_network(model, "cpu")
    names = [site.name for site in net.architecture.node_sites]
    if buffers:
        known = set(buffers[0].sites["site"])
        names = [name for name in names if name in known]
    return weights_of_sites(net, [name for name in names if any(fnmatchcase(name, one) for one in patterns)])
