"""Measures of weighted graphs. Adding one: a function in a module here and an entry in `catalogue.STATISTICS`.

A measure is a function (view, seed) -> float, marked with the kinds of graph on which it means nothing and
with the reason. It works on |w| unless it says otherwise, and raises `UndefinedError` with the reason where a
graph gives it nothing to measure.

Measures of directed graphs count only what the architecture allows: on a layered graph most pairs can have no
edge, and reciprocity, directed clustering or eigenvector centrality would measure that alone.
"""
