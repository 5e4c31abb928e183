"""The pages are true: their Python runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from .pages import PAGES, ROOT, anchors, blocks, links

IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
LANGUAGES = {"python", "sh", "yaml", "text", "json", "setup"}


def executable(page: Path) -> bool:
    return any(block.info in ("python", "setup") for block in blocks(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [p for p in PAGES if executable(p)], ids=lambda p: p.name)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__page__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.info in ("python", "setup"):
            padded = "\n" * (block.line - 1) + block.code  # so that errors name the line of the page
            exec(compile(padded, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_block_says_its_language(page):
    # Python that is not run could rot: only the network excuses a block, and none needs it so far.
    assert {block.info for block in blocks(page.read_text(encoding="utf-8"))} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist(page):
    from compgraph.cli.main import main

    for block in blocks(page.read_text(encoding="utf-8")):
        if block.info != "sh":
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["compgraph"]:
                check_command(main, words[1:], f"{page.name}: {line}")
            elif words[:1] == ["make"]:
                targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
                assert {word for word in words[1:] if "=" not in word} <= targets, line


def check_command(group: click.Command, words: list[str], where: str) -> None:
    """The verb exists and knows the options; values and files are not looked at."""
    command = group
    context = click.Context(group)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        verb, words = words[0], words[1:]
        found = command.get_command(context, verb)
        assert found is not None, f"{where}: no verb {verb!r}"
        command, context = found, click.Context(found, parent=context)
    known = {
        option
        for parameter in command.get_params(context)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    given = {word.split("=")[0] for word in words if word.startswith("-")}
    assert given <= known, f"{where}: unknown options {sorted(given - known)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page):
    for target in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target) or target.endswith((".png", ".svg")):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_pictures_exist_and_are_small(page):
    for target in links(page.read_text(encoding="utf-8")):
        if target.endswith((".png", ".svg")) and not re.match(r"[a-z]+:", target):
            picture = page.parent / target
            assert picture.is_file(), f"{page.name}: {target}"
            assert picture.stat().st_size < 300_000, f"{target} is larger than 300 kB"


def test_the_configuration_reference_is_what_the_config_accepts():
    import runpy

    reference = runpy.run_path(str(ROOT / "docs/reference.py"))
    fresh = reference["page"]()
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == fresh, (
        "run: python docs/reference.py"
    )


def test_every_page_is_reachable_from_the_index():
    reached, waiting = set(), [ROOT / "docs/index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        targets = [target.partition("#")[0] for target in links(page.read_text(encoding="utf-8"))]
        waiting += [(page.parent / target).resolve() for target in targets if target.endswith(".md")]
    assert {page for page in PAGES if page.parent.name == "docs"} <= reached


def test_the_figure_table_lists_what_can_be_drawn():
    from compgraph import catalogue

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = {
        row[0].strip("` "): row
        for row in (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| "))
    }
    for name in catalogue.FIGURES:
        assert name in table, f"figure {name} is missing in README.md"
    study = [f"T{k}" for k in range(1, 12)] + [f"B{k}" for k in range(1, 9)]
    assert set(study) <= set(table)
