"""Tokenizers in Hugging Face's format: one `tokenizer.json`.

Here: a tokenizer for counting and one for the embedding model. Not here: which model it belongs to (`model_folder`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokenledger_dagster.inference.tokenization.texts import sanitised
from tokenledger_dagster.inference.tokenization.tokenizer import LocalTokenizer, unknown_id
from tokenledger_dagster.inference.tokenization.vocabulary import missing_package, read_vocabulary, refused, trusted
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["EmbeddingTokenizer", "load_embedding_tokenizer", "load_hugging_face"]

REMEDY = "give a tokenizer.json, or rebuild the model with `tokenledger models build`"
_CHARACTERS_PER_TOKEN = 32
"""Far more than a token of text has; a longer text is first tried by its beginning."""


def load_hugging_face(path: Path, *, metrics: MetricsBackend | None = None) -> LocalTokenizer:
    """A tokenizer that counts: no special tokens, no truncation, no padding, whatever the file asks for.

    Raises:
        TokenLedgerError: the file is missing, too large or no tokenizer, or the package is not installed.
    """
    library = _read(path)
    library.no_truncation()

    def decode(ids: list[int]) -> str:
        for one in ids:
            if library.id_to_token(one) is None:  # the library leaves it out without a word
                raise unknown_id(one)
        return str(library.decode(ids, skip_special_tokens=False))

    return LocalTokenizer(
        "hugging_face",
        _size(library),
        lambda text: library.encode(text, add_special_tokens=False).ids,
        decode,
        metrics=metrics or NoopMetrics(),
    )


class EmbeddingTokenizer(LocalTokenizer):
    """The tokenizer of an embedding model: with its special tokens, cut at `max_tokens`, never padded."""

    def __init__(
        self,
        library: Tokenizer,
        max_tokens: int,
        *,
        metrics: MetricsBackend,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(
            "hugging_face",
            _size(library),
            lambda text: self._cut(text)[0],
            lambda ids: library.decode(ids, skip_special_tokens=True),
            metrics=metrics,
            clock=clock,
        )
        library.enable_truncation(max_tokens)
        self._library = library
        self.max_tokens = max_tokens

    @property
    def lossless(self) -> Literal[False]:
        """Never: a long text is cut."""
        return False

    def encode_cut(self, text: str) -> tuple[list[int], bool]:
        """Ids as `encode` returns them, and whether any of the text was left out."""
        text = sanitised(text)
        return self.measured(lambda: self._cut(text))

    def _cut(self, text: str) -> tuple[list[int], bool]:
        beginning = self._beginning(text)
        if beginning:
            found = self._library.encode(beginning)
            if found.overflowing:
                return found.ids, True
        found = self._library.encode(text)
        return found.ids, bool(found.overflowing)

    def _beginning(self, text: str) -> str:
        """So much of a long text that the rest is not worth looking at, up to the end of a word; else nothing."""
        limit = _CHARACTERS_PER_TOKEN * self.max_tokens
        if len(text) <= limit:
            return ""
        return text[: max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit), 0)]


def load_embedding_tokenizer(
    path: Path, max_tokens: int, *, metrics: MetricsBackend | None = None
) -> EmbeddingTokenizer:
    """The tokenizer of an embedding model.

    Args:
        path: `tokenizer.json`; its own truncation and padding are not obeyed.
        max_tokens: the most ids of one text, the special ones counted.
        metrics: where the time of each call goes.

    Raises:
        TokenLedgerError: as `load_hugging_face`; or `max_tokens` leaves no room beside the special tokens.
    """
    library = _read(path)
    special = library.num_special_tokens_to_add(False)
    if max_tokens <= special:
        raise refused(path, f"puts {special} special tokens around a text", f"allow more than {max_tokens} tokens")
    return EmbeddingTokenizer(library, max_tokens, metrics=metrics or NoopMetrics())


def _read(path: Path) -> Tokenizer:
    content = read_vocabulary(path, REMEDY)
    try:
        from tokenizers import Tokenizer
    except ImportError as fault:
        raise missing_package("tokenizers") from fault
    with trusted(path, "is no tokenizer", REMEDY):
        library = Tokenizer.from_str(content.decode())
        library.no_padding()
        library.encode_special_tokens = True  # what looks like a special token in a text is text
        if not library.get_vocab_size():
            raise refused(path, "has an empty vocabulary", REMEDY)
        library.encode("a \ue000")  # a character that no vocabulary has
    return library


def _size(library: Tokenizer) -> int:
    return int(max(library.get_vocab(with_added_tokens=True).values())) + 1
