"""Regions of interest: parts of a site's units that act alike, found from their activations."""

from compgraph.rois.find import find_rois

__all__ = ["find_rois"]
