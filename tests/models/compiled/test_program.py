"""Subspaces and programs as descriptions."""

from __future__ import annotations

import numpy as np

from compgraph.models.compiled.program import Head, Layer, Program, Space


def test_space_places_blocks():
    space = Space(a=2, b=3)
    assert space.width == 5
    block = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(space.read(b=block), np.vstack([np.zeros((2, 2)), block]))
    np.testing.assert_array_equal(space.write(b=block.T), space.read(b=block).T)
    both = space.read(a=np.ones((2, 2)), b=block)
    np.testing.assert_array_equal(both, np.vstack([np.ones((2, 2)), block]))


def test_roles_name_nodes():
    one = np.zeros((1, 1))
    heads = [[Head(one, one, one, one)], [Head(one, one, one, one, "first"), Head(one, one, one, one, "second")]]
    program = Program(Space(a=1), one, one, one, [Layer(each) for each in heads])
    assert program.nodes() == {
        "embed": "embed",
        "logits": "logits",
        "mlp.0": "mlp.0",
        "mlp.1": "mlp.1",
        "first": "attn.1/head.0",
        "second": "attn.1/head.1",
    }
