"""Token counts of telemetry: how each convention spells them, and what they mean.

Here: attributes to disjoint counters.  Not here: which spans and log records are requests (``clients.otel_requests``).
The spellings are rows of ``otel_spellings.csv``; of several spellings of one counter the first that is there counts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from tokenledger_dagster.clients import gemini_usage, places, values
from tokenledger_dagster.clients.codex_reader import disjoint
from tokenledger_dagster.contracts.record import Counters

Convention = Literal["gen_ai", "claude", "codex", "gemini"]
_GEMINI = ("input", "output", "cache_read", "reasoning", "tool", "total")


def counters_of(
    attributes: Mapping[str, Any], convention: Convention, flag: values.Flag
) -> tuple[Counters, str | None] | None:
    """Disjoint counters, and the counts as logged for the record; None where no counter is there."""
    logged: dict[str, int] = {}
    raw: dict[str, int] = {}
    for counter, names in _spellings()[convention].items():
        name = next((name for name in names if attributes.get(name) is not None), None)
        if name is not None:
            logged[counter] = values.count(attributes[name], flag)
            raw[name.replace(".", "_")] = logged[counter]
    if not logged:
        return None
    counters = _MEANINGS[convention](logged, flag)
    return counters, values.safe_usage(json.dumps(raw, separators=(",", ":")).encode())


def _claude(logged: Mapping[str, int], flag: values.Flag) -> Counters:
    """The four counters are disjoint, as in the vendor's interface."""
    return Counters(
        input_tokens=logged.get("input", 0),
        output_tokens=logged.get("output", 0),
        cache_write_tokens=logged.get("cache_write", 0),
        cache_read_tokens=logged.get("cache_read", 0),
    )


def _codex(logged: Mapping[str, int], flag: values.Flag) -> Counters:
    """Cached tokens are inside input and reasoning inside output, as in rollouts."""
    vector = (
        logged.get("input", 0),
        logged.get("cache_read", 0),
        logged.get("cache_write", 0),
        logged.get("output", 0),
        logged.get("reasoning", 0),
    )
    return disjoint(vector, flag)


def _gemini(logged: Mapping[str, int], flag: values.Flag) -> Counters:
    """As the client's own log means them, so that both name the same request."""
    return gemini_usage.counters_of(logged, _GEMINI, flag)


def _gen_ai(logged: Mapping[str, int], flag: values.Flag) -> Counters:
    """The conventions put cache inside input and reasoning inside output; what is counted otherwise shows in sums."""
    total = logged.get("total", 0)
    if not any(count for counter, count in logged.items() if counter != "total"):
        return _only_total(total, flag)
    sent, output = logged.get("input"), logged.get("output")
    if sent is None:
        sent = max(0, total - (output or 0))
    if output is None:
        output = max(0, total - sent)
    read, write = logged.get("cache_read", 0), logged.get("cache_write", 0)
    reasoning = logged.get("reasoning", 0)
    cache = read + write
    if cache > sent or (cache and total == sent + output + cache):
        sent += cache  # instrumentations that leave the cache out of input
    if reasoning and total == sent + output + reasoning:
        output += reasoning
    if reasoning > output:
        flag("reasoning_above_output")
        reasoning = output
    return Counters(
        input_tokens=sent - cache,
        output_tokens=output,
        cache_write_tokens=write,
        cache_read_tokens=read,
        reasoning_tokens=reasoning,
    )


def _only_total(total: int, flag: values.Flag) -> Counters:
    """Nothing but a sum: its tokens are kept as output, the dearest of what they may have been."""
    if total:
        flag("only_total_known")
    return Counters(output_tokens=total)


_MEANINGS = {"gen_ai": _gen_ai, "claude": _claude, "codex": _codex, "gemini": _gemini}


@cache
def _spellings() -> Mapping[str, Mapping[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in places.rows("otel_spellings.csv"):
        found[row["convention"]][row["counter"]].append(row["attribute"])
    return found
