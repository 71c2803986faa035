"""From one price list entry to effective-dated rate rows.

An entry is sampled in every stretch of time between two of its own dates, once per time-of-day slot and context, and
equal neighbours are joined again. Absent units take their ancestor's rate: reads and 5-minute writes the input rate,
1-hour writes the 5-minute one. Which entry belongs to which model is `generate_match.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import msgspec

from tokenledger_dagster.models.rules import read_config
from tokenledger_dagster.pricing.generate_match import Match
from tokenledger_dagster.pricing.rates import STANDARD, Units

LISTED_CONTEXTS = {
    ("speed", "fast"): "speed=fast",
    ("processing", "batch"): "processing=batch",
    ("service_tier", "priority"): "service_tier=priority",
    ("service_tier", "flex"): "service_tier=flex",
    # the list's `fast` service tier is the same request switch as a client's fast mode
    ("service_tier", "fast"): "speed=fast",
}

_NANO = Decimal(10**9)


class SteppedTwiceError(ValueError):
    """An entry has more than one tier threshold; the table holds one."""


class Cells(msgspec.Struct, frozen=True):
    """The rates of one stretch of time: nano-USD per million tokens."""

    units: Units
    high: Units | None
    tier_from_tokens: int | None
    tier_inclusive: bool
    source: str
    """Empty for the price list itself."""
    confidence: int


class Multiplier(msgspec.Struct, frozen=True):
    """A context priced as a multiple of the standard rate, where the price list has no row of its own."""

    channel: str
    model: str
    context: str
    factor: Decimal
    valid_from_utc: str
    valid_to_utc: str
    confidence: int
    source: str

    def applies(self, match: Match, day: date) -> bool:
        """Say whether the multiplier covers this model on this day."""
        return (
            self.channel == match.channel
            and fnmatchcase(match.model, self.model)
            and self.valid_from_utc <= day.isoformat()
            and (not self.valid_to_utc or day.isoformat() < self.valid_to_utc)
        )


class Period(msgspec.Struct, frozen=True):
    """Rates of one context in one stretch of time: dates half-open, None = unbounded; slots None = all day."""

    context: str
    valid_from: date | None
    valid_to: date | None
    slot: tuple[time, time | None] | None
    cells: Cells


Profile = tuple[tuple[tuple[time, time | None], Cells], ...]
"""One day's rates by time-of-day slot."""


def periods(match: Match) -> list[Period]:
    """Return the rate periods of a match, all contexts.

    Raises:
        SteppedTwiceError: the entry has more than one tier threshold.
    """
    bounds: list[date | None] = [None, *sorted(_dates(match))]
    slots = _slots(match.entry)
    by_context: dict[str, list[tuple[date | None, Profile]]] = {}
    for index, start in enumerate(bounds):
        later = bounds[index + 1] if index + 1 < len(bounds) else None
        day = start or (later - timedelta(days=1) if later else date(2025, 1, 1))
        for context in _context_names(match):
            samples = [(slot, _cells(match, context, datetime.combine(day, slot[0], UTC))) for slot in slots]
            profile = tuple((slot, cells) for slot, cells in samples if cells is not None)
            stretch = by_context.setdefault(context, [])
            if not stretch or stretch[-1][1] != profile:
                stretch.append((start, profile))
    return [period for context, stretch in by_context.items() for period in _unfold(match, context, stretch)]


@cache
def multipliers() -> tuple[Multiplier, ...]:
    """Return `config/speed_multipliers.csv`; the first row that covers a model decides."""
    return tuple(msgspec.convert(row, Multiplier, strict=False) for row in read_config("speed_multipliers.csv"))


def _unfold(match: Match, context: str, stretch: list[tuple[date | None, Profile]]) -> Iterator[Period]:
    full = context if match.context == STANDARD else match.context if context == STANDARD else None
    if full is None:
        return
    for index, (start, profile) in enumerate(stretch):
        end = stretch[index + 1][0] if index + 1 < len(stretch) else None
        distinct = {cells for _, cells in profile}
        if len(distinct) == 1:
            yield Period(full, start, end, None, next(iter(distinct)))
            continue
        for slot, cells in profile:
            yield Period(full, start, end, slot, cells)


def _dates(match: Match) -> set[date]:
    entry = match.entry
    conditionals = entry.prices if isinstance(entry.prices, list) else []
    found = {
        constraint.start_date
        for item in [*conditionals, *(entry.price_variants or [])]
        if hasattr(constraint := item.constraint, "start_date")
    }
    for multiplier in multipliers():
        if multiplier.channel == match.channel and fnmatchcase(match.model, multiplier.model):
            found |= {
                date.fromisoformat(bound) for bound in (multiplier.valid_from_utc, multiplier.valid_to_utc) if bound
            }
    return found


