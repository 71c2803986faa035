"""Where two rate tables differ: rates of the same thing on the same day, and models that only one of them has.

Here: comparing rows, whoever made them. Not here: which of the two is right, and showing it. Rows are cells in the
order of `rates.COLUMNS`; what is announced (`scheduled`) holds on no day, as in pricing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

import msgspec

from tokenledger_dagster.pricing.rates import COLUMNS, HIGH_COLUMNS, UNIT_COLUMNS

TIER = "tier"
ONE_PERCENT = Decimal("0.01")

_NANO = Decimal(10**9)
_PERCENT_PLACES = Decimal("0.01")
_COLUMN = {name: index for index, name in enumerate(COLUMNS)}

_Thing = tuple[str, str, str]
_Difference = tuple[str, Decimal, Decimal]


class Disagreement(msgspec.Struct, frozen=True):
    """One unit of one (channel, model, context) that two tables price differently."""

    channel: str
    model: str
    context: str
    unit: str
    """`input`, `cache_read`, `cache_write_5m`, `cache_write_1h`, `output`, the same with `_high` above the tier that
    both have, or `tier`."""
    ours_usd_per_mtok: Decimal
    """USD per million tokens; of `tier` the tokens above which it holds, 0 where there is none."""
    theirs_usd_per_mtok: Decimal
    difference_percent: Decimal | None
    """By how much theirs is more than ours, two places; None where ours is 0."""
    ours_source: str
    theirs_source: str
    time_of_day: bool
    """Whether rates depend on the time of day: none of the day's slots agrees, and this is the nearest."""


class Missing(msgspec.Struct, frozen=True):
    """A model that only one of two tables has on a channel."""

    channel: str
    model: str
    only_in: Literal["ours", "theirs"]


def disagreements(
    base: Sequence[list[str]],
    other: Sequence[list[str]],
    day: date,
    threshold: Decimal = ONE_PERCENT,
    keys: set[tuple[str, str]] | None = None,
) -> list[Disagreement]:
    """Return where two tables differ in what holds on a UTC day, sorted by channel, model, context and unit.

    Things that only one of them prices are no disagreement (`missing`). Where rates depend on the time of day, one slot
    that agrees in every unit is agreement.

    Args:
        base: our rows.
        other: their rows.
        day: UTC day; rows without dates hold on every day.
        threshold: share of our rate that a difference has to exceed.
        keys: (channel, model) to look at; None for all.
    """
    ours, theirs = _holding(base, day, keys), _holding(other, day, keys)
    found = []
    for thing in sorted(ours.keys() & theirs.keys()):
        pairs = [(mine, yours) for mine in ours[thing] for yours in theirs[thing]]
        compared = [(_differences(mine, yours, threshold), mine, yours) for mine, yours in pairs]
        differing, mine, yours = min(compared, key=lambda one: _distance(one[0]))
        found += [_disagreement(thing, one, mine, yours) for one in differing]
    return sorted(found, key=lambda one: (one.channel, one.model, one.context, one.unit))


def missing(
    base: Sequence[list[str]], other: Sequence[list[str]], keys: set[tuple[str, str]] | None = None
) -> list[Missing]:
    """Return the models that only one of two tables has on a channel, in whatever context and on whatever day, sorted.

    Args:
        base: our rows.
        other: their rows.
        keys: (channel, model) to look at; None for all.
    """
    ours, theirs = (
        {(row[0], row[1]) for row in rows if keys is None or (row[0], row[1]) in keys} for rows in (base, other)
    )
    found = [Missing(*pair, only_in="ours") for pair in ours - theirs]
    found += [Missing(*pair, only_in="theirs") for pair in theirs - ours]
    return sorted(found, key=lambda one: (one.channel, one.model))


def _holding(rows: Iterable[list[str]], day: date, keys: set[tuple[str, str]] | None) -> dict[_Thing, list[list[str]]]:
    """The rows in force on a day, several where they depend on the time of day.

    A rate that is followed by one merely announced goes on, as pricing has it.
    """
    by_thing: dict[_Thing, list[list[str]]] = {}
    for row in rows:
        if keys is None or (row[0], row[1]) in keys:
            by_thing.setdefault((row[0], row[1], row[2]), []).append(row)
    today = day.isoformat()
    found = {}
    for thing, periods in by_thing.items():
        announced = {_cell(row, "valid_from_utc") for row in periods if _cell(row, "status") == "scheduled"}
        first = min(announced, default="")
        holding = [
            row
            for row in periods
            if _cell(row, "status") == "active"
            and _cell(row, "valid_from_utc") <= today
            and (_cell(row, "valid_to_utc") in ("", first) or today < _cell(row, "valid_to_utc"))
        ]
        if holding:
            found[thing] = sorted(holding, key=lambda row: _cell(row, "tod_from"))
    return found


def _differences(mine: list[str], yours: list[str], threshold: Decimal) -> list[_Difference]:
    tiers = _tokens(mine), _tokens(yours)
    units = (*UNIT_COLUMNS, *HIGH_COLUMNS) if all(tiers) else UNIT_COLUMNS
    pairs = [(unit, _rate(mine, unit), _rate(yours, unit)) for unit in units]
    pairs.append((TIER, *tiers))
    return [pair for pair in pairs if abs(pair[2] - pair[1]) > threshold * pair[1]]


def _distance(differences: list[_Difference]) -> tuple[int, Decimal]:
    """Of several slots the one with the fewest differing units is compared, then the one that is nearest."""
    return len(differences), sum((abs(theirs - ours) for _, ours, theirs in differences), Decimal(0))


def _disagreement(thing: _Thing, difference: _Difference, mine: list[str], yours: list[str]) -> Disagreement:
    unit, ours, theirs = difference
    percent = ((theirs - ours) * 100 / ours).quantize(_PERCENT_PLACES, ROUND_HALF_EVEN) if ours else None
    return Disagreement(
        *thing,
        unit,
        ours,
        theirs,
        percent,
        _cell(mine, "source"),
        _cell(yours, "source"),
        bool(_cell(mine, "tod_from") or _cell(yours, "tod_from")),
    )


def _rate(row: list[str], unit: str) -> Decimal:
    return Decimal(_cell(row, unit)) / _NANO


def _tokens(row: list[str]) -> Decimal:
    return Decimal(_cell(row, "tier_from_tokens") or 0)


def _cell(row: list[str], column: str) -> str:
    return row[_COLUMN[column]]
