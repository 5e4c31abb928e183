"""What all verbs share: options from the config's models, progress, the log file, errors as one sentence.

Nothing here can change a number, so the code digest of the stages leaves this module out.
"""

from __future__ import annotations

import functools
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from compgraph import catalogue
from compgraph.cli.sharing import shared_or_made
from compgraph.errors import CompgraphError

if TYPE_CHECKING:
    from compgraph.config.base import Section
    from compgraph.store import Draft, Result

Command = Callable[..., Any]
TO_BE_GIVEN = click.Path(path_type=Path)


@dataclass
class Call:
    """One call of a verb.

    Attributes
    ----------
    stage : str
        The verb.
    quiet : bool
        Say nothing but errors.
    log_file : Path or None
        Where progress and errors are written as well.
    code : str or None
        Code digest that the caller planned with.
    device : str
        Where networks run.
    threads : int
        Threads for number crunching.
    entry : Section or None
        The validated options of a stage.
    modules : tuple of str
        Modules that the result depends on beside the verb and what the entry names.
    networks : bool
        Whether it can run networks.
    made : list of Path
        Manifests of the results that it has written.
    """

    stage: str
    quiet: bool = False
    log_file: Path | None = None
    code: str | None = None
    device: str = "auto"
    threads: int = 1
    entry: Section | None = None
    modules: tuple[str, ...] = ()
    networks: bool = False
    made: list[Path] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Tell the user something, unless quiet; the log file gets it in any case."""
        if not self.quiet:
            click.echo(text, err=True)
        self.log(text)

    def log(self, text: str) -> None:
        """Append to the log file, if there is one."""
        if self.log_file is not None:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    @contextmanager
    def result(
        self,
        output: Path,
        kind: str,
        suffix: str | None,
        *,
        inputs: Mapping[str, Result | str],
        parameters: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> Iterator[Draft]:
        """Write this call's result: the body fills ``draft.path``.

        Parameters
        ----------
        output : Path
            The manifest; the payload lies beside it under the same stem.
        kind : str
            Kind of the result.
        suffix : str or None
            Ending of the payload (``".graph"``); None for a result that is its manifest.
        inputs : mapping
            What it was made from, by role: results, or digests.
        parameters : mapping, optional
            Its parameters, if they are not the fields of the entry.
        resume : bool
            Whether an interrupted payload can be completed.
        """
        from compgraph import store
        from compgraph.config.code import code_of, code_roots
        from compgraph.provenance import Provenance

        code = code_of(tuple(sorted({*code_roots(self.stage, self.entry), *self.modules})))
        self.check_code(code)
        if parameters is None:
            parameters = entry_parameters(self.stage, self.entry) if self.entry is not None else {}
        provenance = Provenance(
            stage=self.stage,
            parameters=dict(parameters),
            seed=parameters.get("seed"),
            inputs={role: made if isinstance(made, str) else made.digest for role, made in inputs.items()},
            code=code,
        )
        payload = None if suffix is None else output.stem + suffix
        with store.create(output, kind=kind, payload=payload, provenance=provenance, resume=resume) as draft:
            yield draft
            warnings = list(draft.warnings)
        for warning in warnings:
            self.say(f"note: {warning}")
        self.made.append(output)
        self.say(f"{output}")

    def check_code(self, code: str) -> None:
        """Refuse to run other code than the caller planned with."""
        if self.code is not None and not code.startswith(self.code[: len(code)]):
            raise CompgraphError(
                f"the code of '{self.stage}' is not what this job was planned with ({code}, planned {self.code}): "
                "it was edited since; run again to plan anew"
            )


def entry_parameters(stage: str, entry: Section) -> dict[str, Any]:
    """The fields of an entry that are parameters of its result, as plain data."""
    from compgraph.config.flags import flag_fields

    values = entry.model_dump(mode="json")
    section = SECTION_OF.get(stage, stage)
    return {name: values[name] for name in flag_fields(section) if name in values}


SECTION_OF = {
    "train": "models",
    "import-model": "models",
    "data": "datasets",
    "functional-part": "functional",
    "ground-truth": "ground_truth",
    "figure": "figures",
}
"""Config section of the verbs that are not called like theirs."""


def verb(
    stage: str, *, section: str | None = None, only: tuple[str, ...] = (), device: bool = False
) -> Callable[[Command], click.Command]:
    """Make a function the command of a verb.

    The function is called with a :class:`Call` first, then its own arguments, then (with a section) ``entry``.

    Parameters
    ----------
    stage : str
        The verb's name.
    section : str, optional
        Config section whose fields become options.
    only : tuple of str
        The branches of the section that this verb serves; all of them if empty.
    device : bool
        Whether it runs a network.
    """

    def decorate(function: Command) -> click.Command:
        @functools.wraps(function)
        def called(
            quiet: bool,
            log_file: Path | None,
            threads: int | None = None,
            code: str | None = None,
            device: str | None = None,
            **values: Any,
        ) -> None:
            _set_threads(threads)
            call = Call(stage, quiet, log_file, code, device or "auto", threads or 1, networks=device is not None)
            with errors_in_one_sentence(call):
                if section is not None:
                    values = _entry_from(call, section, only, values)
                _start(call)
                if stage in catalogue.STAGES:
                    shared_or_made(call, values, lambda: function(call, **values))
                else:
                    function(call, **values)

        command: Command = called
        command = _shared_options(command, staged=stage in catalogue.STAGES, device=device)
        if section is not None:
            command = section_options(section, only)(command)
        summary = catalogue.STAGES[stage].summary if stage in catalogue.STAGES else None
        text = function.__doc__ or ""
        return click.command(
            stage,
            help=f"{summary}\n\n{text}" if summary else text,
            short_help=summary,
            context_settings={"show_default": True, "max_content_width": 110},
        )(command)

    return decorate


def _shared_options(command: Command, *, staged: bool, device: bool) -> Command:
    options = [
        click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors."),
        click.option("--log-file", type=TO_BE_GIVEN, help="Also write progress and errors to this file."),
    ]
    if staged:
        options += [
            click.option("--threads", type=click.IntRange(1), default=1, help="Threads for number crunching."),
            click.option("--code", help="Refuse to run if the code digest of this stage is another one."),
        ]
    if device:
        options.append(
            click.option("--device", default="auto", help="Where the network runs: auto, cpu, cuda, cuda:1.")
        )
    for option in reversed(options):
        command = option(command)
    return command


def section_options(section: str, only: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Options made from a config section: same names, defaults and explanations."""
    from compgraph.config.flags import choices, default_text, flag_fields, is_switch, members

    branches = members(section)
    served = {name: model for name, model in branches.items() if not only or name in only}

    def decorate(command: Command) -> Command:
        for name, info in reversed(flag_fields(section).items()):
            within = [tag for tag, model in served.items() if name in model.model_fields]
            if not within:
                continue
            field_info = served[within[0]].model_fields[name] if len(within) < len(branches) else info
            help_text = (field_info.description or "").rstrip(".")
            words = list(branches) if name in ("method", "kind", "architecture") else choices(field_info)
            if name in ("method", "kind", "architecture"):
                words = [word for word in within if word]
                help_text = {"method": "The method", "kind": "The kind of dataset"}.get(name, "The architecture")
            elif len(within) < len(served):
                help_text += f" [{', '.join(within)}]"
            if words and name not in ("positions",):
                help_text += f": {', '.join(words)}"
            flag = name.replace("_", "-")
            default = default_text(field_info)
            if is_switch(field_info):
                option = click.option(
                    f"--{flag}/--no-{flag}",
                    name,
                    default=None,
                    help=_with_default(help_text, "on" if field_info.default else "off"),
                )
            else:
                option = click.option(
                    f"--{flag}", name, metavar="TEXT" if not words else "WORD", help=_with_default(help_text, default)
                )
            command = option(command)
        return command

    return decorate


