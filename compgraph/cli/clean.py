"""``compgraph clean``: remove what no study needs and what interrupted calls left, after asking."""

from __future__ import annotations

from pathlib import Path

import click

from compgraph.cli.console import TO_BE_GIVEN, Call, verb


@verb("clean")
@click.argument("folder", type=TO_BE_GIVEN, required=False)
@click.option("--config", "-c", "configs", type=TO_BE_GIVEN, multiple=True, help="A study that stays; repeatable.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(call: Call, folder: Path | None, configs: tuple[Path, ...], yes: bool) -> None:
    """Remove from FOLDER (the first study's folder, or results/) what interrupted calls left; with studies, also
    results that none of them asks for. What a running call is writing stays."""
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
