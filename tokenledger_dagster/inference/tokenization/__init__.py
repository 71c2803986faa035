"""Text to token ids and back: one protocol over Hugging Face tokenizers, tiktoken and sentencepiece.

Here: the protocol, its three adapters, and what all of them do with text that is no text. Not here: estimates of token
counts for which no tokenizer is needed (`estimates`).

Offline by construction: an adapter reads one local file, opens no connection, and neither reads nor writes a cache.
"""

from __future__ import annotations

from tokenledger_dagster.inference.tokenization.hugging_face import (
    EmbeddingTokenizer,
    load_embedding_tokenizer,
    load_hugging_face,
)
from tokenledger_dagster.inference.tokenization.sentence_piece import load_sentencepiece
from tokenledger_dagster.inference.tokenization.tik_token import load_tiktoken
from tokenledger_dagster.inference.tokenization.tokenizer import Tokenizer, TokenizerName

__all__ = [
    "EmbeddingTokenizer",
    "Tokenizer",
    "TokenizerName",
    "load_embedding_tokenizer",
    "load_hugging_face",
    "load_sentencepiece",
    "load_tiktoken",
]
