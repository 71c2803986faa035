"""What is counted of a text: eight figures that a linear estimate is made of.

Here: counting. Not here: what each figure weighs (`estimator`).

The figures of several texts may be added up, so that a session can be estimated without keeping its texts.
"""

from __future__ import annotations

import re

from tokenledger_dagster.inference.tokenization.texts import sanitised

__all__ = ["FEATURES", "NOTHING", "Features", "added", "features_of"]

Features = tuple[int, int, int, int, int, int, int, int]

FEATURES = ("texts", "characters", "extra_bytes", "words", "digits", "punctuation", "newlines", "wide_characters")
"""`extra_bytes`: bytes in UTF-8 beyond one per character. `words`: runs of letters. `wide_characters`: from U+2E80 on,
where scripts are written without spaces."""
NOTHING: Features = (0, 0, 0, 0, 0, 0, 0, 0)

_WORDS = re.compile(r"[^\W\d_]+")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_WIDE = re.compile(r"[\u2e80-\U0010ffff]")


def features_of(text: str) -> Features:
    """The figures of one text, in the order of `FEATURES`; an empty text is none."""
    if not text:
        return NOTHING
    text = sanitised(text)
    plain = text.isascii()
    return (
        1,
        len(text),
        0 if plain else len(text.encode()) - len(text),
        len(_WORDS.findall(text)),
        sum(map(text.count, "0123456789")),
        len(_PUNCTUATION.findall(text)),
        text.count("\n"),
        0 if plain else len(_WIDE.findall(text)),
    )


def added(one: Features, other: Features) -> Features:
    """The figures of both together."""
    a, b = one, other
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6], a[7] + b[7])
