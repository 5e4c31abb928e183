"""Top examples against a brute-force search through the buffer."""

from __future__ import annotations

import numpy as np
import pytest

import compgraph as cg
from compgraph.errors import DataError
from compgraph.explorer import examples
from compgraph.explorer.examples import top_examples
from compgraph.partition import DEAD


def brute(buffer, part, item):
    """Value of every node at the rows of one item, by the definition."""
    rows = np.flatnonzero(buffer.item == item)
    out = {}
    for site in part.sites:
        if site not in set(buffer.sites["site"]):
            continue
        units = buffer.read(site)[rows].astype(np.float64)
        for number in range(part.n_parts(site)):
            mine = units[:, part.labels[site] == number]
            plain = buffer.quantity == "attribution" or mine.shape[1] == 1
            node = part.node_names[part.node_slice(site).start + number]
            out[node] = mine.sum(1) if plain else np.sqrt((mine**2).mean(1))
    return out


@pytest.mark.parametrize("quantity", ["activations", "attributions"])
def test_examples_are_the_items_of_largest_value(recorded, quantity):
    net, buffers = recorded
    buffer, part = buffers[quantity], cg.Partition.heads(net)
    found = top_examples(buffer, part, count=3)
    items = np.unique(buffer.item)
    values = {int(item): brute(buffer, part, item) for item in items}
    assert found.n_items == len(items)
    for node, shown in found.nodes.items():
        peaks = {item: np.abs(value[node]).max() for item, value in values.items()}
        best = sorted(items.tolist(), key=lambda item: (-np.float32(peaks[item]), item))[:3]
        assert [one.item for one in shown] == best
        for one in shown:
            np.testing.assert_allclose(one.value, values[one.item][node], rtol=2e-5, atol=1e-7)
            assert abs(one.peak) == pytest.approx(np.abs(one.value).max())


def test_a_limit_on_values_looks_at_fewer_items(recorded, monkeypatch):
    net, buffers = recorded
    part = cg.Partition.heads(net)
    whole = top_examples(buffers["attributions"], part)
    rows = np.bincount(buffers["attributions"].item)
    kept = part.restrict([site for site in part.sites if site in set(buffers["attributions"].sites["site"])])
    monkeypatch.setattr(examples, "MOST_VALUES", int(rows[:2].sum()) * kept.n_nodes)
    some = top_examples(buffers["attributions"], part)
    assert some.n_items == 2 < whole.n_items
    assert {one.item for shown in some.nodes.values() for one in shown} <= {0, 1}


def test_images_say_where_the_strongest_unit_lies(recorded_images):
    net, buffer = recorded_images
    part = cg.Partition.channels(net)
    found = top_examples(buffer, part, count=1)
    site = next(site for site in part.sites if buffer.architecture.site(site).shape and site.startswith("conv"))
    _, height, width = buffer.architecture.site(site).shape
    name = part.node_names[part.node_slice(site).start]
    shown = found.nodes[name][0]
    units = buffer.read(site)[shown.item, part.labels[site] == 0].reshape(height, width)
    y, x = np.unravel_index(np.argmax(np.abs(units)), units.shape)
    assert shown.place == pytest.approx(((x + 0.5) / width, (y + 0.5) / height))


def test_dead_units_count_for_no_node(recorded):
    net, buffers = recorded
    part = cg.Partition.heads(net)
    site = part.sites[1]
    labels = {name: values.copy() for name, values in part.labels.items()}
    labels[site][labels[site] == 0] = DEAD
    names = {name: part.names[name] for name in labels}
    bare = cg.Partition(labels, names, "labels", empty={site: (part.names[site][0],)})
    shown = top_examples(buffers["activations"], bare)
    assert shown.nodes[bare.node_names[bare.node_slice(site).start]] == ()


def test_bad_input_says_what_is_missing(recorded):
    net, buffers = recorded
    part = cg.Partition.heads(net)
    with pytest.raises(DataError, match="at least 1, not 0"):
        top_examples(buffers["activations"], part, count=0)
    with pytest.raises(DataError, match="none of the partition's sites"):
        top_examples(buffers["activations"], part.restrict(["logits"]))
