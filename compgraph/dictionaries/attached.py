"""A transformer whose units at some sites are the features of dictionaries, and their errors.

The network computes the same function: a site's activation x is taken apart into features and error, and put
together again. In between the features and the error can be captured, edited and differentiated like the units of
any other site: units are [.., n_features + width], the error's `width` coordinates last, and what the site adds to
the stream is linear in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from compgraph.dictionaries.dictionary import Dictionary
from compgraph.errors import ModelError
from compgraph.models.spec import NormWeights
from compgraph.models.transformer import Transformer
from compgraph.provenance import json_digest

Decoder = tuple[Tensor, Tensor | None, NormWeights | None]


def attach(net: Transformer, dictionaries: Mapping[str, Dictionary]) -> FeatureTransformer:
    """The network with the units of some sites replaced by features and error.

    Parameters
    ----------
    net
        The network; it stays as it is, and its weights are shared.
    dictionaries
        Attention or MLP site -> dictionary. Cast to the network's dtype and device.

    Raises
    ------
    ModelError
        A site without units of its own, or a dictionary of another site, model or width.
    """
    if not isinstance(net, Transformer):
        raise ModelError(f"dictionaries serve transformers; this is a {net.kind} network")
    if isinstance(net, FeatureTransformer):
        raise ModelError(f"the network has dictionaries at {', '.join(net.dictionaries)} already; attach all at once")
    if not dictionaries:
        raise ModelError("no dictionaries to attach; give at least one site")
    for site, one in dictionaries.items():
        check_fit(net, site, one)
    return FeatureTransformer(net, dictionaries)


def width_of(net: Transformer, site: str, space: str) -> int:
    """Coordinates of a site in a space.

    A view of the residual stream has coordinates, but writes nothing: a dictionary can describe it and cannot be
    attached.

    Raises
    ------
    ModelError
        The site is not an attention site, an MLP or a view of the stream, or a view in space `write`.
    """
    known = {s.name: s for s in net.architecture.sites if s.kind in ("attn", "mlp", "resid")}
    if site not in known:
        raise ModelError(f"no dictionary can be at site {site!r}; it can be at {', '.join(known)}")
    if known[site].n_features:
        raise ModelError(f"{site} has a dictionary already; use the network without it (`.inner`)")
    if space == "write" and known[site].kind == "resid":
        raise ModelError(f"{site} is a view of the stream and writes nothing; its dictionaries are in space 'hidden'")
    return known[site].n_units if space == "hidden" else net.spec.d_model


def check_fit(net: Transformer, site: str, one: Dictionary) -> None:
    """Refuse a dictionary that cannot be attached at this site (see `attach`)."""
    if any(view.name == site for view in net.architecture.sites if view.kind == "resid"):
        raise ModelError(
            f"{site} is a view of the stream, the sum of what earlier nodes wrote: its features are no nodes of the "
            "graph; a dictionary of it can be trained and evaluated, and attached ones are at attention and MLP sites"
        )
    check_origin(net, site, one)
    _check_post_norm(net, site, one)


def check_origin(net: Transformer, site: str, one: Dictionary) -> None:
    """Refuse a dictionary of another site, model or width.

    Raises
    ------
    ModelError
        Naming both.
    """
    width = width_of(net, site, one.space)
    if one.width != width:
        raise ModelError(f"{site}: its {one.space} space has width {width}, but the dictionary's is {one.width}")
    if one.site is not None and one.site != site:
        raise ModelError(f"{site}: the dictionary was fitted at {one.site!r}; attach it there")
    if one.model is not None and one.model != net.digest:
        raise ModelError(
            f"{site}: the dictionary was fitted on the model {one.model}, and this is {net.digest or 'another'}"
        )


def _check_post_norm(net: Transformer, site: str, one: Dictionary) -> None:
    if one.space == "hidden" and one.bias is not None and net.decoder(site)[2] is not None:
        raise ModelError(
            f"{site}: behind a post-norm the decoder's bias of a dictionary in space 'hidden' depends on all features "
            "at once; use one without a bias (pca: centred=False), or one in space 'write'"
        )


class FeatureTransformer(Transformer):
    """A transformer with dictionaries; made by `attach`.

    Attributes
    ----------
    inner
        The network without them.
    dictionaries
        Site -> its dictionary.
    digest
        Of the network and the dictionaries.
    """

    def __init__(self, net: Transformer, dictionaries: Mapping[str, Dictionary]) -> None:
        found = {site: one.to(dtype=net.dtype, device=net.device) for site, one in dictionaries.items()}
        about = {"network": net.digest, "dictionaries": {site: one.digest for site, one in found.items()}}
        super().__init__(net.spec, net.weights, json_digest(about), lambda: net.tokenizer)
        self.inner, self.dictionaries = net, found
        sites = tuple(
            replace(site, n_units=found[site.name].n_units, n_features=found[site.name].n_features)
            if site.name in found
            else site
            for site in net.architecture.sites
        )
        self.architecture = replace(net.architecture, sites=sites)
        self._decoders = {site: self._decoder(site) for site in found}

    def represent(self, site: str, units: Tensor) -> Tensor:
        """Features and error [.., n_units] from the coordinates that the site computes."""
        if site not in self.dictionaries:
            return units
        return self.dictionaries[site].units(self.described(site, units))

    def described(self, site: str, units: Tensor) -> Tensor:
        """What the dictionary of a site describes: its units, or what they write [.., width]."""
        return units if self.dictionaries[site].space == "hidden" else self.inner.write(site, units)

    def decoder(self, site: str) -> Decoder:
        """Rows of the features and of the error's coordinates; a post-norm remains in space `hidden` only."""
        return self._decoders[site] if site in self._decoders else super().decoder(site)

    def _decoder(self, site: str) -> Decoder:
        one = self.dictionaries[site]
        rows, bias, post = self.inner.decoder(site)
        if one.space == "write":
            error = torch.eye(one.width, dtype=self.dtype, device=self.device)
            return one.rows if one.complete else torch.cat([one.rows, error]), one.bias, None
        written = one.rows @ rows
        if one.bias is not None:
            bias = one.bias @ rows if bias is None else bias + one.bias @ rows
        return written if one.complete else torch.cat([written, rows]), bias, post
