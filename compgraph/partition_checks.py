"""What makes labels a partition: the checks of `Partition`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from compgraph.architecture import Architecture
from compgraph.errors import GraphError

DEAD = -1
"""Label of a unit that belongs to no node."""


def label_array(site: str, values: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Labels as a read-only int32 vector."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise GraphError(
            f"partition: labels of {site!r} must be a vector of integers, not {array.dtype} of "
            f"shape {array.shape}"
        )
    if array.size and (array.min() < DEAD or array.max() >= 2**31):
        raise GraphError(
            f"partition: labels of {site!r} run from {array.min()} to {array.max()}; "
            "valid are -1 (dead) and 0 … n_parts - 1"
        )
    frozen = array.astype(np.int32)
    frozen.flags.writeable = False
    return frozen


def check_site(
    site: str, labels: npt.NDArray[np.int32], names: tuple[str, ...], empty: tuple[str, ...]
) -> None:
    """Names are unique and sufficient, and every part has a unit or is recorded as empty."""
    if len(set(names)) != len(names):
        repeated = next(name for k, name in enumerate(names) if name in names[:k])
        raise GraphError(f"partition: part name {repeated!r} of {site!r} is used twice")
    if "" in names and len(names) > 1:
        raise GraphError(f"partition: {site!r} has {len(names)} parts, so each needs a name")
    if labels.max(initial=DEAD) >= len(names):
        raise GraphError(
            f"partition: label {labels.max()} of {site!r} has no name; it has {len(names)} part names"
        )
    counts = np.bincount(labels[labels != DEAD], minlength=len(names))
    without = tuple(names[k] for k in np.flatnonzero(counts == 0))
    if set(without) != set(empty):
        odd = sorted(set(without) ^ set(empty))[0]
        problem = "has no unit; renumber the labels without gaps" if odd in without else "is said to be empty"
        raise GraphError(f"partition: part {odd!r} of {site!r} {problem}, or correct `empty`")


def check_reasons(
    site: str, whys: Mapping[str, tuple[int, ...]], labels: Mapping[str, npt.NDArray[np.int32]]
) -> None:
    """Reasons are given for dead units only."""
    if site not in labels:
        raise GraphError(f"partition: reasons are given for {site!r}, which has no labels")
    for why, units in whys.items():
        for unit in units:
            if not 0 <= unit < len(labels[site]) or labels[site][unit] != DEAD:
                raise GraphError(f"partition: unit {unit} of {site!r} is not dead, but a reason says {why!r}")


def check_errors(architecture: Architecture, labels: Mapping[str, npt.NDArray[np.int32]]) -> None:
    """The coordinates of a dictionary's error share a part: they are one unit."""
    for site in architecture.node_sites:
        if site.has_error and len(np.unique(labels[site.name][site.n_features :])) > 1:
            raise GraphError(f"partition: the error of {site.name!r} is one unit; its coordinates must share a part")


def nested(fine: npt.NDArray[np.int32], coarse: npt.NDArray[np.int32]) -> bool:
    """Whether each part of `fine` lies in one part of `coarse`; labels of the same units."""
    live = fine != DEAD
    if (coarse[live] == DEAD).any():
        return False
    image = np.full(int(fine.max(initial=DEAD)) + 1, DEAD, dtype=np.int32)
    image[fine[live]] = coarse[live]
    return bool((image[fine[live]] == coarse[live]).all())
