"""The patch that would mend a pricing book: what has no price, in the book's own shape.

Here: making it from a coverage report and from what imported price lists know. An unknown rate is null, never 0, and
stays unpriced until a person or a list supplies it. What is only suggested stands under `suggestions`, which applying
ignores, unless it was accepted. Not here: judging usage (`coverage.py`), applying a patch (`apply.py`). The same input
makes the same patch; its one time stamp is `meta.updated_at`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from tokenledger_dagster.contracts.pricing_book import BOOK_SCHEMA_VERSION
from tokenledger_dagster.contracts.reconcile import CoverageReport, MissingModel
from tokenledger_dagster.pricing.book_rows import look_up_key
from tokenledger_dagster.pricing.coverage import rfc3339
from tokenledger_dagster.pricing.rate_table import Layer, RateTable, Row
from tokenledger_dagster.pricing.rates import (
    BOOK,
    BUILT_IN,
    COLUMNS,
    HIGH_COLUMNS,
    STANDARD,
    STRICT_CONTEXT,
    UNIT_COLUMNS,
)

SOURCE = "tokenledger pricing reconcile"
ABOUT = (
    'null = not known, and unpriced until somebody writes a rate; 0 counts only with "free": true; '
    "`suggestions` are ignored when the patch is applied"
)
CATALOGUE_CONFIDENCE = 80
Basis = Literal["channel", "maker", "elsewhere"]

_COLUMN = {name: index for index, name in enumerate(COLUMNS)}
_FIELDS = dict(
    zip(
        UNIT_COLUMNS,
        ("input", "cache_read", "cache_write", "cache_write_1h", "output"),
        strict=True,
    )
)
_KNOWN_FIRST = ("input", "output", "cache_write", "cache_read", "tool_input", "tool_output")
"""The six rates of a book's entry, in the order in which people write them."""
_NANO_PLACES = -9


class Supplied(msgspec.Struct, frozen=True):
    """Rates that an imported list has for a missing model."""

    provider: str
    model: str
    context: str
    layer: str
    """Name of the list."""
    row: Row
    """Cells in the order of `rates.COLUMNS`."""
    basis: Basis
    """Whose price it is: the channel's, the maker's own, or, on all the list's channels the same, somebody else's."""


def catalogue_rates(report: CoverageReport, table: RateTable) -> list[Supplied]:
    """Return what imported lists know of the missing models, at most one row for each provider, model and context."""
    lists = [layer for layer in table.layers if layer.name not in (BOOK, BUILT_IN)]
    found: dict[tuple[str, str, str], Supplied] = {}
    for provider, rows in report.missing_models_by_provider.items():
        for missing in rows:
            context = _rate_context(missing.context)
            for layer in lists:
                offer = _offer(layer, missing, context)
                if offer is not None and (provider, missing.model, context) not in found:
                    row, basis = offer
                    found[provider, missing.model, context] = Supplied(
                        provider, missing.model, context, layer.name, row, basis
                    )
    return list(found.values())


