"""Checkpoints on disk or on the hub: where their files are and whether the files are whole.

Everything here reads names, sizes and headers only, before `transformers` or any weight is touched, so that a
broken checkpoint is refused at once and in one sentence. It needs neither torch nor `transformers`.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compgraph.errors import ModelError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
TOKENIZER_EXTRAS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
)
ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Element types that weights may have, and their bytes."""

OTHER_SIZES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Element types of stored constants, which are not weights."""


@dataclass(frozen=True)
class Checkpoint:
    """A model folder, local or on the hub.

    Attributes
    ----------
    name
        As the user wrote it.
    folder
        Where its files are (for the hub: the cached snapshot).
    config
        Content of config.json.
    fetch
        File name -> its path, downloaded if need be; None where the checkpoint has no such file.
    on_hub
        Whether `name` is a hub name.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    fetch: Callable[[str], Path | None]
    on_hub: bool


@dataclass(frozen=True)
class TensorHeader:
    """What a safetensors header says of one tensor."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


def open_checkpoint(path_or_hub_name: str | Path, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint and read its config.json.

    Raises
    ------
    ModelError
        No such folder or hub name, no or unreadable config.json, or one that asks for code of its own.
    """
    name = str(path_or_hub_name)
    path = Path(name).expanduser()
    if name and path.exists():
        if not path.is_dir():
            raise ModelError(f"{name} is a file; give the folder that holds {CONFIG} and {WEIGHTS}.")
        path = revision_folder(path, revision)
        folder: Path | None = path
        fetch = _local(path)
    elif _looks_like_a_path(path_or_hub_name):
        raise ModelError(f"{name}: no such folder; give a folder that holds {CONFIG}, or a hub name (owner/model).")
    else:
        fetch = _hub(name, revision)
        folder = None
    config_path = fetch(CONFIG)
    if config_path is None:
        raise ModelError(f"{name} has no {CONFIG}; a model folder in Hugging Face format holds one.")
    config = read_json(config_path)
    if "auto_map" in config:
        raise ModelError(
            f"{config_path}: auto_map asks to run code that comes with the model ({config['auto_map']}); "
            "compgraph runs none, only the families it knows."
        )
    return Checkpoint(name, folder or config_path.parent, config, fetch, on_hub=folder is None)


def revision_folder(folder: Path, revision: str | None) -> Path:
    """Where the checkpoint of a local model lies: a folder of that name in the model's, or that, with a file of it.

    Raises
    ------
    ModelError
        There is neither.
    """
    if revision in (None, "main"):
        return folder
    if (folder / revision).is_dir():
        return folder / revision
    if (folder / f"{revision}.safetensors").is_file():
        return folder
    raise ModelError(
        f"revision is {revision!r}, but the folder {folder} holds no folder {revision} and no file "
        f"{revision}.safetensors; leave revision out, or give a hub name."
    )


def _looks_like_a_path(name: str | Path) -> bool:
    if isinstance(name, Path):
        return True
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith("/") or not name


def _local(folder: Path) -> Callable[[str], Path | None]:
    def fetch(file: str) -> Path | None:
        return folder / file if (folder / file).is_file() else None

    return fetch


def _hub(name: str, revision: str | None) -> Callable[[str], Path | None]:
    """Fetch from the hub or its cache, all files from the commit of the first."""
    from huggingface_hub import errors, hf_hub_download

    commit: list[str] = []

    def fetch(file: str) -> Path | None:
        try:
            with _quiet_hub():
                path = Path(hf_hub_download(name, file, revision=commit[0] if commit else revision))
        except (errors.GatedRepoError, errors.DisabledRepoError) as error:
            raise ModelError(f"{name}: the hub does not give access to this model (gated or disabled).") from error
        except errors.RepositoryNotFoundError as error:
            raise ModelError(
                f"{name}: no such folder, and the hub has no public model of that name; check the spelling, "
                "or log in for a private one."
            ) from error
        except errors.RevisionNotFoundError as error:
            raise ModelError(f"{name}: the hub has no revision {revision!r} of it.") from error
        except errors.HFValidationError as error:
            raise ModelError(f"{name}: neither a folder nor a valid hub name (owner/model).") from error
        except errors.LocalEntryNotFoundError as error:
            if commit:  # offline with part of the model in the cache: the caller knows what it needs
                return None
            where = name if revision is None else f"{name} (revision {revision})"
            raise ModelError(
                f"{where}: no such folder, and the hub cannot be reached (offline) nor does its cache hold "
                "the model; give a folder, or go online once to download it."
            ) from error
        except errors.EntryNotFoundError:
            return None
        except errors.HfHubHTTPError as error:
            raise ModelError(f"{name}: the hub answered with an error for {file} ({_line(error)}).") from error
        if not commit:
            commit.append(path.parent.name)
        return path

    return fetch


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """No log of retries inside (the refusal says what failed); the user's own setting afterwards."""
    from huggingface_hub.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; ModelError otherwise."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: not readable as JSON ({_line(error)}).") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}; it must be a JSON object.")
    return content


