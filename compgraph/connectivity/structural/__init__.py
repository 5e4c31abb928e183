"""Structural connectivity: from the weights alone. One method a file."""

from compgraph.connectivity.structural.dispatch import structural_connectivity

__all__ = ["structural_connectivity"]
