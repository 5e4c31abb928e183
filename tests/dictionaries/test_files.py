"""Saved dictionaries: the same numbers back, or an error."""

from __future__ import annotations

import json

import pytest

from compgraph import store
from compgraph.dictionaries import identity, load_dictionary, save_dictionary, sparse_autoencoder
from compgraph.errors import StoreError
from compgraph.manifests import seal_of
from compgraph.provenance import Provenance
from tests.dictionaries.test_dictionary import tensors


@pytest.mark.parametrize("activation", ["relu", "topk", "jumprelu"])
def test_what_was_saved_comes_back(tmp_path, activation):
    encoder, rows, offset, bias, x = tensors()
    options = {"topk": {"k": 3}, "jumprelu": {"threshold": offset.abs()}}.get(activation, {})
    one = sparse_autoencoder(
        "write", encoder, rows, offset, bias, activation=activation, site="mlp.0", model="sha256:1", **options
    )
    result = save_dictionary(one, tmp_path / "sae.json")
    assert result.path.name == "sae.safetensors" and result.provenance.inputs == {"model": "sha256:1"}
    back = load_dictionary(tmp_path / "sae.json")
    assert back.digest == one.digest and back.facts == one.facts
    assert back.units(x).equal(one.units(x))


def test_tensors_that_share_memory_and_views(tmp_path):
    save_dictionary(identity(3), tmp_path / "i.json")
    assert load_dictionary(tmp_path / "i.json").complete
    _, rows, *_ = tensors()
    one = sparse_autoencoder("write", rows.T, rows)
    save_dictionary(one, tmp_path / "tied.json", Provenance("mine"))
    assert load_dictionary(tmp_path / "tied.json").digest == one.digest
    assert store.open(tmp_path / "tied.json").provenance.stage == "mine"


def write_sealed(path, page):
    """A manifest that says of itself what it says."""
    said = {name: value for name, value in page.items() if name != "seal"}
    path.write_text(json.dumps(said | {"seal": seal_of(said)}))


def test_damage_and_foreign_files_are_refused(tmp_path):
    encoder, rows, *_ = tensors()
    result = save_dictionary(sparse_autoencoder("write", encoder, rows), tmp_path / "a.json")
    with pytest.raises(StoreError, match=r"there is no result .*b\.json"):
        load_dictionary(tmp_path / "b.json")
    page = json.loads((tmp_path / "a.json").read_text())
    page["summary"]["dictionary"]["space"] = "hidden"
    (tmp_path / "a.json").write_text(json.dumps(page))
    with pytest.raises(StoreError, match="has been edited"):
        load_dictionary(tmp_path / "a.json")
    write_sealed(tmp_path / "a.json", page)
    with pytest.raises(StoreError, match="describes another dictionary"):
        load_dictionary(tmp_path / "a.json")
    page["summary"]["dictionary"]["activation"] = "gelu"
    write_sealed(tmp_path / "a.json", page)
    with pytest.raises(StoreError, match=r"does not hold a whole dictionary: .*'gelu'"):
        load_dictionary(tmp_path / "a.json")
    content = bytearray(result.path.read_bytes())
    content[-1] ^= 1
    result.path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        load_dictionary(tmp_path / "a.json")
    page["kind"] = "graph"
    write_sealed(tmp_path / "a.json", page)
    with pytest.raises(StoreError, match="of kind 'graph'; expected 'dictionary'"):
        load_dictionary(tmp_path / "a.json")
