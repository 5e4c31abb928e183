"""Dictionaries made from given numbers: the identity, and sparse autoencoders."""

from __future__ import annotations

import torch
from torch import Tensor

from compgraph.dictionaries.dictionary import Dictionary


def identity(
    width: int, space: str = "hidden", *, dtype: torch.dtype = torch.float32, site: str | None = None
) -> Dictionary:
    """Every coordinate is a feature: in space `hidden` the site's own units."""
    eye = torch.eye(width, dtype=dtype)
    return Dictionary(space, eye, eye, activation="linear", complete=True, kind="identity", site=site)


def sparse_autoencoder(
    space: str,
    encoder: Tensor,
    rows: Tensor,
    encoder_bias: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    activation: str = "relu",
    k: int | None = None,
    threshold: Tensor | None = None,
    subtract_bias: bool = False,
    site: str | None = None,
    model: str | None = None,
) -> Dictionary:
    """A sparse autoencoder from its tensors (see `Dictionary`).

    Parameters
    ----------
    subtract_bias
        Whether the encoder reads x - bias rather than x. It is folded into the encoder's bias.
    site, model
        Where it was fitted; see `Dictionary`.

    Raises
    ------
    ModelError
        As `Dictionary`.
    """
    made = Dictionary(
        space, encoder, rows, encoder_bias, bias, activation, k, threshold, site=site, model=model
    )  # checks the shapes before they are used
    if not subtract_bias or bias is None:
        return made
    shift = -bias @ encoder
    folded = shift if encoder_bias is None else encoder_bias + shift
    return Dictionary(space, encoder, rows, folded, bias, activation, k, threshold, site=site, model=model)


def gated_autoencoder(
    space: str,
    encoder: Tensor,
    rows: Tensor,
    gate_bias: Tensor,
    magnitude_bias: Tensor,
    log_scale: Tensor,
    bias: Tensor | None = None,
    *,
    subtract_bias: bool = False,
    site: str | None = None,
    model: str | None = None,
) -> Dictionary:
    """A gated sparse autoencoder with tied encoders (Rajamanoharan et al. 2024, arXiv 2404.16014).

    A feature is relu(x encoder exp(log_scale) + magnitude_bias) where x encoder + gate_bias > 0. The gate is open
    where the magnitude exceeds magnitude_bias - gate_bias exp(log_scale), so that it is a jumprelu.

    Parameters
    ----------
    gate_bias, magnitude_bias, log_scale
        [n_features] each.
    encoder, rows, bias, subtract_bias, site, model
        As for `sparse_autoencoder`.
    """
    scale = log_scale.exp()
    return sparse_autoencoder(
        space,
        encoder * scale,
        rows,
        magnitude_bias,
        bias,
        activation="jumprelu",
        threshold=magnitude_bias - gate_bias * scale,
        subtract_bias=subtract_bias,
        site=site,
        model=model,
    )
