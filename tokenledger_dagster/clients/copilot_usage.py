"""Counters and models of GitHub Copilot CLI, which counts cached tokens inside input and reasoning inside output.

Here: the one place that makes them disjoint, and that tells a model from a route.  Not here: where they stand.
"""

from __future__ import annotations

from typing import Any

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.adapter import growth
from tokenledger_dagster.clients.rows import member
from tokenledger_dagster.contracts.record import Counters, Vector

NOTHING: Vector = (0, 0, 0, 0, 0)
_ROUTES = frozenset({"", "auto"})
"""What stands for a model where the service chose it."""


def model_of(*told: object) -> str | None:
    """The first of these names that is a model's: a route is none."""
    names = (values.text(name, 256) for name in told)
    return next((name for name in names if name is not None and name not in _ROUTES), None)


def inclusive(
    given: Any = None,
    output: Any = None,
    read: Any = None,
    write: Any = None,
    reasoning: Any = None,
    *,
    flags: list[str],
) -> Vector:
    """Input without cache, cache read, cache write, output, reasoning of counters as they are logged."""
    counted = [values.count(value, flags.append) for value in (given, output, read, write, reasoning)]
    cached = counted[2] + counted[3]
    if cached > counted[0]:
        flags.append("cache_above_input")
    if counted[4] > counted[1]:
        flags.append("reasoning_above_output")
    return max(0, counted[0] - cached), counted[2], counted[3], counted[1], min(counted[4], counted[1])


def of_usage(usage: Any, flags: list[str]) -> Vector | None:
    """The counters of a ``usage`` object; None where it is none."""
    if not isinstance(usage, dict) or not usage:
        return None
    names = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens", "reasoningTokens")
    return inclusive(*(usage.get(name) for name in names), flags=flags)


def of_compaction(used: Any, flags: list[str]) -> Vector | None:
    """The counters of the request that wrote a summary: newer names, or ``input``, ``output``, ``cachedInput``."""
    if isinstance(used, dict) and "input" in used:
        return inclusive(used.get("input"), used.get("output"), used.get("cachedInput"), flags=flags)
    return of_usage(used, flags)


def of_details(details: Any, flags: list[str]) -> Vector | None:
    """The counters of ``tokenDetails``, which are disjoint."""
    if not isinstance(details, dict) or not details:
        return None
    names = ("input", "cache_read", "cache_write", "output")
    fresh, read, write, output = (values.count(member(details, name, "tokenCount"), flags.append) for name in names)
    return fresh, read, write, output, 0


def counters_of(vector: Vector) -> Counters:
    """As the ledger's counters."""
    return growth(NOTHING, vector)
