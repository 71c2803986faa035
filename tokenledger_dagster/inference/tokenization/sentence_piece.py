"""Tokenizers in sentencepiece's format: one `.model` file.

Here: reading it. Not here: what it does to text: most models normalise, and all take U+2581 for a space.
"""

from __future__ import annotations

from pathlib import Path

from tokenledger_dagster.inference.tokenization.tokenizer import LocalTokenizer
from tokenledger_dagster.inference.tokenization.vocabulary import missing_package, read_vocabulary, trusted
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

__all__ = ["load_sentencepiece"]

REMEDY = "give a .model file of sentencepiece"


def load_sentencepiece(path: Path, *, metrics: MetricsBackend | None = None) -> LocalTokenizer:
    """A tokenizer of this model, without the marks of a text's beginning and end.

    Raises:
        TokenLedgerError: the file is missing, too large or no model, or the package is not installed.
    """
    content = read_vocabulary(path, REMEDY)
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as fault:
        raise missing_package("sentencepiece") from fault
    with trusted(path, "is no sentencepiece model", REMEDY):
        library = SentencePieceProcessor()
        library.LoadFromSerializedProto(content)
        size = int(library.vocab_size())
    return LocalTokenizer("sentencepiece", size, library.encode, library.decode, metrics=metrics or NoopMetrics())
