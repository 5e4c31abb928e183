"""One face for all ways to come by a dictionary of a site: fitted to its rows, or loaded and checked against them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compgraph.dictionaries.components import ica, nmf
from compgraph.dictionaries.dictionary import Dictionary
from compgraph.dictionaries.pca import pca
from compgraph.dictionaries.published import from_published, read_published
from compgraph.dictionaries.quality import measure_fit
from compgraph.dictionaries.rows import SiteRows
from compgraph.dictionaries.sae import SaeSettings, train_sae
from compgraph.dictionaries.transcoder import Transcoder
from compgraph.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("sae", "pca", "ica", "nmf", "load")


def fit_dictionary(
    rows: SiteRows,
    method: str = "sae",
    n_features: int | None = None,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    **options: Any,
) -> tuple[Dictionary, pd.DataFrame | None]:
    """A dictionary of a site.

    Parameters
    ----------
    rows
        What it describes.
    method
        One of `METHODS`.
    n_features
        Features; None: as many as the method takes (`sae`: four times the width). No choice for `load`.
    seed
        Of methods that draw.
    checkpoint
        Of `sae`: see `train_sae`.
    options
        Of the method: fields of `SaeSettings`; `centred` of `pca`; `max_iter` of `ica` and `nmf`; `path`, `layout` and
        `least_explained` of `load` (see `load_for`).

    Returns
    -------
    The dictionary, and for `sae` the table of its training.

    Raises
    ------
    ConfigError
        There is no such method.
    DataError, ModelError
        As the method says.
    """
    if method == "sae":
        return train_sae(rows, SaeSettings(n_features=n_features, seed=seed, **options), checkpoint)
    if method == "pca":
        made = pca(rows.data, rows.net, rows.site, rows.space, n_components=n_features, keep=rows.keep, **options)
    elif method == "ica":
        made = ica(rows, n_features, seed=seed, **options)
    elif method == "nmf":
        made = nmf(rows, n_features, seed=seed, **options)
    elif method == "load":
        if n_features is not None:
            raise ModelError(f"dictionary of {rows.site}: the file decides how many features it has, not n_features")
        made = load_for(rows, **options)
    else:
        raise ConfigError(f"dictionary method {method!r} is not known; valid are {', '.join(METHODS)}")
    return made, None


def load_for(rows: SiteRows, path: str, layout: str = "auto", least_explained: float = 0.5) -> Dictionary:
    """Load a published dictionary and check it against real activations.

    Parameters
    ----------
    rows
        Activations that it should describe.
    path
        Its folder or file; `{site}` in it stands for the site's name.
    layout
        See `read_published`; `auto` tells it by the names in the file.
    least_explained
        Smallest share of the variance that it must explain.

    Raises
    ------
    ModelError
        As `read_published` and `from_published`; a transcoder, which describes no activation of one place; a dictionary
        of another width; one that explains less, which mostly is one of another site, model or normalisation.
    """
    found = read_published(path.replace("{site}", rows.site), None if layout == "auto" else layout)
    mean_norm = _mean_norm(rows) if found.needs_mean_norm else None
    one = from_published(found, rows.space, rows.site, mean_norm)
    if isinstance(one, Transcoder):
        raise ModelError(
            f"{found.path} is a transcoder: it reads what {rows.site} reads and predicts what it writes, so that it "
            "describes no activation of one place and cannot be attached; load it with from_published to look at it"
        )
    one = replace(one, model=rows.net.digest or None)
    explained = measure_fit(one, rows).explained_variance
    if not explained >= least_explained:
        raise ModelError(
            f"{found.path} explains {explained:.3f} of the variance of {rows.site} in space {rows.space!r}, and at "
            f"least {least_explained} is asked for; is it of another site, model or normalisation? (option "
            "least_explained)"
        )
    return one


def _mean_norm(rows: SiteRows) -> float:
    total = count = 0.0
    for values in rows:
        total += float(np.linalg.norm(values.astype(np.float64), axis=1).sum())
        count += len(values)
    return total / count if count else 0.0