def _slots(entry: Any) -> list[tuple[time, time | None]]:
    conditionals = entry.prices if isinstance(entry.prices, list) else []
    cuts = {time(0)}
    for item in conditionals:
        if hasattr(item.constraint, "start_time"):
            cuts |= {_utc(item.constraint.start_time), _utc(item.constraint.end_time)}
    ordered = sorted(cuts)
    if any(cut.minute % 30 or cut.second for cut in ordered):
        raise ValueError(f"{entry.id}: a time-of-day rate does not start on a half hour; widen RateTable.bucket")
    return [(cut, ordered[i + 1] if i + 1 < len(ordered) else None) for i, cut in enumerate(ordered)]


def _utc(value: time) -> time:
    if value.tzinfo is None:
        return value
    return datetime.combine(date(2025, 1, 1), value).astimezone(UTC).time()


def _context_names(match: Match) -> list[str]:
    listed = [_context_of(variant.when) for variant in match.entry.price_variants or []]
    multiplied = [
        item.context
        for item in multipliers()
        if item.channel == match.channel and fnmatchcase(match.model, item.model) and match.context == STANDARD
    ]
    return list(dict.fromkeys([STANDARD, *(name for name in listed if name), *multiplied]))


def _context_of(when: dict[str, str]) -> str | None:
    return LISTED_CONTEXTS.get(next(iter(when.items()))) if len(when) == 1 else None


def _cells(match: Match, context: str, moment: datetime) -> Cells | None:
    if context == STANDARD:
        return _read(match, match.entry.get_prices(moment))
    for variant in match.entry.price_variants or []:
        active = variant.constraint is None or variant.constraint.active(moment)
        if active and _context_of(variant.when) == context:
            return _read(match, match.entry.get_prices(moment, variant.when))
    standard = _read(match, match.entry.get_prices(moment))
    for multiplier in multipliers():
        if standard is not None and multiplier.context == context and multiplier.applies(match, moment.date()):
            return _multiplied(standard, multiplier)
    return None


def _multiplied(cells: Cells, multiplier: Multiplier) -> Cells:
    def scale(units: Units) -> Units:
        scaled = tuple(_whole(Decimal(unit) * multiplier.factor) for unit in units)
        return scaled[0], scaled[1], scaled[2], scaled[3], scaled[4]

    return msgspec.structs.replace(
        cells,
        units=scale(cells.units),
        high=None if cells.high is None else scale(cells.high),
        source=multiplier.source,
        confidence=min(cells.confidence, multiplier.confidence),
    )


def _read(match: Match, prices: Any) -> Cells | None:
    """Return the cells of the list's price object, None when it prices no text in and out."""
    values = {
        key: prices.__dict__.get(f"{key}_mtok")
        for key in ("input", "cache_read", "cache_write", "cache_write_1h", "output")
    }
    if values["input"] is None or values["output"] is None:
        return None
    steps = {
        tuple(tier.start for tier in value.tiers) for value in values.values() if value is not None and _tiered(value)
    }
    if len(steps) > 1 or any(len(step) > 1 for step in steps):
        raise SteppedTwiceError(f"{match.channel} {match.entry.id}: tiers {sorted(steps)}")
    threshold = next(iter(steps))[0] if steps else None
    # the list writes "from 200,000 tokens on" as "above 199,999"
    inclusive = threshold is not None and threshold % 1000 == 999
    return Cells(
        units=_units(values, high=False),
        high=_units(values, high=True) if threshold is not None else None,
        tier_from_tokens=threshold + 1 if threshold is not None and inclusive else threshold,
        tier_inclusive=inclusive,
        source="",
        confidence=match.confidence,
    )


def _units(values: dict[str, Any], *, high: bool) -> Units:
    def nano(key: str, ancestor: int | None) -> int:
        value = values[key]
        if value is None:
            if ancestor is None:
                raise ValueError(f"{key} has neither a price nor an ancestor")
            return ancestor
        if _tiered(value):
            value = value.tiers[0].price if high else value.base
        return _whole(value * _NANO)

    input_rate = nano("input", None)
    write = nano("cache_write", input_rate)
    return (
        input_rate,
        nano("cache_read", input_rate),
        write,
        nano("cache_write_1h", write),
        nano("output", None),
    )


def _tiered(value: Any) -> bool:
    return hasattr(value, "tiers")


def _whole(value: Decimal) -> int:
    return int(value.to_integral_value(rounding="ROUND_HALF_EVEN"))
