"""Graphs of more edges than fit into memory: scores come in blocks, the strongest stay, all go to a file on request."""
