"""What a path below the results folder means."""

from __future__ import annotations

from pathlib import Path

import pytest

from compgraph.report.places import Place, place_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("m/step-000100/model.json", ("m", "step-000100", "", "model", "model", "")),
        ("m/datasets/ioi.json", ("m", "", "ioi", "data", "ioi", "")),
        ("m/main/structural/composition.json", ("m", "main", "", "structural", "composition", "")),
        (
            "m/main/sbm/nested@structural.composition.json",
            ("m", "main", "", "sbm", "nested", "structural.composition"),
        ),
        ("m/main/ioi/activations.json", ("m", "main", "ioi", "activations", "activations", "")),
        ("m/main/ioi/attributions/ig.json", ("m", "main", "ioi", "attributions", "ig", "")),
        ("m/main/ioi/ablation/a@effective.eap.json", ("m", "main", "ioi", "ablation", "a", "effective.eap")),
        (
            "m/main/ioi/evaluation/c@a@effective.eap.json",
            ("m", "main", "ioi", "evaluation", "c", "effective.eap", "a"),
        ),
        ("m/main/nulls/shuffled-2-0@structural.c.json", ("m", "main", "", "nulls", "shuffled-2-0", "structural.c")),
        ("figures/m/main/ioi/effective.eap.json", ("m", "main", "ioi", "figure", "effective.eap", "")),
        ("figures/m/main/structural.c.json", ("m", "main", "", "figure", "structural.c", "")),
        ("odd.json", ("", "", "", "", "odd", "")),
    ],
)
def test_places(path, expected):
    place = place_of(Path("/r") / path, Path("/r"))
    assert place == Place(path.removesuffix(".json"), *expected)


def test_about_names_what_there_is():
    assert place_of(Path("/r/m/main/structural/c.json"), Path("/r")).about == "m, main"
