"""What all sections of the config share: strict typed models, names, and the selectors of an entry."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, create_model, model_validator
from pydantic_core import PydanticCustomError

from compgraph import catalogue

NAME_PATTERN = r"[a-z0-9][a-z0-9._-]*"
"""Names become folders and file names, and words of a shell line: nothing in them needs quoting."""

SELECTORS = (
    "models",
    "datasets",
    "checkpoints",
    "graphs",
    "buffer",
    "pool",
    "against",
    "parts",
    "baseline_data",
    "runs",
    "blocks",
    "partitions",
    "dictionaries",
    "like",
    "on_request",
    "seeds",
    "phrasings",
    "tracking",
    "variants",
)
"""Fields that say where an entry applies. They choose files; they are no flags of the stage's verb."""

RESERVED = frozenset(
    [
        "structural",
        "functional",
        "effective",
        "rois",
        "ablation",
        "evaluation",
        "comparison",
        "tracking",
        "scale",
        "communities",
        "sbm",
        "tests",
        "nulls",
        "statistics",
        "activations",
        "attributions",
        "dictionaries",
        "datasets",
        "ground_truth",
        "figures",
        "report",
        "logs",
        "benchmarks",
        "model",
        "all",
        "last",
    ]
)
"""Words with a place of their own in the results folder or in the config's grammar."""


