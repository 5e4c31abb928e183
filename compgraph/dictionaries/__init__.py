"""Dictionaries: a site's activation as features times rows of a decoder, plus an error.

from compgraph.dictionaries import attach, identity, load_dictionary, pca, sparse_autoencoder
features = attach(net, {"mlp.3": sparse_autoencoder("write", encoder, rows, ...)})
graph = cg.effective_connectivity(features, pairs, cg.Partition.units(features))
"""

from compgraph.dictionaries.attached import FeatureTransformer, attach
from compgraph.dictionaries.components import ica, nmf
from compgraph.dictionaries.convert import convert
from compgraph.dictionaries.dictionary import ACTIVATIONS, SPACES, Dictionary
from compgraph.dictionaries.files import load_dictionaries, load_dictionary, save_dictionary
from compgraph.dictionaries.fit import fit_dictionary
from compgraph.dictionaries.kinds import gated_autoencoder, identity, sparse_autoencoder
from compgraph.dictionaries.pca import pca
from compgraph.dictionaries.published import from_published, read_published
from compgraph.dictionaries.quality import measure_fit, measure_splice
from compgraph.dictionaries.rows import SiteRows
from compgraph.dictionaries.sae import SaeSettings, train_sae
from compgraph.dictionaries.transcoder import Transcoder

__all__ = [
    "ACTIVATIONS",
    "SPACES",
    "Dictionary",
    "FeatureTransformer",
    "SaeSettings",
    "SiteRows",
    "Transcoder",
    "attach",
    "convert",
    "fit_dictionary",
    "from_published",
    "gated_autoencoder",
    "ica",
    "identity",
    "load_dictionaries",
    "load_dictionary",
    "measure_fit",
    "measure_splice",
    "nmf",
    "pca",
    "read_published",
    "save_dictionary",
    "sparse_autoencoder",
    "train_sae",
]
