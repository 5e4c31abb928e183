"""From a results folder to the items of a report."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from compgraph.errors import StoreError
from compgraph.report.build import build_report
from compgraph.report.collect import collect, find_manifests, subtitle
from compgraph.report.items import Cost, FigureItem, Finding, Notice, Origin, TableItem

from .examples import make, results_folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return results_folder(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def found(root):
    return collect(root)


def of(items, kind):
    return [item for item in items if isinstance(item, kind)]


def test_manifests_are_found_and_nothing_else(root):
    names = [path.relative_to(root).as_posix() for path in find_manifests(root)]
    assert len(names) == 9 and "mixture/step-000100/ioi/effective/eap.json" in names
    assert not [name for name in names if ".graph/" in name or name.startswith("logs")]


def test_findings_are_sentences_with_numbers(found):
    texts = [finding.text for finding in of(found, Finding)]
    assert texts == [
        "1 model (mixture) with 2 checkpoints in all, studied on 1 dataset; 7 results.",
        "mixture at step-000100 has a test accuracy of 97.8 % on ioi.",
        "On ioi, mixture's graph eap (edge ablation, counterfactual baseline): 200 edges of 1,000 keep 0.94"
        " of the model's"
        " logit difference (95 % interval 0.89 to 0.99, 64 examples).",
        "The block model finds 4 blocks in the effective graph eap of mixture on ioi, and describes it in 91"
        " nats fewer than one"
        " block; runs from different seeds agree with an adjusted Rand index of 0.93.",
        "1 of 2 measures of the effective graph eap of mixture on ioi differ from chance at a false discovery"
        " rate of 5 %:"
        " gini 0.71 (chance: 0.6 to 0.65).",
        "1 result carries warnings.",
    ]


def test_findings_point_to_what_shows_them(found):
    keys = {item.key for item in found if isinstance(item, (FigureItem, TableItem))} | {
        "warnings",
        "numbers",
        "",
    }
    assert {finding.key for finding in of(found, Finding)} <= keys
    assert "figure-mixture-step-000100-ioi-faithfulness.curves@edges@effective.eap" in {
        f.key for f in of(found, Finding)
    }


def test_figures_carry_their_files_and_origin(found, root):
    figures = of(found, FigureItem)
    assert [figure.group for figure in figures] == ["effective", "evaluation"]
    assert figures[0].subject == {
        "model": "mixture",
        "checkpoint": "step-000100",
        "dataset": "ioi",
        "result": "eap",
    }
    assert all(path.is_file() for path in figures[0].files.values()) and list(figures[0].files) == [
        "PDF",
        "SVG",
        "CSV",
    ]
    origin = next(origin for origin in of(found, Origin) if origin.key == figures[0].origin)
    assert origin.inputs["graph-0"] in {other.digest for other in of(found, Origin)}


def test_tables_cover_models_data_methods_and_numbers(found):
    tables = {table.key: table for table in of(found, TableItem)}
    assert set(tables) == {
        "table-models",
        "table-data",
        "table-methods",
        "table-graphs",
        "table-faithfulness",
        "table-sbm",
        "table-statistics",
    }
    assert tables["table-models"].rows[0][:3] == ("mixture", 2, "step-000100")
    assert tables["table-data"].rows == (("ioi", "mixture", 64, "ioi"),)
    assert ("effective", "eap", 1, "method = eap; metric = logit_difference") in tables["table-methods"].rows
    assert tables["table-faithfulness"].rows[0][-3:] == ("logit_difference", 0.91, 0.09)
    assert tables["table-statistics"].rows[1][3:6] == ("effective.eap", "gini", 0.71)
    assert all(len(row) == len(table.columns) for table in tables.values() for row in table.rows)


def test_warnings_and_costs(found):
    assert of(found, Notice) == [Notice("mixture/datasets/ioi", "2 items were dropped")]
    costs = {cost.name: cost for cost in of(found, Cost)}
    eap = costs["mixture/step-000100/ioi/effective/eap"]
    assert (eap.stage, eap.seconds, eap.cpu_seconds, eap.peak_bytes) == ("effective", 3.25, 2.9, 400 * 2**20)
    assert costs["mixture/train"].stage == "train" and costs["mixture/train"].peak_bytes is None


def test_the_page_is_built_from_them(found, root, tmp_path):
    assert subtitle(found) == "9 results, 2 figures, 1 warning"
    html = build_report(found, root / "index.html", subtitle=subtitle(found)).read_text(encoding="utf-8")
    assert 'href="figures/mixture/step-000100/ioi/effective.eap.figure/figure.pdf"' in html


def test_only_the_studys_manifests_are_shown(root):
    chosen = [root / "mixture/datasets/ioi.json", root / "mixture/step-000100/model.json"]
    items = collect(root, chosen)
    assert len(of(items, Origin)) == 2 and not of(items, FigureItem)


def test_torn_and_missing_results_become_warnings(tmp_path):
    root = results_folder(tmp_path / "results")
    (root / "figures/mixture/step-000100/ioi/effective.eap.figure/figure.png").unlink()
    items = collect(root, [*find_manifests(root), root / "mixture/step-000100/absent.json"])
    texts = [notice.text for notice in of(items, Notice)]
    assert sum(text.startswith("This result could not be read") for text in texts) == 2
    assert len(of(items, FigureItem)) == 1


def test_nothing_to_report_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="is not a folder"):
        collect(tmp_path / "absent")
    with pytest.raises(StoreError, match="holds no result"):
        collect(tmp_path)


def test_hostile_names_survive_to_the_page_as_text(tmp_path):
    summary = {"items": 1, "tasks": ["<script>alert(1)</script>"]}
    make(tmp_path / "m/datasets/d.json", "pairs", stage="data", summary=summary)
    html = build_report(collect(tmp_path), tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_collecting_twice_gives_the_same(root):
    assert collect(root) == collect(root)


def test_the_report_needs_no_torch_and_no_matplotlib():
    code = (
        "import sys, compgraph.report.build, compgraph.report.collect; print(json.dumps(sorted(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", "import json;" + code], capture_output=True, text=True, check=True
    ).stdout
    assert not {"torch", "transformers", "matplotlib", "snakemake", "graph_tool"} & set(json.loads(out))
