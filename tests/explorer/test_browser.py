"""Every control of the page in a real Chromium: what it does, without the mouse too, and that it can be read."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from compgraph.explorer import explore, write_page
from compgraph.figures import style
from compgraph.graph import ComputationalGraph
from tests.explorer.examples import HOSTILE, full_page

SVG = "{http://www.w3.org/2000/svg}"


class Shown:
    """A page in the browser, and everything it complained about."""

    def __init__(self, browser, file, hash="", **options):
        self.context = browser.new_context(viewport={"width": 1300, "height": 850}, accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.said = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.open(file.as_uri() + hash)

    def open(self, url):
        self.page.goto("about:blank")
        self.page.goto(url)
        self.page.wait_for_selector("body[data-ready]")

    def data(self, name):
        return self.page.evaluate(f"document.body.dataset.{name}")

    def edges(self):
        return int(self.data("edges"))

    def hash(self):
        self.page.wait_for_timeout(250)
        return self.page.evaluate("location.hash")

    def saved(self, button):
        with self.page.expect_download() as found:
            self.page.get_by_role("button", name=button, exact=True).click()
        return found.value.path()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_page(full_page(), tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def shown(browser, file):
    found = Shown(browser, file)
    yield found
    found.context.close()
    assert found.said == []


GRAPH = full_page().views[0].graph


def test_the_slider_keeps_the_strongest_and_says_how_faithful_they_are(shown):
    typed = shown.page.get_by_label("Number of edges")
    typed.fill(str(GRAPH.n_edges // 2))
    typed.press("Enter")
    assert shown.edges() == GRAPH.n_edges // 2
    reading = shown.page.locator("#faithfulness").inner_text()
    assert re.match(r"0\.7\d+ \[.*\]; random circuits 0\.1", reading)
    kept = GRAPH.top(GRAPH.n_edges // 2)
    assert int(shown.data("nodes")) == len(np.unique(np.r_[kept.source, kept.target]))
    slider = shown.page.get_by_label("Strongest edges")
    slider.focus()
    slider.press("Home")
    assert shown.edges() == 0
    slider.press("End")
    assert shown.edges() == GRAPH.n_edges
    assert shown.page.locator("#faithfulness").inner_text().startswith("0.9 ")


def test_only_edges_on_paths_is_the_pruned_circuit(shown):
    typed = shown.page.get_by_label("Number of edges")
    typed.fill("25")
    typed.press("Enter")
    shown.page.get_by_label("only edges on a path").check()
    assert shown.edges() == GRAPH.top(25).prune().n_edges < 25


def test_filters_by_kind_layer_channel_task_and_block(shown):
    page = shown.page
    names = np.array(GRAPH.node_names)
    typed = page.get_by_label("Number of edges")
    typed.fill(str(GRAPH.n_edges))
    typed.press("Enter")
    ends = [names[GRAPH.source], names[GRAPH.target]]
    without_mlp = ~(np.char.startswith(ends[0].astype(str), "mlp") | np.char.startswith(ends[1].astype(str), "mlp"))
    page.get_by_label("mlp", exact=True).uncheck()
    assert shown.edges() == without_mlp.sum()
    page.get_by_label("mlp", exact=True).check()
    page.locator("summary").click()
    page.get_by_label("attn.0", exact=True).uncheck()
    in_first = np.char.startswith(ends[0].astype(str), "attn.0") | np.char.startswith(ends[1].astype(str), "attn.0")
    assert shown.edges() == (~in_first).sum()
    page.get_by_role("button", name="Reset").click()
    typed = page.get_by_label("Number of edges")
    typed.fill(str(GRAPH.n_edges))
    typed.press("Enter")
    page.get_by_label("key", exact=True).uncheck()
    assert shown.edges() == (GRAPH.channel != GRAPH.channels.index("k")).sum()
    page.get_by_label("key", exact=True).check()
    serves = np.arange(len(names)) / len(names) >= 0.5
    page.get_by_label("Nodes that serve").select_option("ioi")
    assert shown.edges() == (serves[GRAPH.source] & serves[GRAPH.target]).sum()
    page.get_by_label("Nodes that serve").select_option("any task")
    page.get_by_label("Colour and sort by").select_option("blocks, nested, level 1")
    page.get_by_label("Show only").select_option("1")
    odd = np.arange(len(names)) % 2 == 1
    assert shown.edges() == (odd[GRAPH.source] & odd[GRAPH.target]).sum()


def test_switching_kind_and_checkpoint(shown):
    page = shown.page
    page.get_by_label("Connectivity").select_option("structural")
    assert shown.data("view") == "step-000100/structural/heads"
    page.get_by_label("Connectivity").select_option("functional")
    assert shown.data("view") == "step-000100/functional/heads"
    page.get_by_label("Connectivity").select_option("effective")
    page.get_by_label("Checkpoint").select_option("step-000000")
    assert shown.data("view") == "step-000000/effective/heads"
    assert page.get_by_text("This graph's circuits were not run.").is_visible()


def test_what_a_graph_does_not_have_is_not_there(browser, tmp_path):
    """No tasks, one channel, no curve, one view: no empty sections, no word from nowhere."""
    graph = ComputationalGraph(["a", "b", "c"], [0, 1], [1, 2], None, [1.0, -2.0])
    shown = Shown(browser, explore(graph, tmp_path / "g.html"))
    text = shown.page.locator("#filters").inner_text()
    assert "null" not in text and "Task" not in text and "Read as" not in text and shown.edges() > 0
    assert shown.page.get_by_label("Connectivity").count() == 0 and shown.said == []
    shown.context.close()


def test_search_click_and_details(shown):
    page = shown.page
    box = page.get_by_label("Find a node")
    box.fill("attn.1/head.2")
    box.press("Enter")
    details = page.locator("#details")
    assert details.locator("h2").inner_text() == "attn.1/head.2"
    into = GRAPH.edges[GRAPH.edges["target"] == "attn.1/head.2"]
    strongest = into.loc[into["weight"].abs().idxmax(), "source"]
    assert details.locator("table.edges").first.locator("button").first.inner_text() == strongest
    assert "blocks, nested, level 0" in details.inner_text() and "Share of each task" in details.inner_text()
    assert details.locator(".token").count() == 4 and "of the first 64 items" in details.inner_text()
    details.locator("table.edges").first.locator("button").first.click()
    assert details.locator("h2").inner_text() == strongest
    page.keyboard.press("Escape")
    assert details.locator("h2").inner_text() == "The graph"
    box.fill("nowhere")
    box.press("Enter")
    assert page.get_by_text("No node matches.").is_visible()


def test_pointer_hovers_and_picks(shown):
    page = shown.page
    box = page.locator("canvas.over").bounding_box()
    middle, found = box["x"] + 74 + (box["width"] - 86) / 2, ""
    for y in np.linspace(0.02, 0.98, 60):
        page.mouse.move(middle, box["y"] + y * box["height"])
        if page.locator("#tip").is_visible():
            found = page.locator("#tip").inner_text()
            page.mouse.click(middle, box["y"] + y * box["height"])
            break
    assert found == "logits"
    assert page.locator("#details h2").inner_text() == found


def test_pan_zoom_and_fit(shown):
    page = shown.page
    before = page.locator("canvas.base").first.screenshot()
    box = page.locator("canvas.over").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(box["x"] + 340, box["y"] + 330)
    page.mouse.up()
    assert "zoom=" in shown.hash()
    page.get_by_role("button", name="Fit").click()
    page.mouse.move(5, 5)
    assert "zoom=" not in shown.hash()
    page.wait_for_timeout(300)
    assert page.locator("canvas.base").first.screenshot() == before


def test_a_link_brings_the_state_back(browser, file, shown):
    page = shown.page
    page.get_by_label("View", exact=True).select_option("matrix")
    page.get_by_label("Colour and sort by").select_option("blocks, nested, level 0")
    page.get_by_label("Number of edges").fill("33")
    page.get_by_label("Number of edges").press("Enter")
    page.get_by_label("query", exact=True).uncheck()
    page.get_by_label("Find a node").fill("mlp.1")
    page.get_by_label("Find a node").press("Enter")
    link, edges, picture = shown.hash(), shown.edges(), page.locator("canvas.base").last.screenshot()
    again = Shown(browser, file, link)
    assert again.edges() == edges and again.hash() == link
    assert again.page.locator("#details h2").inner_text() == "mlp.1"
    assert again.page.locator("canvas.base").last.screenshot() == picture
    again.context.close()


@pytest.mark.parametrize(
    "hash", ["#edges=-4&view=nothing&node=x&zoom=a,b,c", "#mode=3d&curve=9&series=9&group=77", "#%E0%A4%A"]
)
def test_a_broken_link_shows_the_page_as_usual(browser, file, hash):
    broken = Shown(browser, file, hash)
    assert broken.edges() > 0 and broken.said == []
    broken.context.close()


def test_exports_hold_what_is_shown(shown):
    shown.page.get_by_label("Number of edges").fill("30")
    shown.page.get_by_label("Number of edges").press("Enter")
    kept = GRAPH.top(30)
    rows = list(csv.DictReader(io.StringIO(shown.saved("CSV").read_text(encoding="utf-8"))))
    table = kept.edges.assign(size=kept.edges["weight"].abs()).sort_values("size", ascending=False, kind="stable")
    assert [(row["source"], row["target"], row["channel"]) for row in rows] == list(
        zip(table["source"], table["target"], table["channel"], strict=True)
    )
    np.testing.assert_allclose([float(row["weight"]) for row in rows], table["weight"], rtol=1e-6)
    root = ET.fromstring(shown.saved("SVG").read_text(encoding="utf-8"))
    assert len(root.findall(f".//{SVG}path")) == 30
    assert root.find(f"{SVG}title").text == f"toy, {HOSTILE}" and not root.findall(f".//{SVG}script")
    assert shown.saved("PNG").read_bytes().startswith(b"\x89PNG")


def test_hostile_labels_are_text(shown):
    page = shown.page
    page.get_by_label("Colour and sort by").select_option("communities, louvain")
    page.get_by_label("Find a node").fill("mlp.0")
    page.get_by_label("Find a node").press("Enter")
    page.get_by_label("View", exact=True).select_option("matrix")
    page.wait_for_timeout(200)
    assert page.title() == f"toy, {HOSTILE}"
    assert page.locator("img").count() == 0 and HOSTILE in page.locator("#details").inner_text()


def test_keyboard_alone(shown):
    page = shown.page
    page.locator("canvas.over").focus()
    page.keyboard.press("ArrowUp")
    first = page.locator("#said").inner_text()
    assert first in GRAPH.node_names
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    second = page.locator("#said").inner_text()
    level = dict(zip(GRAPH.nodes["name"], GRAPH.nodes["level"], strict=True))
    assert level[second] == level[first] + 1
    page.keyboard.press("Enter")
    assert page.locator("#details h2").inner_text() == second
    edges = shown.edges()
    page.keyboard.press("]")
    assert shown.edges() > edges
    page.keyboard.press("[")
    page.keyboard.press("m")
    assert "mode=matrix" in shown.hash()
    page.keyboard.press("m")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.press("Escape")
    page.locator("canvas.over").focus()
    page.keyboard.press("?")
    assert page.locator("#help").get_attribute("open") is not None
    page.keyboard.press("Escape")
    page.locator("body").press("Tab")
    reached = set()
    for _ in range(60):
        reached.add(page.evaluate("document.activeElement.textContent || document.activeElement.type"))
        page.keyboard.press("Tab")
    assert {"Fit", "Reset", "Link", "SVG", "PNG", "CSV", "Help", "range", "search", "checkbox"} <= reached


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const blend = (top, under) => top.slice(0, 3).map((c, i) => c * (top[3] ?? 1) + under[i] * (1 - (top[3] ?? 1)));
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => blend(top, under), [255, 255, 255]);
  };
  const worst = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const unread = !walker.currentNode.textContent.trim() || !element.offsetParent;
    if (unread || /SCRIPT|STYLE|OPTION/.test(element.tagName)) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color).slice(0, 3)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) worst.push(`${element.tagName}.${element.className}: ${ratio.toFixed(2)}`);
  }
  return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser, file, scheme):
    shown = Shown(browser, file, "#node=attn.1/head.2", color_scheme=scheme)
    assert shown.page.evaluate(CONTRAST) == []
    shown.context.close()


def rows_of(pixels, kind):
    """Heights at which boxes of a kind of site are drawn: first and last pixel of each."""
    colour = [int(style.SITE_COLOURS[kind][k : k + 2], 16) for k in (1, 3, 5)]
    there = np.flatnonzero((np.abs(pixels - colour).sum(-1) < 12)[:, 74:].sum(1) > 12)
    parts = np.split(there, np.flatnonzero(np.diff(there) > 12) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]


def test_the_picture_is_the_graph(browser, file):
    """Boxes in their colours, a row for each layer, the input at the bottom and the output at the top."""
    shown = Shown(browser, file, "#edges=999999")
    png = shown.page.locator("canvas.base").first.screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    attention, output, start = (rows_of(pixels, kind) for kind in ("attn", "logits", "embed"))
    assert len(attention) == len(rows_of(pixels, "mlp")) == 3
    assert output[0][1] < attention[0][0] and attention[-1][1] < start[-1][0]
    positive = np.abs(pixels - [int(style.SIGN_COLOURS["positive"][k : k + 2], 16) for k in (1, 3, 5)]).sum(-1) < 90
    assert positive.sum() > 200
    shown.context.close()


@pytest.mark.slow
def test_large_graphs_stay_usable(browser, tmp_path):
    """32,000 edges between 160 nodes, and 5,000 nodes: drawn, filtered and moved without a long pause."""
    page = full_page(12, 12)
    assert page.views[0].graph.n_edges > 32_000
    shown = Shown(browser, write_page(page, tmp_path / "large.html"), "#edges=999999")
    assert shown.edges() == page.views[0].graph.n_edges
    move = """() => new Promise((done) => {
      const canvas = document.querySelector("canvas.over");
      const times = [];
      let at = performance.now();
      const step = (n) => requestAnimationFrame(() => {
        times.push(performance.now() - at);
        at = performance.now();
        const turn = { deltaY: n % 2 ? 30 : -30, clientX: 600, clientY: 400, bubbles: true, cancelable: true };
        canvas.dispatchEvent(new WheelEvent("wheel", turn));
        if (n) step(n - 1); else done(times);
      });
      step(40);
    })"""
    times = shown.page.evaluate(move)
    assert shown.said == [] and len(times) == 41
    shown.context.close()


def test_five_thousand_nodes(browser, tmp_path):
    n = 5000
    rng = np.random.default_rng(0)
    source = rng.integers(0, n // 2, 20_000)
    target = rng.integers(n // 2, n, 20_000)
    pairs = np.unique(np.stack([source, target], 1), axis=0)
    columns = {
        "name": [f"mlp.{k // 1000}/unit.{k}" for k in range(n)],
        "site": [f"mlp.{k // 1000}" for k in range(n)],
        "level": [k // 1000 for k in range(n)],
    }
    graph = ComputationalGraph(columns, pairs[:, 0], pairs[:, 1], None, rng.normal(size=len(pairs)))
    shown = Shown(browser, explore(graph, tmp_path / "g.html"), "#edges=20000")
    assert shown.edges() == len(pairs)
    shown.page.keyboard.press("m")
    shown.page.wait_for_timeout(200)
    assert shown.said == []
    shown.context.close()
