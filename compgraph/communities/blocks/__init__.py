"""Stochastic block models: what they see, what graph-tool makes of it, and what is asked of a fit."""