def read_headers(checkpoint: Checkpoint) -> dict[str, TensorHeader]:
    """Headers of all tensors of a checkpoint, from one file or its shards, each checked against its file.

    Raises
    ------
    ModelError
        No safetensors weights, a missing or truncated file, or an index that disagrees with its shards.
    """
    single = checkpoint.fetch(WEIGHTS)
    if single is not None:
        return read_header(single)
    index_path = checkpoint.fetch(INDEX)
    if index_path is None:
        raise ModelError(_without_safetensors(checkpoint))
    placed = read_json(index_path).get("weight_map")
    if not isinstance(placed, dict) or not placed or not all(isinstance(v, str) for v in placed.values()):
        raise ModelError(f"{index_path}: weight_map is missing or empty; it must name a file for every tensor.")
    names = sorted(set(placed.values()))
    odd = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if odd:
        raise ModelError(f"{index_path}: weight_map names {odd[0]!r}; valid are .safetensors files of that folder.")
    files = {name: checkpoint.fetch(name) for name in names}
    missing = [name for name, path in files.items() if path is None]
    if missing:
        raise ModelError(f"{checkpoint.name}: {INDEX} names files that are missing: {', '.join(missing)}.")
    headers: dict[str, TensorHeader] = {}
    for path in files.values():
        assert path is not None
        headers |= read_header(path)
    lost = sorted(set(placed) - set(headers))
    if lost:
        raise ModelError(f"{index_path}: its shards do not hold {listed(lost)}.")
    return headers


def _without_safetensors(checkpoint: Checkpoint) -> str:
    found = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in checkpoint.folder.glob(pattern))
    if checkpoint.on_hub and not found:
        found = _hub_pickles(checkpoint)
    if found:
        return (
            f"{checkpoint.name}: its weights are pickled ({', '.join(found)}), which can run code when "
            f"opened; only safetensors are read ({WEIGHTS}, or {INDEX} with its shards)."
        )
    return f"{checkpoint.name}: no weights found; expected {WEIGHTS}, or {INDEX} with its shards."


def _hub_pickles(checkpoint: Checkpoint) -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        files = HfApi().list_repo_files(checkpoint.name, revision=checkpoint.folder.name)
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError):
        return []  # only the wording of a refusal depends on it
    return sorted(file for file in files if file.endswith((".bin", ".pt", ".pth")) and "/" not in file)


def read_header(path: Path) -> dict[str, TensorHeader]:
    """The header of one safetensors file, checked against the file's size.

    The format is: header length (8 bytes, little endian), header (JSON), data; each tensor gives its range in
    the data, and the ranges tile the data without gap.

    Raises
    ------
    ModelError
        The file is truncated, too long or not safetensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= size - 8:
            raise ModelError(f"{path}: truncated or not a safetensors file ({size} bytes, header of {length}).")
        raw = file.read(length)
    try:
        entries = json.loads(raw)
        entries.pop("__metadata__", None)
        tensors = {
            str(name): (str(e["dtype"]), tuple(int(n) for n in e["shape"]), int(e["data_offsets"][0]))
            for name, e in entries.items()
        }
        end = max((int(e["data_offsets"][1]) for e in entries.values()), default=0)
        sizes = {name: int(e["data_offsets"][1]) - int(e["data_offsets"][0]) for name, e in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ModelError(f"{path}: not a safetensors file (its header cannot be read).") from error
    if 8 + length + end != size:
        what = "truncated" if size < 8 + length + end else "too long"
        raise ModelError(f"{path}: {what}; its header describes {8 + length + end} bytes, the file has {size}.")
    if sum(sizes.values()) != end:
        raise ModelError(f"{path}: damaged; its header's ranges do not tile the data.")
    known = ITEM_SIZES | OTHER_SIZES
    for name, (dtype, shape, _) in tensors.items():
        if dtype in known and known[dtype] * math.prod(shape) != sizes[name]:
            raise ModelError(f"{path}: damaged; {name} is {dtype}{list(shape)}, but takes {sizes[name]} bytes.")
    return {name: TensorHeader(path, dtype, shape) for name, (dtype, shape, _) in tensors.items()}


def listed(names: Iterable[str]) -> str:
    """Names in a sentence; those that differ only in the layer share an entry: `h.{0-11}.ln_1.bias`."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for name in names:
        parts = name.split(".")
        place = next((i for i, part in enumerate(parts) if part.isdigit()), None)
        if place is None:
            groups[name,] = []
        else:
            around = (".".join(parts[:place]), ".".join(parts[place + 1 :]))
            groups.setdefault(around, []).append(int(parts[place]))
    entries = []
    for key, numbers in groups.items():
        if not numbers:
            entries.append(key[0])
        else:
            middle = str(numbers[0]) if len(numbers) == 1 else "{" + _ranges(numbers) + "}"
            entries.append(".".join(part for part in (key[0], middle, key[1]) if part))
    return ", ".join(entries)


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
