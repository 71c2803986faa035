"""The texts of ``tokenledger bench golden``: what differs, by how much, and why.

Here: tables, CSV, Markdown and JSON of a report. Not here: any figure.
"""

from __future__ import annotations

import sys
from decimal import Decimal

from tokenledger_dagster.cli import output
from tokenledger_dagster.contracts.golden import Cause, ChangedMonth, Difference, EventChange, GoldenReport, Value
from tokenledger_dagster.governance.golden import LOCK_CLOSED, LOCK_SAMPLE, is_new
from tokenledger_dagster.printable import printable

SHOWN = 60
"""Differences that a table or Markdown shows; JSON and CSV hold all."""
_KINDS = {
    "changed": "",
    "missing_scenario": "scenario is gone",
    "new_scenario": "must be locked",
    "missing_row": "row is gone",
    "new_row": "row is new",
    "missing_figure": "figure is gone",
    "new_figure": "must be locked",
}
_HEADERS = ["Scenario", "Row", "Figure", "What", "Expected", "Actual", "Delta"]


def document(report: GoldenReport, form: str, *, is_lock: bool) -> None:
    """Print a report in one of the formats; CSV holds the differences alone."""
    if form == "json":
        output.print_json(report)
    elif form == "csv":
        sys.stdout.write(output.render(_HEADERS, [_row(one) for one in report.differences], "csv", numeric_from=4))
    else:
        sys.stdout.write(_text(report, form, is_lock=is_lock))


def _text(report: GoldenReport, form: str, *, is_lock: bool) -> str:
    parts = [f"{_bold(_verdict(report, is_lock=is_lock), form)}\n"]
    parts += [f"{_item(problem, form)}\n" for problem in report.problems]
    if report.locked:
        parts.append(_item(", ".join(report.locked), form) + "\n")
    # what was never locked and is now says nothing in a table
    differences = [one for one in report.differences if not (report.locked and is_new(one))]
    if differences:
        listed = [_row(one) for one in differences[:SHOWN]]
        parts.append("\n" + output.render(_HEADERS, listed, form, numeric_from=4))
        if len(differences) > SHOWN:
            parts.append(f"\n... and {len(differences) - SHOWN} more; --format json has all\n")
    parts += [_month(one, form) for one in report.months]
    if report.unlocked_months:
        parts.append(f"\nclosed and not locked: {', '.join(report.unlocked_months)}; `{LOCK_CLOSED}` locks them\n")
    if remedy := _remedy(report, is_lock=is_lock):
        parts.append(f"\n{remedy}\n")
    return "".join(parts)


def _verdict(report: GoldenReport, *, is_lock: bool) -> str:
    what = "the sample" if report.kind == "sample" else "the locked months"
    if report.locked:
        return f"locked in {report.golden}"
    if report.passed:
        same = "nothing to lock: " if is_lock else ""
        return f"{same}all {report.compared:,} figures of {what} are the locked ones"
    months = f", in {_count(len(report.months), 'month')}" if report.months else ""
    return f"{len(report.differences):,} of {report.compared:,} figures of {what} differ{months}: {report.golden}"


def _remedy(report: GoldenReport, *, is_lock: bool) -> str:
    if report.passed or report.locked:
        return ""
    command = LOCK_SAMPLE if report.kind == "sample" else LOCK_CLOSED
    if not report.problems and not report.months and all(is_new(one) for one in report.differences):
        return f"must be locked: run `{command}`"
    return f"if this is right: `{command} --accept`" + ("" if is_lock or report.kind != "sample" else ", and commit it")


def _month(month: ChangedMonth, form: str) -> str:
    lines = [f"\n{_bold(f'{month.month}, locked {month.locked_at}', form)}\n"]
    lines += [f"{_item(one, form)}\n" for one in month.basis_changed]
    for cause in month.causes:
        lines.append(f"{_item(_cause(cause), form)}\n")
        lines.append(output.render(_EVENT_HEADERS, [_event(one) for one in cause.events], form, numeric_from=3))
    return "".join(lines)


def _cause(cause: Cause) -> str:
    tokens, price = cause.total_tokens_delta, cause.list_price_usd_delta
    return (
        f"{_count(cause.event_count, 'event')} {cause.change}: {cause.message} [{cause.cause}] "
        f"({tokens:+,} tokens, {_number(price, signed=True)} USD at list price)"
    )


_EVENT_HEADERS = ["Event", "Model", "Where", "Tokens", "now", "List price USD", "now"]


def _event(one: EventChange) -> list[str]:
    figures = (one.tokens_before, one.tokens_after, one.list_price_usd_before, one.list_price_usd_after)
    # of a path its end says which log it is
    place = "/".join(["…", *one.place.split("/")[-2:]]) if one.place.count("/") > 2 else one.place
    return [one.event_id, one.model, place, *(_number(value) for value in figures)]


def _row(one: Difference) -> list[str]:
    return [
        one.scenario,
        one.key,
        one.figure,
        _KINDS[one.kind],
        _number(one.expected),
        _number(one.actual),
        _number(one.delta, signed=True),
    ]


def _number(value: Value, *, signed: bool = False) -> str:
    """A figure as the golden file holds it: no digit is rounded away."""
    if value is None:
        return "-"
    sign = "+" if signed and value > 0 else ""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return sign + (text.rstrip("0").rstrip(".") if "." in text else text)
    return f"{sign}{value}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bold(text: str, form: str) -> str:
    return f"**{printable(text)}**\n" if form == "markdown" else printable(text)


def _item(text: str, form: str) -> str:
    return f"- {printable(text)}\n" if form == "markdown" else f"  {printable(text)}"
