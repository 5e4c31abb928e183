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
    "CompgraphError": "compgraph.errors",
    "ComputationalGraph": "compgraph.graph",
    "ImagePairs": "compgraph.data.images",
    "NodeAttributions": "compgraph.attribution.memory",
    "Partition": "compgraph.partition",
    "PromptPairs": "compgraph.data.prompts",
    "ablate_nodes": "compgraph.ablation.run",
    "align_blocks": "compgraph.emergence.alignment",
    "attach": "compgraph.dictionaries",
    "block_ablation": "compgraph.evaluation.block_ablation",
    "circuit_tests": "compgraph.evaluation.circuit_tests",
    "class_ablation": "compgraph.evaluation.class_ablation",
    "combine_scores": "compgraph.circuits.ensemble",
    "communities_over_time": "compgraph.communities.over_time",
    "compare_graphs": "compgraph.statistics.compare",
    "compare_partitions": "compgraph.communities.agreement",
    "describe_rois": "compgraph.rois.describe",
    "effective_connectivity": "compgraph.connectivity.effective.attribution",
    "explore": "compgraph.explorer.page",
    "faithfulness": "compgraph.evaluation.faithfulness",
    "find_changes": "compgraph.emergence.changes",
    "find_communities": "compgraph.communities.find",
    "find_rois": "compgraph.rois.find",
    "fit_sbm": "compgraph.communities.sbm",
    "predict_edges": "compgraph.communities.blocks.predict",
    "sample_blocks": "compgraph.communities.blocks.sample",
    "functional_connectivity": "compgraph.connectivity.functional.connect",
    "functional_contrast": "compgraph.connectivity.functional.contrast",
    "granger_over_training": "compgraph.connectivity.effective.granger",
    "knock_in_out": "compgraph.evaluation.knock_out",
    "lead_lag": "compgraph.emergence.lags",
    "load_images": "compgraph.data.images",
    "load_network": "compgraph.models.loading",
    "load_task": "compgraph.data.tokenise",
    "load_tokenizer": "compgraph.models.loading",
    "make_baseline": "compgraph.ablation.baselines",
    "minimality": "compgraph.evaluation.minimality",
    "network_statistics": "compgraph.statistics.testing",
    "node_attributions": "compgraph.attribution.record",
    "node_scores": "compgraph.attribution.scores",
    "open_buffer": "compgraph.data.buffers",
    "random_circuits": "compgraph.evaluation.random_circuits",
    "record_activations": "compgraph.data.buffer_writer",
    "record_attributions": "compgraph.attribution.record",
    "resolution_sweep": "compgraph.communities.sweep",
    "roi_agreement": "compgraph.rois.checkpoints",
    "roi_stability": "compgraph.rois.stability",
    "read_eap_ig": "compgraph.exchange",
    "read_prune_scores": "compgraph.exchange",
    "run_graph": "compgraph.ablation.run",
    "select_circuit": "compgraph.circuits.select",
    "sparsify": "compgraph.circuits.sparsify",
    "stability": "compgraph.evaluation.stability",
    "structural_connectivity": "compgraph.connectivity.structural.dispatch",
    "task_separability": "compgraph.evaluation.separability",
    "track": "compgraph.emergence.tracking",
    "virtual_circuits": "compgraph.connectivity.structural.virtual_circuits",
    "write_eap_ig": "compgraph.exchange",
    "write_prune_scores": "compgraph.exchange",
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
