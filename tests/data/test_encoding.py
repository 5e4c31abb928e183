from __future__ import annotations

import pytest

from compgraph.data.encoding import Encoder, single_token_words, tokenizer_of
from compgraph.errors import DataError
from tests.data import sample_tokenizers


def test_special_tokens_before_a_text_stay_and_those_after_it_go() -> None:
    encoder = Encoder(sample_tokenizers.closed())
    assert encoder.encode(["one two", "four"]) == [[1, 3, 4], [1, 6]]
    assert encoder.encode([]) == []
    assert encoder.encode_plain("one two") == [3, 4]
    assert encoder.prefix == [1]


def test_the_first_token_can_be_enforced_or_left_out() -> None:
    closed, bpe = sample_tokenizers.closed(), sample_tokenizers.byte_level()
    assert Encoder(closed, prepend_bos=False).encode(["one"]) == [[3]]
    assert Encoder(closed, prepend_bos=True).encode(["one"]) == [[1, 3]]
    plain = Encoder(bpe).encode(["the door"])[0]
    assert Encoder(bpe, prepend_bos=True).encode(["the door"]) == [[bpe.bos_token_id, *plain]]
    bare = sample_tokenizers.without_specials()
    assert Encoder(bare).encode(["one"]) == [[3]]
    with pytest.raises(DataError, match="no beginning-of-sequence token"):
        Encoder(bare, prepend_bos=True)


def test_unknown_words() -> None:
    encoder = Encoder(sample_tokenizers.closed())
    known, unknown = encoder.encode(["one two", "one seven"])
    assert not encoder.has_unknown(known) and encoder.has_unknown(unknown)
    # A tokenizer whose unknown token is its end of text has none of its own.
    bpe = Encoder(sample_tokenizers.byte_level(), prepend_bos=True)
    assert not bpe.has_unknown(bpe.encode(["zebra"])[0])


def test_context_is_the_end_of_the_prompt() -> None:
    encoder = Encoder(sample_tokenizers.closed())
    assert encoder.context("one two three", [7]) == (" two three", 7)
    assert encoder.context("one two three ", [7]) == (" two three ", 7)
    assert encoder.context("three", [7]) == ("three", 7)
    assert encoder.context("two\n  three:", [7]) == ("two\n  three:", 7)


def test_continuations_follow_the_tokens_of_the_prompt() -> None:
    encoder = Encoder(sample_tokenizers.closed())
    tokens = encoder.encode(["one"])[0]
    context = encoder.context("one", tokens)
    wanted = {(context, text): ("one", tokens) for text in (" two", " two three", "two", "")}
    found = encoder.continuations(wanted)
    # "onetwo" is one unknown word, and no text at all is no token.
    assert [found[context, text] for text in (" two", " two three", "two", "")] == [4, None, None, None]


def test_spelling() -> None:
    tokenizer = sample_tokenizers.byte_level()
    encoder = Encoder(tokenizer)
    prompt = encoder.encode(["the"])[0]
    token = encoder.spelling(prompt, " door")
    assert token is not None and tokenizer.decode([token]) == " door"
    assert encoder.spelling(prompt, " zyzzyva") is None


def test_single_token_words() -> None:
    closed, bpe = sample_tokenizers.closed(), sample_tokenizers.byte_level()
    assert single_token_words(closed) == ["one", "two", "three", "four"]
    assert single_token_words(closed, ["four", "five", "one"]) == ["four", "one"]
    assert single_token_words(bpe, ["door", "zyzzyva", "water"]) == ["door", "water"]
    found = single_token_words(bpe)
    assert len(found) > 100
    for word in found[:20]:
        assert len(bpe(f"so {word}", add_special_tokens=False)["input_ids"]) == len(bpe("so")["input_ids"]) + 1


def test_tokenizer_of() -> None:
    class Net:
        tokenizer = sample_tokenizers.closed()

    assert tokenizer_of(Net()) is Net.tokenizer
    assert tokenizer_of(Net.tokenizer) is Net.tokenizer
    with pytest.raises(DataError, match="a object has no tokenizer"):
        tokenizer_of(object())
