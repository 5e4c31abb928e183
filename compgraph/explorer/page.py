"""Writing a page: one HTML file that needs no network and no server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compgraph.explorer.views import Curve, Grouping, Page, View

if TYPE_CHECKING:
    import pandas as pd

    from compgraph.graph import ComputationalGraph

HERE = Path(__file__).parent
STATIC = HERE / "static"


def explore(
    graph: ComputationalGraph,
    path: str | Path,
    *,
    curve: pd.DataFrame | None = None,
    groupings: Sequence[Grouping] = (),
    title: str = "",
) -> Path:
    """Write an interactive page about one graph.

    Parameters
    ----------
    graph
        Of any kind.
    path
        The file to write (``….html``).
    curve
        Faithfulness of its circuits (`compgraph.faithfulness(...).table`): shown beside the threshold.
    groupings
        Divisions of the nodes to colour and to sort by.
    title
        Headline; by default the graph's kind and size.

    Returns
    -------
    The file.
    """
    curves = () if curve is None else (Curve("circuits", curve),)
    heading = title or f"{graph.kind.capitalize()} graph of {graph.n_nodes:,} nodes"
    return write_page(Page(heading, [View(graph, curves=curves)], groupings), path)


def write_page(page: Page, path: str | Path) -> Path:
    """Write a page.

    The same page gives the same bytes. The file works offline; its own program is the only one that a browser will run
    in it, since its content policy names that program's digest.

    Raises
    ------
    GraphError
        If the page has no view, or its views do not fit together.
    """
    script = (STATIC / "explorer.js").read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True, undefined=StrictUndefined)
    html = environment.get_template("explorer.html.j2").render(
        title=page.title,
        style=(STATIC / "explorer.css").read_text(encoding="utf-8"),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        data=_embedded(page),
    )
    output = Path(path)
    output.write_text(html, encoding="utf-8", newline="\n")
    return output


def _embedded(page: Page) -> str:
    """JSON that cannot close the element it stands in."""
    text = json.dumps(page.to_dict(), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
