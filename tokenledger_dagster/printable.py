"""Text that may be shown.

Here: the one rule of what a terminal is never sent.  Not here: layout (`cli.output`).
"""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` without control characters: names come from logs and arguments, and must not steer a terminal."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "\ufffd" for one in text)
