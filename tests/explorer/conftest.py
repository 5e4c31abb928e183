"""Small recorded buffers, and a browser."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import compgraph as cg
from compgraph.data.images import ImagePairs
from tests.connectivity.effective.test_eap import chain, make_pairs
from tests.models.tiny import tiny_network

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A transformer, and buffers of it in several chunks."""
    folder = tmp_path_factory.mktemp("buffers")
    net, pairs = tiny_network("llama"), make_pairs(n=9, padded=True)
    sites = ["attn.*", "mlp.*"]
    cg.record_activations(net, pairs, folder / "b.json", sites=sites, dtype="float32", chunk_bytes=7 * 36 * 4)
    cg.record_attributions(net, pairs, folder / "a.json", sites=sites, chunk_bytes=7 * 36 * 4)
    buffers = {"activations": cg.open_buffer(folder / "b.json"), "attributions": cg.open_buffer(folder / "a.json")}
    assert buffers["activations"].n_chunks > 1
    return net, buffers


@pytest.fixture(scope="module")
def recorded_images(tmp_path_factory):
    """A CNN and its activations on a few images."""
    net = chain()
    shape = net.architecture.site("input").shape
    images = np.random.default_rng(0).normal(size=(6, *shape))
    pairs = ImagePairs(images, None, np.arange(6) % 2)
    manifest = tmp_path_factory.mktemp("images") / "b.json"
    cg.record_activations(net, pairs, manifest, dtype="float32")
    return net, cg.open_buffer(manifest)


@pytest.fixture(scope="module")
def browser():
    """A real Chromium, driven by Playwright, whose event loop ends with the module."""
    path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()
