"""``compgraph verify``: is every result of a folder as it was written, and does it still belong to the others?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb

if TYPE_CHECKING:
    from compgraph.verification import Tree

SHOWN = 20
"""Findings of one kind that are listed."""


@verb("verify")
@click.argument("folder", type=TO_BE_GIVEN, required=False)
@click.option("--config", "-c", type=TO_BE_GIVEN, help="A study: list what it does not ask for.")
@click.option("--fast", is_flag=True, help="Compare sizes only, instead of reading every byte.")
@click.option("--weights", is_flag=True, help="Load pretrained models and compare their weights with those registered.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding as JSON.")
def command(call: Call, folder: Path | None, config: Path | None, fast: bool, weights: bool, as_json: bool) -> None:
    """Check all results of FOLDER (of the study's folder, or results/) byte by byte, and the chain of digests from
    each to what it was made from; with a study, also parameters, code and files. Exit code 1 if anything is torn or
    stale."""
    from compgraph.verification import verify_tree

    root, wanted = place(folder, config)
    tree = verify_tree(root, wanted, fast)
    if config is not None:
        add_outdated(tree, root, config)
    if weights:
        check_weights(tree)
    click.echo(as_text(tree, root) if not as_json else json.dumps(as_data(tree), indent=1))
    if not tree.sound:
        raise SystemExit(1)


def place(folder: Path | None, config: Path | None) -> tuple[Path, list[str] | None]:
    """The results folder of a call, and the manifests that its study asks for, if one is given."""
    if config is None:
        return folder or Path("results"), None
    from compgraph.cli.run import load_study

    study = load_study(config)
    root = folder or study.root
    parts = [Path(path).relative_to(study.root) for path in study.all_parts()]
    return root, [*(str(root / result.path) for result in study.results()), *(str(root / part) for part in parts)]


def add_outdated(tree: Tree, root: Path, config: Path) -> None:
    """Find results that are whole and that the study would make otherwise now."""
    from compgraph.cli.run import load_study
    from compgraph.reruns.reckoning import Reckoning

    study = load_study(config)
    if root.resolve() != study.root.resolve():
        return
    said = {one.path.absolute() for one in tree.of("torn", "stale")}
    for path, reasons in Reckoning(study).own_reasons.items():
        if reasons[0].kind not in ("new", "missing", "damaged") and Path(path).absolute() not in said:
            tree.say("stale", Path(path), " and ".join(reason.text for reason in reasons))


def check_weights(tree: Tree) -> None:
    """Find pretrained models that are no longer what was registered."""
    from compgraph.cli.inputs import SOURCE, open_network
    from compgraph.errors import CompgraphError

    for manifest, result in tree.results.items():
        if result.kind == "model" and (result.path / SOURCE).is_file():
            try:
                open_network(manifest, "cpu")
            except CompgraphError as error:
                tree.say("stale", manifest, str(error))


def as_text(tree: Tree, root: Path) -> str:
    """What was found, a paragraph for each state."""
    from compgraph.store import format_bytes
    from compgraph.verification import STATES

    size = sum(result.size for result in tree.results.values())
    lines = [f"{root}: {len(tree.results)} whole results, {format_bytes(size)}."]
    for state, meaning in STATES.items():
        found = tree.of(state)
        if found:
            lines += ["", f"{len(found)} {state} ({meaning}):"]
            lines += [f"  {one.path}: {one.reason}" for one in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"  … and {len(found) - SHOWN} more (--json lists all)")
    if not tree.sound:
        lines += ["", "`compgraph run` makes torn and stale results of the study again."]
    return "\n".join(lines)


def as_data(tree: Tree) -> dict[str, object]:
    """The same for programs."""
    findings = [{"state": one.state, "path": str(one.path), "reason": one.reason} for one in tree.of(*_states())]
    return {"whole": len(tree.results), "sound": tree.sound, "findings": findings}


def _states() -> tuple[str, ...]:
    from compgraph.verification import STATES

    return tuple(STATES)
