"""What of a message a person typed: programs put reminders, contexts and results into the same place.

Here: the rules of `config/prompt_wrappers.csv`, and the text of a message's content.  Not here: which messages are a
person's at all (the clients' readers), or secrets (`masking`).
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from tokenledger_dagster.errors import TokenLedgerError

__all__ = ["NO_TEXT", "NOT_TYPED", "TOOL_RESULT", "Words", "words_of", "wrappers"]

PATH = Path(__file__).resolve().parents[3] / "config" / "prompt_wrappers.csv"

Rule = Literal["none", "cut", "after", "inside"]
NO_TEXT = "no_text"
NOT_TYPED = "not_typed"
TOOL_RESULT = "tool_result"
_TEXTS = frozenset({"text", "input_text", None})
_RESULTS = frozenset({"tool_result", "tool-result", "toolResult", "toolResponse", "function_call_output"})
_RESULT_KEYS = ("functionResponse", "functionCall")


class Wrapper(NamedTuple):
    """One rule: what a program puts around, before or behind a person's words."""

    rule: Rule
    """`none`: a text that begins so was not typed. `cut`: from `start` to `end` it was not. `after`: nothing before it
    was. `inside`: only what stands between the two was."""
    start: str
    end: str


class Words(NamedTuple):
    """The words of one message, or why there are none."""

    text: str
    reason: str | None = None


def words_of(client: str, content: object) -> Words:
    """The words that a person typed in a message: a string, or a list of blocks of which only texts count."""
    blocks = _texts(content)
    if blocks is None:
        return Words("", TOOL_RESULT)
    rules = wrappers().get(client, []) + wrappers().get("*", [])
    said = [text for text in (_unwrapped(block, rules) for block in blocks) if text]
    if said:
        return Words("\n".join(said))
    return Words("", NOT_TYPED if any(block.strip() for block in blocks) else NO_TEXT)


@cache
def wrappers() -> dict[str, list[Wrapper]]:
    """The committed rules by client; those of `*` hold for all.

    Raises:
        TokenLedgerError: the file is missing or says what cannot be meant.
    """
    found: dict[str, list[Wrapper]] = {}
    try:
        with PATH.open(encoding="utf-8", newline="") as handle:
            for number, row in enumerate(csv.DictReader(handle, strict=True), 1):
                if not row["start"] or None in row.values():
                    raise ValueError(f"rule {number} has no start")
                rule = msgspec.convert(row["rule"], Rule)
                found.setdefault(row["client"], []).append(Wrapper(rule, row["start"], row["end"]))
    except (OSError, csv.Error, ValueError, KeyError) as error:
        raise TokenLedgerError(f"{PATH}: cannot be read ({error}); mend the file") from error
    return found


def _texts(content: object) -> list[str] | None:
    """The texts of a message; None where it is what a tool answered."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, dict):
        content = [content]
    found: list[str] = []
    for block in content if isinstance(content, list) else ():
        if isinstance(block, str):
            found.append(block)
        elif isinstance(block, dict):
            if _is_result(block):
                return None
            text = block.get("text")
            kind = block.get("type")
            if isinstance(text, str) and (kind is None or (isinstance(kind, str) and kind in _TEXTS)):
                found.append(text)
    return found


def _is_result(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    return (isinstance(kind, str) and kind in _RESULTS) or any(key in block for key in _RESULT_KEYS)


def _unwrapped(text: str, rules: list[Wrapper]) -> str:
    text = text.replace("\x00", "").strip()
    for rule, start, end in rules:
        if start not in text:
            continue
        if rule == "none":
            if text.startswith(start):
                return ""
        elif rule == "after":
            text = text.partition(start)[2].lstrip(":").strip()
        elif rule == "inside":
            text = _inside(text, start, end)
        else:
            text = _without(text, start, end)
    return text.encode("utf-8", "replace").decode("utf-8")


def _inside(text: str, start: str, end: str) -> str:
    """What stands in the first pair, if there is one; a tag whose start the rule leaves open may carry attributes."""
    rest = text.partition(start)[2]
    if not start.endswith(">"):
        rest = rest.partition(">")[2]
    said, found, _ = rest.partition(end)
    return said.strip() if found else text


def _without(text: str, start: str, end: str) -> str:
    """The text without every stretch from `start` to `end`; one that never ends takes the rest with it."""
    kept: list[str] = []
    rest = text
    while True:
        before, found, rest = rest.partition(start)
        kept.append(before)
        if not found:
            break
        rest = rest.partition(end)[2] if end else ""
    return "".join(kept).strip()
