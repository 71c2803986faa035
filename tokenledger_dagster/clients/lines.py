"""Lines that do not decode at once: what can still be read from them, and why the rest cannot.

Here: the slow path shared by every JSON-lines client (byte order marks, NULs, invalid UTF-8, several objects on one
line, numbers JSON does not know).  Not here: the fast path, which each reader keeps to itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tokenledger_dagster.clients.base import Sink

_DECODER = json.JSONDecoder()
_MAX_SLOW_LINE = 256 << 20


def objects(line: bytes, offset: int, sink: Sink) -> Iterator[tuple[dict[str, Any], bytes, int, list[str]]]:
    """Yields ``(object, its bytes, its offset, flags)`` for every JSON object on a line the fast path refused.

    What is no object, or no JSON at all, goes to ``sink`` under a reason: ``blank``, ``nul_padding``,
    ``not_an_object``, ``truncated_json``, ``invalid_json``.
    """
    flags: list[str] = []
    body = line.removeprefix(b"\xef\xbb\xbf").strip(b"\x00 \t\r\n")
    if not body:
        sink.skipped["nul_padding" if b"\x00" in line else "blank"] += 1
        return
    if len(body) > _MAX_SLOW_LINE:
        sink.quarantine(line, offset, "line_too_long")
        return
    try:
        decoded = body.decode("utf-8")
    except UnicodeDecodeError:
        decoded = body.decode("utf-8", "replace")
        flags.append("invalid_utf8")
    at = offset + line.find(body[:16])
    position, found = 0, 0
    while position < len(decoded):
        try:
            value, end = _DECODER.raw_decode(decoded, position)
        except (ValueError, RecursionError) as error:
            rest = decoded[position:]
            cut_short = getattr(error, "pos", 0) >= len(decoded) - 1 or "Unterminated" in str(error)
            reason = "truncated_json" if rest.startswith("{") and cut_short else "invalid_json"
            sink.quarantine(rest.encode("utf-8", "replace") if found else line, offset, reason)
            return
        following = end
        while following < len(decoded) and decoded[following] in " \t\r\n,\x00":
            following += 1
        several = found > 0 or following < len(decoded)
        piece = decoded[position:end].encode("utf-8", "replace")
        if not isinstance(value, dict):
            sink.skipped["not_an_object"] += 1
        elif flags or not several:
            # with replaced characters the byte positions inside the line are lost: the whole line is the evidence
            yield (
                value,
                body,
                offset + line.find(body[:16]),
                [*flags, *(["several_objects_on_line"] if several else [])],
            )
        else:
            yield value, piece, at, ["several_objects_on_line"]
        at += len(piece) + (following - end)
        found += 1
        position = following