def _with_default(text: str, default: str | None) -> str:
    return f"{text}.  [default: {default}]" if default is not None else f"{text}."


def _entry_from(call: Call, section: str, only: tuple[str, ...], values: dict[str, Any]) -> dict[str, Any]:
    """Take the section's options out of a call's values and put the validated entry in."""
    from compgraph.config.flags import flag_fields, parse

    fields = flag_fields(section)
    given = {name: values.pop(name) for name in fields if name in values}
    given = {name: value for name, value in given.items() if value is not None}
    if section == "models" and "source" not in given:
        given["source"] = "pretrained" if only == ("pretrained",) else "trained"
    entry, problems = parse(section, given)
    if entry is None:
        raise click.UsageError("; ".join(problems))
    call.entry = entry
    return {**values, "entry": entry}


def _set_threads(threads: int | None) -> None:
    """Before any number library is imported: the bytes of a result must not depend on the cores of the machine."""
    if threads is None:
        return
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(threads)


def _start(call: Call) -> None:
    from compgraph import progress

    if call.log_file is not None:
        call.log_file.parent.mkdir(parents=True, exist_ok=True)
        call.log_file.write_text("", encoding="utf-8")
    progress.enable(quiet=call.quiet, log_file=call.log_file)
    call.log("$ compgraph " + shlex.join(sys.argv[1:]))


