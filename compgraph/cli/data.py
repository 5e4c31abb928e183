"""``compgraph data``: prompts, text windows or images, for one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, output_option, verb
from compgraph.data.readers import held_out_share, preparation, reader_digest

if TYPE_CHECKING:
    from compgraph.store import Result


@verb("data", section="datasets")
@click.argument("model", type=TO_BE_GIVEN)
@output_option
def command(call: Call, model: Path, output: Path, entry: Any) -> None:
    """MODEL is the manifest of any checkpoint of the model: prompts are written in its tokenizer's words."""
    from compgraph import store

    opened = store.open(model, kind="model")
    if entry.kind == "images":
        pairs, said = _images(opened, entry), dict[str, Any]()
    else:
        pairs, said = _prompts(opened, entry)
    reader = reader_digest(opened, entry.kind, said.get("tokenizer"))
    assert reader is not None
    # Checkpoints of a model share the tokenizer; the result depends on that, not on any weight.
    with call.result(output, "pairs", ".data", inputs={"reader": reader}) as draft:
        pairs.save(draft.path)
        draft.summary.update(items=pairs.n, tasks=sorted(set(pairs.task.tolist())), **said)


def _images(model: Result, entry: Any) -> Any:
    from compgraph.data.images import load_images
    from compgraph.errors import DataError

    prepared = {name: value for name, value in preparation(model).items() if name != "input_shape"}
    size = tuple(entry.size) if entry.size else None
    pairs = load_images(entry.images, entry.n, entry.split, entry.seed, path=entry.path, size=size, **prepared)
    expected = model.summary["input_shape"]
    if list(pairs.shape) != expected:
        raise DataError(f"{entry.images} has images of shape {list(pairs.shape)}, but the model reads {expected}")
    return pairs


def _prompts(model: Result, entry: Any) -> tuple[Any, dict[str, Any]]:
    """Pairs, and what was dropped on the way, with the digest of the tokenizer."""
    from compgraph.cli.inputs import open_tokenizer, tokenizer_digest

    tokenizer = open_tokenizer(model)
    digest = tokenizer_digest(tokenizer)
    if entry.kind == "text":
        from compgraph.data.text import text_pairs

        pairs = text_pairs(entry.path, tokenizer, length=entry.length, n=entry.n, seed=entry.seed)
        return pairs, {"tokenizer": digest}
    pairs, report = _pairs(tokenizer, entry, held_out_share(model))
    return pairs, {"report": report.to_dict(), "said": report.sentence, "tokenizer": digest}


def _pairs(tokenizer: Any, entry: Any, test_share: float) -> Any:
    from compgraph.config.datasets import options_by_task, words_of

    if entry.kind == "pairs":
        from compgraph.data.files import file_pairs

        return file_pairs(entry.path, tokenizer, entry.columns, n=entry.n, seed=entry.seed)
    if entry.kind == "task":
        from compgraph.data.tokenise import task_pairs

        options = {name: words_of(value) for name, value in entry.options.items()}
        split = {"split": entry.split, "test_share": test_share}
        return task_pairs(entry.task, tokenizer, entry.n, entry.seed, **split, **options)
    from compgraph.data.mixture import mixture_pairs

    tasks = options_by_task(entry.tasks, entry.options)
    return mixture_pairs(tasks, tokenizer, entry.n, entry.seed, split=entry.split, test_share=test_share)
