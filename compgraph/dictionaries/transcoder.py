"""Transcoders: dictionaries whose features are read from one place and written to another."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from compgraph.dictionaries.dictionary import Dictionary


@dataclass(frozen=True, eq=False)
class Transcoder:
    """Features of what an MLP reads that reconstruct what it writes (Dunefsky et al. 2024, arXiv 2406.11944).

    It can be read and run. It cannot be attached: the engine's features are those of what a site computes, and these
    would take the place of the site.

    Attributes
    ----------
    parts
        Its encoder (of the MLP's normalised input) and decoder (of its output).
    skip
        [width, width]; `x @ skip` is added to the output; None: nothing is.
    site
        The MLP.
    """

    parts: Dictionary
    skip: Tensor | None = None
    site: str | None = None

    def encode(self, x: Tensor) -> Tensor:
        """Features [.., n_features] of the MLP's input x [.., width]."""
        return self.parts.encode(x)

    def predict(self, x: Tensor) -> Tensor:
        """The MLP's output [.., width], as far as the features and the skip connection tell it, of its input."""
        out = self.parts.decode(self.encode(x))
        return out if self.skip is None else out + x @ self.skip
