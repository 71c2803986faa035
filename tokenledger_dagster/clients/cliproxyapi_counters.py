"""What the token counts of a CLIProxyAPI record mean, as disjoint counters.

Here: the canonical breakdown of version 7 with its invariants, and the raw counts of each upstream where there is none.
Not here: files, identities, times (``clients.cliproxyapi``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from tokenledger_dagster.clients import values
from tokenledger_dagster.clients.places import rows
from tokenledger_dagster.clients.rows import object_of
from tokenledger_dagster.contracts.record import Counters

BREAKDOWN_VERSION = 2
_QUALITIES = ("complete", "inconsistent", "unclassified")


class Raw(NamedTuple):
    """The counts of ``tokens`` as the proxy took them from the upstream's answer."""

    input: int
    output: int
    reasoning: int
    cached: int
    """As logged; ``cache_read`` is what it means."""
    total: int
    cache_read: int
    cache_write: int
    cache_write_1h: int

    @property
    def stated(self) -> int:
        """The total, or where none is told what the proxy itself then takes for it."""
        return self.total or self.input + self.output + self.reasoning or self.cached


def raw_counts(tokens: Mapping[str, Any], flags: list[str]) -> Raw:
    """Reads ``tokens``; what is no count is 0 and flagged."""

    def count(name: str) -> int:
        return values.count(tokens.get(name), flags.append)

    cached = count("cached_tokens")
    # version 6 knows one cached count, and that is what was read from a cache
    told = "cache_read_tokens" in tokens and tokens.get("cache_read_tokens_present") is not False
    return Raw(
        input=count("input_tokens"),
        output=count("output_tokens"),
        reasoning=count("reasoning_tokens"),
        cached=cached,
        total=count("total_tokens"),
        cache_read=count("cache_read_tokens") if told else cached,
        cache_write=count("cache_creation_tokens"),
        cache_write_1h=count("cache_creation_1h_tokens"),
    )


def counters_of(record: Mapping[str, Any], provider: str | None, model: str | None, flags: list[str]) -> Counters:
    """The record's disjoint counters: those of its breakdown if that holds and is complete, else of its raw counts."""
    raw = raw_counts(object_of(record.get("tokens")), flags)
    breakdown = record.get("token_breakdown")
    total = 0
    if isinstance(breakdown, dict):
        found = _breakdown(breakdown, raw)
        if found is None or (not breakdown.get("total_tokens") and raw.stated):
            if raw.stated:
                flags.append("breakdown_invalid")
        elif breakdown["quality"] == "complete":
            if raw.total not in (0, found.total):
                flags.append("breakdown_disagrees")
            return found
        else:
            # the proxy then knows a total only; the raw counts and the upstream's rules say more
            if breakdown["quality"] == "inconsistent":
                flags.append("breakdown_inconsistent")
            else:
                flags.append("breakdown_unclassified")
            total = int(breakdown["total_tokens"])
    return _by_layout(raw, layout_of(provider, model), total or raw.total, flags)


def _breakdown(told: Mapping[str, Any], raw: Raw) -> Counters | None:
    """The breakdown's counters; None where it breaks its own invariants."""
    odd: list[str] = []

    def count(part: object, name: str) -> int:
        value = part.get(name) if isinstance(part, dict) else None
        if isinstance(value, str) or value is None:
            odd.append(name)
        return values.count(value, odd.append)

    source, answer = told.get("input"), told.get("output")
    fresh, read, write = (count(source, f"{name}_tokens") for name in ("uncached", "cache_read", "cache_write"))
    plain, reasoning = (count(answer, f"{name}_tokens") for name in ("non_reasoning", "reasoning"))
    unclassified = count(told, "unclassified_tokens")
    quality = told.get("quality")
    sums = fresh + read + write, plain + reasoning
    holds = (
        told.get("schema_version") == BREAKDOWN_VERSION
        and quality in _QUALITIES
        and sums == (count(source, "total_tokens"), count(answer, "total_tokens"))
        and count(told, "total_tokens") == sum(sums) + unclassified
        and not (quality == "complete" and unclassified)
    )
    if odd or not holds:
        return None
    return Counters(
        input_tokens=fresh,
        output_tokens=plain + reasoning,
        cache_write_tokens=write,
        cache_read_tokens=read,
        cache_write_1h_tokens=min(write, raw.cache_write_1h),
        reasoning_tokens=reasoning,
    )


def _by_layout(raw: Raw, layout: str, total: int, flags: list[str]) -> Counters:
    """Raw counts by the rules of the upstream's protocol."""
    if not (raw.input or raw.output or raw.reasoning or raw.cache_read or raw.cache_write):
        if total:
            flags.append("only_total_known")
        return Counters(output_tokens=total)
    outside = raw.total == raw.input + raw.output + raw.reasoning
    if layout == "separate" or (layout != "subset" and outside):
        output, reasoning = raw.output + raw.reasoning, raw.reasoning
    else:
        output, reasoning = raw.output, min(raw.reasoning, raw.output)
        if raw.reasoning > raw.output:
            flags.append("reasoning_above_output")
    read, write = raw.cache_read, raw.cache_write
    apart = layout == "independent" or (layout == "unknown" and read + write > raw.input)
    if not apart and read + write > raw.input:
        flags.append("cache_above_input")
        read = min(read, raw.input)
        write = min(write, raw.input - read)
    return Counters(
        input_tokens=raw.input if apart else raw.input - read - write,
        output_tokens=output,
        cache_write_tokens=write,
        cache_read_tokens=read,
        cache_write_1h_tokens=min(write, raw.cache_write_1h),
        reasoning_tokens=reasoning,
    )


def layout_of(provider: str | None, model: str | None) -> str:
    """How the upstream counts, told by its name, else by that of the model; ``unknown`` where neither is known.

    ``subset``: cached tokens are inside input and reasoning inside output (OpenAI).  ``independent``: input is what no
    cache served (Anthropic).  ``separate``: cached inside input, reasoning beside output (Google).
    """
    known = _layouts()
    if provider is not None:
        found = known.get(("provider", provider))
        if found is not None:
            return found
    name = (model or "").lower()
    # Claude models that Google serves are called gemini-claude-...: the first row that fits wins
    fits = (layout for (kind, key), layout in known.items() if kind == "model" and key in name)
    return next(fits, "unknown")


@cache
def _layouts() -> dict[tuple[str, str], str]:
    return {(row["kind"], row["key"]): row["layout"] for row in rows("cliproxyapi_layouts.csv")}
