"""Whether the writes of a transformer's sites can be told apart by the parts of a partition."""

from __future__ import annotations

from compgraph.errors import GraphError, ModelError
from compgraph.models.transformer import Transformer
from compgraph.partition import Partition


def check_writes(net: Transformer, partition: Partition) -> None:
    """Refuse what cannot be split into the writes of nodes.

    Raises
    ------
    GraphError
        A part holds only some units of a head: the head's pattern belongs to the head as a whole.
    ModelError
        A site has an output bias in front of a post-norm: after the norm it depends on all parts at once.
    """
    for site in net.architecture.node_sites:
        if site.kind in ("attn", "mlp"):
            _, bias, post = net.decoder(site.name)
            if bias is not None and post is not None:
                raise ModelError(
                    f"{site.name} has an output bias in front of a post-norm; it belongs to no node"
                )
        if site.kind == "attn":
            labels = partition.labels[site.name].reshape(site.n_heads, -1)
            crossed = (labels != labels[:, :1]).any(1)
            if crossed.any():
                raise GraphError(
                    f"partition: at {site.name} head {int(crossed.argmax())} is split between parts; parts of "
                    "attention sites must consist of whole heads"
                )
