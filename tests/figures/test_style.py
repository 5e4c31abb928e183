"""The look: bytes that depend on the figure alone, colours that stay apart, settings left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from compgraph.figures import style

SCRIPT = """
import hashlib, sys
from compgraph.figures import structural, style
from tests.figures.examples import cnn_graph
figure = structural.draw(cnn_graph(), edges=20)
print([hashlib.sha256(style.render(figure, kind)).hexdigest() for kind in ("pdf", "png", "svg")])
"""


def small_figure():
    figure = style.new_figure("single", 1.0)
    axes = figure.add_axes((0.2, 0.3, 0.7, 0.6))
    axes.plot([0, 1], [0, 1])
    axes.set_xlabel("a label")
    return figure


def test_bytes_are_the_same_in_another_process():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("kind", ["pdf", "png", "svg"])
def test_files_hold_no_date_and_no_producer(kind):
    written = style.render(small_figure(), kind)
    assert b"Date" not in written and b"date" not in written
    assert b"Matplotlib v" not in written and b"atplotlib version" not in written


def test_text_is_stored_as_text():
    figure = small_figure()
    assert b">a label</text>" in style.render(figure, "svg").replace(b"\n", b"")
    assert b"/FontFile2" in style.render(figure, "pdf")


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match="valid formats are pdf, svg, png"):
        style.render(small_figure(), "bmp")


def test_drawing_leaves_the_users_settings_alone():
    with matplotlib.rc_context({"font.size": 23.0, "svg.hashsalt": "mine"}):
        style.render(small_figure(), "png")
        assert matplotlib.rcParams["font.size"] == 23.0
        assert matplotlib.rcParams["svg.hashsalt"] == "mine"


def test_the_users_settings_do_not_change_a_figure():
    plain = style.render(small_figure(), "png")
    figure = small_figure()
    with matplotlib.rc_context({"font.size": 23.0, "savefig.dpi": 30, "savefig.bbox": "tight"}):
        assert style.render(figure, "png") == plain


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
DEFICIENCIES = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "none": np.eye(3).tolist(),
}


def seen(colour: str, matrix: list[list[float]]) -> np.ndarray:
    """CIE Lab of a colour as an eye with that deficiency sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(np.maximum(xyz / np.array([0.9505, 1.0, 1.089]), 1e-4))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize(
    "colours", [style.PALETTE[:6], tuple(style.SIGN_COLOURS.values()), ("#0072B2", "#D55E00", "#009E73")]
)
def test_colours_stay_apart_for_colour_blind_eyes(colours, deficiency):
    labs = [seen(colour, DEFICIENCIES[deficiency]) for colour in colours]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(labs, 2)) > 14


def test_series_keep_their_colour_whoever_is_beside_them():
    assert style.series_colours(["eap", "x"])["eap"] == style.series_colours(["b", "eap"])["eap"]
    assert style.series_colours(["b", "a"]) == style.series_colours(["a", "b"])
    colours = style.series_colours(["eap", "sbm", "one", "two", "three"])
    assert len(set(colours.values())) == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.12345, "0.123"),
        (-2.0, "\u22122"),
        (1234.5, "1,234"),
        (1e-7, "1e\u221207"),
        (32491, "32,491"),
        (9.999, "10"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert style.number(value) == text


@pytest.mark.parametrize(("share", "text"), [(0.5, "50 %"), (0, "0 %"), (0.00123, "0.12 %"), (1, "100 %")])
def test_percent(share, text):
    assert style.percent(share) == text


def test_tint_goes_to_white():
    assert style.tint("#000000", 1.0) == "#ffffff"
    assert style.tint("#ff0000", 0.0) == "#ff0000"