def patch_of(
    report: CoverageReport,
    supplied: Sequence[Supplied] = (),
    *,
    accept_suggestions: bool = False,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Return the patch as a document in the pricing book's shape; see `contracts.pricing_book`.

    Args:
        report: what is missing.
        supplied: what imported lists know of it.
        accept_suggestions: take suggested aliases, and prices that a list has for other channels only, as meant.
        now: time stamp; None is the clock's.
    """
    taken = {
        (one.provider, one.model, one.context): one
        for one in supplied
        if one.basis != "elsewhere" or accept_suggestions
    }
    aliases = {
        provider: {one.model: one.alias_of for one in rows}
        for provider, rows in report.suggested_model_aliases_by_provider.items()
    }
    providers: dict[str, dict[str, Any]] = {}
    for provider, rows in sorted(report.missing_models_by_provider.items()):
        entry = providers[provider] = {"model_aliases": {}, "models": {}}
        for (model, context), found in _by_rate(rows).items():
            target = aliases.get(provider, {}).get(model)
            if target is not None and accept_suggestions:
                entry["model_aliases"][model] = target
                continue
            offer = taken.get((provider, model, context))
            rates = _unknown(found) if offer is None else _entry(offer)
            own = entry["models"].setdefault(model, {})
            if context == STANDARD:
                own.update(rates)
            else:
                own.setdefault("contexts", {})[context] = rates
    suggested_providers = {name: one.alias_of for name, one in report.suggested_provider_aliases.items()}
    patch: dict[str, Any] = {
        "schema_version": BOOK_SCHEMA_VERSION,
        "meta": {"source": SOURCE, "updated_at": rfc3339(now or datetime.now(UTC))},
        "about": ABOUT,
        "provider_aliases": suggested_providers if accept_suggestions else {},
        "providers": providers,
    }
    if not accept_suggestions:
        patch["suggestions"] = {
            "provider_aliases": msgspec.to_builtins(report.suggested_provider_aliases),
            "model_aliases": msgspec.to_builtins(report.suggested_model_aliases_by_provider),
            "rates": [_told(one) for one in supplied if one.basis == "elsewhere"],
        }
    return patch


def _by_rate(rows: Iterable[MissingModel]) -> dict[tuple[str, str], list[MissingModel]]:
    """Missing models by the rate that would price them: model and context, the standard one first.

    Names that a book does not tell apart are one model, called as the first of them.
    """
    names: dict[str, str] = {}
    found: dict[tuple[str, str], list[MissingModel]] = {}
    for row in sorted(rows, key=lambda row: (row.model, _rate_context(row.context))):
        name = names.setdefault(look_up_key(row.model), row.model)
        found.setdefault((name, _rate_context(row.context)), []).append(row)
    return found


def _rate_context(context: str) -> str:
    """The context in which a rate is missing: any but a free variant falls back on the standard one."""
    return STRICT_CONTEXT if STRICT_CONTEXT in context.split(";") else STANDARD


def _offer(layer: Layer, missing: MissingModel, context: str) -> tuple[Row, Basis] | None:
    own = layer.own_channel.get(missing.model)
    places: tuple[tuple[str | None, Basis], ...] = ((missing.channel, "channel"), (own, "maker"))
    for channel, basis in places:
        if channel is not None and (rows := _in_context(layer.rows.get((channel, missing.model), ()), context)):
            return rows[0], basis
    elsewhere = sorted(
        (
            row
            for (_, model), some in layer.rows.items()
            if model == missing.model
            for row in _in_context(some, context)
        ),
        key=list,
    )
    if len({tuple(_rates(row)) for row in elsewhere}) == 1:
        return elsewhere[0], "elsewhere"
    return None


def _in_context(rows: Iterable[Row], context: str) -> list[Row]:
    return [row for row in rows if row[_COLUMN["context"]] == context and row[_COLUMN["status"]] == "active"]


def _rates(row: Row) -> list[str]:
    return [row[_COLUMN[name]] for name in (*UNIT_COLUMNS, *HIGH_COLUMNS, "tier_from_tokens", "tier_inclusive")]


# -------------------------------------------------------------------- entries


def _unknown(rows: Sequence[MissingModel]) -> dict[str, Any]:
    first, last = min(row.first_day for row in rows), max(row.last_day for row in rows)
    nothing = dict.fromkeys((f"{name}_usd_per_mtok" for name in _KNOWN_FIRST), None)
    return {**nothing, "source": None, "reason": f"booked from {first} to {last} without a known rate"}


def _entry(supplied: Supplied) -> dict[str, Any]:
    row = supplied.row
    free = supplied.context == STRICT_CONTEXT
    version = row[_COLUMN["source_version"]]
    seen = version.rpartition("@")[2] or None
    entry: dict[str, Any] = _units(row, UNIT_COLUMNS, free=free)
    if row[_COLUMN["tier_from_tokens"]]:
        tier = {"above_tokens": int(row[_COLUMN["tier_from_tokens"]])}
        inclusive = {"inclusive": True} if row[_COLUMN["tier_inclusive"]] == "true" else {}
        entry["tier"] = {**tier, **inclusive, **_units(row, HIGH_COLUMNS, free=free)}
    if free:
        entry["free"] = True
    entry["source"] = f"{supplied.layer} {version}".strip()
    entry["checked"] = entry["observed_at"] = seen
    entry["confidence"] = CATALOGUE_CONFIDENCE
    entry["reason"] = f"{_whose(supplied)}; the list has no dates, so its history is unknown"
    return entry


def _whose(supplied: Supplied) -> str:
    channel = supplied.row[_COLUMN["channel"]]
    if supplied.basis == "channel":
        return f"the list's price on {channel}"
    if supplied.basis == "maker":
        return f"the maker's own list price ({channel})"
    return f"the list's price on {channel} and wherever else it has the model, not this provider's"


def _units(row: Row, columns: Sequence[str], *, free: bool) -> dict[str, Decimal | None]:
    """Rates of a row in USD; a zero that nobody means is no rate."""
    nano = {column.removesuffix("_high"): int(row[_COLUMN[column]]) for column in columns}
    known = {f"{_FIELDS[unit]}_usd_per_mtok": value for unit, value in nano.items()}
    usd = {name: Decimal(value).scaleb(_NANO_PLACES) if value or free else None for name, value in known.items()}
    order = [f"{name}_usd_per_mtok" for name in (*_KNOWN_FIRST[:3], "cache_write_1h", "cache_read")]
    return {name: usd[name] for name in order}


def _told(supplied: Supplied) -> dict[str, Any]:
    return {"provider": supplied.provider, "model": supplied.model, "context": supplied.context, **_entry(supplied)}
