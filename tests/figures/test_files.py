"""Figures as files: picture, data and caption beside each other."""

from __future__ import annotations

import pandas as pd
import pytest

from compgraph.figures import faithfulness, files

from .examples import faithfulness_table


def test_a_folder_holds_picture_data_and_caption(tmp_path):
    table = faithfulness_table()
    caption = faithfulness.caption(table)
    written = files.save_with_data(
        tmp_path / "f", faithfulness.draw(table), faithfulness.data(table), caption
    )
    assert sorted(path.name for path in written) == [
        "caption.txt",
        "data.csv",
        "figure.pdf",
        "figure.png",
        "figure.svg",
    ]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "f/data.csv"), faithfulness.data(table), rtol=1e-5)
    assert (tmp_path / "f/caption.txt").read_text(encoding="utf-8") == caption + "\n"
    assert (tmp_path / "f/figure.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "f/figure.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_formats_asked_for(tmp_path):
    written = files.save(faithfulness.draw(faithfulness_table()), tmp_path / "curve", ["svg"])
    assert written == [tmp_path / "curve.svg"] and list(tmp_path.iterdir()) == written
    with pytest.raises(ValueError, match="bmp"):
        files.save(faithfulness.draw(faithfulness_table()), tmp_path / "curve", ["bmp"])
