"""Dictionaries: a site's activation as features times rows of a decoder, plus an error.

from compgraph.dictionaries import attach, identity, load_dictionary, pca, sparse_autoencoder
features = attach(net, {"mlp.3": sparse_autoencoder("write", encoder, rows, ...)})
graph = cg.effective_connectivity(features, pairs, cg.Partition.units(features))
"""

from compgraph.dictionaries.attached import FeatureTransformer, attach
from compgraph.dictionaries.dictionary import ACTIVATIONS, SPACES, Dictionary
from compgraph.dictionaries.files import load_dictionary, save_dictionary
from compgraph.dictionaries.kinds import gated_autoencoder, identity, sparse_autoencoder
from compgraph.dictionaries.pca import pca

__all__ = [
    "ACTIVATIONS",
    "SPACES",
    "Dictionary",
    "FeatureTransformer",
    "attach",
    "gated_autoencoder",
    "identity",
    "load_dictionary",
    "pca",
    "save_dictionary",
    "sparse_autoencoder",
]
