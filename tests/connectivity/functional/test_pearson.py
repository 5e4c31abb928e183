"""Pearson graphs: against numpy, whatever the chunks, and what is refused or left out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from compgraph.connectivity.functional import functional_connectivity, memory
from compgraph.errors import ConfigError, DataError, GraphError
from compgraph.partition import Partition

from .recordings import Memory


def activations(rows: int = 300, dtype: type = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(rows, 4))
    sizes = {"mlp.0": 12, "mlp.1": 9}
    return {
        site: (factors @ rng.normal(size=(4, n)) + rng.normal(size=(rows, n)) + 30 * rng.normal(size=n)).astype(dtype)
        for site, n in sizes.items()
    }


def units(data: dict[str, np.ndarray]) -> Partition:
    return Partition.from_labels({s: np.arange(x.shape[1]) for s, x in data.items()}, prefix="neuron")


def numpy_signals(data: dict[str, np.ndarray], part: Partition) -> np.ndarray:
    """Means of standardised units, the long way."""
    columns = []
    for site, x in data.items():
        wide = x.astype(np.float64)
        z = (wide - wide.mean(axis=0)) / wide.std(axis=0)
        columns += [z[:, part.labels[site] == k].mean(axis=1) for k in range(part.n_parts(site))]
    return np.array(columns)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_units_against_numpy(dtype: type) -> None:
    data = activations(dtype=dtype)
    graph = functional_connectivity(Memory(data), units(data))
    wide = np.concatenate([x.astype(np.float64) for x in data.values()], axis=1)
    wanted = np.corrcoef(wide.T)
    np.fill_diagonal(wanted, 0)
    np.testing.assert_allclose(graph.matrix(), wanted, rtol=0, atol=1e-12)
    assert not graph.directed and graph.kind == "functional"
    assert graph.n_edges == 21 * 20 // 2
    assert graph.edges.iloc[0].source == "mlp.0/neuron.0" and graph.edges.iloc[0].target == "mlp.0/neuron.1"


def test_large_float32_sample_to_the_last_digits() -> None:
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(20_000, 40)) @ rng.normal(size=(40, 40)) + 1000 * rng.normal(size=40)).astype(np.float32)
    graph = functional_connectivity(Memory({"mlp.0": x}, chunk=777), units({"mlp.0": x}))
    wanted = np.corrcoef(x.astype(np.float64).T)[np.triu_indices(40, 1)]
    np.testing.assert_allclose(graph.weight, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [2, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 3]])
def test_parts_are_means_of_standardised_units(labels: list[int]) -> None:
    data = activations()
    part = Partition.from_labels({"mlp.0": labels, "mlp.1": [0] * 9})
    graph = functional_connectivity(Memory(data), part)
    wanted = np.corrcoef(numpy_signals(data, part))
    np.testing.assert_allclose(graph.weight, wanted[np.triu_indices(5, 1)], rtol=0, atol=1e-12)
    assert graph.node_names == part.node_names
    assert graph.nodes["size"].tolist() == [*np.bincount(labels), 9]


def test_module_correlation_is_a_quadratic_form_of_unit_correlations() -> None:
    data = activations()
    part = Partition.from_labels({"mlp.0": [0] * 12, "mlp.1": [0] * 9})
    unit = np.corrcoef(np.concatenate(list(data.values()), axis=1).astype(np.float64).T)
    a, b = slice(0, 12), slice(12, 21)
    wanted = unit[a, b].sum() / np.sqrt(unit[a, a].sum() * unit[b, b].sum())
    assert functional_connectivity(Memory(data), part).weight[0] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("chunk", [1, 64, 1000, [1, 50, 3]])
def test_chunks_do_not_matter(chunk: int | list[int]) -> None:
    data = activations()
    buffer = Memory(data, chunk)
    graph = functional_connectivity(buffer, units(data))
    np.testing.assert_allclose(
        graph.weight, functional_connectivity(Memory(data, 300), units(data)).weight, rtol=0, atol=1e-13
    )
    assert buffer.passes == 1


def test_row_order_does_not_matter_and_the_same_input_gives_the_same_bytes() -> None:
    data = activations()
    order = np.random.default_rng(3).permutation(300)
    graph = functional_connectivity(Memory(data), units(data))
    shuffled = functional_connectivity(Memory({s: x[order] for s, x in data.items()}), units(data))
    np.testing.assert_allclose(graph.weight, shuffled.weight, rtol=0, atol=1e-13)
    assert functional_connectivity(Memory(data), units(data)).weight.tobytes() == graph.weight.tobytes()


def test_scale_and_shift_of_units_do_not_matter() -> None:
    data = activations(dtype=np.float64)
    part = Partition.from_labels({"mlp.0": [0, 1] * 6, "mlp.1": [0] * 9})
    moved = {s: x * 2.0 ** np.arange(x.shape[1]) - 5 for s, x in data.items()}
    np.testing.assert_allclose(
        functional_connectivity(Memory(data), part).weight,
        functional_connectivity(Memory(moved), part).weight,
        rtol=0,
        atol=1e-12,
    )


def test_perfect_correlation_is_one() -> None:
    x = np.arange(10.0)[:, None] * np.array([1.0, 3.0, -2.0])
    graph = functional_connectivity(Memory({"mlp.0": x}), units({"mlp.0": x}))
    assert graph.weight == pytest.approx([1, -1, -1], abs=1e-15) and np.abs(graph.weight).max() <= 1


def test_constant_units_are_left_out_and_reported() -> None:
    data = activations()
    data["mlp.0"][:, [1, 4]] = [[0.0, 1e4]]
    part = Partition.from_labels({"mlp.0": [0, 1, 2, 2, 2, 3, 3, 3, 3, 3, -1, 3], "mlp.1": range(9)})
    graph = functional_connectivity(Memory(data), part)
    assert graph.attributes["constant_units"] == {"mlp.0": 2}
    assert graph.attributes["excluded_nodes"] == ["mlp.0/roi.1"]
    assert "mlp.0/roi.1" not in graph.node_names and graph.n_nodes == 12
    assert np.isfinite(graph.weight).all()
    live = Partition.from_labels({"mlp.0": [0, -1, 1, 1, -1, 2, 2, 2, 2, 2, -1, 2], "mlp.1": range(9)})
    np.testing.assert_allclose(graph.weight, functional_connectivity(Memory(data), live).weight, atol=1e-14)


def test_a_sum_that_cancels_is_no_signal() -> None:
    data = activations(dtype=np.float64)
    data["mlp.0"][:, 1] = -data["mlp.0"][:, 0]
    part = Partition.from_labels({"mlp.0": [0, 0, *range(1, 11)]})
    graph = functional_connectivity(Memory(data), part)
    assert graph.attributes["excluded_nodes"] == ["mlp.0/roi.0"] and graph.n_nodes == 10


def test_more_units_than_rows_is_defined() -> None:
    data = {s: x[:2] for s, x in activations().items()}
    graph = functional_connectivity(Memory(data), units(data))
    np.testing.assert_allclose(np.abs(graph.weight), 1, atol=1e-12)
    assert graph.attributes["rows"] == 2


def test_sites_and_threshold() -> None:
    data = activations()
    part = units(data)
    graph = functional_connectivity(Memory(data), part, sites=["mlp.1"], threshold=0.3)
    full = functional_connectivity(Memory(data), part)
    wanted = [w for w, s in zip(full.weight, full.source, strict=True) if s >= 12 and abs(w) >= 0.3]
    assert 0 < len(wanted) < 36 and graph.weight.tolist() == pytest.approx(wanted, abs=1e-13)
    assert graph.n_nodes == 9 and graph.attributes["sites"] == ["mlp.1"]
    assert graph.attributes["threshold"] == 0.3
    assert graph.partition == part.restrict(["mlp.1"])
    assert graph.nodes["level"].unique().tolist() == [1]


def test_sites_that_were_not_recorded() -> None:
    data = activations()
    buffer = Memory(data)
    del buffer.data["mlp.0"]
    buffer.sites = buffer.sites[1:]
    part = units(activations())
    graph = functional_connectivity(buffer, part)
    assert graph.attributes["sites_not_recorded"] == ["mlp.0"] and graph.n_nodes == 9
    with pytest.raises(DataError, match=r"'mlp\.0' was not recorded; add it to `activations\.sites`"):
        functional_connectivity(buffer, part, sites=["mlp.0"])
    assert functional_connectivity(buffer, part, sites=["attn.*", "mlp.*"]).weight.tolist() == graph.weight.tolist()
    with pytest.raises(DataError, match=r"attn\.\* match no recorded site of the partition; the buffer has mlp\.1"):
        functional_connectivity(buffer, part, sites=["attn.*"])
    with pytest.raises(DataError, match=r"none of the partition's sites mlp\.0"):
        functional_connectivity(buffer, part.restrict(["mlp.0"]))
    with pytest.raises(GraphError, match=r"no site 'mlp\.1'; it has mlp\.0"):
        functional_connectivity(buffer, part.restrict(["mlp.0"]), sites=["mlp.1"])


def test_refuses_degenerate_data() -> None:
    data = activations()
    part = units(data)
    with pytest.raises(DataError, match="at least 2 rows, but the buffer has 1"):
        functional_connectivity(Memory({s: x[:1] for s, x in data.items()}), part)
    with pytest.raises(DataError, match=r"0 nodes of mlp\.0, mlp\.1 have units that vary"):
        functional_connectivity(Memory({s: np.full_like(x, 3.7) for s, x in data.items()}), part)
    data["mlp.1"][5, 2] = np.nan
    with pytest.raises(DataError, match=r"1 units of site 'mlp\.1'.*not finite \(the first is unit 2\)"):
        functional_connectivity(Memory(data), part)


def test_refuses_a_partition_of_another_model() -> None:
    data = activations()
    with pytest.raises(GraphError, match=r"'mlp\.0' has 4 labels.*12 units"):
        functional_connectivity(Memory(data), Partition.from_labels({"mlp.0": range(4)}))


def test_refuses_what_does_not_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=re.escape("all pairs of 10000 nodes need about 10.0 GB, and 1.0 GB are free")):
        memory.check_memory(10_000, available=10**9)
    memory.check_memory(10_000, available=11 * 10**9)
    monkeypatch.setattr(memory, "_available", lambda: 100)
    data = activations()
    with pytest.raises(DataError, match="use a coarser partition"):
        functional_connectivity(Memory(data), units(data))


def test_library_call() -> None:
    data = activations()
    graph = functional_connectivity(Memory(data), units(data), method="pearson", threshold=0.5)
    assert graph.attributes["method"] == "pearson" and np.abs(graph.weight).min() >= 0.5
    with pytest.raises(ConfigError, match="'spearmint' is not known; valid are pearson"):
        functional_connectivity(Memory(data), units(data), method="spearmint")
    with pytest.raises(DataError, match="threshold is -3; it must be a number of at least 0"):
        functional_connectivity(Memory(data), units(data), threshold=-3)
    with pytest.raises(ConfigError, match="'pearson' has no option 'levle'; valid are keep, matrix, sites"):
        functional_connectivity(Memory(data), units(data), levle=0.1)
