"""Scores of other tools as graphs, and graphs as their files."""

from compgraph.exchange.autocircuit import read_prune_scores, write_prune_scores
from compgraph.exchange.eap_ig import read_eap_ig, write_eap_ig

__all__ = ["read_eap_ig", "read_prune_scores", "write_eap_ig", "write_prune_scores"]
