"""Whether the writes of a transformer's sites can be split among nodes, and its heads are whole."""

from __future__ import annotations

from compgraph.errors import GraphError, ModelError
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition
from compgraph.patterns import splits_heads


def check_writes(net: Transformer) -> None:
    """Refuse what cannot be split into the writes of nodes.

    Raises
    ------
    ModelError
        A site has an output bias in front of a post-norm: after the norm it depends on all parts at once.
    """
    for site in net.architecture.node_sites:
        if site.kind in ("attn", "mlp"):
            _, bias, post = net.decoder(site.name)
            if bias is not None and post is not None:
                raise ModelError(f"{site.name} has an output bias in front of a post-norm; it belongs to no node")


def check_heads(net: Transformer, partition: Partition) -> None:
    """Refuse parts that hold only some units of a head, where patterns cannot be nodes.

    Raises
    ------
    GraphError
        Naming the site.
    """
    for site in net.architecture.node_sites:
        if site.kind == "attn" and splits_heads(site, partition.labels[site.name]):
            raise GraphError(
                f"partition: at {site.name} a head is split between parts; here the parts of attention sites must "
                "consist of whole heads"
            )
