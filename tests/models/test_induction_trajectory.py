"""A real circuit that dissolves: the loader meets the published numbers, and eap sees the edge fade."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from compgraph.connectivity.effective import effective_connectivity
from compgraph.partition import Partition
from tests.models.induction_trajectory import PUBLISHED, STEPS, induction_pairs, load_step, sequences

INDUCTION = ("attn.0/head.0", "attn.1/head.0", "k")


@pytest.mark.parametrize("step", STEPS)
def test_accuracy_and_loss_are_those_published(shared, step):
    net = load_step(shared, step)
    rows, answers = sequences(12000)
    targets = torch.from_numpy(answers)
    with torch.no_grad():
        logits = net.run(torch.from_numpy(rows), positions=torch.full((len(rows),), rows.shape[1] - 1)).logits
    accuracy, loss = PUBLISHED[step]
    assert float((logits.argmax(-1) == targets).double().mean()) == pytest.approx(accuracy, abs=0.015)
    assert float(torch.nn.functional.cross_entropy(logits, targets)) == pytest.approx(loss, abs=0.015)


def test_the_induction_edge_falls_as_the_function_dissolves(shared):
    pairs = induction_pairs(128)
    scores: list[dict[tuple[str, str, str], float]] = []
    for step in STEPS:
        net = load_step(shared, step, torch.float64)
        graph = effective_connectivity(net, pairs, Partition.heads(net), "eap")
        ends = zip(graph.source, graph.target, graph.channel, graph.weight, strict=True)
        scores.append({(graph.node_names[s], graph.node_names[t], graph.channels[c]): float(w) for s, t, c, w in ends})
    course = [abs(found[INDUCTION]) for found in scores]
    assert scores[0][INDUCTION] < -1  # corrupting it lowers the right token's lead
    assert all(after < before / 3 for before, after in pairwise(course[:4]))
    assert course[-1] < 1e-3 * course[0]
    reads = {edge: abs(score) for edge, score in scores[0].items() if edge[1] == "attn.1/head.0" and edge[2] in "qk"}
    strongest = sorted(reads, key=reads.__getitem__)[-2:]
    assert set(strongest) == {INDUCTION, ("embed", "attn.1/head.0", "q")}
    np.testing.assert_array_less(10 * np.sort(list(reads.values()))[:2], reads[INDUCTION])
