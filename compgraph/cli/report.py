"""``compgraph report``: one page for a whole study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb

README = """\
# Results

One folder a model, in it one a checkpoint, in it one a dataset, in it one a stage:

    <model>/<checkpoint>/model.json                      the checkpoint
    <model>/datasets/<dataset>.json                      the dataset in the model's own tokens
    <model>/<checkpoint>/structural/<name>.json          graphs from the weights alone
    <model>/<checkpoint>/<dataset>/activations.json      recorded activations
    <model>/<checkpoint>/<dataset>/attributions/<name>.json    what each unit contributes to a metric
    <model>/<checkpoint>/<dataset>/functional/<name>.json, effective/<name>.json, rois/<name>.json
    <model>/<checkpoint>/<dataset>/ablation/<name>@<stage>.<graph>.json, and communities, sbm, statistics likewise
    <model>/<checkpoint>/<dataset>/evaluation/<name>@<entry of ablation>@<stage>.<graph>.json    tables from its runs
    figures/…                                            every figure as PDF, PNG and SVG, with its data and caption
    report/index.html                                    all of it on one page
    logs/…, benchmarks/…                                 of every job: what it said, what it cost
    cache/…                                              runs of single circuits and learned constants, for a new size

`<name>` is an entry of the config file; `<name>@<stage>.<graph>` was made from that graph.

Every `….json` is a manifest: how the result beside it was made (parameters, seed, inputs, code, versions) and the size
and checksum of every file of it. The result itself has the same name with another ending. A manifest is written last,
so where there is one the result is whole; `compgraph show FILE` checks and shows it.

Results can be deleted: `compgraph run` makes what is missing. Edit nothing here by hand.
"""


@verb("report", section="report")
@click.option("--config", "-c", type=TO_BE_GIVEN, default=Path("config.yaml"), help="The study.")
@click.option("--output", "-o", type=TO_BE_GIVEN, required=True, help="Page to write (….html).")
def command(call: Call, config: Path, output: Path, entry: Any) -> None:
    """Everything that the study's config asks for and that has been made. The page needs no other file."""
    from compgraph.cli.run import load_study
    from compgraph.report.build import build_report
    from compgraph.report.collect import collect, subtitle
    from compgraph.reruns.report import made_from, page_of, record

    study = load_study(config)
    made = made_from(study)
    items = collect(study.root, study.paths())
    output.parent.mkdir(parents=True, exist_ok=True)
    build_report(items, output, entry.title, subtitle=subtitle(items))
    (study.root / "README.md").write_text(README, encoding="utf-8")
    if output.resolve() == page_of(study).resolve():
        record(study, made)
    call.say(str(output))
