from __future__ import annotations

import numpy as np
import pytest
import torch

import compgraph as cg
from compgraph.data.images import ImagePairs
from compgraph.errors import DataError
from compgraph.metrics import get_metric
from compgraph.rois.recordings import Concatenated
from compgraph.rois.signals import units_of
from tests.connectivity.effective.test_eap import chain


def test_attributions_of_every_class_logit_are_signals_together() -> None:
    net = chain()
    images = np.random.default_rng(0).normal(size=(20, 1, 8, 8))
    pairs = ImagePairs(images, None, np.zeros(20, np.int64))
    named = "compgraph.class_logits:logit_{}"
    found = [
        cg.node_attributions(net, pairs, metric=named.format(k), baseline="zero", sites=["linear.0"])
        for k in range(3)
    ]
    # The last layer is linear, so that attributions are exact: minus each unit's part of the logit.
    units = net.run(torch.from_numpy(images), capture=["linear.0"]).units["linear.0"].detach().numpy()
    weight = net.weights["logits.weight"].detach().numpy()
    for k, one in enumerate(found):
        np.testing.assert_allclose(one.read("linear.0"), -units * weight[k], atol=1e-7)
    live = units_of(Concatenated(found), ["linear.0"])
    kept = live.sites["linear.0"].live
    # Of one layer each unit's attribution to all classes is its value times a constant.
    signs = np.sign(weight[:, kept])
    r = np.corrcoef(units[:, kept].T)
    np.testing.assert_allclose(live.correlation, r * (signs.T @ signs) / 3, atol=1e-5)


def test_classes_that_are_not_there_are_named() -> None:
    with pytest.raises(DataError, match="there are 3 classes, 0 to 2"):
        get_metric("compgraph.class_logits:logit_3")(torch.zeros(2, 3), None)
    with pytest.raises(DataError, match="its metrics are logit_0"):
        get_metric("compgraph.class_logits:logit")
