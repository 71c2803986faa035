"""What every tokenizer can do, and the one place where hostile input, ids and times are dealt with.

Here: the protocol and what the adapters share. Not here: any library's own ways.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, Protocol, TypeVar

from tokenledger_dagster.inference.tokenization.texts import PROBES, sanitised
from tokenledger_dagster.observability.metrics import MetricsBackend
from tokenledger_dagster.observability.names import TOKENIZER_ENCODE_DURATION

__all__ = ["LocalTokenizer", "Tokenizer", "TokenizerName", "unknown_id"]

TokenizerName = Literal["hugging_face", "tiktoken", "sentencepiece"]
_Found = TypeVar("_Found")


class Tokenizer(Protocol):
    """One vocabulary. Safe to call from several threads."""

    @property
    def name(self) -> TokenizerName:
        """Which adapter this is."""
        ...

    @property
    def vocab_size(self) -> int:
        """One more than the largest id that `encode` may return."""
        ...

    @property
    def lossless(self) -> bool:
        """Whether `decode(encode(text))` is the text again, for any text whose characters UTF-8 can write."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids from 0 up to `vocab_size`. Any text is plain text: `<|endoftext|>` is thirteen characters, no end."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids.

        Raises:
            ValueError: an id is none of the vocabulary's.
        """
        ...


class LocalTokenizer:
    """A tokenizer made of a library's two functions, with sanitised input, checked ids and a measured `encode`."""

    def __init__(
        self,
        name: TokenizerName,
        vocab_size: int,
        encode: Callable[[str], list[int]],
        decode: Callable[[list[int]], str],
        *,
        metrics: MetricsBackend,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name, self._vocab_size = name, vocab_size
        self._encode, self._decode = encode, decode
        self._metrics, self._clock = metrics, clock

    @property
    def name(self) -> TokenizerName:
        """Which adapter this is."""
        return self._name

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self._vocab_size

    @cached_property
    def lossless(self) -> bool:
        """Found out once, on texts that tokenizers are known to change; its type does not tell what one does."""
        return all(self._decode(self._encode(text)) == text for text in PROBES)

    def encode(self, text: str) -> list[int]:
        """Ids of the text, after what no encoding can write was replaced."""
        text = sanitised(text)
        return self.measured(lambda: self._encode(text))

    def measured(self, work: Callable[[], _Found]) -> _Found:
        """What the work returns; the time it took goes to the metrics."""
        started = self._clock()
        found = work()
        self._metrics.histogram(TOKENIZER_ENCODE_DURATION, self._clock() - started, tokenizer=self._name)
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids."""
        for one in ids:
            if not 0 <= one < self._vocab_size:
                raise unknown_id(one)
        return self._decode(list(ids))


def unknown_id(one: int) -> ValueError:
    """The fault of an id that the vocabulary does not have."""
    return ValueError(f"{one} is no token of this vocabulary")
