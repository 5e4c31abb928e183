"""Training a sparse autoencoder on the rows of a site.

Rows are centred and scaled so that their mean squared length is their width, by the mean and the variance of those that
are read first (`rows.POOL_BYTES` of them, which is mostly all); both are folded into the dictionary that
comes out. Rows of the decoder keep length 1. Features that have not fired for `revive_every` rows are dead, and start
again from a row that is reconstructed badly (Bricken et al. 2023, neuron resampling).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from compgraph.data.moments import Moments
from compgraph.dictionaries.dictionary import Dictionary
from compgraph.dictionaries.objectives import OBJECTIVES, Objective
from compgraph.dictionaries.rows import SiteRows
from compgraph.dictionaries.sae_state import State, load_checkpoint, save_checkpoint
from compgraph.errors import DataError
from compgraph.progress import Updater, progress
from compgraph.provenance import json_digest

if TYPE_CHECKING:
    import pandas as pd

CACHE = 3 << 16
"""Numbers of [features, rows] matrices that stay in the cache."""
EVEN = 16
"""Blocks of rows are multiples of the width of a vector."""
CHECKPOINT_ROWS = 1 << 18
RECORDS, RECORDED = 100, 256
"""Lines of the table of a training, and rows that the features are counted in for one."""
WARM_UP, PRESSURE_UP, COOL_DOWN = 0.02, 0.1, 0.2
"""Shares of the training in which the learning rate rises, the pressure rises, and the learning rate falls."""


@dataclass(frozen=True)
class SaeSettings:
    """How to train a sparse autoencoder.

    Parameters
    ----------
    activation
        `relu`, `topk`, `batch-topk`, `jumprelu` or `gated` (`compgraph.dictionaries.objectives`).
    n_features
        Features; None: four times the width.
    k
        Active features a row, for `topk` and (on average) `batch-topk`.
    sparsity
        Pressure of the penalty of the other activations, in units of squared error of a normalised row.
    n_rows
        Rows to train on; the data are passed as often as that takes.
    batch_size
        Rows a step.
    learning_rate
        Of Adam.
    revive_every
        Rows after which a feature that did not fire starts again; 0: never. The last fifth revives none.
    seed
        Of first weights, order and revivals.

    Raises
    ------
    DataError
        A value out of its range, naming it.
    """

    activation: str = "batch-topk"
    n_features: int | None = None
    k: int = 8
    sparsity: float = 1.0
    n_rows: int = 1_000_000
    batch_size: int = 2048
    learning_rate: float = 2e-3
    revive_every: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.activation not in OBJECTIVES:
            raise DataError(f"sae: activation {self.activation!r} is not known; valid are {', '.join(OBJECTIVES)}")
        least = {"n_features": 1, "k": 1, "n_rows": 1, "batch_size": 1, "revive_every": 0, "seed": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise DataError(f"sae: {name} is {value}; it must be at least {bound}")
        if not self.sparsity >= 0 or not self.learning_rate > 0:
            raise DataError(
                f"sae: sparsity is {self.sparsity} and learning_rate {self.learning_rate}; they must be at least 0 and "
                "above 0"
            )


def train_sae(
    rows: SiteRows, settings: SaeSettings | None = None, checkpoint: Path | None = None
) -> tuple[Dictionary, pd.DataFrame]:
    """Train a sparse autoencoder.

    Parameters
    ----------
    rows
        What it describes.
    settings
        How; all defaults if not given.
    checkpoint
        A file for the state of the training, written now and then. If it is there and of the same training, that goes
        on from it, to the same bytes.

    Returns
    -------
    dictionary
        Its rows have length 1, its features the units of the data.
    trace
        One row a record: `rows` seen, `loss`, `squared_error` and `penalty` a normalised row (means since the last
        record; the penalty of `RECORDED` rows), `l0` (of these rows), `explained_variance`, `dead_share`, `revived`
        (features, since the last record).

    Raises
    ------
    DataError
        Data that are not finite, do not vary, or have fewer rows than two; more active features than there are.
    """
    run = _Training(rows, settings or SaeSettings())
    run.train(checkpoint)
    return run.dictionary(), run.trace()


class _Training:
    def __init__(self, rows: SiteRows, settings: SaeSettings) -> None:
        self.rows, self.settings = rows, settings
        width = rows.width
        n_features = settings.n_features or 4 * width
        if settings.activation in ("topk", "batch-topk") and settings.k > n_features:
            raise DataError(f"sae of {rows.site}: k is {settings.k}, and there are {n_features} features")
        self._pool: tuple[list[int], Tensor] = ([], torch.empty(0))
        moments = _moments(self._values(next(rows.pools(self._generator(1, 0)))))
        spread = float(moments.variance.sum())
        if moments.count < 2 or not spread > 0:
            raise DataError(f"sae of {rows.site}: {moments.count} rows that do not vary; there is nothing to learn")
        self.mean = torch.from_numpy(moments.mean)
        self.scale = math.sqrt(width / spread)
        self.objective: Objective = OBJECTIVES[settings.activation](k=settings.k)
        self.block = max(64, CACHE // (self.objective.matrices * n_features))
        first = torch.randn(n_features, width, generator=self._torch_generator(0))
        self.state = State.start(self.objective.start(first / first.norm(dim=1, keepdim=True)))
        about = {"settings": asdict(settings), "site": rows.site, "space": rows.space, "model": rows.net.digest}
        self.key = json_digest({**about, "mean": moments.mean, "squares": moments.squares, "rows": rows.n_rows})

    def _generator(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, *numbers])

    def _torch_generator(self, *numbers: int) -> torch.Generator:
        return torch.Generator().manual_seed(int(self._generator(*numbers).integers(2**62)))

    def train(self, checkpoint: Path | None) -> None:
        """Go through the data until enough rows were seen."""
        wanted = self.settings.n_rows
        if checkpoint is not None:
            load_checkpoint(checkpoint, self.state, self.key)
        saved, memory = self.state.place.seen, torch.empty(self.settings.batch_size, self.rows.width)
        with progress(f"dictionary of {self.rows.site}", wanted, "rows") as bar:
            bar.skip(saved)
            for values, batch in self._batches():
                torch.index_select(values, 0, batch, out=memory[: len(batch)])
                self._step(memory[: len(batch)].sub_(self.mean.float()).mul_(self.scale), bar)
                bar.advance(len(batch))
                if checkpoint is not None and self.state.place.seen - saved >= CHECKPOINT_ROWS:
                    saved = self.state.place.seen
                    save_checkpoint(checkpoint, self.state, self.key)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(rows, which of them) from the place where the training stands; the place moves on with them."""
        place, size = self.state.place, self.settings.batch_size
        while True:
            for number, chunks in enumerate(self.rows.pools(self._generator(1, place.passes))):
                if number < place.pool:
                    continue
                values = self._values(chunks)
                order = torch.from_numpy(self._generator(2, place.passes, number).permutation(len(values)))
                while place.offset < len(order):
                    if place.seen >= self.settings.n_rows:
                        return
                    batch = order[place.offset : place.offset + size][: self.settings.n_rows - place.seen]
                    place.offset += len(batch)
                    place.seen += len(batch)
                    yield values, batch
                place.pool, place.offset = number + 1, 0
            place.passes, place.pool = place.passes + 1, 0

    def _values(self, chunks: list[int]) -> Tensor:
        """Rows of some chunks, float32 [rows, width]."""
        chunks = sorted(chunks)
        if self._pool[0] != chunks:
            self._pool = ([], torch.empty(0))
            parts = [torch.from_numpy(self.rows.chunk(number)).float() for number in chunks]
            self._pool = (chunks, parts[0] if len(parts) == 1 else torch.cat(parts))
        return self._pool[1]

    def _blocks(self, x: Tensor) -> tuple[Tensor, ...]:
        """Rows in blocks of nearly equal size: a small one costs more than its share."""
        parts = -(-len(x) // self.block)
        return x.split(EVEN * -(-len(x) // (EVEN * parts)))

    def _step(self, x: Tensor, bar: Updater) -> None:
        state, settings = self.state, self.settings
        done = state.place.seen / settings.n_rows
        pressure = settings.sparsity * min(1.0, done / PRESSURE_UP)
        state.gradient.zero_()
        squared = 0.0
        for block in self._blocks(x):
            squared += self.objective.gradients(state.parameters, block, state.gradients, pressure)
        # A feature that fires moves its row, and no other does.
        state.silent.add_(len(x)).masked_fill_(state.gradients["rows"].abs().amax(1) > 0, 0)
        state.step(2 / len(x), settings.learning_rate * min(1.0, done / WARM_UP, (1 - done) / COOL_DOWN + 1e-3))
        state.add(len(x), squared)
        every = settings.revive_every
        if every and state.place.seen // every > (state.place.seen - len(x)) // every and done < 1 - COOL_DOWN:
            self._revive(x)
        if state.place.seen * RECORDS // settings.n_rows > (state.place.seen - len(x)) * RECORDS // settings.n_rows:
            self._record(x, pressure, bar)

    def _record(self, x: Tensor, pressure: float, bar: Updater) -> None:
        block, p = x[:RECORDED], self.state.parameters
        l0 = np.count_nonzero(self.objective.features(p, block).numpy()) / len(block)
        penalty = self.objective.penalty(p, block) / len(block)
        dead = float((self.state.silent >= self._dead_after).float().mean())
        line = self.state.record(l0, penalty, pressure, dead, self.rows.width)
        bar.describe(
            f"dictionary of {self.rows.site}: loss {line['loss']:.3g}, L0 {l0:.1f}, explained variance "
            f"{line['explained_variance']:.3f}, dead {dead:.1%}"
        )

    @property
    def _dead_after(self) -> int:
        return self.settings.revive_every or max(1, self.settings.n_rows // 10)

    def _revive(self, x: Tensor) -> None:
        """Let dead features start again, each at what is missing of a row, drawn by its squared error."""
        state, objective = self.state, self.objective
        dead = (state.silent >= self._dead_after).nonzero()[:, 0]
        if not len(dead):
            return
        missing = -torch.cat([objective.errors(state.parameters, block).clone() for block in self._blocks(x)])
        chances = missing.square().sum(1).double()
        if not float(chances.sum()) > 0:
            return
        generator = self._torch_generator(3, state.place.seen)
        drawn = torch.multinomial(chances, len(dead), len(dead) > int((chances > 0).sum()), generator=generator)
        fresh = objective.start(missing[drawn] / missing[drawn].norm(dim=1, keepdim=True))
        alive = state.silent < self._dead_after
        usual = state.parameters["encoder"][alive].norm(dim=1).mean() if bool(alive.any()) else torch.tensor(1.0)
        fresh["encoder"] *= usual * objective.revival_scale
        names = ("encoder", "encoder_bias", "rows", *objective.feature_parameters)
        state.replace_features(dead, {name: fresh[name] for name in names})

    def trace(self) -> pd.DataFrame:
        """The records so far."""
        import pandas as pd

        return pd.DataFrame(self.state.trace)

    def dictionary(self) -> Dictionary:
        """The trained encoder and decoder for rows as they are: centring and scale folded in, in float64."""
        p = {name: value.double() for name, value in self.state.parameters.items()}
        weights, bias, threshold = self.objective.encoder(p)
        net = self.rows.net
        bias = bias / self.scale - weights @ self.mean
        activation = {"relu": "relu", "topk": "topk"}.get(self.settings.activation, "jumprelu")

        def cast(value: Tensor) -> Tensor:
            return value.to(net.dtype).to(net.device).contiguous()

        return Dictionary(
            self.rows.space,
            cast(weights.T),
            cast(p["rows"]),
            cast(bias),
            cast(p["bias"] / self.scale + self.mean),
            activation,
            self.settings.k if activation == "topk" else None,
            None if threshold is None else cast(threshold / self.scale),
            site=self.rows.site,
            model=net.digest or None,
        )


def _moments(values: Tensor) -> Moments:
    """Of rows [n, width], in blocks that stay in the cache."""
    total = Moments.none(values.shape[1])
    for block in values.split(4096):
        mean = block.mean(0)
        squares = (block - mean).square_().sum(0)
        total = total.merge(Moments(len(block), mean.double().numpy(), squares.double().numpy()))
    return total
