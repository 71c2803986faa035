"""Byte-pair encoding by tiktoken, from a local file of ranks.

Here: reading and checking the ranks. Not here: tiktoken's own encodings by name, which it downloads, nor its cache.
"""

from __future__ import annotations

import binascii
from pathlib import Path

from tokenledger_dagster.inference.tokenization.tokenizer import LocalTokenizer, unknown_id
from tokenledger_dagster.inference.tokenization.vocabulary import missing_package, read_vocabulary, refused, trusted
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

__all__ = ["load_tiktoken", "read_ranks"]

REMEDY = "give a file with a token in base64 and its rank on each line"
_MAX_RANK = 2**31 - 1


def load_tiktoken(path: Path, *, pattern: str | None = None, metrics: MetricsBackend | None = None) -> LocalTokenizer:
    """A tokenizer of these ranks, without special tokens.

    Args:
        path: a `.tiktoken` file: on each line a token in base64, a space, and its rank, which is its id.
        pattern: the regular expression that cuts a text into pieces before they are encoded; it belongs to the ranks.
            None is that of GPT-2.
        metrics: where the time of each call goes.

    Raises:
        TokenLedgerError: the file is missing, too large or holds no complete ranks, the pattern is none, or the package
            is not installed.
    """
    ranks = read_ranks(path)
    try:
        import tiktoken
        from tiktoken_ext.openai_public import r50k_pat_str  # type: ignore[import-untyped]
    except ImportError as fault:
        raise missing_package("tiktoken") from fault
    with trusted(path, "cannot be used with this pattern", "give the pattern that the ranks were made with"):
        encoding = tiktoken.Encoding(
            path.name, pat_str=pattern or r50k_pat_str, mergeable_ranks=ranks, special_tokens={}
        )
    taken = frozenset(ranks.values())

    def decode(ids: list[int]) -> str:
        for one in ids:
            if one not in taken:  # ranks may have gaps
                raise unknown_id(one)
        return encoding.decode(ids)

    return LocalTokenizer(
        "tiktoken", encoding.n_vocab, encoding.encode_ordinary, decode, metrics=metrics or NoopMetrics()
    )


def read_ranks(path: Path) -> dict[bytes, int]:
    """Ids by token.

    tiktoken aborts where a byte has no token or two tokens share an id, so both are told here.

    Raises:
        TokenLedgerError: names the line.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(read_vocabulary(path, REMEDY).splitlines(), 1):
        if not line.strip():
            continue
        try:
            encoded, rank = line.split()
            token, value = binascii.a2b_base64(encoded, strict_mode=True), int(rank)
        except ValueError as fault:  # binascii.Error among them
            raise refused(path, f"line {number} is no token with its rank", REMEDY) from fault
        if not token or not 0 <= value <= _MAX_RANK or token in ranks:
            raise refused(
                path, f"line {number} has an empty token, a token told before, or a rank out of range", REMEDY
            )
        ranks[token] = value
    missing = sum(bytes([byte]) not in ranks for byte in range(256))
    if missing:
        raise refused(path, f"{missing} of the 256 bytes have no token of their own", REMEDY)
    if len(set(ranks.values())) < len(ranks):
        raise refused(path, "two tokens have the same rank", REMEDY)
    return ranks
