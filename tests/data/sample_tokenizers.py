"""Small tokenizers with the conventions of common models, made on the spot."""

from __future__ import annotations

from functools import cache

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from compgraph import catalogue
from compgraph.data.tokenise import find_task
from compgraph.data.vocabulary import word_tokenizer

TASKS = tuple(catalogue.TASKS)


@cache
def words() -> PreTrainedTokenizerFast:
    """Word-level, over all tasks, with a beginning-of-sequence token."""
    return word_tokenizer(TASKS)


@cache
def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2's: byte-level BPE, spaces belong to the word after them, no token is added."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2600,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


@cache
def closed() -> PreTrainedTokenizerFast:
    """Words of one sentence, put between <s> and </s>; anything else is <unk>."""
    vocabulary = {word: k for k, word in enumerate(["<unk>", "<s>", "</s>", "one", "two", "three", "four"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@cache
def without_specials() -> PreTrainedTokenizerFast:
    """The words of `closed` and nothing around them."""
    tokenizer = Tokenizer.from_str(closed().backend_tokenizer.to_str())
    tokenizer.post_processor = processors.Sequence([])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@cache
def years() -> PreTrainedTokenizerFast:
    """Letters, spaces, all pairs of digits, and the year 1760 as one piece."""
    pieces = [*" abcdefghijklmnopqrstuvwxyzT", *(f"{k:02d}" for k in range(100)), " 1760", " 17"]
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *((piece, -1.0) for piece in pieces)], 0))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def _texts() -> list[str]:
    rng = np.random.default_rng(0)
    texts = []
    for name in TASKS:
        for item in find_task(name).generate(600, rng):
            texts.append(f"{item.clean}{item.answers[0]} {item.corrupted}")
        texts += [f"I saw {text} {text} {text} and {text}" for text in find_task(name).vocabulary()]
    return texts
