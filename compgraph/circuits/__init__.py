"""From scores to circuits: which edges of a scored graph to keep, one function per rule.

`select_circuit` is the one entry; each rule is registered in `compgraph.catalogue.SELECTIONS`. `combine_scores` joins
several score sets into one before a selection, `summarise_replicates` bootstrap replicates. `sparsify` thins out graphs
of any kind.
"""

from compgraph.circuits.ensemble import combine_scores
from compgraph.circuits.select import select_circuit
from compgraph.circuits.sparsify import sparsify
from compgraph.circuits.stable import summarise_replicates

__all__ = ["combine_scores", "select_circuit", "sparsify", "summarise_replicates"]
