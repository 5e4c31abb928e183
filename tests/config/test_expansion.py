"""Entries of models that stand for several."""

from __future__ import annotations

import pytest

from compgraph.config.config import validate
from compgraph.config.reading import parse
from compgraph.errors import ConfigError

FAMILY = """
models:
  tiny:
    source: trained
    architecture: transformer
    tasks: [induction]
    steps: 10
    variants:
      a: {width: 16}
      b: {width: 32, layers: 5}
    seeds: [3, 4]
  alone: {source: trained, architecture: transformer, tasks: [induction], seeds: [1]}
datasets: {words: {kind: task, task: induction, n: 32, models: [tiny, alone]}}
effective: {heads: {partition: heads, models: [alone, tiny]}}
"""


def test_variants_and_seeds_are_written_out() -> None:
    config = validate(parse(FAMILY))
    assert list(config.models) == ["tiny-a-s3", "tiny-a-s4", "tiny-b-s3", "tiny-b-s4", "alone-s1"]
    one = config.models["tiny-b-s4"]
    assert (one.width, one.layers, one.seed, one.steps, one.variants, one.seeds) == (32, 5, 4, 10, None, None)  # type: ignore[union-attr]


def test_a_family_named_elsewhere_means_its_models() -> None:
    config = validate(parse(FAMILY))
    assert config.datasets["words"].models == list(config.models)
    assert config.effective["heads"].models == ["alone-s1", *list(config.models)[:4]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("width: 16}", "width: 18}", "models.tiny (line 3): width (18) must be an even multiple of heads (4)"),
        ("width: 16}", "widht: 16}", "models.tiny.variants.a.widht (line 9): there is no such key"),
        ("steps: 10", "steps: ten", "models.tiny.steps (line 7): it should be a valid integer"),
        ("seeds: [3, 4]", "seeds: 3", "models.tiny.seeds (line 11)"),
        ("seeds: [3, 4]", "seeds: [3, -4]", "models.tiny.seeds (line 11)"),
        ("seeds: [3, 4]", "seeds: [3]\n    seed: 1", "models.tiny.seed (line 12): give seed or seeds, not both"),
        ("  alone:", "  tiny-a-s3:", "models.tiny (line 3): it stands for 'tiny-a-s3', which is there already"),
        ("      a:", "      A:", "'tiny-A-s3' cannot be a file name here"),
        ("models: [alone, tiny]", "models: [tiny, x]", "effective.heads.models (line 14): there is no model 'x'"),
    ],
)
def test_problems_are_named_where_the_file_has_them(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(parse(FAMILY.replace(old, new)))
    assert said in str(caught.value)
