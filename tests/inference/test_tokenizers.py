"""Three libraries behind one protocol: what they share, what each loses, and that none ever leaves the machine."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference import vocabularies
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.tokenization import (
    EmbeddingTokenizer,
    Tokenizer,
    load_embedding_tokenizer,
    load_hugging_face,
    load_sentencepiece,
    load_tiktoken,
)
from tokenledger_dagster.inference.tokenization.texts import PROBES, sanitised
from tokenledger_dagster.inference.tokenization.vocabulary import MAX_BYTES
from tokenledger_dagster.observability.metrics import RecordingMetrics
from tokenledger_dagster.observability.names import TOKENIZER_ENCODE_DURATION

for package in ("tokenizers", "tiktoken", "sentencepiece"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")

ANY_TEXT = st.text(st.characters(), max_size=200)
"""Halves of surrogate pairs among its characters."""


class Vocabularies:
    """One tokenizer of each kind."""

    def __init__(self, folder: Path) -> None:
        self.byte_level_file = vocabularies.byte_level(folder / "tokenizer.json")
        self.ranks_file = vocabularies.ranks_of(self.byte_level_file, folder / "own.tiktoken")
        self.byte_level = load_hugging_face(self.byte_level_file)
        self.ranks = load_tiktoken(self.ranks_file)
        self.by_hand = load_tiktoken(vocabularies.ranks_by_hand(folder / "hand.tiktoken", b"th", b"the", b" the"))
        self.normalising = load_sentencepiece(vocabularies.sentence_piece(folder / "nfkc.model"))
        self.keeping = load_sentencepiece(
            vocabularies.sentence_piece(
                folder / "identity.model", normalization_rule_name="identity", remove_extra_whitespaces=False
            )
        )
        self.word_piece_file = vocabularies.word_piece(folder / "wordpiece.json")
        self.words = load_embedding_tokenizer(self.word_piece_file, 8)

    @property
    def all(self) -> list[Tokenizer]:
        return [self.byte_level, self.ranks, self.by_hand, self.normalising, self.keeping, self.words]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Vocabularies:
    return Vocabularies(tmp_path_factory.mktemp("vocabularies"))


# ------------------------------------------------------------------ what they lose


def test_each_tells_the_truth_about_what_it_loses(made: Vocabularies) -> None:
    lossless = {
        one: getattr(made, one).lossless
        for one in ("byte_level", "ranks", "by_hand", "normalising", "keeping", "words")
    }

    assert lossless == {
        "byte_level": True,
        "ranks": True,
        "by_hand": True,
        "normalising": False,  # NFKC, and white space is folded
        "keeping": False,  # U+2581 is its own mark for a space
        "words": False,  # lower-cased, and cut
    }


@settings(max_examples=300, deadline=None)
@given(text=ANY_TEXT)
def test_a_lossless_one_gives_back_any_text(made: Vocabularies, text: str) -> None:
    for tokenizer in (made.byte_level, made.ranks, made.by_hand):
        assert tokenizer.decode(tokenizer.encode(text)) == sanitised(text)


@settings(max_examples=200, deadline=None)
@given(text=ANY_TEXT)
def test_sentencepiece_without_normalisation_loses_its_own_mark_alone(made: Vocabularies, text: str) -> None:
    assert made.keeping.decode(made.keeping.encode(text)) == sanitised(text).replace("\u2581", " ")


@settings(max_examples=200, deadline=None)
@given(text=ANY_TEXT)
def test_every_id_is_one_of_the_vocabulary(made: Vocabularies, text: str) -> None:
    for tokenizer in made.all:
        assert all(0 <= one < tokenizer.vocab_size for one in tokenizer.encode(text))


@settings(max_examples=300, deadline=None)
@given(text=ANY_TEXT)
def test_two_libraries_agree_on_the_same_ranks(made: Vocabularies, text: str) -> None:
    assert made.ranks.encode(text) == made.byte_level.encode(text)


# ------------------------------------------------------------------ snapshots


def test_ranks_by_hand_encode_as_a_person_would(made: Vocabularies, tmp_path: Path) -> None:
    merges = (("t", "h"), ("th", "e"), ("\u0120", "the"))  # a byte-level vocabulary writes a space so
    same = load_hugging_face(vocabularies.byte_level_by_hand(tmp_path / "hand.json", *merges))
    for tokenizer in (made.by_hand, same):
        assert tokenizer.vocab_size == 259
        assert tokenizer.encode("the the") == [257, 258]
        assert tokenizer.encode("thin") == [256, ord("i"), ord("n")]
        assert tokenizer.encode("\u00e9") == [0xC3, 0xA9]
        assert tokenizer.decode([257, 258, 32, 256]) == "the the th"


def test_what_sentencepiece_does_not_know_becomes_bytes(made: Vocabularies) -> None:
    assert len(made.keeping.encode("\U0001f600")) == 5  # the space before a text, then four bytes
    assert made.normalising.decode(made.normalising.encode("  \uff21\ufb01  x ")) == "Afi x"


def test_the_model_s_tokenizer_adds_its_special_tokens_and_pads_nothing(made: Vocabularies) -> None:
    assert made.words.encode("") == [2, 3]
    assert made.words.encode("Fixed the tests") == [2, 9, 10, 11, 12, 13, 3]
    assert made.words.encode("\u4f60") == [2, 1, 3]
    assert made.words.decode([2, 9, 10, 11, 12, 13, 3]) == "fixed the tests"


# ------------------------------------------------------------------ cutting


def test_a_longer_text_is_cut_and_told(made: Vocabularies) -> None:
    assert made.words.encode_cut("a b c a b c") == ([2, 4, 5, 6, 4, 5, 6, 3], False)
    assert made.words.encode_cut("a b c a b c a") == ([2, 4, 5, 6, 4, 5, 6, 3], True)
    assert made.words.max_tokens == 8


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.sampled_from(["a", "the", "fixed", "x" * 300, "\u00e9", "\n", "  ", "[SEP]"]), max_size=120))
def test_looking_at_the_beginning_alone_changes_no_id(made: Vocabularies, words: list[str]) -> None:
    from tokenizers import Tokenizer as Library

    text = " ".join(words)
    library = Library.from_file(str(made.word_piece_file))
    library.no_padding()
    library.encode_special_tokens = True
    library.enable_truncation(8)
    whole = library.encode(text)

    assert made.words.encode_cut(text) == (whole.ids, bool(whole.overflowing))


@pytest.mark.parametrize("max_tokens", [0, 1, 2])
def test_too_few_tokens_for_the_special_ones_are_refused(made: Vocabularies, max_tokens: int) -> None:
    with pytest.raises(TokenLedgerError, match=f"puts 2 special tokens.* allow more than {max_tokens} tokens"):
        load_embedding_tokenizer(made.word_piece_file, max_tokens)


# ------------------------------------------------------------------ hostile input


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("nul \x00 bell \x07 esc \x1b[2J", "nul \x00 bell \x07 esc \x1b[2J"),
    ],
)
def test_only_what_no_encoding_can_write_is_replaced(text: str, clean: str) -> None:
    assert sanitised(text) == clean


@given(ANY_TEXT)
def test_clean_text_can_be_written_and_stays_as_it_is(text: str) -> None:
    assert sanitised(sanitised(text)) == sanitised(text)
    assert sanitised(text).encode().decode() == sanitised(text)


@pytest.mark.parametrize("text", ["\ud800", "\x00" * 50, "\x1b[31m", "<|endoftext|>", "\uffff\U0010ffff", *PROBES])
def test_no_text_is_refused(made: Vocabularies, text: str) -> None:
    for tokenizer in made.all:
        assert isinstance(tokenizer.decode(tokenizer.encode(text)), str)


def test_special_tokens_in_a_text_are_text(made: Vocabularies) -> None:
    assert len(made.by_hand.encode("<|endoftext|>")) == 13
    assert len(made.byte_level.encode("<|endoftext|>")) > 1
    assert made.words.encode("a [SEP] b") == [2, 4, 7, 14, 8, 5, 3]  # "[", "sep", "]"
    assert made.words.encode("[CLS]") == [2, 7, 1, 8, 3]
    assert len(made.keeping.encode("</s><unk>")) > 2


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a" * 1_000_000, " " * 1_000_000, "the " * 250_000, "\x00" * 1_000_000])
def test_a_line_of_a_megabyte_is_encoded_whole(made: Vocabularies, text: str) -> None:
    assert made.ranks.decode(made.ranks.encode(text)) == text
    assert len(made.words.encode(text)) <= 8


@pytest.mark.parametrize("ids", [[-1], [10**6], [2**40], [0, -(2**70)]])
def test_an_id_of_no_vocabulary_is_told(made: Vocabularies, ids: list[int]) -> None:
    for tokenizer in made.all:
        with pytest.raises(ValueError, match="is no token of this vocabulary"):
            tokenizer.decode(ids)


def test_one_tokenizer_serves_many_threads(made: Vocabularies) -> None:
    texts = ["the parser", "naïve café", "x" * 500, "12345 67890"] * 10
    expected = [[one.encode(text) for text in texts] for one in made.all]
    found: list[Any] = [None] * 4

    def work(place: int) -> None:
        found[place] = [[one.encode(text) for text in texts] for one in made.all]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [expected] * 4


# ------------------------------------------------------------------ offline


def test_no_adapter_opens_a_connection_or_a_cache(
    made: Vocabularies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a connection was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(cache))

    fresh = Vocabularies(tmp_path)
    for tokenizer in fresh.all:
        tokenizer.decode(tokenizer.encode("the parser"))
    assert os.listdir(cache) == []


# ------------------------------------------------------------------ files that are no vocabulary

LOADERS: dict[str, Callable[[Path], Tokenizer]] = {
    "hugging_face": load_hugging_face,
    "embedding": lambda path: load_embedding_tokenizer(path, 8),
    "tiktoken": load_tiktoken,
    "sentencepiece": load_sentencepiece,
}


def refusal(loader: str, path: Path) -> str:
    with pytest.raises(TokenLedgerError) as caught:
        LOADERS[loader](path)
    told = str(caught.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    assert "; give " in told
    return told.removeprefix(f"{path}: ")


@pytest.mark.parametrize("loader", LOADERS)
def test_a_file_that_is_no_vocabulary_is_told_in_one_line(tmp_path: Path, loader: str) -> None:
    path = tmp_path / "vocabulary"
    assert refusal(loader, path).startswith("does not exist")
    path.mkdir()
    assert refusal(loader, path).startswith("is no regular file")
    path.rmdir()
    path.touch()
    assert refusal(loader, path).startswith("is empty")
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert refusal(loader, path).startswith("is larger than any vocabulary (256 MiB)")
    for content in (b"\x00" * 64, b"\xff\xfe garbage", b"{}", b"[" * 100_000, b"null", b"version https://git-lfs"):
        path.write_bytes(content)
        refusal(loader, path)


@pytest.mark.parametrize("loader", LOADERS)
def test_half_a_vocabulary_is_refused(made: Vocabularies, tmp_path: Path, loader: str) -> None:
    whole = {
        "hugging_face": made.byte_level_file,
        "embedding": made.word_piece_file,
        "tiktoken": made.ranks_file,
        "sentencepiece": made.byte_level_file.parent / "nfkc.model",
    }[loader].read_bytes()
    path = tmp_path / "half"
    for length in (1, len(whole) // 3, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert refusal(loader, path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: [*lines, b"eHl6 0"], "two tokens have the same rank"),
        (
            lambda lines: [*lines, b"YQ== 900"],
            "line 257 has an empty token, a token told before, or a rank out of range",
        ),
        (lambda lines: [*lines, b"eHl6 -1"], "line 257 has an empty token"),
        (lambda lines: [*lines, b"eHl6 4294967296"], "line 257 has an empty token"),
        (lambda lines: [*lines, b"eHl6"], "line 257 is no token with its rank"),
        (lambda lines: [*lines, b"e!l6 900"], "line 257 is no token with its rank"),
        (lambda lines: lines[1:], "1 of the 256 bytes have no token of their own"),
    ],
)
def test_ranks_that_would_stop_tiktoken_are_refused(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], told: str
) -> None:
    path = vocabularies.ranks_by_hand(tmp_path / "ranks.tiktoken")
    path.write_bytes(b"\n".join(change(path.read_bytes().splitlines())))
    assert refusal("tiktoken", path).startswith(told)


def test_ranks_may_have_gaps_that_decode_to_nothing(tmp_path: Path) -> None:
    path = vocabularies.ranks_by_hand(tmp_path / "ranks.tiktoken")
    path.write_bytes(path.read_bytes() + b"\n\ndGg= 300\n")
    tokenizer = load_tiktoken(path)
    assert tokenizer.encode("th") == [300]
    with pytest.raises(ValueError, match="299 is no token of this vocabulary"):
        tokenizer.decode([299])


def test_a_pattern_that_is_none_is_told(tmp_path: Path) -> None:
    path = vocabularies.ranks_by_hand(tmp_path / "ranks.tiktoken")
    with pytest.raises(TokenLedgerError, match=r"cannot be used with this pattern .*; give the pattern that"):
        load_tiktoken(path, pattern="(((")


# ------------------------------------------------------------------ times


def test_the_time_of_each_call_is_observed(made: Vocabularies) -> None:
    metrics = RecordingMetrics()
    load_hugging_face(made.byte_level_file, metrics=metrics).encode("the parser")
    model: EmbeddingTokenizer = load_embedding_tokenizer(made.word_piece_file, 8, metrics=metrics)
    model.encode("the parser")
    model.encode_cut("the parser")
    load_tiktoken(made.ranks_file, metrics=metrics).encode("the parser")

    assert len(metrics.observations(TOKENIZER_ENCODE_DURATION, tokenizer="hugging_face")) == 3
    assert len(metrics.observations(TOKENIZER_ENCODE_DURATION, tokenizer="tiktoken")) == 1
    assert all(one >= 0 for one in metrics.observations(TOKENIZER_ENCODE_DURATION, tokenizer="tiktoken"))
