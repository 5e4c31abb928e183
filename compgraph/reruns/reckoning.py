"""The state of a study's results: which are as they would be made now, and what is the matter with the others.

All that decides a result's bytes is in its manifest as a value or a digest, so dates, folders, machines and records of
the workflow play no part.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from functools import cached_property, lru_cache
from pathlib import Path

from compgraph.config.code import code_of, modules_of
from compgraph.config.study import Study
from compgraph.data.readers import reader_digest
from compgraph.disk import explained
from compgraph.errors import StoreError
from compgraph.provenance import EXTERNAL, plain
from compgraph.released import is_released
from compgraph.reruns.files import Digests, digest_of_files
from compgraph.reruns.jobs import Job, jobs_of
from compgraph.reruns.reasons import Reason, changed_modules, changed_parameters, changed_versions
from compgraph.reruns.report import page_of
from compgraph.reruns.report import reasons as reasons_of_page
from compgraph.store import Result
from compgraph.verification import PUT_AWAY, open_whole, put_away


class Reckoning:
    """What is to be made of a study.

    Parameters
    ----------
    study : Study
    every_byte : bool
        Read all of every result; otherwise sizes are compared, and what was changed after its manifest is read.
    """

    def __init__(self, study: Study, every_byte: bool = False) -> None:
        self.study = study
        self.every_byte = every_byte
        self.rerun_on_versions = study.config.run.versions == "rerun"
        self._digests = Digests(records_of(study) / "files.json")
        self._outside = lru_cache(maxsize=None)(lambda files: digest_of_files(files, self._digests))
        self._code = lru_cache(maxsize=None)(code_of)
        self._opened: dict[str, tuple[tuple[int, ...], Result | StoreError]] = {}

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """Everything the study makes, by manifest, each after what it reads; the report is left out."""
        return {job.manifest: job for job in jobs_of(self.study)}

    @cached_property
    def own_reasons(self) -> dict[str, list[Reason]]:
        """Results that are to be made whatever becomes of what they read, by manifest."""
        found = {}
        for path, job in self.jobs.items():
            reasons = self._on_paper(job) if path in self.put_away else self.reasons(job)
            if reasons:
                found[path] = reasons
        self._digests.keep()
        return found

    @cached_property
    def put_away(self) -> frozenset[str]:
        """Results that are there for others to read, and whose payload was deleted, by ``run.keep`` or by hand: the
        manifest says enough to know whether anything needs it. Parts of functional statistics need none, as what they
        are merged to says all."""
        read = {path for job in self.jobs.values() for path in job.reads}
        deleted = [path for path, job in self.jobs.items() if path in read and not os.path.exists(job.payload)]
        return frozenset(
            path
            for path in deleted
            if (self.jobs[path].stage in PUT_AWAY and _stays_away(self.study, path)) or _is_merged(self.jobs[path])
        )

    @cached_property
    def to_make(self) -> dict[str, list[Reason]]:
        """All results that a run would make, by manifest. What they read may turn out the same; then they stay."""
        made: dict[str, list[Reason]] = {}
        for path, job in self.jobs.items():
            again = tuple(read for read in job.needs if read in made)
            own = self.own_reasons.get(path, [])
            if own or again:
                made[path] = own or [Reason("again", again)]
        made |= {path: [Reason("needed")] for path in self._needed_by(made)}
        together = {self.jobs[path].together for path in made} - {""}
        made |= {p: [Reason("together")] for p, job in self.jobs.items() if job.together in together and p not in made}
        return {path: made[path] for path in self.jobs if path in made}

    def needed_again(self, targets: Collection[str] = ()) -> list[str]:
        """Results that were put away and that a run would make only because something reads them."""
        return [path for path, reasons in self.among(targets).items() if reasons[0].kind == "needed"]

    def _needed_by(self, made: Collection[str]) -> set[str]:
        needed: set[str] = set()
        for path in reversed(self.jobs):
            if path in made or path in needed:
                needed |= {read for read in self.jobs[path].reads if read in self.put_away and read not in made}
        return needed

    def among(self, targets: Collection[str]) -> dict[str, list[Reason]]:
        """Those of `to_make` that some manifests and payloads need; all of them for the page, or without targets."""
        if not targets or str(page_of(self.study)) in targets:
            return self.to_make
        waiting = [path for path, job in self.jobs.items() if path in targets or job.payload in targets]
        needed: set[str] = set()
        while waiting:
            path = waiting.pop()
            if path in self.jobs and path not in needed:
                needed.add(path)
                waiting += self.jobs[path].needs
        return {path: reasons for path, reasons in self.to_make.items() if path in needed}

    def page_reasons(self, targets: Collection[str] = ()) -> list[Reason]:
        """Why the page of the study is to be made; none where it is no target."""
        if targets and str(page_of(self.study)) not in targets:
            return []
        return reasons_of_page(self.study) or ([Reason("again")] if self.to_make else [])

    def unknown(self, targets: Collection[str]) -> list[str]:
        """Targets that are no result of the study."""
        known = {*self.jobs, *(job.payload for job in self.jobs.values()), str(page_of(self.study))}
        return [target for target in targets if target not in known]

    def is_up_to_date(self, outputs: Collection[str]) -> bool:
        """Whether all that one call makes is as it would be made, by what lies on the disk now."""
        if outputs and all(Path(path) == page_of(self.study) for path in outputs):
            return not reasons_of_page(self.study)
        made = [path for path in outputs if path in self.jobs]
        return bool(made) and not any(self.reasons(self.jobs[path]) for path in made)

    def reasons(self, job: Job) -> list[Reason]:
        """Why a result is to be made, by what lies on the disk now; none if it is as it would be made."""
        found = self._open(job.manifest)
        if found is None:
            return [Reason("missing" if self._was_made(job) else "new")]
        if isinstance(found, StoreError):
            return [Reason("damaged", (str(found),)) if Path(job.payload).exists() else Reason("missing")]
        return list(self._differences(job, found))

    def _on_paper(self, job: Job) -> list[Reason]:
        found = put_away(job.manifest)
        return list(self._differences(job, found)) if found else []

    def _differences(self, job: Job, found: Result) -> Iterator[Reason]:
        try:
            made = found.provenance
        except StoreError as error:
            yield Reason("damaged", (str(error),))
            return
        wanted = made.parameters if job.parameters is None else plain(job.parameters)
        if details := changed_parameters(made.parameters, wanted):
            yield Reason("parameters", details)
        if made.code != self._code(job.roots):
            yield Reason("code", self._modules_changed(made.code, job.roots))
        if made.inputs.get("files") != self._outside(job.files):
            yield Reason("files", tuple(job.files[:3]))
        if job.reader and not self._reads_alike(job, made.inputs):
            yield Reason("reader")
        if details := self._changed_inputs(job, made.inputs):
            yield Reason("input", details)
        if self.rerun_on_versions and (details := changed_versions(made.versions, job.roots)):
            yield Reason("versions", details)

    def other_versions(self) -> dict[str, int]:
        """Libraries that were of another version when results were made, in words, with how many results."""
        counts: dict[str, int] = {}
        for path, job in self.jobs.items():
            found = self._open(path)
            if isinstance(found, Result) and path not in self.to_make:
                for change in changed_versions(found.provenance.versions, job.roots):
                    counts[change] = counts.get(change, 0) + 1
        return counts

    def _changed_inputs(self, job: Job, inputs: dict[str, str]) -> tuple[str, ...]:
        recorded = {digest for role, digest in inputs.items() if role not in EXTERNAL}
        now: dict[str, str] = {}
        for path in job.reads:
            found = self._open(path)
            if not isinstance(found, Result):
                found = put_away(path)
            if found is None:
                return ()  # it is made first, and then looked at again
            now[path] = found.digest
        changed = tuple(path for path, digest in now.items() if digest not in recorded)
        return changed if changed or recorded <= set(now.values()) else ("without one of those before",)

    def _reads_alike(self, job: Job, inputs: dict[str, str]) -> bool:
        model = self._open(job.reader)
        if not isinstance(model, Result):
            return True
        assert job.parameters is not None
        expected = reader_digest(model, job.parameters["kind"], model.summary.get("tokenizer"))
        return expected is None or inputs.get("reader") == expected

    def _modules_changed(self, code: str, roots: tuple[str, ...]) -> tuple[str, ...]:
        with contextlib.suppress(OSError, ValueError):
            before = json.loads(self._code_record(code).read_text(encoding="utf-8"))
            return changed_modules(before, modules_of(roots))
        return ()

    def record_code(self) -> None:
        """Keep what the code that results are made with consists of, so that a later plan can name what changed."""
        for roots in {job.roots for job in self.jobs.values()}:
            record = self._code_record(self._code(roots))
            if not record.exists():
                with explained(record):
                    record.parent.mkdir(parents=True, exist_ok=True)
                    aside = record.with_suffix(".tmp")
                    aside.write_text(json.dumps(modules_of(roots)), encoding="utf-8")
                    aside.replace(record)

    def _code_record(self, code: str) -> Path:
        return records_of(self.study) / "code" / f"{code}.json"

    def _was_made(self, job: Job) -> bool:
        """Whether a missing result existed before: only a job that ended well leaves a record of its cost, and a call
        that makes several other results of the same parameters."""
        if job.together:
            others = (self._open(one.manifest) for one in self.jobs.values() if one.together == job.together)
            return any(isinstance(one, Result) and one.parameters == plain(job.parameters) for one in others)
        below = Path(job.manifest).relative_to(self.study.root)
        record = below.with_name("import-model.tsv") if job.stage == "import-model" else below.with_suffix(".tsv")
        return (self.study.root / "benchmarks" / record).is_file()

    def _open(self, path: str) -> Result | StoreError | None:
        """A result as it is on the disk now, or what is the matter with it; None where there is none."""
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._opened.get(path)
        if known is None or known[0] != state:
            try:
                known = state, open_whole(path, self.every_byte)
            except StoreError as error:
                known = state, error
            self._opened[path] = known
        return known[1]


def payloads_to_keep(study: Study) -> list[str]:
    """Payloads of all results but those that are put away, and those that ``run.keep`` may let go on the way."""
    gone = {
        study.path(one)
        for one in study.results()
        if one.stage in PUT_AWAY and not os.path.exists(study.payload(one)) and _stays_away(study, study.path(one))
    }
    read = {path for job in jobs_of(study) for path in job.reads} if gone else set()
    without = gone & read | {study.path(one) for one in study.passing_buffers()}
    return [study.payload(one) for one in study.results() if study.path(one) not in without]


def records_of(study: Study) -> Path:
    """Folder of what is kept to answer faster and in more words; it decides nothing, and can be deleted."""
    return study.root / "cache" / "reckoning"


def _stays_away(study: Study, path: str) -> bool:
    """Whether a result was put away, and not by a ``run.keep`` that now keeps everything."""
    return put_away(path) is not None and not (study.config.run.keep == "all" and is_released(path))


def _is_merged(job: Job) -> bool:
    """Whether a part of functional statistics has been merged to a graph."""
    return job.stage == "functional-part" and Path(job.manifest).parent.with_suffix(".json").is_file()
