"""Small, hostile changes to a file: of its bytes, or of the tree of a JSON file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2.5, 10**18, -(10**18), 1e308),
    *("", "..", "/etc/passwd", "a\nb", "\x00", "<script>", "nan", "x" * 5000),
    *([], {}, [[[]]], {"a": {"b": []}}, [None], ["x"] * 300),
)
"""Values that a careless reader takes for something else."""


def mutate(path: Path, rng: random.Random) -> str:
    """Change a file in place; say how."""
    ways = [flip, cut, blank, insert, repeat]
    if path.suffix == ".json":
        ways += [edit] * 8
    way = rng.choice(ways)
    content = path.read_bytes()
    path.write_bytes(way(content, rng))
    return f"{path.name}: {way.__name__}"


def flip(content: bytes, rng: random.Random) -> bytes:
    """Up to eight bytes are others."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return content[: rng.randrange(len(content) + 1)]


def blank(content: bytes, rng: random.Random) -> bytes:
    """A stretch is zeros."""
    start = rng.randrange(len(content) + 1)
    length = min(rng.randint(1, 200), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def insert(content: bytes, rng: random.Random) -> bytes:
    """Some bytes too many."""
    start = rng.randrange(len(content) + 1)
    return content[:start] + rng.randbytes(rng.randint(1, 30)) + content[start:]


def repeat(content: bytes, rng: random.Random) -> bytes:
    """A stretch stands twice."""
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start : start + rng.randint(1, 100)] + content[start:]


def edit(content: bytes, rng: random.Random) -> bytes:
    """Something in the tree of a JSON file is missing, or odd."""
    tree = json.loads(content)
    places = list(_places(tree))
    if not places:
        return json.dumps(rng.choice(ODD)).encode()
    holder, key = rng.choice(places)
    if rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = rng.choice(ODD)
    return json.dumps(tree).encode()


def _places(tree: Any) -> Any:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])
