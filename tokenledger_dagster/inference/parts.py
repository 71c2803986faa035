"""A session's prompts as texts that the embedding model can read whole.

Here: cutting and joining prompts into a few parts. Not here: where prompts come from (`prompts`), and how many there
may be (`config/inference.yaml`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

__all__ = ["Parts", "split"]

_LONGEST_WORD = 100
"""Characters above which WordPiece takes a word for unknown; longer runs, as of base64 or Chinese, are cut."""


class Parts(NamedTuple):
    """What is embedded of one session."""

    texts: list[str]
    """In the order in which they were typed; none is blank."""
    is_cut: bool
    """Whether something was left out at the end."""


def split(texts: Iterable[str], count: Callable[[str], int], *, max_parts: int, max_tokens: int) -> Parts:
    """The first `max_parts` parts of some prompts.

    Prompts stay whole where they fit, short ones share a part, and a long one goes on in the next part at a word's
    end.

    Args:
        texts: prompts in the order in which they were typed; blank ones count for nothing.
        count: tokens of a text, the special ones not counted.
        max_parts: the most parts.
        max_tokens: the most tokens of a part, as counted.
    """
    parts: list[str] = []
    held: list[str] = []
    used = 0
    for text in texts:
        for piece, tokens in _pieces(text.strip(), count, max_tokens):
            if held and used + tokens > max_tokens:
                parts.append("\n".join(held))
                held, used = [], 0
                if len(parts) == max_parts:
                    return Parts(parts, True)
            held.append(piece)
            used += tokens
    if held:
        parts.append("\n".join(held))
    return Parts(parts, False)


def _pieces(text: str, count: Callable[[str], int], max_tokens: int) -> Iterator[tuple[str, int]]:
    """The text, or where it is too long pieces of it that fit, each with its tokens."""
    if not text:
        return
    tokens = count(text)
    if tokens <= max_tokens:
        yield text, tokens
        return
    held: list[str] = []
    used = 0
    for found in re.finditer(rf"\S{{1,{min(_LONGEST_WORD, max_tokens)}}}\s*", text):
        tokens = count(found.group())
        if held and used + tokens > max_tokens:
            yield "".join(held).strip(), used
            held, used = [], 0
        held.append(found.group())
        used += tokens
    yield "".join(held).strip(), used
