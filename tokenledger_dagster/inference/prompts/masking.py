"""Keys, tokens, passwords and addresses in a text, each replaced by a word that says what stood there.

Here: the patterns of `config/prompt_secrets.csv` and their use.  Not here: what of a message was typed (`typed`), or
the redaction of usage records, which keeps what it knows instead of dropping what it knows (`landing.redaction`).
"""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tokenledger_dagster.errors import TokenLedgerError

__all__ = ["LONGEST", "masked", "patterns"]

PATH = Path(__file__).resolve().parents[3] / "config" / "prompt_secrets.csv"
LONGEST = 4_096
"""Characters looked at beyond those that are kept: a secret that begins before the cut is seen whole."""


class Pattern(NamedTuple):
    """What a kind of secret looks like."""

    kind: str
    needs: tuple[str, ...]
    """In small letters: a text without any of these holds none, and is not searched. Empty: every text is."""
    shape: re.Pattern[str]
    """A group named `secret` is what is replaced, else all of it."""
    unless: re.Pattern[str] | None
    """What stands in a secret's place and is none: `password is required`, `password = settings.password`."""


def masked(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters of a text with every secret as `[kind]`, and how many were masked.

    Only a stretch of bounded length is looked at, and every pattern is of bounded length itself, so the time grows with
    `limit` alone.
    """
    kept, count = text[: limit + LONGEST], 0
    small = kept.lower()
    for one in patterns():
        if one.needs and not any(word in small for word in one.needs):
            continue
        kept, found = _without(one, kept)
        count += found
    return kept[:limit].rstrip(), count


def _without(pattern: Pattern, text: str) -> tuple[str, int]:
    """The text without what the pattern finds, and how much that was."""
    group = "secret" if "secret" in pattern.shape.groupindex else 0
    parts, place = list[str](), 0
    for match in pattern.shape.finditer(text):
        if pattern.unless is None or not pattern.unless.fullmatch(match[group]):
            parts += [text[place : match.start(group)], f"[{pattern.kind}]"]
            place = match.end(group)
    return ("".join([*parts, text[place:]]), len(parts) // 2) if parts else (text, 0)


@cache
def patterns() -> list[Pattern]:
    """The committed patterns in their order.

    Raises:
        TokenLedgerError: the file is missing, or holds what is no pattern.
    """
    try:
        with PATH.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, strict=True))
        return [Pattern(row["kind"], tuple(row["needs"].split()), *_compiled(row)) for row in rows]
    except (OSError, csv.Error, ValueError, KeyError, TypeError, AttributeError, re.error) as error:
        raise TokenLedgerError(f"{PATH}: cannot be read ({error}); mend the file") from error


def _compiled(row: dict[str, str]) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
    return re.compile(row["pattern"]), re.compile(row["unless"]) if row["unless"] else None
