"""Tasks, families of networks, metrics and baselines."""

from __future__ import annotations

from compgraph.catalogue.entries import TRANSFORMER, Entry, Option, Table, table


def _task(name: str, summary: str) -> Entry:
    return Entry(name, f"compgraph.data.tasks.{name}", summary, "generate", serves=TRANSFORMER)


TASKS: Table = table(
    _task("ioi", "indirect object identification: who received the thing"),
    _task("greater_than", "a year's end must be later than its beginning"),
    _task("agreement", "subject-verb agreement, with attractors between"),
    _task("induction", "repeat what followed the same token earlier"),
    _task("modular_addition", "a + b modulo a prime"),
    _task("gendered_pronoun", "the pronoun that fits a name"),
    _task("docstring", "the next argument name in a docstring"),
)


def _metric(
    name: str, summary: str, *, reference: bool = False, differentiable: bool = True, lower: bool = False
) -> Entry:
    return Entry(
        name,
        "compgraph.metrics",
        summary,
        name,
        needs_answers=not reference,
        needs_reference=reference,
        differentiable=differentiable,
        lower_is_better=lower or reference,
    )


METRICS: Table = table(
    _metric("logit_difference", "logit of the answers minus logit of the distractors"),
    _metric("probability", "probability of the answers"),
    _metric("probability_difference", "probability of the answers minus that of the distractors"),
    _metric("cross_entropy", "minus log probability of the answers", lower=True),
    _metric("kl", "Kullback-Leibler divergence from the whole model's output", reference=True),
    _metric("total_variation", "total variation distance from the whole model's output", reference=True),
    _metric("accuracy", "share of examples whose most probable output is an answer", differentiable=False),
    _metric("reciprocal_rank", "one over the rank of the best answer; its mean is the MRR", differentiable=False),
    _metric("margin", "logit of the answer minus the largest other logit; above 0 where the answer is right"),
)

BASELINES: Table = table(
    Entry(
        "counterfactual",
        "compgraph.ablation.baselines",
        "the value on the corrupted input",
        "Counterfactual",
        needs_counterfactual=True,
    ),
    Entry("zero", "compgraph.ablation.baselines", "zero", "Zero"),
    Entry("mean", "compgraph.ablation.means", "mean over positions and examples", "Mean", takes_reference=True),
    Entry(
        "position-mean",
        "compgraph.ablation.means",
        "mean over examples at the same token position",
        "PositionMean",
        takes_reference=True,
    ),
    Entry(
        "resample",
        "compgraph.ablation.resample",
        "the value on another clean input, drawn at random",
        "Resample",
        takes_reference=True,
    ),
    Entry(
        "noise",
        "compgraph.ablation.noise",
        "Gaussian noise with the site's own mean and covariance",
        "Noise",
        takes_reference=True,
    ),
    Entry(
        "optimal",
        "compgraph.ablation.optimal",
        "a constant per node, learned so that ablating the node alone changes the output least",
        "Optimal",
        takes_reference=True,
        per_node=True,
        options=(
            Option("steps", 200, "Steps of Adam.", minimum=1),
            Option("examples", 16, "Examples of a step.", minimum=1),
            Option("learning_rate", 0.05, "Of the first step, in standard deviations of the node's units.", minimum=0),
            Option("metric", "kl", "Loss of an example; a metric of which more is better is maximised."),
        ),
    ),
)

FAMILIES: Table = table(
    *(
        Entry(name, "compgraph.models.families", summary, name, serves=TRANSFORMER)
        for name, summary in {
            "gpt2": "GPT-2",
            "gpt_neox": "GPT-NeoX and Pythia",
            "llama": "Llama",
            "mistral": "Mistral",
            "qwen2": "Qwen 2",
            "qwen3": "Qwen 3",
            "gemma2": "Gemma 2",
        }.items()
    )
)
