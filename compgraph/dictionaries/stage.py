"""Dictionaries of several sites of one network: fitted, measured on held-out examples, written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.data import holding_out
from compgraph.dictionaries.dictionary import Dictionary
from compgraph.dictionaries.files import write_dictionaries
from compgraph.dictionaries.fit import fit_dictionary
from compgraph.dictionaries.quality import Fit, Splice, density_table, measure_fit, measure_splice, quality_table
from compgraph.dictionaries.rows import SiteRows
from compgraph.errors import DataError, ModelError
from compgraph.models.transformer import Transformer
from compgraph.store import write_table

if TYPE_CHECKING:
    import pandas as pd

    from compgraph.data.buffers import ActivationBuffer
    from compgraph.models.network import Network


@dataclass(frozen=True)
class Fitted:
    """A dictionary, what was measured of it, and the table of its training, if it was trained step by step."""

    dictionary: Dictionary
    fit: Fit
    splice: Splice
    trace: pd.DataFrame | None


def fit_sites(
    net: Network,
    pairs: Any,
    buffer: ActivationBuffer,
    *,
    sites: Sequence[str],
    space: str,
    method: str,
    n_features: int | None,
    held_out: float,
    seed: int,
    checkpoints: Path | None = None,
    **options: Any,
) -> dict[str, Fitted]:
    """A dictionary for every chosen site.

    Parameters
    ----------
    net, pairs, buffer
        The network without dictionaries, a dataset, and the activations of the two.
    sites
        Names and patterns of recorded sites.
    space, method, n_features, seed, options
        See `fit_dictionary`.
    held_out
        Share of the examples that dictionaries are not fitted to, and are measured on; 0: measured on all.
    checkpoints
        Folder for the states of trainings.

    Returns
    -------
    Site -> what was made, in the order of computation.

    Raises
    ------
    DataError
        No such recorded site, another number of items than the buffer's, or as the method says.
    ModelError
        A network that is no transformer, or as the method says.
    """
    if not isinstance(net, Transformer):
        raise ModelError(f"dictionaries serve transformers; this is a {net.kind} network")
    names = chosen_sites(buffer, sites)
    test = _held_out_rows(pairs, buffer, held_out)
    examples = holding_out.examples_for(pairs, held_out, "held-out")
    positions = buffer.attributes["positions"]
    found = {}
    for site in names:
        train = SiteRows(buffer, net, site, space, None if test is None else ~test, method)
        measure = SiteRows(buffer, net, site, space, test, method)
        checkpoint = None if checkpoints is None else checkpoints / f"{site}.safetensors"
        one, trace = fit_dictionary(train, method, n_features, seed=seed, checkpoint=checkpoint, **options)
        splice = measure_splice(net, site, one, examples, positions)
        found[site] = Fitted(one, measure_fit(one, measure), splice, trace)
    return found


def chosen_sites(buffer: ActivationBuffer, sites: Sequence[str]) -> list[str]:
    """Recorded sites that match names or patterns, in the order of computation.

    Raises
    ------
    DataError
        Nothing matches.
    """
    recorded = [str(site) for site in buffer.sites["site"]]
    names = [site for site in recorded if any(fnmatchcase(site, pattern) for pattern in sites)]
    if not names:
        raise DataError(f"dictionaries: {', '.join(sites)} matches none of the recorded sites {', '.join(recorded)}")
    return names


def _held_out_rows(pairs: Any, buffer: ActivationBuffer, share: float) -> np.ndarray | None:
    if not share:
        return None
    if int(buffer.item.max()) >= pairs.n:
        raise DataError(f"the buffer has rows of item {int(buffer.item.max())}, and the dataset {pairs.n} items")
    rows: np.ndarray = holding_out.held_out(pairs, share)[buffer.item]
    return rows


def write_stage(fitted: Mapping[str, Fitted], folder: Path) -> dict[str, Any]:
    """Write dictionaries (one file a site), `quality.parquet`, `density.parquet` and `training.parquet`.

    Returns
    -------
    What the manifest says about them.
    """
    import pandas as pd

    write_dictionaries({site: one.dictionary for site, one in fitted.items()}, folder)
    measured = {site: (one.dictionary, one.fit, one.splice) for site, one in fitted.items()}
    quality = quality_table(measured)
    write_table(quality, folder / "quality.parquet")
    write_table(density_table(measured), folder / "density.parquet")
    traces = [one.trace.assign(site=site) for site, one in fitted.items() if one.trace is not None]
    if traces:
        write_table(pd.concat(traces, ignore_index=True), folder / "training.parquet")
    digests = {site: one.dictionary.digest for site, one in fitted.items()}
    return {"digests": digests, "quality": quality.to_dict("records")}
