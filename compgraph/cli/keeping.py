"""``run.keep``: large buffers go when all that reads them is made, and come back only for a reader that runs again.

Snakemake runs all readers of what it makes again. So a buffer that is missing and needed is made first, in a run of its
own: in the run that follows, nothing but the reader that needed it has a reason to be made.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compgraph.config.run import bytes_of

if TYPE_CHECKING:
    from compgraph.cli.workflow import Event
    from compgraph.reruns.reckoning import Reckoning


class Keeper:
    """Lets buffers go while a run goes on.

    Parameters
    ----------
    reckoning : Reckoning
        What has to be made before the study is complete, as it was before the run; what was needed again is there.
    say : callable
        Is told what is removed.
    """

    def __init__(self, reckoning: Reckoning, say: Callable[[str], None]) -> None:
        from compgraph.reruns.reckoning import records_of

        study = reckoning.study
        self.limit, self.say = bytes_of(study.config.run.keep) or 0.0, say
        self.cache, self.records = study.root / "cache", records_of(study)
        self._started: dict[int, tuple[str, ...]] = {}
        self._waiting: dict[str, set[str]] = {study.path(one): set() for one in study.passing_buffers()}
        for made in reckoning.to_make.keys() - set(reckoning.needed_again()):
            for path in {made, *reckoning.jobs[made].reads} & self._waiting.keys():
                self._waiting[path].add(made)
        self._let_go()

    def see(self, event: Event | None) -> None:
        """Take note of an event of the run."""
        if event is None:
            return
        if event["event"] == "job_info":
            self._started[event["jobid"]] = tuple(event.get("output") or ())
        elif event["event"] == "job_finished":
            number: Any = event["job_id"] if "job_id" in event else event.get("jobid")
            made = self._started.pop(number, ())
            for waiting in self._waiting.values():
                waiting.difference_update(made)
            self._let_go()

    def end(self) -> None:
        """After a run that made everything: the cache of single runs goes too, if it is larger."""
        from compgraph.disk import format_bytes, remove

        if not self.cache.is_dir():
            return
        runs = [entry for entry in self.cache.iterdir() if entry != self.records]
        files = [path for entry in runs for path in (entry, *entry.rglob("*")) if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        if size > self.limit:
            for entry in runs:
                remove(entry)
            self.say(f"note: emptied {self.cache} ({format_bytes(size)}), as run.keep says")

    def _let_go(self) -> None:
        from compgraph import store
        from compgraph.errors import StoreError
        from compgraph.released import is_released, release

        for path in [path for path, waiting in self._waiting.items() if not waiting]:
            del self._waiting[path]
            if not Path(path).exists() or is_released(path):
                continue
            try:
                result = store.open(path, lazy=True)
            except StoreError:
                continue  # damaged, and made again
            if result.size > self.limit:
                release(result)
                size = store.format_bytes(result.size)
                self.say(f"note: removed {result.path} ({size}), as run.keep says: all that reads it is made")