@contextmanager
def errors_in_one_sentence(call: Call) -> Iterator[None]:
    """Turn an error that a user can mend into one sentence and exit code 1; its traceback goes to the log file."""
    try:
        yield
    except CompgraphError as error:
        _end(call, str(error))
    except OSError as error:
        # Files named on the command line: a missing one, a folder without permission, a full disk.
        if error.filename is None and error.errno is None:
            raise
        _end(call, (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error)))
    except MemoryError:
        _end(call, "out of memory; try a smaller --batch-size or fewer items")
    except KeyboardInterrupt:
        fail(f"compgraph {call.stage}: stopped", code=130)
    except Exception:
        _log_safely(call, traceback.format_exc())
        raise


def _end(call: Call, message: str) -> NoReturn:
    """Leave with a message; the log file gets the traceback, then the message, as people look at its end."""
    message = f"compgraph {call.stage}: {message}"
    _log_safely(call, f"{traceback.format_exc()}\n{message}")
    fail(message)


def _log_safely(call: Call, text: str) -> None:
    try:
        call.log(text)
    except OSError as error:
        click.echo(f"(the log file cannot be written: {error})", err=True)


def fail(message: str, code: int = 1) -> NoReturn:
    """Print a message and leave with an exit code."""
    click.echo(message, err=True)
    raise SystemExit(code)


def graph_arguments(command: Command) -> Command:
    """The graph that a verb reads, and the manifest it writes."""
    return click.argument("graph", type=TO_BE_GIVEN)(output_option(command))


def output_option(command: Command) -> Command:
    """``--output``: the manifest to write."""
    return click.option(
        "--output", "-o", type=TO_BE_GIVEN, required=True, help="Manifest to write (….json), payload beside it."
    )(command)


def baseline_option(command: Command) -> Command:
    """``--baseline-data``: where a baseline's means, covariances or samples come from."""
    return click.option(
        "--baseline-data", type=TO_BE_GIVEN, help="Manifest of other data that the baseline is taken from."
    )(command)


def cache_option(command: Command) -> Command:
    """``--cache``: where what earlier calls made is looked up, and what this one makes is kept."""
    return click.option("--cache", type=TO_BE_GIVEN, help="Folder of what earlier calls made; it can be deleted.")(
        command
    )


def dictionaries_option(command: Command) -> Command:
    """``--dictionaries``: what makes features of a site's units."""
    return click.option(
        "--dictionaries", type=TO_BE_GIVEN, help="Manifest of dictionaries, whose features become units of their sites."
    )(command)


def null_graphs_option(command: Command) -> Command:
    """``--null-graphs``: graphs of randomised networks to compare with."""
    return click.option(
        "--null-graphs", type=TO_BE_GIVEN, help="With --null-model network: manifest of the null graphs."
    )(command)


def model_option(command: Command) -> Command:
    """``--model``: the network that dictionaries are attached to, where nothing else needs it."""
    return click.option("--model", type=TO_BE_GIVEN, help="With --dictionaries: manifest of their model.")(command)


def pool_option(command: Command) -> Command:
    """``--pool``: buffers that are read with the first as one."""
    return click.option(
        "--pool", type=TO_BE_GIVEN, multiple=True, help="Manifest of a further buffer, read with the first as one."
    )(command)


def rois_option(command: Command) -> Command:
    """``--rois``: the partition that ``rois.<name>`` in ``--partition`` means."""
    return click.option(
        "--rois", type=TO_BE_GIVEN, help="Manifest of the partition that rois.NAME in --partition means."
    )(command)
