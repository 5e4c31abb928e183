"""Templated tasks: clean prompts with an answer, and counterfactuals of the same length with another one.

Every module has a dataclass ``Options`` and three functions that take its fields as keywords: ``generate(n,
rng)`` makes items, ``capacity()`` counts the distinct ones, ``vocabulary()`` lists texts that hold every word
used.
"""
