"""Attributions: what each unit contributes to a metric, per example and position.

`probe` is one differentiable pass over a batch, `methods` what is made of it, `record` the library calls (in memory,
or into a buffer like that of activations), `scores` the sums over the units of nodes.
"""
