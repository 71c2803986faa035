"""The records inside an answer of the usage queue, also where the answer is broken off.

Here: finding every complete record in the bytes that arrived.  Not here: asking (``landing.management``), or what a
record may keep (``landing.redaction``).  What was answered is gone from the proxy, so whatever is readable counts.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

_DECODER = json.JSONDecoder()


class Answer(NamedTuple):
    """What an answer held."""

    elements: list[Any]
    """Complete elements in order, of any type; of an answer that is no array, itself."""
    whole: bool
    """False where something was there that could not be read."""


def parsed(body: bytes) -> Answer:
    """The elements of an answer's body."""
    text = body.strip()
    if not text or text == b"null":
        return Answer([], whole=True)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _salvaged(text.decode("utf-8", "replace"))
    return Answer(value if isinstance(value, list) else [value], whole=True)


def _salvaged(text: str) -> Answer:
    """Complete elements at the start of an array that is cut, or holds what strict JSON does not."""
    elements: list[Any] = []
    if not text.startswith("["):
        try:
            return Answer([json.loads(text)], whole=True)
        except (ValueError, RecursionError):
            return Answer([], whole=False)
    position = _past(text, 1, " \t\r\n")
    while position < len(text) and text[position] != "]":
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            return Answer(elements, whole=False)
        following = _past(text, end, " \t\r\n")
        if following >= len(text) or text[following] not in ",]":
            # numbers and words may go on in what is missing, as `1` in `1.5`; objects have their end
            return Answer([*elements, value] if isinstance(value, dict) else elements, whole=False)
        elements.append(value)
        position = following if text[following] == "]" else _past(text, following + 1, " \t\r\n")
    return Answer(elements, whole=position < len(text))


def _past(text: str, position: int, blanks: str) -> int:
    while position < len(text) and text[position] in blanks:
        position += 1
    return position
