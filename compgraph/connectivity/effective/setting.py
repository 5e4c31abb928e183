"""What is asked of an effective method, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compgraph.ablation.baselines import Baseline
from compgraph.models.network import Network
from compgraph.partition import Partition


@dataclass(frozen=True)
class Setting:
    """The question that a method answers with a graph.

    Attributes
    ----------
    net
        Transformer or chain.
    pairs
        `PromptPairs` or `ImagePairs`.
    partition
        The nodes.
    metric
        Name of the metric (`compgraph.metrics.get_metric`).
    baseline
        What replaces the value of an ablated node.
    split_qkv
        Whether queries, keys and values of attention are destinations of their own.
    batch_size
        Examples per pass; the method chooses where None. Scores do not depend on it.
    seed
        Of what the method draws.
    bootstrap
        Resamples of the examples from which intervals are made; 0 for none.
    recompute
        Whether gradient passes keep the streams between layers alone (`compgraph.connectivity.effective.gradients`).
    """

    net: Network
    pairs: Any
    partition: Partition
    metric: str
    baseline: Baseline
    split_qkv: bool = True
    batch_size: int | None = None
    seed: int = 0
    bootstrap: int = 0
    recompute: bool = False

    def about(self, method: str, **more: Any) -> dict[str, Any]:
        """Attributes of the graph: method, metric, baseline and what the method adds."""
        return {"method": method, "metric": self.metric, **self.baseline.about(), **more}
