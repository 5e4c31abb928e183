"""What circuits put out, kept: logits of every example under the model, the empty graph and each circuit.

A sealed Zarr store with the array `logits` [1 + runs, examples, classes] (run 0 is the model, 1 the empty graph), the
masks of the runs as packed bits, and the table of the planned circuits. Metrics are computed from it without a network.
A run that another call made before is taken from a cache: a folder of files named by everything the run depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from compgraph import store
from compgraph.ablation.baselines import Baseline
from compgraph.ablation.run import run_masks
from compgraph.array_cache import cache_key
from compgraph.data.batches import Batch
from compgraph.errors import DataError
from compgraph.evaluation.confusion import confusion_of
from compgraph.evaluation.planning import PlannedCircuits
from compgraph.evaluation.run_cache import RunCache
from compgraph.metrics import Targets, get_metric
from compgraph.models.network import Network
from compgraph.sources import code_digest

if TYPE_CHECKING:
    import pandas as pd

KIND = "circuit-outputs"
CHUNK = 2**24
"""Bytes of a chunk, one run of some examples."""


def write_outputs(
    net: Network,
    plan: PlannedCircuits,
    pairs: Any,
    path: Path,
    *,
    ablation: str,
    baseline: Baseline,
    batch_size: int | None = None,
    cache: RunCache | None = None,
    norm_scale: str = "exact",
) -> dict[str, Any]:
    """Run the planned circuits and write their logits into a Zarr store.

    Parameters
    ----------
    path
        The store to write, as given by `compgraph.store.create`.
    cache
        Where runs of earlier calls lie, and where those of this one go.
    norm_scale
        As for `compgraph.run_graph`.

    Returns
    -------
    dict
        A summary for the manifest.

    Raises
    ------
    StoreError
        The disk is too small.
    DataError
        Logits that are not finite.
    """
    import zarr
    from zarr.codecs import Crc32cCodec

    classes, n_runs = net.architecture.site("logits").n_units, 1 + len(plan.masks)
    shape = (n_runs, int(pairs.n), classes)
    store.require_space(path, 4 * int(np.prod(shape)), "the outputs of the circuits")
    how: dict[str, Any] = {"ablation": ablation, "norm_scale": norm_scale}
    about = {**how, **baseline.about(), **plan.about}
    zarr.create_group(path, attributes={"layout": 1, "about": about, "ids": [str(name) for name in pairs.ids]})
    rows = int(np.clip(CHUNK // (4 * classes), 1, pairs.n))
    logits = zarr.create_array(
        store=path / "logits", shape=shape, chunks=(1, rows, classes), dtype="float32", fill_value=float("nan"),
        compressors=[Crc32cCodec()], dimension_names=("run", "example", "class"), config={"write_empty_chunks": True},
    )  # fmt: skip
    bits = np.packbits(plan.masks, axis=1)
    zarr.create_array(store=path / "masks", data=bits, chunks=bits.shape, compressors=[Crc32cCodec()])
    store.write_table(plan.table, path / "circuits.parquet")
    known = _from_cache(cache, plan, logits)
    new = [run for run in range(len(plan.masks)) if run not in known]
    held: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
    for batch, values in _runs(net, plan, new, pairs, how | {"baseline": baseline, "batch_size": batch_size}):
        held.append((batch.rows, values))
        if sum(len(one) for one, _ in held) >= rows:
            held = _flush(logits, new, held, rows)
    _flush(logits, new, held, 1)
    if cache is not None:
        for run in new:
            cache.put(plan.masks[run], np.asarray(logits[1 + run]))
    table = plan.table
    return {
        "circuits": int((table["role"] == "circuit").sum()),
        "runs": n_runs,
        "examples": int(pairs.n),
        "classes": classes,
        **about,
    }


def _from_cache(cache: RunCache | None, plan: PlannedCircuits, logits: Any) -> set[int]:
    """Runs found in the cache, their logits written."""
    known = set()
    for run, mask in enumerate(plan.masks if cache is not None else ()):
        assert cache is not None
        found = cache.get(mask, logits.shape[1:])
        if found is not None:
            logits[1 + run] = found
            known.add(run)
    return known


def _runs(
    net: Network,
    plan: PlannedCircuits,
    new: list[int],
    pairs: Any,
    settings: dict[str, Any],
) -> Iterator[tuple[Batch, npt.NDArray[np.float32]]]:
    """Batches with logits [1 + new runs, batch, classes], the model's first."""
    masks = plan.masks[new] if new else plan.masks[:1]
    for batch, logits in run_masks(net, plan.frame, masks, pairs, **settings):
        with torch.no_grad():
            model = net.run(batch.clean, batch.mask, positions=batch.positions).logits
        values = torch.cat([model[None], logits[: len(new)]]).float().cpu().numpy()
        if not np.isfinite(values).all():
            run, row, _ = np.argwhere(~np.isfinite(values))[0]
            what = "the model" if run == 0 else f"circuit {new[run - 1]}"
            raise DataError(f"example {pairs.ids[batch.rows[row]]!r}: logits of {what} are not finite")
        yield batch, values


