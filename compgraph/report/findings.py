"""The opening summary: what was found, in sentences with numbers, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from compgraph import store
from compgraph.errors import StoreError
from compgraph.report.items import FigureItem, Finding
from compgraph.report.overview import Placed, of_stage
from compgraph.report.places import Place

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.8
FALSE_DISCOVERIES = 0.05
MOST = 12
"""Sentences about curves, and about blocks, at most; the tables hold the rest."""


def findings(results: Sequence[Placed], figures: Sequence[FigureItem]) -> list[Finding]:
    """Sentences in order of the pipeline: what was studied, how well models do, circuits, blocks."""
    last = _last_checkpoints(results)
    latest = [(place, result) for place, result in results if last.get(place.model) == place.checkpoint]
    return [
        _studied(results),
        *_accuracies(latest),
        *_shortened(_circuits(latest, figures)),
        *_shortened(_block_models(latest, figures)),
        *_shortened(_tests(latest, figures)),
        *_shortened(_against_chance(latest)),
        *_cautions(results),
    ]


def _last_checkpoints(results: Iterable[Placed]) -> dict[str, str]:
    """Model -> its last checkpoint by name; names of trained checkpoints have a fixed width."""
    last: dict[str, str] = {}
    for place, _ in results:
        if place.checkpoint:
            last[place.model] = max(last.get(place.model, ""), place.checkpoint)
    return last


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _studied(results: Sequence[Placed]) -> Finding:
    models = list(dict.fromkeys(place.model for place, _ in results if place.model))
    checkpoints = {(place.model, place.checkpoint) for place, _ in results if place.checkpoint}
    datasets = {place.dataset for place, _ in results if place.dataset}
    return Finding(
        f"{_plural(len(models), 'model')} ({', '.join(models)}) with"
        f" {_plural(len(checkpoints), 'checkpoint')} in all, studied on {_plural(len(datasets), 'dataset')};"
        f" {_plural(len(results), 'result')}."
    )


def _accuracies(latest: Sequence[Placed]) -> list[Finding]:
    """What the models can do, as their training measured it."""
    out = []
    for place, result in of_stage(latest, "model"):
        accuracy = result.summary.get("accuracy")
        if isinstance(accuracy, (int, float)):
            said = f"{accuracy:.1%}".replace("%", " %")
        elif isinstance(accuracy, dict) and accuracy:
            said = ", ".join(f"{value:.1%} on {task}".replace("%", " %") for task, value in accuracy.items())
        else:
            continue
        out.append(
            Finding(f"{place.model} at {place.checkpoint} has a test accuracy of {said}.", "table-models")
        )
    return out


def _shortened(sentences: list[Finding]) -> list[Finding]:
    """At most `MOST`, and how many more there are."""
    more = len(sentences) - MOST
    return (
        sentences
        if more <= 0
        else [*sentences[:MOST], Finding(f"{more:,} more are in the tables.", "numbers")]
    )


def _circuits(latest: Sequence[Placed], figures: Sequence[FigureItem]) -> list[Finding]:
    """One sentence per curve: the smallest circuit that is faithful from there on."""
    out = []
    for place, result in of_stage(latest, "evaluation"):
        try:
            table = store.read_table(result.path)
        except StoreError:
            continue  # reported with the warnings when the manifest was opened
        if "task" in table:
            table = table[table["task"] == "all"]
        metrics = list(dict.fromkeys(table["metric"]))
        if metrics:
            sentence = _circuit(table[table["metric"] == metrics[0]], place, result)
            out.append(Finding(sentence, _figure_of(place, figures, "evaluation")))
    return out


def _circuit(curve: pd.DataFrame, place: Place, result: store.Result) -> str:
    curve = curve.sort_values("fraction", kind="stable").dropna(subset=["faithfulness"])
    metric = str(curve["metric"].iloc[0]).replace("_", " ") if len(curve) else "the metric"
    graph = place.graph.partition(".")[2]
    summary = result.summary
    how = f"{summary.get('ablation', '')} ablation, {summary.get('baseline', '')} baseline"
    opening = f"On {place.dataset}, {place.model}'s graph {graph} ({how})"
    if curve.empty:
        return f"{opening}: faithfulness is undefined at every size."
    values = curve["faithfulness"].tolist()
    start = max((k + 1 for k, value in enumerate(values) if value < LEVEL), default=0)
    if start == len(values):
        best = curve.loc[curve["faithfulness"].idxmax()]
        return (
            f"{opening}: no evaluated circuit stays at or above {LEVEL:.0%} of the model's {metric}".replace(
                "%", " %"
            )
            + f"; the best has {best['faithfulness']:.2f} with {_plural(int(best['n_edges']), 'edge')}."
        )
    row = curve.iloc[start]
    total = summary.get("n_edges")
    of_all = f" of {total:,}" if isinstance(total, int) else ""
    interval = ""
    if {"low", "high"} <= set(curve.columns):
        examples = summary.get("n_examples")
        over = f", {_plural(examples, 'example')}" if isinstance(examples, int) else ""
        interval = f" (95 % interval {row['low']:.2f} to {row['high']:.2f}{over})"
    return (
        f"{opening}: {_plural(int(row['n_edges']), 'edge')}{of_all} keep {row['faithfulness']:.2f} of the"
        f" model's {metric}{interval}."
    )


def _block_models(latest: Sequence[Placed], figures: Sequence[FigureItem]) -> list[Finding]:
    out = []
    for place, result in of_stage(latest, "sbm"):
        summary = result.summary
        number, gain = summary.get("n_blocks"), summary.get("gain")
        if number is None:
            continue
        graph = place.graph.replace(".", " graph ", 1) or f"layers of {place.entry}"
        of_what = f"the {graph} of {place.model}" + (f" on {place.dataset}" if place.dataset else "")
        if number <= 1:
            text = f"No block structure is found in {of_what}: one block describes it best."
        else:
            text = f"The block model finds {number} blocks in {of_what}"
            if isinstance(gain, (int, float)):
                text += f", and describes it in {gain:,.0f} nats fewer than one block"
            agreement = summary.get("agreement")
            if isinstance(agreement, (int, float)):
                text += f"; runs from different seeds agree with an adjusted Rand index of {agreement:.2f}"
            text += "."
        out.append(Finding(text, _figure_of(place, figures, "sbm")))
    return out


def _tests(latest: Sequence[Placed], figures: Sequence[FigureItem]) -> list[Finding]:
    """The verdict of every test, as it says it itself."""
    out = []
    for place, result in of_stage(latest, "tests"):
        graph = f"'s graph {place.graph.partition('.')[2]}" if place.graph else ""
        text = f"On {place.dataset}, {place.model}{graph}, {place.entry}: {result.summary.get('verdict')}"
        out.append(Finding(text, _figure_of(place, figures, "tests")))
    return out


def _against_chance(latest: Sequence[Placed]) -> list[Finding]:
    """One sentence per table of statistics: which measures differ from their null model."""
    out = []
    for place, result in of_stage(latest, "statistics"):
        try:
            table = store.read_table(result.path)
        except StoreError:
            continue  # reported with the warnings when the manifest was opened
        if not {"measure", "value", "low", "high", "q"} <= set(table.columns):
            continue
        tested = table.dropna(subset=["value", "q"])
        apart = tested[tested["q"] <= FALSE_DISCOVERIES]
        said = "; ".join(
            f"{row.measure} {row.value:.3g} (chance: {row.low:.3g} to {row.high:.3g})"
            for row in apart.itertuples()
        )
        graph = place.graph.replace(".", " graph ", 1)
        of_what = f"the {graph} of {place.model}" + (f" on {place.dataset}" if place.dataset else "")
        text = f"{len(apart)} of {_plural(len(tested), 'measure')} of {of_what} differ from chance"
        rate = "at a false discovery rate of 5 %" + (": " + said if said else "")
        out.append(Finding(f"{text} {rate}.", "table-statistics"))
    return out


def _figure_of(place: Place, figures: Sequence[FigureItem], group: str) -> str:
    """Key of the figure that shows a result, else of its table."""
    where = {"model": place.model, "checkpoint": place.checkpoint, "dataset": place.dataset}
    for figure in figures:
        same = all(figure.subject.get(name, "") == value for name, value in where.items())
        named = figure.subject.get("result", "")
        made_from = "@".join(part for part in (place.entry, place.runs, place.graph) if part)
        if figure.group == group and same and named in ("", place.entry, made_from):
            return figure.key
    return {"evaluation": "table-faithfulness", "sbm": "table-sbm", "tests": "table-tests"}[group]


def _cautions(results: Sequence[Placed]) -> list[Finding]:
    number = sum(1 for _, result in results if result.warnings)
    if not number:
        return []
    return [
        Finding(f"{_plural(number, 'result')} {'carries' if number == 1 else 'carry'} warnings.", "warnings")
    ]
