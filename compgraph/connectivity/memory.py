"""Moved to `compgraph.memory`."""

from compgraph.memory import available_memory, peak_memory, resident_memory

__all__ = ["available_memory", "peak_memory", "resident_memory"]
