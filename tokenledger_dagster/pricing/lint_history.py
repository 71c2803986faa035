"""What is wrong with the rate rows of a pricing book beside each other: stretches of time, corrections, announcements.

Here: overlaps and gaps, ids and what they supersede, rows that are only announced. Not here: a row by itself
(`lint_rows.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tokenledger_dagster.contracts.pricing_book import RateRow
from tokenledger_dagster.contracts.pricing_lint import LintFinding
from tokenledger_dagster.pricing.book_rows import Row, canonical, is_scheduled, look_up_key, overlap
from tokenledger_dagster.pricing.findings import error, shown, warning
from tokenledger_dagster.pricing.lint_rows import Look
from tokenledger_dagster.pricing.rates import STANDARD

_FIRST, _LAST = "", "9999-99-99"
_MIDNIGHT, _DAYS_END = "00:00", "24:00"


def history_findings(look: Look) -> Iterator[LintFinding]:
    """Yield what is wrong with rows beside each other."""
    yield from _ids(look.rows)
    together: dict[tuple[str, str, str], list[Row]] = {}
    for one in look.rows:
        if look.is_dated(one) and (one.row.valid_to or _LAST) > (one.row.valid_from or _FIRST):
            together.setdefault(_subject(one), []).append(one)
    live = {one.place for one in look.live}
    for rows in together.values():
        holding = [one for one in rows if one.place in live]
        yield from _overlaps(holding)
        yield from _gaps(holding, rows)
    yield from scheduled_findings(look)


def scheduled_findings(look: Look) -> Iterator[LintFinding]:
    """Yield the rows that price nothing because they were only announced, whether their day has come or not."""
    today = look.today.isoformat()
    for one in look.live:
        if not look.is_dated(one) or not is_scheduled(one.row, look.as_of):
            continue
        start, place = one.row.valid_from, one.place
        if start is None:
            message = "is scheduled for no day, so it never prices anything; add valid_from, or make it active"
            yield warning("scheduled_without_date", f"{place}.status", message, actual=one.row.status)
        elif start > today:
            message = f"is announced for {start} and prices nothing yet; look again on that day"
            yield warning("scheduled_in_future", f"{place}.valid_from", message, actual=start)
        else:
            remedy = "make it active" if one.row.status == "scheduled" else "renew meta.updated_at"
            message = f"was announced for {start} and still prices nothing; check whether it came true, then {remedy}"
            yield warning("scheduled_past_its_date", f"{place}.valid_from", message, actual=start)


def _ids(rows: list[Row]) -> Iterator[LintFinding]:
    first: dict[str, Row] = {}
    for one in rows:
        if one.row.id is not None and first.setdefault(one.row.id, one) is not one:
            message = f"{shown(one.row.id)} is the id of {shown(first[one.row.id].place)} too; give every row its own"
            yield error("duplicate_id", f"{one.place}.id", message, actual=one.row.id)
    for one in rows:
        target = one.row.supersedes
        if target is None:
            continue
        place = f"{one.place}.supersedes"
        if target not in first:
            message = f"no row has the id {shown(target)}; name the row that this one corrects, or leave it out"
            yield error("supersedes_unknown", place, message, actual=target)
        elif _is_circle(one, first):
            message = f"rows that supersede each other price nothing; {shown(target)} has to be the older one"
            yield error("supersedes_circle", place, message, actual=target)
        elif _subject(first[target]) != _subject(one):
            message = f"{shown(target)} is a row of another model or context, which would lose its rates; name the row "
            yield error("supersedes_other_model", place, message + "that this one corrects", actual=target)


def _is_circle(one: Row, by_id: dict[str, Row]) -> bool:
    seen: set[str] = set()
    following = one.row.supersedes
    while following is not None and following not in seen:
        if following == one.row.id:
            return True
        seen.add(following)
        following = by_id[following].row.supersedes if following in by_id else None
    return False


def _subject(one: Row) -> tuple[str, str, str]:
    return one.provider, look_up_key(canonical(one.model)), one.row.context or STANDARD


def _overlaps(rows: list[Row]) -> Iterator[LintFinding]:
    for number, one in enumerate(rows):
        other = next((other for other in rows[:number] if overlap(one.row, other.row)), None)
        if other is not None:
            message = f"holds at the same time as {shown(other.place)}; end one with valid_to, or let it supersede the "
            message += "other's id"
            yield error("overlapping_interval", one.place, message, actual=_stretch(one.row))


def _gaps(rows: list[Row], ever: list[Row]) -> Iterator[LintFinding]:
    """Days and times of day between the first row and the last on which none holds, or none that was not corrected."""
    days = sorted({edge for one in ever for edge in (one.row.valid_from or _FIRST, one.row.valid_to or _LAST)})
    is_told = not rows
    for start, end in itertools.pairwise(days) if rows else ():
        holding = [one for one in rows if (one.row.valid_from or _FIRST) <= start < (one.row.valid_to or _LAST)]
        if not holding:
            until = "on" if end == _LAST else f"until {end}"
            message = f"from {start or 'the beginning'} {until} no row holds, so the price list counts; is that meant?"
            after = [f"{one.place}.valid_from" for one in rows if one.row.valid_from == end]
            before = [f"{one.place}.valid_to" for one in rows if one.row.valid_to == start]
            yield warning("gap_in_intervals", (after or before or [rows[0].place])[0], message)
        elif not is_told and (hours := _hours_without(holding)) is not None:
            is_told = True
            message = f"from {hours[0]} until {hours[1]} UTC no row holds, and the price list is used; is that meant?"
            yield warning("gap_in_intervals", f"{holding[0].place}.tod_from", message)


def _hours_without(rows: list[Row]) -> tuple[str, str] | None:
    reached = _MIDNIGHT
    for start, end in sorted((one.row.tod_from or _MIDNIGHT, one.row.tod_to or _DAYS_END) for one in rows):
        if start > reached:
            return reached, start
        reached = max(reached, end)
    return None if reached >= _DAYS_END else (reached, _DAYS_END)


def _stretch(row: RateRow) -> str:
    days = f"{row.valid_from or '...'} to {row.valid_to or '...'}"
    return f"{days}, {row.tod_from} to {row.tod_to} UTC" if row.tod_from else days
