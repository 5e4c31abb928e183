"""Attention heads as ROIs: what regions found from data are compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compgraph.errors import DataError
from compgraph.rois.number import Number
from compgraph.rois.signals import Units


def find(units: Units, n_rois: Number, seed: int) -> npt.NDArray[np.int64]:
    """The head of every live unit of attention sites; heads of different sites are different parts.

    Parameters
    ----------
    units
        Of attention sites.
    n_rois
        None: the architecture decides.
    seed
        Not used.

    Raises
    ------
    DataError
        A site without heads, or a number of ROIs.
    """
    if n_rois is not None:
        raise DataError("rois: heads are given by the architecture; leave n_rois out")
    found, first = [], 0
    for name, one in units.sites.items():
        site = units.recording.architecture.site(name)
        if site.n_features:
            raise DataError(f"rois: the units of {name!r} are features of a dictionary, which belong to no head")
        if not site.n_heads:
            raise DataError(f"rois: {name!r} has no heads; choose attention sites (sites: ['attn.*'])")
        found.append(first + one.live // (site.n_units // site.n_heads))
        first += site.n_heads
    return np.concatenate(found)
