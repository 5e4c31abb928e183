"""The page's few lines of script, in a real browser where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from compgraph.figures import style
from compgraph.report.build import build_report
from compgraph.report.items import FigureItem, TableItem

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--virtual-time-budget=3000",
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    png = style.render(style.new_figure(1.0, 0.5), "png")
    figures = [
        FigureItem(f"f{k}", f"t{k}", f"Caption {word}. More.", "effective", png)
        for k, word in enumerate(("one", "two", "three", "four", "five", "six"))
    ]
    rows = (("b", 10), ("a", 9), ("c", None), ("d", 100.5))
    table = TableItem("t", "", "numbers", ("name", "value"), rows)
    path = build_report([*figures, table], tmp_path_factory.mktemp("page") / "r.html")
    return path.read_text(encoding="utf-8")


def after(page: str, script: str, folder: Path) -> str:
    """The document once a script has run on it."""
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder}/profile", "--dump-dom", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def first_column(dom: str) -> list[str]:
    body = dom[dom.index('id="t"') :]
    return re.findall(r'<tr><td data-sort="(\w)"', body)


@pytest.mark.parametrize(
    ("clicks", "order"),
    [((1,), ["a", "b", "d", "c"]), ((1, 1), ["d", "b", "a", "c"]), ((0,), ["a", "b", "c", "d"])],
    ids=["rising", "falling", "by name"],
)
def test_tables_sort_by_number_and_keep_missing_values_last(page, clicks, order, tmp_path):
    script = "".join(f"document.querySelectorAll('#t th button')[{column}].click();" for column in clicks)
    dom = after(page, script, tmp_path)
    assert first_column(dom) == order
    assert f'aria-sort="{"descending" if len(clicks) == 2 else "ascending"}"' in dom


def test_the_filter_hides_figures(page, tmp_path):
    script = "const f = document.getElementById('filter'); f.value = 'caption THREE';"
    script += "f.dispatchEvent(new Event('input'));"
    dom = after(page, script, tmp_path)
    assert re.findall(r'<figure id="(\w+)"[^>]*hidden', dom) == ["f0", "f1", "f3", "f4", "f5"]
    assert ">1 of 6</output>" in dom
