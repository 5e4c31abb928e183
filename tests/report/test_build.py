"""The page: one file, escaped, offline, the same bytes every time."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compgraph.figures import style
from compgraph.report.build import (
    build_report,
    digits,
    duration,
    first_sentence,
    png_size,
    readable_bytes,
    relative_link,
    sort_value,
)
from compgraph.report.items import Cost, FigureItem, Finding, Notice, Origin, PageItem, TableItem

HOSTILE = "<script>alert('x')</script>\" onload=\"x"
VOID = {"meta", "img", "br", "input", "link", "hr"}


@pytest.fixture(scope="module")
def png() -> bytes:
    figure = style.new_figure(1.0, 0.5)
    return style.render(figure, "png")


def items(png: bytes, word: str = "mixture") -> list:
    origin = Origin(
        word,
        f"figures/{word}",
        "figure",
        "sha256:aa",
        {"edges": word},
        {word: "sha256:bb"},
        3,
        "c0de",
        {"torch": "2.0"},
        10,
    )
    source = Origin("source", f"{word}/graph", "effective", "sha256:bb", versions={"torch": "2.1"})
    figures = [
        FigureItem(
            f"f{k}",
            word,
            f"{word} is drawn. Look at it.",
            group,
            png,
            {"PDF": Path(f"/r/figures/{word}/f.pdf")},
            {"model": word},
            word,
        )
        for k, group in enumerate(("effective", "structural", "effective", "training", word))
    ]
    table = TableItem("t", word, "numbers", (word, "n"), ((word, 2), ("b", None), ("c", 1234.5)), word)
    models = TableItem("m", "", "models", ("model",), ((word,),))
    return [
        Finding(f"{word} is found.", "f0"),
        table,
        models,
        *figures,
        Notice(word, f"{word} warns"),
        Notice("other", f"{word} warns"),
        Cost(word, word, 75.0, 60.0, 4e8),
        Cost(word, "fast", 0.5),
        origin,
        source,
    ]


class Tags(HTMLParser):
    """Collects tags, attributes and unbalanced ends."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    assert tags.faults == [] and tags.open == []
    return tags


def test_hostile_names_stay_text(tmp_path, png):
    page = build_report(items(png, HOSTILE), tmp_path / "r.html", title=HOSTILE, subtitle=HOSTILE)
    html = page.read_text(encoding="utf-8")
    tags = parsed(html)
    assert sum(tag == "script" for tag, _ in tags.tags) == 1
    assert all("onload" not in attributes for _, attributes in tags.tags)
    assert HOSTILE not in html


def test_the_page_needs_nothing_else(tmp_path, png):
    page = build_report(items(png), tmp_path / "r.html")
    tags = parsed(page.read_text(encoding="utf-8"))
    assert not [tag for tag, _ in tags.tags if tag in ("link", "iframe", "object")]
    assert all(a["src"].startswith("data:image/png;base64,") for tag, a in tags.tags if tag == "img")
    assert all("src" not in a for tag, a in tags.tags if tag == "script")
    assert "http" not in re.sub(r"data:image[^\"]*", "", page.read_text(encoding="utf-8"))


def test_links_are_relative_and_anchors_exist(tmp_path, png):
    page = build_report(items(png), tmp_path / "r.html")
    tags = parsed(page.read_text(encoding="utf-8"))
    anchors = {a["id"] for _, a in tags.tags if "id" in a}
    links = [a["href"] for tag, a in tags.tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    files = [link for link in links if not link.startswith("#")]
    assert files and all(link.startswith("../") and ":" not in link for link in files)


def test_the_same_items_give_the_same_bytes(tmp_path, png):
    first = build_report(items(png), tmp_path / "a.html").read_bytes()
    assert build_report(items(png), tmp_path / "b.html").read_bytes() == first


def test_figures_are_numbered_through_sections_in_pipeline_order(tmp_path, png):
    html = build_report(items(png), tmp_path / "r.html").read_text(encoding="utf-8")
    headings = re.findall(r'<section class="group" id="group-([^"]+)"', html)
    assert headings == ["structural", "effective", "training", "mixture"]
    assert re.findall(r"<b>Figure (\d)\.", html) == ["1", "2", "3", "4", "5"]
    assert "mixture is drawn.</b> Look at it." in html


def test_provenance_names_the_result_an_input_was(tmp_path, png):
    html = build_report(items(png), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<dt>from mixture</dt><dd><code>mixture/graph</code><br><code>sha256:bb</code></dd>" in html
    assert "torch 2.0, 2.1." in html  # differing versions are shown, not hidden


def test_equal_warnings_are_said_once(tmp_path, png):
    html = build_report(items(png), tmp_path / "r.html").read_text(encoding="utf-8")
    assert html.count("mixture warns") == 1 and "2 results" in html


def test_costs_are_summed_by_stage(tmp_path, png):
    html = build_report(items(png), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Together 1 min 16 s." in html and "400.0 MB" in html


def test_an_empty_report_is_a_page(tmp_path):
    html = build_report([], tmp_path / "r.html").read_text(encoding="utf-8")
    parsed(html)
    assert "No stage raised a warning." in html and "No result was found" in html


def test_keys_must_differ(tmp_path, png):
    with pytest.raises(ValueError, match="share the key 'f0'"):
        build_report([*items(png), items(png)[3]], tmp_path / "r.html")


def test_a_picture_must_be_a_png(png):
    assert png_size(png) == (220, 110)
    with pytest.raises(ValueError, match="not a PNG"):
        png_size(b"<svg/>")


def test_links_are_quoted():
    assert relative_link(Path("/r/figures/a b/f#1.pdf"), Path("/r/report")) == "../figures/a%20b/f%231.pdf"


@pytest.mark.parametrize(
    ("value", "shown", "sorted_by"),
    [
        (None, "\u2013", ""),
        (1234, "1,234", "1234.0"),
        (0.123456, "0.1235", "0.123456"),
        (-1e-9, "\u22121e\u221209", "-1e-09"),
        (float("nan"), "\u2013", ""),
        (True, "True", "1.0"),
        ("a", "a", "a"),
    ],
)
def test_cells(value, shown, sorted_by):
    assert digits(value) == shown and sort_value(value) == sorted_by


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.44, "0.4 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_sizes():
    assert [readable_bytes(n) for n in (None, 12, 12_345, 5e9, 5e13)] == [
        "\u2013",
        "12 B",
        "12.3 kB",
        "5.0 GB",
        "50000.0 GB",
    ]


def test_first_sentence():
    assert first_sentence("One is 0.5 big. Two.") == ("One is 0.5 big.", "Two.")
    assert first_sentence("Only one.") == ("Only one.", "")


def test_interactive_pages_are_linked_by_relative_paths_and_escaped(tmp_path):
    pages = [PageItem("b <i>", tmp_path / "x" / "page@b.html"), PageItem("a", tmp_path / "page a.html")]
    html = build_report(pages, tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.index('<a href="page%20a.html">a</a>') < html.index('<a href="x/page%40b.html">b &lt;i&gt;</a>')
    assert "#pages" not in build_report([], tmp_path / "none.html").read_text(encoding="utf-8")
