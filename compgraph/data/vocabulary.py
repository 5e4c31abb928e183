"""A word-level tokenizer over all that some tasks can say, for models trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compgraph.data.mixture import Tasks, parse_tasks
from compgraph.data.tokenise import find_task
from compgraph.errors import DataError

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerFast

PAD, BOS, UNKNOWN = "<pad>", "<bos>", "<unk>"
#: Words with their apostrophe; years as two pairs of digits, other numbers whole; triple quotes; signs.
#: White space is dropped, so that a word is the same token at the start of a text and within it.
PATTERN = r"""[^\W\d_]+(?:'[^\W\d_]+)?|(?<!\d)\d\d(?=\d\d(?!\d))|\d+|\"\"\"|[^\w\s]|_"""


def word_tokenizer(tasks: Tasks, max_length: int = 1024) -> PreTrainedTokenizerFast:
    """Tokenizer whose vocabulary is every word that the tasks can produce with their options.

    Every text starts with ``<bos>``. Ids: ``<pad>`` 0, ``<bos>`` 1, ``<unk>`` 2, then the words in the order
    of their characters' code points, so that the same tasks give the same tokenizer. ``save_pretrained``
    writes ``tokenizer.json`` and ``tokenizer_config.json``, which ``AutoTokenizer`` opens.

    Parameters
    ----------
    tasks
        As for `compgraph.data.mixture.mixture_pairs`; shares play no part.
    max_length
        Longest text that a model is meant to read, in tokens.

    Raises
    ------
    DataError
        For unknown tasks or options.
    """
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    splitter = _splitter()
    words: set[str] = set()
    for part in parse_tasks(tasks):
        for text in find_task(part.name).vocabulary(**part.options):
            words.update(word for word, _ in splitter.pre_tokenize_str(text))
    if not words:
        raise DataError("the tasks have no words")
    vocabulary = {word: index for index, word in enumerate([PAD, BOS, UNKNOWN, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        padding_side="right",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def _splitter() -> PreTokenizer:
    from tokenizers import Regex, pre_tokenizers

    # What matches is a word; what lies between the words, white space, is removed.
    return pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
