"""What a network is made of, without its weights: sites, and which site reads which.

Everything that needs only the shape of a network (partitions, architectural graphs, plans, validation) works on
an `Architecture`, so that it needs neither torch nor the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SiteKind = Literal["embed", "attn", "pattern", "mlp", "resid", "input", "conv", "linear", "logits"]


@dataclass(frozen=True)
class Site:
    """One place in a network where units are read and written (design, section 2).

    Parameters
    ----------
    name
        `embed`, `attn.3`, `mlp.3`, `resid.3`, `input`, `conv.1`, `linear.0` or `logits`.
    kind
        The name's first part.
    level
        Position in the order of computation; sites that cannot read each other may share a level
        (parallel attention and MLP).
    n_units
        Number of scalar coordinates.
    n_heads
        Attention sites: number of query heads; units are ordered (head, coordinate). Else 0.
    shape
        Image-like sites: (channels, height, width); units are flattened in this order. Else ().
    node
        False for a mere view of the residual stream (`resid.3`): it can be recorded, but is not
        a node of the causal graph.
    n_features
        Sites with a dictionary: how many of the units are its features, which come first; the rest, if there
        are any, are the coordinates of its error. Else 0.
    """

    name: str
    kind: SiteKind
    level: int
    n_units: int
    n_heads: int = 0
    shape: tuple[int, ...] = ()
    node: bool = True
    n_features: int = 0

    @property
    def has_error(self) -> bool:
        """Whether a dictionary of this site leaves an error."""
        return 0 < self.n_features < self.n_units


@dataclass(frozen=True)
class Architecture:
    """The sites of a network and the reading relation between them.

    Parameters
    ----------
    kind
        `transformer` (a residual stream that sites read and add to) or `sequential` (a chain).
    family
        `gpt2`, `llama`, …, or `sequential`.
    sites
        In the order of computation.
    reads
        Destination site -> the source sites whose writes it reads, in the order of writing.
    channels
        Destination site -> the ways in which it reads: ("q", "k", "v") for attention, else ("",).
    """

    kind: Literal["transformer", "sequential"]
    family: str
    sites: tuple[Site, ...]
    reads: Mapping[str, tuple[str, ...]]
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def architecture(self) -> Architecture:
        """Itself, so that functions accept a network or an architecture alike."""
        return self

    @property
    def node_sites(self) -> tuple[Site, ...]:
        """The sites that are nodes of the causal graph, in order."""
        return tuple(site for site in self.sites if site.node)

    def site(self, name: str) -> Site:
        """The site of that name (KeyError lists the names there are)."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(f"no site {name!r}; sites are {', '.join(s.name for s in self.sites)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; `from_dict` inverts it."""
        return {
            "kind": self.kind,
            "family": self.family,
            "sites": [_site_dict(site) for site in self.sites],
            "reads": {dest: list(sources) for dest, sources in self.reads.items()},
            "channels": {dest: list(names) for dest, names in self.channels.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        """Rebuild from `to_dict`."""
        return cls(
            kind=data["kind"],
            family=data["family"],
            sites=tuple(Site(**(site | {"shape": tuple(site["shape"])})) for site in data["sites"]),
            reads={dest: tuple(sources) for dest, sources in data["reads"].items()},
            channels={dest: tuple(names) for dest, names in data["channels"].items()},
        )


def _site_dict(site: Site) -> dict[str, Any]:
    """JSON-able form; sites without a dictionary say nothing of features."""
    data = asdict(site) | {"shape": list(site.shape)}
    return data if site.n_features else {key: value for key, value in data.items() if key != "n_features"}


def transformer_architecture(
    family: str,
    *,
    n_layers: int,
    n_heads: int,
    d_head: int,
    d_model: int,
    d_mlp: int,
    vocabulary: int,
    parallel: bool = False,
    mlp: bool = True,
) -> Architecture:
    """Architecture of a decoder-only transformer.

    A sequential block's MLP reads the attention of its own layer; a parallel block's (GPT-NeoX) does not.
    """
    sites = [Site("embed", "embed", 0, d_model)]
    reads: dict[str, tuple[str, ...]] = {}
    channels: dict[str, tuple[str, ...]] = {}
    written: list[str] = ["embed"]
    level = 0
    for layer in range(n_layers):
        attn, mlp_name = f"attn.{layer}", f"mlp.{layer}"
        level += 1
        sites.append(Site(attn, "attn", level, n_heads * d_head, n_heads=n_heads))
        reads[attn], channels[attn] = tuple(written), ("q", "k", "v")
        before = tuple(written)
        written.append(attn)
        if mlp:
            level += 0 if parallel else 1
            sites.append(Site(mlp_name, "mlp", level, d_mlp))
            reads[mlp_name], channels[mlp_name] = (before if parallel else tuple(written)), ("",)
            written.append(mlp_name)
        sites.append(Site(f"resid.{layer}", "resid", level, d_model, node=False))
    sites.append(Site("logits", "logits", level + 1, vocabulary))
    reads["logits"], channels["logits"] = tuple(written), ("",)
    return Architecture("transformer", family, tuple(sites), reads, channels)
