from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from compgraph.architecture import Site, transformer_architecture
from compgraph.data.buffer_layout import (
    ENCODINGS,
    chunk_rows,
    decode,
    estimate_bytes,
    select_rows,
    select_sites,
)
from compgraph.errors import DataError

GPT2 = transformer_architecture("gpt2", n_layers=2, n_heads=2, d_head=4, d_model=8, d_mlp=32, vocabulary=100)


def names(patterns) -> list[str]:
    return [site.name for site in select_sites(GPT2, patterns)]


def test_sites_are_chosen_by_pattern_in_order_of_computation():
    assert names(["mlp.*", "attn.1"]) == ["mlp.0", "attn.1", "mlp.1"]
    assert names("*") == ["embed", "attn.0", "mlp.0", "resid.0", "attn.1", "mlp.1", "resid.1"]
    assert names(["logits", "embed"]) == ["embed", "logits"]
    assert names(["attn.*", "conv.*", "linear.*"]) == ["attn.0", "attn.1"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["mpl.0"], r"no site matches 'mpl\.0'; did you mean mlp\.0"),
        (["attn.9"], r"no site matches 'attn\.9'; did you mean attn\.[01]"),
        (["attn.9*"], "no site matches"),
        (["conv.0"], "no site matches"),
        (["zzz"], "sites are embed, attn.0"),
        (["conv.*"], "select no site"),
        ([], "select no site"),
    ],
)
def test_unknown_sites(patterns, message):
    with pytest.raises(DataError, match=message):
        names(patterns)


def prompts(mask) -> SimpleNamespace:
    mask = np.array(mask, bool)
    last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], 1)
    ids = np.array([f"p{i}" for i in range(len(mask))])
    return SimpleNamespace(clean=np.zeros(mask.shape, int), mask=mask, positions=last - 1, ids=ids, n=len(mask))


MASK = [[0, 1, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ("all", [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]),
        ("last", [(0, 3), (1, 1)]),
        ("scored", [(0, 2), (1, 0)]),
        ([0], [(0, 1), (1, 0)]),
        ([-1, 0, 0], [(0, 1), (0, 3), (1, 0), (1, 1)]),
    ],
)
def test_rows(positions, expected):
    item, position = select_rows(prompts(MASK), positions)
    assert list(zip(item.tolist(), position.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("mask", "positions", "message"),
    [
        (MASK, [2], "item 'p1' has 2 tokens, so none of number 2"),
        (MASK, [-3], "item 'p1' has 2 tokens, so none of number -3"),
        (MASK, [], "empty list"),
        (MASK, "first", "'first' is not 'all', 'last', 'scored'"),
        ([[1, 1], [0, 0]], "all", "item 'p1' has no token"),
        (np.zeros((0, 4)), "all", "dataset is empty"),
    ],
)
def test_rows_that_do_not_exist(mask, positions, message):
    with pytest.raises(DataError, match=message):
        select_rows(prompts(mask), positions)


def test_images_have_one_row_each():
    images = SimpleNamespace(clean=np.zeros((3, 1, 2, 2)), mask=None, positions=None, n=3)
    for word in ("all", "last", "scored"):
        item, position = select_rows(images, word)
        assert item.tolist() == [0, 1, 2] and not position.any()
    with pytest.raises(DataError, match="need tokens"):
        select_rows(images, [0])


def test_chunks_are_neither_tiny_nor_huge_nor_wasteful():
    sites = [Site("a", "mlp", 0, 1024), Site("b", "mlp", 1, 256)]
    assert chunk_rows(sites, 10, "float32") == 10
    step = chunk_rows(sites, 1_000_000, "float16")
    assert 8 << 20 <= step * 1024 * 2 <= 16 << 20
    assert chunk_rows(sites, 8193, "float16") == 4097  # 8192 fit, and the second chunk is kept at full size
    many = [Site(str(i), "mlp", i, 1024) for i in range(100)]
    assert chunk_rows(many, 1_000_000, "float32") * 1024 * 4 * 100 <= 256 << 20
    assert chunk_rows([Site("a", "mlp", 0, 10**9)], 5, "float32") == 1


def test_decoding_is_exact():
    import torch

    values = torch.randn(100) * 1e10
    bits = values.to(torch.bfloat16)
    decoded = decode(bits.view(torch.int16).numpy().view(np.uint16), "bfloat16")
    np.testing.assert_array_equal(decoded, bits.float().numpy())
    assert np.isnan(decode(np.array([ENCODINGS["bfloat16"].fill], np.uint16), "bfloat16")).all()
    half = np.array([1.5, 6e-8], np.float16)
    np.testing.assert_array_equal(decode(half, "float16"), half.astype(np.float64))


def test_estimate():
    size = estimate_bytes(GPT2, 1000, ["mlp.*"], "float32")
    assert 1000 * 64 * 4 < size < 1000 * 64 * 4 * 1.2
    with pytest.raises(DataError, match="dtype 'int8' of a buffer is not one of float32, float16"):
        estimate_bytes(GPT2, 1000, ["mlp.*"], "int8")
