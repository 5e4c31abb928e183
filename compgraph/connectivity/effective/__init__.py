"""Effective connectivity: which parts cause what (design, sections 4 and 9).

`attribution` walks over the data, `streams` (transformers) and `chains` (CNN, MLP) turn one gradient pass into
scores of all edges, and each method is one short file that says which gradients are averaged.
"""

from compgraph.connectivity.effective.attribution import effective_connectivity

__all__ = ["effective_connectivity"]