class Section(BaseModel):
    """A part of the config file: unknown keys are errors, values keep their type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def one_of(words: Iterable[str], what: str) -> AfterValidator:
    """A validator for a word from a list, whose error names the list and the nearest word.

    Parameters
    ----------
    words : iterable of str
        The valid words.
    what : str
        What the word names: ``"task"``, ``"metric"``.
    """
    valid = tuple(words)

    def check(value: str) -> str:
        if value not in valid:
            raise unknown_word(what, value, valid)
        return value

    check.words = valid  # type: ignore[attr-defined]
    return AfterValidator(check)


def unknown_word(what: str, value: object, valid: Sequence[str]) -> PydanticCustomError:
    """The error for a word that is not in the list: names the list, and the nearest word if one is near."""
    return PydanticCustomError("unknown_word", "{problem}", {"problem": describe_unknown(what, value, valid)})


def describe_unknown(what: str, value: object, valid: Sequence[str]) -> str:
    """``no metric 'logit_diff'; did you mean 'logit_difference'? Valid: …``"""
    listed = ", ".join(valid) if valid else "none"
    return f"there is no {what} '{value}'{did_you_mean(value, valid)}; valid: {listed}"


def did_you_mean(value: object, valid: Sequence[str]) -> str:
    """``" (did you mean 'heads'?)"``, or nothing where no valid word is near."""
    begun = [word for word in valid if word.startswith(str(value))] if len(str(value)) > 2 else []
    near = begun or difflib.get_close_matches(str(value), valid, n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _check_word_list(value: list[str]) -> list[str]:
    repeated = sorted({word for word in value if value.count(word) > 1})
    if repeated:
        raise PydanticCustomError("repeated", "'{word}' is listed twice", {"word": repeated[0]})
    return value


def listing(item: Any) -> Any:
    """The type of a non-empty list of ``item`` without repetition."""
    return Annotated[list[item], Field(min_length=1), AfterValidator(_check_word_list)]


Words = Annotated[list[str], Field(min_length=1), AfterValidator(_check_word_list)]
"""A list of names without repetition."""

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
ImageSize = Annotated[list[Positive], Field(min_length=2, max_length=2)]
"""Height and width."""
Options = dict[str, int | float | bool | str]
Device = Literal["auto", "cpu", "cuda", "mps"]


GRANULARITIES = ("modules", "heads", "channels", "units")


def _check_partition(value: str | dict[str, str]) -> str | dict[str, str]:
    for word in [value] if isinstance(value, str) else value.values():
        if word not in GRANULARITIES and not word.startswith("rois."):
            valid = [*GRANULARITIES, "rois.<name of an entry of the section rois>"]
            raise unknown_word("granularity", word, valid)
    return value


PartitionChoice = Annotated[str | dict[str, str], AfterValidator(_check_partition)]
"""``heads``, ``rois.mine``, or per site: ``{"attn.*": heads, "mlp.*": units}``."""


def _check_buffer(value: str) -> str:
    if value != "activations" and not value.startswith("attributions."):
        raise unknown_word("buffer", value, BUFFERS)
    return value


BUFFERS = ("activations", "attributions.<name of an entry of the section attributions>")
BufferChoice = Annotated[str, AfterValidator(_check_buffer)]
"""What a stage over recorded numbers reads: ``activations``, or ``attributions.mine``."""


class Entry(Section):
    """An entry of a section that fans out: one named result per model, checkpoint and dataset it applies to."""

    models: Words | None = Field(None, description="Models it applies to; all that it can serve if not given.")
    checkpoints: Literal["all", "last"] | Words = Field(
        "last", description="Checkpoints it applies to: all, last, or a list of names."
    )

    @model_validator(mode="after")
    def _check_matrix(self) -> Entry:
        if getattr(self, "matrix", "none") != "none" and not any(
            getattr(self, name, 0) for name in ("keep", "keep_overall")
        ):
            raise PydanticCustomError(
                "rule", "matrix writes scores that the graph does not keep; give keep, how many edges it keeps"
            )
        return self


class DataEntry(Entry):
    """An entry whose result also depends on a dataset."""

    datasets: Words | None = Field(None, description="Datasets it applies to; all that it can serve if not given.")


class BufferEntry(DataEntry):
    """An entry that reads a buffer."""

    buffer: BufferChoice = Field(
        "activations", description="What it reads: activations, or attributions.<name>, an entry of that section."
    )


class GraphEntry(Entry):
    """An entry that reads graphs."""

    graphs: Words | None = Field(
        None, description="Graphs it reads, as section.name (effective.heads); all of them if not given."
    )
    datasets: Words | None = Field(None, description="Datasets whose graphs it reads; all if not given.")


def method_models(
    table: Mapping[str, catalogue.Entry], base: type[Section], default: str | None = None
) -> dict[str, type[Section]]:
    """One model for each method of a section, which adds the method's own options to ``base``.

    Parameters
    ----------
    table : mapping
        The section's table in the catalogue.
    base : type of Section
        The fields that all methods share.
    default : str, optional
        The method of an entry that names none.
    """
    return {name: _method_model(entry, base, default) for name, entry in table.items()}


_MATRIX = "With keep: all scores in a file beside the graph too, of this precision; none for no file."


def _method_model(entry: catalogue.Entry, base: type[Section], default: str | None) -> type[Section]:
    literal = Literal[entry.name]  # type: ignore[name-defined]
    method = (literal, Field(entry.name if entry.name == default else ..., description=f"Method: {entry.summary}."))
    fields: dict[str, Any] = {"method": method}
    for option in entry.options:
        kind: Any = Literal[option.choices] if option.choices else type(option.default)
        fields[option.name] = (kind, Field(option.default, ge=option.minimum, description=option.help))
    if "matrix" in entry.arguments:
        fields["matrix"] = (Literal["none", "float32", "float16"], Field("none", description=_MATRIX))
    shared = base.model_fields.get("metric")
    if shared is not None and shared.default != entry.metric:
        own = copy(shared)
        own.default = entry.metric
        fields["metric"] = (shared.annotation, own)
    return create_model(f"{base.__name__}_{entry.name}", __base__=base, __doc__=base.__doc__, **fields)


def union(members: Mapping[str, type[Section]], tag: Callable[[dict[str, Any]], Any]) -> Any:
    """A type that is one of several models, told apart by what ``tag`` reads from the raw mapping."""
    if len(members) == 1:
        return next(iter(members.values()))

    def discriminate(value: Any) -> Any:
        if isinstance(value, dict):
            found = tag(value)
            return found if found is None else str(found)
        return next((name for name, model in members.items() if type(value) is model), None)

    tagged = tuple(Annotated[model, Tag(name)] for name, model in members.items())
    return Annotated[Union[tagged], Discriminator(discriminate)]  # noqa: UP007


def method_tag(default: str | None = None) -> Callable[[dict[str, Any]], Any]:
    """Reads the method of a raw entry."""
    return lambda entry: entry.get("method", default)
