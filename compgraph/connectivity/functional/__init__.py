"""Functional connectivity: which parts vary together over the data.

`recordings` reads buffers as one, `setting` prepares one signal per node (`signals`, `confounds`, `ranks`), `moments`
gathers their second moments in one pass (`streaming`, `lag_sums`; `parts` does so in parts), `significance` tests them,
and each method is one short file that makes edges of them (`pairs`).
"""

from compgraph.connectivity.functional.connect import functional_connectivity
from compgraph.connectivity.functional.parts import Part, gather_part, merge_parts, unit_scale
from compgraph.connectivity.functional.stretches import divided

__all__ = ["Part", "divided", "functional_connectivity", "gather_part", "merge_parts", "unit_scale"]
