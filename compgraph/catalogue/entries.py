"""What an entry of the catalogue is, and what can be done with one."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compgraph.errors import DataError

BOTH = ("transformer", "sequential")

TRANSFORMER = ("transformer",)

SEQUENTIAL = ("sequential",)


@dataclass(frozen=True)
class Option:
    """A setting that belongs to one method: a key of its config entry and a flag of its verb.

    Attributes
    ----------
    name : str
        Key in the config, keyword of the method's function; the flag is the same with dashes.
    default : int, float, str or bool
        Its value where the config is silent; its type is the option's type.
    help : str
        One sentence for the config's comments and the verb's help.
    minimum : float, optional
        Smallest valid number.
    choices : tuple of str
        The valid words, if the option is a word from a list.
    """

    name: str
    default: int | float | str | bool
    help: str
    minimum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One registered thing.

    Attributes
    ----------
    name : str
        Its name in config files and on the command line.
    module : str
        The module that holds it.
    summary : str
        One line for help texts and reports.
    function : str
        The function of the module that does the work.
    serves : tuple of str
        The kinds of network it is defined for: ``"transformer"``, ``"sequential"``.
    needs_counterfactual : bool
        Whether it reads a corrupted input for every clean one.
    needs_answers : bool
        Whether it compares with the right answers.
    needs_reference : bool
        Whether it compares with the clean run of the whole model: it is flat there.
    differentiable : bool
        Whether it has a gradient.
    at_clean : bool
        Whether the gradient it uses is that of the clean run.
    clean_at_one : tuple of str
        Options that leave it no gradient but that of the clean run where they are 1.
    uses_gradient : bool
        Whether it differentiates the metric.
    metric : str
        For effective methods: the metric where none is named.
    cost : str
        For effective methods: the function of `COSTS` that estimates passes and memory.
    reads_metric : bool
        For effective methods: whether scores depend on the metric.
    averages_examples : bool
        For effective methods: whether scores are means over examples, so that they have bootstrap intervals.
    takes_baseline : bool
        For attributions: whether it compares with a baseline.
    recomputes : bool
        For effective methods: whether layers can be run again on the way back, to save memory.
    takes_reference : bool
        For baselines: whether means, covariances, samples or constants can come from other data.
    per_node : bool
        For baselines: whether it is made for the nodes of one partition.
    lower_is_better : bool
        For metrics: whether a smaller value means that the network does better (divergences, losses).
    requires : tuple of str
        Importable libraries that are not part of the plain installation.
    needs : tuple of str
        Settings of its section that it cannot do without, though other methods can.
    options : tuple of Option
        Its own settings, beyond those that all methods of the section share.
    arguments : tuple of str
        Further keywords of the library call, which a config has no word for.
    stage : str
        For figures: the section whose results it draws.
    method : str
        For figures: the only method of that section whose results it draws; empty for all.
    tables : tuple of str
        For figures of results with several tables: those that it draws, in the order of its arguments.
    settings : tuple of (str, str)
        For figures: further arguments.
    per : str
        For figures: one for each ``"result"``, for each ``"place"`` (all results of the stage at one model,
        checkpoint and dataset), for each ``"entry"`` (those of one entry at a place), or for each ``"model"`` (all
        checkpoints of one model and dataset).
    reads : tuple of str
        For figures: what it reads besides: the ``"graph"`` its result was made from, the graphs whose circuits all its
        results are about (``"scored"``), or the results of other sections for the same model and dataset.
    """

    name: str
    module: str
    summary: str
    function: str
    serves: tuple[str, ...] = BOTH
    needs_counterfactual: bool = False
    needs_answers: bool = False
    needs_reference: bool = False
    at_clean: bool = False
    clean_at_one: tuple[str, ...] = ()
    uses_gradient: bool = True
    metric: str = "logit_difference"
    cost: str = ""
    reads_metric: bool = True
    averages_examples: bool = True
    recomputes: bool = False
    takes_baseline: bool = True
    takes_reference: bool = False
    per_node: bool = False
    lower_is_better: bool = False
    differentiable: bool = True
    requires: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    arguments: tuple[str, ...] = ()
    stage: str = ""
    method: str = ""
    tables: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    per: str = "result"
    reads: tuple[str, ...] = ()


Table = dict[str, Entry]


def table(*entries: Entry) -> Table:
    return {entry.name: entry for entry in entries}


KEEP = (
    Option("keep", 0, "Keep only so many of each target's edges, the strongest, and sums of the others.", minimum=0),
    Option("keep_overall", 0, "Keep (besides) the strongest edges of the whole, so many.", minimum=0),
)


def missing(entry: Entry) -> list[str]:
    """Libraries that an entry needs and that are not installed; nothing is imported to find out."""
    return [library for library in entry.requires if importlib.util.find_spec(library) is None]


def load(entry: Entry) -> Callable[..., Any]:
    """Import an entry's module and return its function.

    Parameters
    ----------
    entry : Entry
        From one of the tables above.

    Returns
    -------
    callable
        ``entry.function`` of ``entry.module``.
    """
    function: Callable[..., Any] = getattr(importlib.import_module(entry.module), entry.function)
    return function


COSTS = "compgraph.connectivity.effective.costs"
"""The module of the functions that `Entry.cost` names."""


def only_clean(entry: Entry, options: Mapping[str, Any]) -> str:
    """The option, `steps: 1`, that leaves a method no gradient but that of the clean run; empty if none does."""
    values = {option.name: option.default for option in entry.options} | dict(options)
    return next((f"{name}: 1" for name in entry.clean_at_one if values[name] == 1), "")


def settings_of(entry: Entry, given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """All options of an entry, those that are not given at their defaults.

    Parameters
    ----------
    what : str
        What the entry is, for messages.

    Raises
    ------
    DataError
        An option that it does not have, a number below the smallest valid one, a value of another type.
    """
    known = {option.name: option for option in entry.options}
    for name, value in given.items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise DataError(f"{what} {entry.name!r} has no option {name!r}; its options: {listed}")
        option = known[name]
        kinds = (int, float) if isinstance(option.default, float) else (type(option.default),)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(option.default, bool):
            raise DataError(
                f"{what} {entry.name!r}: {name} is {value!r}; it must be of type {kinds[-1].__name__}, such as "
                f"{option.default!r}"
            )
        if option.minimum is not None and float(value) < option.minimum:
            raise DataError(f"{what} {entry.name!r}: {name} is {value}; it must be at least {option.minimum}")
    return {name: given.get(name, option.default) for name, option in known.items()}


def load_cost(entry: Entry) -> Callable[..., Any]:
    """Import the function that estimates what an effective method costs."""
    function: Callable[..., Any] = getattr(importlib.import_module(COSTS), entry.cost)
    return function
