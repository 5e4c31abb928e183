"""What a tokenizer of ``transformers`` does to a text, whatever its conventions for spaces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compgraph.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Context = tuple[str, int]
WORD = re.compile(r"[a-z]{2,}")
MARKED = re.compile(r"[Ġ▁]([a-z]{2,})")
#: Words looked at in the vocabulary of a tokenizer, in the order of their ids: the most frequent first.
MAX_WORDS = 400


class Encoder:
    """Texts to token ids.

    Parameters
    ----------
    tokenizer
        Its special tokens before a text are kept, those after it are cut off, since prompts are to be
        continued.
    prepend_bos
        True or False to enforce or leave out the beginning-of-sequence token; None for the tokenizer's own
        way.

    Raises
    ------
    DataError
        If `prepend_bos` is True and the tokenizer has no such token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prepend_bos: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self.n_tokens = len(tokenizer)
        plain = self._call(["a"], special=False)[0]
        full = self._call(["a"], special=True)[0]
        start = next((k for k in range(len(full)) if full[k : k + len(plain)] == plain), 0)
        self._prefix = full[:start]
        self._suffix = len(full) - start - len(plain)
        self._cut = 0
        self._extra: list[int] = []
        bos = tokenizer.bos_token_id
        if prepend_bos is True and (not self._prefix or self._prefix[0] != bos):
            if bos is None:
                raise DataError("prepend_bos = True: this tokenizer has no beginning-of-sequence token")
            self._extra = [bos]
        if prepend_bos is False:
            self._cut = len(self._prefix)
        #: Special tokens that start every text.
        self.prefix = self._extra + self._prefix[self._cut :]
        ids = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        self.pad_id: int = next(token for token in ids if token is not None)
        # Where the unknown token doubles as another special token, the tokenizer has none of its own.
        unknown = tokenizer.unk_token_id
        self._unknown = None if unknown in (bos, tokenizer.eos_token_id) else unknown

    def _call(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        out = self.tokenizer(
            list(texts),
            add_special_tokens=special,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return list(out["input_ids"])

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens before it included."""
        if not texts:
            return []
        rows = self._call(texts, special=True)
        if not (self._suffix or self._cut or self._extra):
            return rows
        return [self._extra + row[self._cut : len(row) - self._suffix] for row in rows]

    def encode_plain(self, text: str) -> list[int]:
        """Token ids of a text without special tokens."""
        return self._call([text], special=False)[0]

    def has_unknown(self, tokens: Sequence[int], body: bool = False) -> bool:
        """Whether a token stands for an unknown word; `body` if no special tokens come first."""
        if self._unknown is None or self._unknown not in tokens:
            return False
        return self._unknown in tokens[0 if body else len(self.prefix) :]

    def context(self, prompt: str, tokens: Sequence[int]) -> Context:
        """What decides how a continuation is split: the last two words of a prompt, and its last token.

        Tokenizers split at white space before they merge, so nothing further back matters.
        """
        parts = prompt.rsplit(None, 2)
        tail = prompt[len(parts[0]) :] if len(parts) == 3 else prompt
        return tail, tokens[-1] if tokens else -1

    def continuations(
        self, wanted: Mapping[tuple[Context, str], tuple[str, list[int]]]
    ) -> dict[tuple[Context, str], int | None]:
        """The single token that each text is after its prompt, or None where it is not.

        Parameters
        ----------
        wanted
            (context, continuation) -> prompt and its tokens.
        """
        whole = self.encode([prompt + target for (_, target), (prompt, _) in wanted.items()])
        return {
            key: row[-1] if len(row) == len(tokens) + 1 and row[:-1] == tokens else None
            for (key, (_, tokens)), row in zip(wanted.items(), whole, strict=True)
        }

    def spelling(self, tokens: list[int], target: str) -> int | None:
        """A single token that spells `target` after `tokens`, though the tokenizer would split otherwise."""
        alone = self._call([target], special=False)[0]
        if len(alone) != 1:
            return None
        return alone[0] if self._decode([*tokens, *alone]) == self._decode(tokens) + target else None

    def _decode(self, tokens: list[int]) -> str:
        text: Any = self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)


def single_token_words(tokenizer: PreTrainedTokenizerBase, words: Iterable[str] | None = None) -> list[str]:
    """Those words that are one token in the middle of a text.

    Parameters
    ----------
    tokenizer
        A tokenizer of ``transformers``.
    words
        Words to try; by default the lower-case words of the tokenizer's vocabulary, in the order of their
        ids.
    """
    encoder = Encoder(tokenizer)
    tried = list(dict.fromkeys(_vocabulary_words(tokenizer) if words is None else words))
    kept = []
    for word, row in zip(tried, encoder.encode([f"{word} {word} {word}" for word in tried]), strict=True):
        # Twice the same token at the end is the word itself, unless each is split into the same two.
        single = len(row) >= 3 and row[-1] == row[-2] and not encoder.has_unknown(row)
        if single and encoder._decode([row[-1]]).strip() == word:
            kept.append(word)
    return kept


def _vocabulary_words(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    ordered = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    marked = [match[1] for token, _ in ordered if (match := MARKED.fullmatch(token))]
    # A vocabulary without marks for spaces is one of whole words.
    plain = [token for token, _ in ordered if WORD.fullmatch(token)] if not marked else []
    return (marked or plain)[:MAX_WORDS]


def tokenizer_of(source: Any) -> PreTrainedTokenizerBase:
    """The tokenizer itself, or that of a network which carries one.

    Raises
    ------
    DataError
        If there is none.
    """
    tokenizer: Any = getattr(source, "tokenizer", None) or source
    if not (callable(tokenizer) and hasattr(tokenizer, "get_vocab")):
        raise DataError(
            f"a {type(source).__name__} has no tokenizer; give the tokenizer itself "
            "(compgraph.models.loading.load_tokenizer opens that of a model folder)"
        )
    return tokenizer
