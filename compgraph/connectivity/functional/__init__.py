"""Functional connectivity: which parts vary together over the data.

`signals` turns recorded activations into one signal per node, `streaming` accumulates their moments in one
pass, and each method is one short file that makes edges of them.
"""

from compgraph.connectivity.functional.connect import functional_connectivity

__all__ = ["functional_connectivity"]
