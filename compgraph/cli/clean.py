"""``compgraph clean``: remove what no study needs and what interrupted calls left, after asking."""

from __future__ import annotations

import time
from pathlib import Path

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb

DAY = 86400.0


@verb("clean")
@click.argument("folder", type=TO_BE_GIVEN, required=False)
@click.option("--config", "-c", "configs", type=TO_BE_GIVEN, multiple=True, help="A study that stays; repeatable.")
@click.option("--cache", type=TO_BE_GIVEN, help="Instead: a folder of shared results; say what it holds, empty it.")
@click.option("--unused", type=click.FloatRange(min=0), default=0, help="With --cache: only what no run took for DAYS.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(
    call: Call, folder: Path | None, configs: tuple[Path, ...], cache: Path | None, unused: float, yes: bool
) -> None:
    """Remove from FOLDER (the first study's folder, or results/) what interrupted calls left; with studies, also
    results that none of them asks for. What a running call is writing stays."""
    if cache is not None:
        clean_cache(cache, unused, yes)
        return
    from compgraph import store
    from compgraph.cli.verify import SHOWN, place
    from compgraph.disk import remove_leftover
    from compgraph.verification import survey

    asked: set[Path] = set()
    for config in configs:
        root, wanted = place(folder, config)
        folder = folder or root
        asked |= {Path(path).absolute() for path in wanted or []}
    tree = survey(folder or Path("results"))
    orphans = [result for path, result in tree.results.items() if configs and path.absolute() not in asked]
    leftovers = [one.path for one in tree.of("leftover")]
    names = [*(str(one.manifest_path) for one in orphans), *map(str, leftovers)]
    if not names:
        click.echo("nothing to remove")
        return
    size = store.format_bytes(sum(result.size for result in orphans))
    click.echo("\n".join([*names[:SHOWN], *([f"… and {len(names) - SHOWN} more"] if len(names) > SHOWN else [])]))
    question = f"Remove {len(orphans)} results ({size}) and {len(leftovers)} leftovers?"
    if not yes and not click.confirm(question, default=False):
        click.echo("nothing was removed")
        return
    for result in orphans:
        store.discard(result)
    kept = [path for path in leftovers if not remove_leftover(path)]
    click.echo(f"removed {len(orphans)} results and {len(leftovers) - len(kept)} leftovers")
    for path in kept:
        click.echo(f"kept {path}: a running call is writing it")


def clean_cache(folder: Path, days: float, yes: bool) -> None:
    """Say what a folder of shared results holds, stage by stage, and remove what was not used for some days.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    from compgraph.disk import format_bytes, remove
    from compgraph.errors import StoreError
    from compgraph.shared import Shared

    if not folder.is_dir():
        raise StoreError(f"there is no folder {folder}")
    shared = Shared(folder)
    entries, leftovers = list(shared.entries()), shared.leftovers()
    for stage in sorted({entry.stage for entry in entries}):
        sizes = [entry.size for entry in entries if entry.stage == stage]
        click.echo(f"{stage or 'damaged':<14}{len(sizes):>6}  {format_bytes(sum(sizes)):>8}")
    old = [entry for entry in entries if time.time() - entry.used >= days * DAY or not entry.stage]
    if not old and not leftovers:
        click.echo("nothing to remove")
        return
    size = format_bytes(sum(entry.size for entry in old))
    question = f"Remove {len(old)} of {len(entries)} entries ({size}) and {len(leftovers)} leftovers?"
    if not yes and not click.confirm(question, default=False):
        click.echo("nothing was removed")
        return
    for path in [*(entry.path for entry in old), *leftovers]:
        remove(path)
    click.echo(f"removed {len(old)} entries and {len(leftovers)} leftovers")
