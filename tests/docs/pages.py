"""Reading the pages: their code blocks, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
HIDDEN = re.compile(r"<!-- setup\n(?P<code>.*?)-->", re.DOTALL)
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A code block: its language line, code, and first line in the page. Hidden set-up has the language
    `setup`.
    """

    info: str
    code: str
    line: int


def blocks(text: str) -> list[Block]:
    """Code blocks in order, hidden set-up among them."""
    found = [
        Block(match["info"].strip(), match["code"], text.count("\n", 0, match.start("code")) + 1)
        for match in FENCE.finditer(text)
    ]
    hidden = [
        Block("setup", match["code"], text.count("\n", 0, match.start("code")) + 1)
        for match in HIDDEN.finditer(text)
    ]
    return sorted([*found, *hidden], key=lambda block: block.line)


def links(text: str) -> list[str]:
    """Targets of links and pictures outside code."""
    return [match["target"] for match in LINK.finditer(FENCE.sub("", text))]


def anchors(text: str) -> set[str]:
    """Anchors that the headings of a page get."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