def _flush(
    logits: Any,
    new: list[int],
    held: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]],
    step: int,
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Write whole chunks of rows (in order, without gaps); returns what is left."""
    if not held:
        return []
    rows, values = np.concatenate([one for one, _ in held]), np.concatenate([one for _, one in held], 1)
    first, whole = int(rows[0]), len(rows) // step * step
    for position, run in enumerate([0, *(1 + k for k in new)]):
        logits[run, first : first + whole] = values[position, :whole]
    return [(rows[whole:], values[:, whole:])] if whole < len(rows) else []


class CircuitOutputs:
    """Outputs that were kept.

    Parameters
    ----------
    result
        The sealed result.

    Attributes
    ----------
    circuits
        `PlannedCircuits.table`.
    about
        How circuits were chosen and run.
    ids
        The examples, in order.
    """

    def __init__(self, result: store.Result) -> None:
        import zarr

        result.check(*result.manifest["files"])
        group: Any = zarr.open_group(result.path, mode="r", zarr_format=3, use_consolidated=False)
        self.result, self.logits = result, group["logits"]
        self.circuits: pd.DataFrame = store.read_table(result.path / "circuits.parquet")
        self.about: dict[str, Any] = dict(group.attrs["about"])
        self.ids: list[str] = list(group.attrs["ids"])
        self._packed = group["masks"]

    def masks(self, n_edges: int) -> npt.NDArray[np.bool_]:
        """bool [runs, edges] of the runs behind the model's."""
        bits: npt.NDArray[np.bool_] = np.unpackbits(np.asarray(self._packed[:]), axis=1, count=n_edges).astype(bool)
        return bits

    def examples_of(self, pairs: Any) -> Any:
        """The examples of these data that were run, in the order in which they were.

        Raises
        ------
        DataError
            Some of them are not among the data.
        """
        place = {str(name): k for k, name in enumerate(pairs.ids)}
        lacking = [name for name in self.ids if name not in place]
        if lacking:
            raise DataError(f"these outputs are of other data: example {lacking[0]!r} is not among those given")
        return pairs.subset(np.array([place[name] for name in self.ids]))

    def values(self, pairs: Any, metrics: Sequence[str]) -> npt.NDArray[np.float64]:
        """Metrics of every example [1 + runs, metrics, examples].

        Raises
        ------
        DataError
            Other examples than those that were run; a metric that the data cannot serve or that is not finite.
        """
        self._check(pairs)
        measures = [get_metric(name) for name in metrics]
        n_runs, n, _ = self.logits.shape
        values = np.empty((n_runs, len(metrics), n))
        step = self.logits.chunks[1]
        for start in range(0, n, step):
            rows = slice(start, start + step)
            model = torch.from_numpy(np.asarray(self.logits[0, rows]))
            targets = replace(_targets(pairs, rows), reference=model)
            for run in range(n_runs):
                logits = torch.from_numpy(np.asarray(self.logits[run, rows]))
                for m, measure in enumerate(measures):
                    values[run, m, rows] = measure(logits, targets).double().numpy()
        if not np.isfinite(values).all():
            run, m, row = np.argwhere(~np.isfinite(values))[0]
            what = "the model" if run == 0 else f"run {run}"
            raise DataError(f"example {self.ids[row]!r}: {metrics[m]} of {what} is not finite")
        return values

    def confusion(self, pairs: Any) -> pd.DataFrame:
        """What every circuit takes the images of each class for (`compgraph.evaluation.confusion.confusion_of`).

        Raises
        ------
        DataError
            Other examples than those that were run; data that are no images of known classes.
        """
        self._check(pairs)
        classes = getattr(pairs, "classes", None)
        if classes is None or pairs.answers is None:
            raise DataError("confusion of classes needs images with answers; these data have none")
        step = self.logits.chunks[1]
        starts = range(0, len(self.ids), step)
        predicted = [np.asarray(self.logits[:, start : start + step]).argmax(2) for start in starts]
        return confusion_of(self.circuits, np.concatenate(predicted, axis=1), pairs.answers, classes)

    def _check(self, pairs: Any) -> None:
        if [str(name) for name in pairs.ids] != self.ids:
            raise DataError("these outputs are of other examples than the data given")


def _targets(pairs: Any, rows: slice) -> Targets:
    def tensor(name: str) -> torch.Tensor | None:
        value = getattr(pairs, name, None)
        return None if value is None else torch.from_numpy(np.ascontiguousarray(value[rows]))

    return Targets(tensor("answers"), tensor("distractors"))


def open_outputs(manifest: str | Path) -> CircuitOutputs:
    """Open outputs after checking that they are whole.

    Raises
    ------
    StoreError
        Missing, torn, damaged, or of another kind.
    """
    return CircuitOutputs(store.open(manifest, KIND, lazy=True))


def cache_for(
    folder: str | Path,
    net: Network,
    pairs: Any,
    plan: PlannedCircuits,
    ablation: str,
    baseline: Baseline,
    norm_scale: str = "exact",
) -> RunCache:
    """The cache of the runs of one network on some examples."""
    key = cache_key(
        network=net.digest,
        dtype=str(net.dtype),
        device=net.device.type,
        data=pairs.digest,
        baseline=baseline.about(),
        ablation=ablation,
        norm_scale=norm_scale,
        partition=plan.frame.partition.digest,
        channels=list(plan.frame.full.channels),
        code=code_digest([run_masks.__module__]),
    )
    return RunCache(folder, key)
