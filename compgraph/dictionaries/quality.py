"""How good a dictionary is: what it explains, how sparse it is, and what the network loses with it in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compgraph.data.batches import Batch, batches
from compgraph.data.moments import Moments
from compgraph.dictionaries.attached import check_origin
from compgraph.dictionaries.dictionary import Dictionary
from compgraph.dictionaries.rows import SiteRows
from compgraph.errors import DataError
from compgraph.metrics import cross_entropy
from compgraph.models.transformer import Transformer

if TYPE_CHECKING:
    import pandas as pd

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Fit:
    """How a dictionary describes rows.

    Attributes
    ----------
    rows
        Number of rows.
    explained_variance
        1 - sum |x - x̂|² / sum |x - mean x|²; negative where the mean alone does better.
    l0
        Mean number of features that are not zero.
    density
        Share of the rows in which each feature is not zero, [n_features].
    mean_active
        Mean of each feature where it is not zero, [n_features]; 0 where it never is.
    """

    rows: int
    explained_variance: float
    l0: float
    density: npt.NDArray[np.float64]
    mean_active: npt.NDArray[np.float64]

    @property
    def dead_share(self) -> float:
        """Share of the features that are zero in every row."""
        return float((self.density == 0).mean())


def measure_fit(one: Dictionary, rows: SiteRows) -> Fit:
    """Describe rows by a dictionary, in one pass.

    Raises
    ------
    DataError
        No rows, or rows that do not vary.
    ModelError
        A dictionary of another site, model or width.
    """
    check_origin(rows.net, rows.site, one)
    if one.space != rows.space:
        raise DataError(f"{rows.site}: the dictionary is in space {one.space!r}, and the rows in {rows.space!r}")
    one = one.to(dtype=torch.float32 if one.rows.dtype != torch.float64 else None, device=torch.device("cpu"))
    active, total = torch.zeros(one.n_features, dtype=torch.float64), torch.zeros(one.n_features, dtype=torch.float64)
    missing, moments = 0.0, Moments.none(rows.width)
    for values in rows:
        moments = moments.merge(Moments.of(values))
        for x in torch.from_numpy(values).to(one.rows.dtype).split(BLOCK_ROWS):
            features = one.encode(x)
            active += (features != 0).sum(0)
            total += features.sum(0, dtype=torch.float64)
            missing += float((one.decode(features) - x).square().sum(dtype=torch.float64))
    spread = float(moments.squares.sum())
    if not spread > 0:
        raise DataError(f"{rows.site}: {moments.count} rows that do not vary; no variance can be explained")
    density = (active / moments.count).numpy()
    mean = (total / active.clamp_min(1)).numpy()
    return Fit(moments.count, 1 - missing / spread, float(density.sum()), density, mean)


@dataclass(frozen=True)
class Splice:
    """The network's loss with a reconstruction in place of an activation.

    Attributes
    ----------
    loss
        What is measured: `answers`, the cross-entropy of the right answers at the scored positions, or `next-token`,
        that of each token given those before, in nats, means over examples or tokens.
    clean, spliced, ablated
        Of the network as it is, with x̂ in place of x, and with zero in its place.
    """

    loss: str
    clean: float
    spliced: float
    ablated: float

    @property
    def recovered(self) -> float:
        """(ablated - spliced) / (ablated - clean): 1 is as good as x, 0 no better than zero; nan if equal."""
        lost = self.ablated - self.clean
        return (self.ablated - self.spliced) / lost if lost else float("nan")


def measure_splice(
    net: Transformer, site: str, one: Dictionary, pairs: Any, positions: str = "all", batch_size: int = 64
) -> Splice:
    """Run the network with a dictionary's reconstruction in place of a site's activation.

    Parameters
    ----------
    net
        The network without dictionaries.
    pairs
        Prompts; with answers these are scored, else every next token.
    positions
        Where: at `all` tokens, the `last`, or the `scored` one, as the dictionary was fitted.

    Raises
    ------
    ModelError
        A dictionary of another site, model or width.
    """
    check_origin(net, site, one)
    one = one.to(dtype=net.dtype, device=net.device)
    place = f"{site}/write" if one.space == "write" else site
    changes = {"spliced": lambda x: one.decode(one.encode(x)), "ablated": torch.zeros_like}
    loss = _next_token if pairs.answers is None else _answers
    sums, count = dict.fromkeys(("clean", *changes), 0.0), 0
    with torch.no_grad():
        for batch in batches(net, pairs, batch_size):
            where = _places(batch, positions)
            edits = {name: {place: _only(where, change)} for name, change in changes.items()}
            for name, edit in {"clean": {}, **edits}.items():
                losses = loss(net, batch, edit)
                sums[name] += float(losses.sum(dtype=torch.float64))
            count += len(losses)
    means = {name: total / count for name, total in sums.items()}
    return Splice("next-token" if pairs.answers is None else "answers", **means)


def _places(batch: Batch, positions: str) -> Tensor | None:
    """Which positions to change, bool [b, t, 1]; None: all."""
    if positions == "all":
        return None
    chosen = batch.positions
    if positions == "last" or chosen is None:
        mask = torch.ones_like(batch.clean, dtype=torch.bool) if batch.mask is None else batch.mask
        chosen = mask.shape[1] - 1 - mask.flip(1).long().argmax(1)
    return torch.nn.functional.one_hot(chosen, batch.clean.shape[1]).bool()[..., None]


def _only(where: Tensor | None, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return change if where is None else lambda x: torch.where(where, change(x), x)


def _answers(net: Transformer, batch: Batch, edit: Mapping[str, Callable[[Tensor], Tensor]]) -> Tensor:
    logits = net.run(batch.clean, batch.mask, positions=batch.positions, edit=edit).logits
    return cross_entropy(logits, batch.targets)


def _next_token(net: Transformer, batch: Batch, edit: Mapping[str, Callable[[Tensor], Tensor]]) -> Tensor:
    logits = net.run(batch.clean, batch.mask, edit=edit).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.clean[:, 1:].flatten(), reduction="none")
    if batch.mask is None:
        return losses
    return losses[(batch.mask[:, 1:] & batch.mask[:, :-1]).flatten()]


def quality_table(fits: Mapping[str, tuple[Dictionary, Fit, Splice]]) -> pd.DataFrame:
    """One row a site: what was measured of its dictionary."""
    import pandas as pd

    return pd.DataFrame(
        {
            "site": site,
            "space": one.space,
            "kind": one.kind,
            "activation": one.activation,
            "n_features": one.n_features,
            "rows": fit.rows,
            "explained_variance": fit.explained_variance,
            "l0": fit.l0,
            "dead_share": fit.dead_share,
            "loss": splice.loss,
            "loss_clean": splice.clean,
            "loss_spliced": splice.spliced,
            "loss_ablated": splice.ablated,
            "loss_recovered": splice.recovered,
        }
        for site, (one, fit, splice) in fits.items()
    )


def density_table(fits: Mapping[str, tuple[Dictionary, Fit, Splice]]) -> pd.DataFrame:
    """One row a feature: `site`, `feature`, `density`, `mean_active`."""
    import pandas as pd

    return pd.concat(
        [
            pd.DataFrame(
                {
                    "site": site,
                    "feature": np.arange(one.n_features),
                    "density": fit.density,
                    "mean_active": fit.mean_active,
                }
            )
            for site, (one, fit, _) in fits.items()
        ],
        ignore_index=True,
    )
