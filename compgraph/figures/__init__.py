"""Figures: pure functions from a table or a graph to a matplotlib `Figure`.

Every module has `draw(...) -> Figure`, `data(...) -> DataFrame` (what is plotted) and `caption(...) -> str`
(what to look for, and what this run shows). `compgraph.figures.files` writes them; `compgraph.figures.style`
is the one look.
"""
