"""``compgraph explore``: an interactive page about a graph."""

from __future__ import annotations

from pathlib import Path

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb
from compgraph.errors import DataError


@verb("explore")
@click.argument("graph", type=TO_BE_GIVEN)
@click.argument("beside", type=TO_BE_GIVEN, nargs=-1)
@click.option(
    "--output", "-o", type=TO_BE_GIVEN, help="Page (….html), or manifest (….json) of a page that is a result."
    " By default a page named like the graph, here.",
)  # fmt: skip
@click.option("--results", type=TO_BE_GIVEN, help="The results folder; by default the one that the graph lies in.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
def command(
    call: Call, graph: Path, beside: tuple[Path, ...], output: Path | None, results: Path | None, open_page: bool
) -> None:
    """GRAPH is the manifest of a graph, or the graph's folder. BESIDE are manifests of what else the page shows: other
    graphs on the same nodes, curves, blocks, communities, regions, activations, attributions, the dataset and the
    model. Without them all of these are taken that lie around the graph in its results folder. A folder is shown alone.
    """
    from compgraph.cli.inputs import open_tokenizer
    from compgraph.explorer.gather import companions, gather, root_of
    from compgraph.explorer.page import explore, write_page
    from compgraph.graph import ComputationalGraph

    page = output or Path(f"{graph.stem}.html")
    if page.suffix not in (".html", ".json"):
        raise DataError(f"--output {page} must end in .html or .json")
    if graph.is_dir():
        if page.suffix == ".json" or beside:
            raise DataError(f"{graph} is a graph's folder, which is shown alone, as a page (….html)")
        explore(ComputationalGraph.load(graph), page, title=graph.stem)
    else:
        root = results or root_of(graph)
        known = gather(graph, list(beside) or companions(graph), root, open_tokenizer)
        if page.suffix == ".json":
            with call.result(page, "page", ".html", inputs=known.digests, parameters={}) as draft:
                write_page(known.page, draft.path)
                draft.summary.update(graphs=len(known.page.views), nodes=len(known.page.views[0].graph.node_names))
            return
        write_page(known.page, page)
    call.say(str(page))
    if open_page:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
