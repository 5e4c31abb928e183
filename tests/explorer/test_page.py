"""The file: self-contained, its program fixed by digest, nothing in the data can break out of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

from compgraph.explorer import explore, page, write_page
from tests.explorer.examples import HOSTILE, curve, full_page
from tests.figures.examples import transformer_graph

WEB = Path(page.HERE) / "web"


def test_the_program_is_built_from_the_sources_that_lie_beside_it():
    sources = ["package.json", "package-lock.json", "build.mjs"]
    sources += sorted(f"src/{path.name}" for path in (WEB / "src").iterdir())
    digest = hashlib.sha256()
    for name in sources:
        digest.update(f"{name}\n".encode() + (WEB / name).read_bytes())
    built = (page.STATIC / "explorer.js").read_text(encoding="utf-8")
    assert f"sources {digest.hexdigest()}" in built.splitlines()[0], "run: npm ci && npm run build"


def test_a_page_is_one_file_that_names_its_program(tmp_path):
    text = write_page(full_page(), tmp_path / "page.html").read_text(encoding="utf-8")
    program = re.search(r"<script>(.*)</script>\n</body>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text or f"script-src 'sha256-{digest}'" in text
    assert not re.search(r"(src|href)=[\"']?https?:", text)
    assert "default-src 'none'" in text


def test_hostile_labels_stay_text(tmp_path):
    text = write_page(full_page(), tmp_path / "page.html").read_text(encoding="utf-8")
    assert HOSTILE not in text and text.count("<script") == 2
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1)
    assert json.loads(data)["title"] == f"toy, {HOSTILE}"


def test_the_same_page_gives_the_same_bytes(tmp_path):
    first = write_page(full_page(), tmp_path / "a.html").read_bytes()
    assert write_page(full_page(), tmp_path / "b.html").read_bytes() == first


def test_a_graph_alone(tmp_path):
    graph = transformer_graph(2, 2)
    text = explore(graph, tmp_path / "g.html", curve=curve(graph.n_edges).table).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert data["title"] == f"Effective graph of {graph.n_nodes} nodes" and len(data["views"][0]["curves"]) == 1
