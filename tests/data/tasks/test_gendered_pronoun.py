from __future__ import annotations

import numpy as np
import pytest

from compgraph.data.tasks.gendered_pronoun import FEMALE, MALE, generate
from compgraph.data.tokenise import task_pairs


def genders(text: str) -> list[str]:
    words = [word.strip(".,") for word in text.split()]
    return [" she" if word in FEMALE else " he" for word in words if word in FEMALE or word in MALE]


def test_no_name_has_two_genders() -> None:
    assert not set(FEMALE) & set(MALE)
    assert len(set(FEMALE)) == len(set(MALE)) == 30


@pytest.mark.parametrize("style", ["story", "tag"])
def test_pronouns_follow_the_name(style: str) -> None:
    items = generate(200, np.random.default_rng(0), style=style)
    for item in items:
        assert genders(item.clean) == list(item.answers)
        assert genders(item.corrupted) == list(item.distractors)
        assert sum(a != b for a, b in zip(item.clean.split(), item.corrupted.split(), strict=True)) == 1
    assert {item.answers[0] for item in items} == {" she", " he"}
    if style == "tag":
        assert all(item.clean.endswith(("isn't", "wasn't")) for item in items)


def test_a_small_pretrained_model_knows_the_stories(shared) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shared / "models" / "stories260k"
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    pairs, report = task_pairs("gendered_pronoun", AutoTokenizer.from_pretrained(folder), n=64)
    assert "differ in their number of tokens" in report.sentence
    with torch.no_grad():
        logits = model(torch.from_numpy(pairs.clean), attention_mask=torch.from_numpy(pairs.mask)).logits
    last = logits[np.arange(pairs.n), pairs.positions].numpy()
    rows = np.arange(pairs.n)
    right = last[rows, pairs.answers[:, 0]] > last[rows, pairs.distractors[:, 0]]
    assert right.mean() > 0.9
