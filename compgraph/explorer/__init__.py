"""Interactive pages: a graph, what its nodes do, and what is known about its circuits, in one HTML file."""

from compgraph.explorer.page import explore, write_page
from compgraph.explorer.views import Curve, Grouping, Page, View

__all__ = ["Curve", "Grouping", "Page", "View", "explore", "write_page"]
