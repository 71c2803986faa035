"""What is wrong with the rates of a pricing book beside those of the price list.

Here: figures that are off by a factor of thousands, or simply differ. Not here: which of the two is right, and
comparing whole price lists (`lists/compare.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal

from tokenledger_dagster.contracts.pricing_book import Tier, Units
from tokenledger_dagster.contracts.pricing_lint import LintFinding
from tokenledger_dagster.models.names import SYNTHETIC
from tokenledger_dagster.pricing.book_rows import (
    LARGEST_USD_PER_MTOK,
    SMALLEST_USD_PER_MTOK,
    Row,
    canonical,
    is_scheduled,
)
from tokenledger_dagster.pricing.findings import error, shown, warning
from tokenledger_dagster.pricing.lint_rows import Look, blocks, stated
from tokenledger_dagster.pricing.rates import BUILT_IN, STANDARD, Rate

UNUSUALLY_HIGH = Decimal(1000)
UNUSUALLY_LOW = Decimal("0.001")
"""USD per million tokens; beyond these a figure is more likely per token, or per thousand."""
LARGEST_DIFFERENCE = Decimal("0.01")
"""Share of the price list's rate beyond which a person should know that the book says something else."""

_SLIPS = tuple(Decimal(10) ** power for power in (3, 6, -3, -6))
_SLIP_TOLERANCE = Decimal("0.2")
_LIST_UNITS = {
    "input_usd_per_mtok": 0,
    "cache_read_usd_per_mtok": 1,
    "cache_write_usd_per_mtok": 2,
    "cache_write_1h_usd_per_mtok": 3,
    "output_usd_per_mtok": 4,
}
"""Place of a unit in `Rate.units`; a price list has no rates of tool tokens."""
_NANO = Decimal(10**9)
_HALF_HOURS = 48


def list_findings(look: Look) -> Iterator[LintFinding]:
    """Yield the rates that cannot be what the price list calls the same thing, or are not."""
    for one in look.live:
        if canonical(one.model) != SYNTHETIC:
            yield from _against_list(one, look)


def _against_list(one: Row, look: Look) -> Iterator[LintFinding]:
    channels = look.channels.get(one.provider) or [one.provider]
    rates = [rate for channel in channels for rate in _listed(look, channel, one)]
    for place, units in blocks(one):
        for field, value in stated(units).items():
            if not SMALLEST_USD_PER_MTOK <= value <= LARGEST_USD_PER_MTOK:
                continue
            pairs = _pairs(rates, field, units)
            yield from _judged(f"{place}.{field}", value, pairs, comparable=units is one.row and _holds(one, look))


def _judged(
    place: str, value: Decimal, pairs: list[tuple[Rate, Decimal]], *, comparable: bool
) -> Iterator[LintFinding]:
    for rate, listed in pairs:
        if any(abs(value / listed / slip - 1) <= _SLIP_TOLERANCE for slip in _SLIPS):
            message = f"{shown(value)} is about {_times_text(value / listed)} the {_named(rate, listed)}; "
            message += "write USD per million tokens"
            yield error("unit_slip", place, message, actual=value, expected=_plain(listed))
            return
    if not pairs and not UNUSUALLY_LOW <= value <= UNUSUALLY_HIGH:
        message = f"{shown(value)} USD per million tokens is unusual; was it meant per token, or per thousand?"
        yield warning("unit_slip", place, message, actual=value)
    own = [(rate, listed) for rate, listed in pairs if rate.list_basis == "channel" and rate.layer == BUILT_IN]
    if comparable and own and all(abs(value - listed) > LARGEST_DIFFERENCE * listed for _, listed in own):
        rate, listed = min(own, key=lambda pair: abs(value - pair[1]))
        message = (
            f"{shown(value)} is not the {_named(rate, listed)}; correct it, or keep it where you pay another price"
        )
        yield warning("differs_from_price_list", place, message, actual=value, expected=_plain(listed))


def _listed(look: Look, channel: str, one: Row) -> list[Rate]:
    """The list's rates of this model in exactly this context on the day; several where the time of day counts."""
    model, context = canonical(one.model), one.row.context
    start_us = int(datetime.combine(look.today, time(), UTC).timestamp()) * 1_000_000
    moments = range(_HALF_HOURS) if model in look.table.slotted_models else range(1)
    found = [look.table.resolve(channel, model, context, start_us + slot * 1_800_000_000) for slot in moments]
    return list(dict.fromkeys(rate for rate in found if rate is not None and rate.priced_context == context))


def _pairs(rates: list[Rate], field: str, units: Units) -> list[tuple[Rate, Decimal]]:
    high = isinstance(units, Tier)
    if field not in _LIST_UNITS:
        return []
    found = [(rate, rate.units(high=high)[_LIST_UNITS[field]]) for rate in rates if rate.tier_from_tokens or not high]
    return [(rate, Decimal(nano) / _NANO) for rate, nano in found if nano > 0]


def _holds(one: Row, look: Look) -> bool:
    """Whether a row is the standard rate on the day."""
    row, today = one.row, look.today.isoformat()
    if row.context != STANDARD or not look.is_dated(one) or is_scheduled(row, look.as_of):
        return False
    return (row.valid_from or "") <= today and (not row.valid_to or today < row.valid_to)


def _named(rate: Rate, listed: Decimal) -> str:
    version = f" {rate.source_version}" if rate.source_version else ""
    return f"price list's {_plain(listed)} ({rate.model} on {rate.channel}, {rate.source}{version})"


def _times_text(ratio: Decimal) -> str:
    nearest_slip = min(_SLIPS, key=lambda slip: abs(ratio / slip - 1))
    return f"{nearest_slip:,} times" if nearest_slip > 1 else f"1/{1 / nearest_slip:,.0f} of"


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
