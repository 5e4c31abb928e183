"""compgraph: neural networks as computational graphs.

Structural, functional and effective connectivity; node and edge ablation; communities and block models. Names
below are imported when first used, so that `import compgraph` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "ActivationBuffer": "compgraph.data.buffers",
    "Architecture": "compgraph.architecture",
    "ComputationalGraph": "compgraph.graph",
    "CompgraphError": "compgraph.errors",
    "ImagePairs": "compgraph.data.images",
    "NodeAttributions": "compgraph.attribution.memory",
    "Partition": "compgraph.partition",
    "PromptPairs": "compgraph.data.prompts",
    "ablate_nodes": "compgraph.ablation.run",
    "combine_scores": "compgraph.circuits.ensemble",
    "effective_connectivity": "compgraph.connectivity.effective.attribution",
    "faithfulness": "compgraph.evaluation.faithfulness",
    "find_communities": "compgraph.communities.find",
    "find_rois": "compgraph.rois.find",
    "fit_sbm": "compgraph.communities.sbm",
    "functional_connectivity": "compgraph.connectivity.functional.connect",
    "load_images": "compgraph.data.images",
    "load_network": "compgraph.models.loading",
    "load_task": "compgraph.data.tokenise",
    "load_tokenizer": "compgraph.models.loading",
    "network_statistics": "compgraph.statistics.testing",
    "node_attributions": "compgraph.attribution.record",
    "node_scores": "compgraph.attribution.scores",
    "open_buffer": "compgraph.data.buffers",
    "record_activations": "compgraph.data.buffer_writer",
    "record_attributions": "compgraph.attribution.record",
    "run_graph": "compgraph.ablation.run",
    "select_circuit": "compgraph.circuits.select",
    "structural_connectivity": "compgraph.connectivity.structural.dispatch",
}
"""Public name -> module that holds it."""

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'compgraph' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
