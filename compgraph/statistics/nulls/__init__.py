"""Null models: graphs on the same nodes, arranged by chance.

A null is a function (view, seed) -> sampler with an entry in `catalogue.NULLS`; the sampler makes one graph from a
random generator, whose samples are independent of one another given the seed. Each says what it keeps; a measure
that this determines has no spread under the null, and the table says so. A null that cannot serve a graph raises
`UndefinedError` with the reason.
"""
