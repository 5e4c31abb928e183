"""Ordinary text, cut into windows of equal length: no counterfactuals, no answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from compgraph.data.encoding import Encoder, tokenizer_of
from compgraph.data.prompts import PromptPairs
from compgraph.data.tasks.items import assign_splits
from compgraph.errors import DataError, MissingDependency

#: Characters tokenised at a time.
BLOCK = 1 << 18
#: At most so many windows are read for each one wanted: a choice without reading a whole corpus.
READ_AHEAD = 20


def text_pairs(
    path: str | Path,
    source: Any,
    *,
    length: int = 64,
    n: int | None = None,
    seed: int = 0,
    test_share: float = 0.2,
    split_seed: int = 0,
    config: str | None = None,
    column: str = "text",
    part: str = "train",
    revision: str | None = None,
) -> PromptPairs:
    """Windows of a text file or of a dataset of the Hugging Face hub.

    Parameters
    ----------
    path
        A text file (UTF-8); or the folder or hub name of a dataset, which needs the library ``datasets``.
    source
        A tokenizer, or a network that carries one.
    length
        Tokens in a window, special tokens at its start included.
    n
        Number of windows, chosen at random among the first 20 `n`; by default all.
    seed
        Of the choice.
    test_share, split_seed
        Share of test windows, on average, and which they are.
    config, column, part, revision
        For datasets: configuration, column of the texts, split (``"train"``), revision.

    Returns
    -------
    PromptPairs
        In the order of the text, with ids ``"<name>:<window>"`` and the name as task; `corrupted`, `answers`
        and `distractors` are None.

    Raises
    ------
    DataError
        If the file is missing or is no text, or there are fewer than `n` windows.
    MissingDependency
        If a dataset is named and ``datasets`` is not installed.
    """
    file = Path(path)
    if file.is_file():
        name, texts, separate = file.stem, _read_blocks(file), False
    elif file.suffix in (".txt", ".text", ".md") or (str(path).startswith((".", "/", "~")) and not file.is_dir()):
        raise DataError(f"{path}: there is no such file")
    else:
        name = str(path).rstrip("/").rsplit("/", 1)[-1]
        texts, separate = _read_dataset(str(path), config, column, part, revision), True
    limit = None if n is None else READ_AHEAD * n
    windows = cut_windows(texts, source, length, limit=limit, separate=separate)
    if len(windows) == 0:
        raise DataError(f"{path}: the text is shorter than one window of {length} tokens; lower length")
    if n is not None and len(windows) < n:
        raise DataError(
            f"{path}: {n} windows of {length} tokens were asked for and the text has {len(windows)}; lower n or length"
        )
    chosen = np.arange(len(windows))
    if n is not None:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(windows))[:n])
    ids = [f"{name}:{index:06d}" for index in chosen]
    return PromptPairs(windows[chosen], ids=ids, task=name, split=assign_splits(ids, split_seed, test_share))


def cut_windows(
    texts: Iterable[str], source: Any, length: int, *, limit: int | None = None, separate: bool = True
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Token windows [n, length] of texts in their order; what is left at the end is dropped.

    Parameters
    ----------
    texts
        Read only as far as needed.
    source
        A tokenizer, or a network that carries one. Special tokens that it puts before a text start every
        window.
    length
        Tokens in a window.
    limit
        Largest number of windows.
    separate
        Whether the texts are documents, to be parted by the end-of-sequence token if there is one.
    """
    encoder = Encoder(tokenizer_of(source))
    body = length - len(encoder.prefix)
    if body < 1:
        raise DataError(f"length = {length} leaves no room for text; it must be at least {length - body + 1}")
    end = [encoder.tokenizer.eos_token_id] if separate and encoder.tokenizer.eos_token_id is not None else []
    held: list[int] = []
    rows: list[list[int]] = []
    for text in texts:
        held += encoder.encode_plain(text) + end
        full = len(held) // body
        rows += [encoder.prefix + held[k * body : (k + 1) * body] for k in range(full)]
        del held[: full * body]
        if limit is not None and len(rows) >= limit:
            break
    return np.array(rows[:limit], dtype=np.int64).reshape(-1, length)


def _read_blocks(path: Path) -> Iterator[str]:
    """Blocks of whole lines: no word is cut, and memory stays flat."""
    block: list[str] = []
    size = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                block.append(line)
                size += len(line)
                if size >= BLOCK:
                    yield "".join(block)
                    block, size = [], 0
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if block:
        yield "".join(block)


def _read_dataset(name: str, config: str | None, column: str, part: str, revision: str | None) -> Iterator[str]:
    try:
        import datasets
    except ImportError:
        raise MissingDependency(
            f"{name!r} is not a text file, and reading it as a dataset needs the library datasets: pip install datasets"
        ) from None
    try:
        rows = datasets.load_dataset(name, config, split=part, revision=revision, streaming=True)
    except (OSError, ValueError) as error:
        # The library's own errors for unknown names, configurations and splits derive from these two.
        raise DataError(f"the dataset {name!r} cannot be opened: {str(error).splitlines()[0]}") from error
    for row in rows:
        if column not in row:
            raise DataError(f"the dataset {name!r} has no column {column!r}; it has: {', '.join(row)}")
        yield str(row[column])
