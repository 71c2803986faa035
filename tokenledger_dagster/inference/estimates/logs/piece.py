"""One prompt or answer of a log, reduced to figures.

Here: the shape in which all readers tell what they found, and what they have in common. Not here: any client.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.row_values import unheard
from tokenledger_dagster.inference.estimates.features import NOTHING, Features, added, features_of

__all__ = ["Emit", "Closing", "Piece", "counted", "key_of", "text_of"]


class Piece(NamedTuple):
    """What a log shows of one prompt or answer."""

    session_id: str
    """As the ledger names the session."""
    is_answer: bool
    """Written by a model, tool calls among it; else sent to it."""
    key: bytes
    """Equal for copies of it in other files."""
    features: Features
    tokens: int | None
    """Of an answer: what its provider counted for these very texts, reasoning left out; else None."""
    is_counted: bool
    """Whether the log has a count of the request that it belongs to."""
    model_raw: str | None
    time_us: int | None


Emit = Callable[[Piece], None]


@runtime_checkable
class Closing(Protocol):
    """A reader that has something to tell when its file is over."""

    def close(self) -> None:
        """Pass on what was held back."""
        ...


_TEXTS = ("text", "content", "thinking", "input", "arguments", "args", "code", "command", "patch")
"""Members of a block that a model wrote, or was sent, as text."""
_DEEPEST = 4


def text_of(content: object, depth: int = 0) -> Features:
    """What is counted of a message's content: a string, a block, or a list of blocks."""
    if isinstance(content, str):
        return features_of(content)
    found = NOTHING
    if depth > _DEEPEST:
        return found
    if isinstance(content, list):
        for one in content:
            found = added(found, text_of(one, depth + 1))
    elif isinstance(content, dict):
        name = content.get("name")
        found = text_of(name, depth + 1) if isinstance(name, str) else found
        for member in _TEXTS:
            value = content.get(member)
            if isinstance(value, dict) and member in ("input", "arguments", "args"):  # what a tool is called with
                value = json.dumps(value, ensure_ascii=False)
            found = added(found, text_of(value, depth + 1))
    return found


def counted(value: object) -> int:
    """A log's count; what is none is 0."""
    return values.count(value, unheard)


def key_of(*parts: Any) -> bytes:
    """Eight bytes that stand for these parts."""
    told = "\0".join(str(part) for part in parts)
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).digest()
