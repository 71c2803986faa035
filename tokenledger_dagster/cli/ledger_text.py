"""The Pareto view, a leaderboard's frontier and names in review as a person or a program reads them.

Here: rendering, with everything that the score depends on beside it.  Not here: any figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from tokenledger_dagster.cli import output
from tokenledger_dagster.contracts.ledger import ParetoRow
from tokenledger_dagster.contracts.mapping_suggestions import OVERRIDES_HEAD, MappingReview, NameInReview
from tokenledger_dagster.models.comparison import Comparison
from tokenledger_dagster.models.frontier import eligible_count
from tokenledger_dagster.models.leaderboard import Placed

_LEAST_SHOWN = Decimal("0.0001")
_HEADERS = ["Model", "Rank", "Quality %", "Cost USD", "Latency", "Score", "p(frontier)", "Wins", "Beaten by"]


def pareto_document(
    rows: Sequence[ParetoRow], comparison: Comparison, mix: Mapping[str, Decimal], now: datetime
) -> dict[str, Any]:
    """The view as one JSON document."""
    return {
        "schema_version": 1,
        "generated_at": now,
        "usage_mix": dict(mix),
        "weights": comparison.weights,
        "bounds": {name: msgspec.structs.asdict(one) for name, one in comparison.bounds.items()},
        "rows": [msgspec.structs.asdict(row) for row in rows],
    }


def pareto_table(
    rows: Sequence[ParetoRow],
    shown: Sequence[ParetoRow],
    sets: Sequence[str],
    comparison: Comparison,
    mix: Mapping[str, Decimal],
    form: str,
) -> str:
    """The view as table, CSV or Markdown; as a table with the scale it was made on."""
    if form == "csv":
        found = [["" if cell is None else _plain(cell) for cell in msgspec.structs.astuple(row)] for row in shown]
        return output.render(list(ParetoRow.__struct_fields__), found, "csv")
    parts = []
    for name in sets:
        mine = sorted((row for row in shown if row.objectives == name), key=_order)
        eligible, frontier = eligible_count(rows, name)
        first = next((row for row in rows if row.objectives == name), None)
        parts.append(f"{name}: {frontier} of {eligible} eligible models are beaten by none\n")
        if first is not None:
            scale = _scale(first, comparison, mix)
            parts.append(_lines(scale) if form == "table" else _list(scale))
        if mine:
            parts.append(output.render(_HEADERS, [_cells(row) for row in mine], form))
        lacking = [row for row in rows if row.objectives == name and row.eligibility != "eligible"]
        if lacking and not set(map(id, lacking)) <= set(map(id, shown)):
            parts.append(f"{len(lacking)} models lack a figure; --all shows which\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def leaderboard_document(found: Sequence[Placed], shown: Sequence[Placed], path: str, now: datetime) -> dict[str, Any]:
    """A leaderboard's frontier as one JSON document."""
    return {
        "schema_version": 1,
        "generated_at": now,
        "leaderboard": path,
        "runs": len(found),
        "eligible": sum(one.standing is not None for one in found),
        "frontier": sum(one.standing is not None and one.standing.is_frontier for one in found),
        "rows": [dict(zip(_LEADERBOARD, _run_values(one), strict=True)) for one in shown],
    }


def leaderboard_table(found: Sequence[Placed], shown: Sequence[Placed], form: str) -> str:
    """The same as table, CSV or Markdown."""
    if form == "csv":
        cells = [["" if cell is None else _plain(cell) for cell in _run_values(one)] for one in shown]
        return output.render(list(_LEADERBOARD), cells, "csv")
    eligible = sum(one.standing is not None for one in found)
    frontier = sum(one.standing is not None and one.standing.is_frontier for one in found)
    headers = ["Model", "Rank", "Quality %", "USD per task", "s per task", "p(frontier)", "Beaten by"]
    rows = []
    for one in shown:
        standing, run = one.standing, one.run
        rows.append(
            [
                run.model,
                "-" if standing is None else str(standing.front_rank),
                _figure(run.pass_rate),
                _figure(run.cost_per_case_usd),
                _figure(run.seconds_per_case),
                _figure(one.frontier_probability),
                (", ".join(run.missing) and f"lacks {', '.join(run.missing)}") or one.dominated_by or "",
            ]
        )
    head = f"{frontier} of {eligible} eligible runs are beaten by none; {len(found) - eligible} lack cost or latency\n"
    return (head if form == "table" else "") + output.render(headers, rows, form)


def review_text(found: MappingReview, form: str, *, has_file: bool) -> str:
    """The queue as table, CSV or Markdown; with the entries to paste, but for CSV.

    Args:
        found: the queue.
        form: `table`, `csv` or `markdown`.
        has_file: whether there are overrides already.
    """
    if form == "csv":
        rows = [_review_values(one, place) for one in found.names for place in range(max(len(one.suggestions), 1))]
        return output.render(list(_REVIEW), rows, "csv")
    if not found.names:
        return f"Every name in the logs is known from {found.below_confidence} on; nothing to review.\n"
    rows = [_review_cells(one) for one in found.names]
    headers = ["Name", "Client", "Why", "Suggestion", "Tokens", "Requests", "Score", "Margin"]
    text = output.render(headers, rows, form, numeric_from=4)
    # names that differ by case are one name to the file, which refuses to hear of one twice
    said: dict[tuple[str, str], NameInReview] = {}
    for one in found.names:
        said.setdefault((one.name.strip().casefold(), one.client), one)
    entries = [some.override for one in said.values() for some in one.suggestions]
    suggested = sum(len(one.suggestions) for one in found.names)
    text += "\n" if form == "markdown" else ""
    left = found.names_total - len(found.names)
    more = f" {left:,} more have fewer tokens and are not shown." if left else ""
    text += (
        f"{found.names_total:,} names wait; suggestions: {suggested:,}.{more} A suggestion is a likeness of names: "
        f"an estimate that prices nothing. Embeddings: {found.embedding}.\n"
    )
    if not entries:
        return text
    head = "" if has_file else OVERRIDES_HEAD
    fence = ("```yaml\n", "```\n") if form == "markdown" else ("", "")
    where = "below `overrides:` in" if has_file else "into"
    told = f"What you know to be true goes {where} {found.overrides_path}:"
    return f"{text}\n{told}\n\n{fence[0]}{head}{''.join(entries)}{fence[1]}"


_REVIEW = (
    *("client", "name", "maker", "rule", "confidence", "events", "tokens", "first_day", "last_day"),
    *("suggestion", "method", "score", "margin", "cosine", "is_estimate"),
)


def _review_values(one: NameInReview, place: int) -> list[str]:
    told = [getattr(one, name) for name in _REVIEW[:9]]
    some = one.suggestions[place] if one.suggestions else None
    told += [None] * 6 if some is None else [some.model, some.method, some.score, some.margin, some.cosine, True]
    return ["" if value is None else _plain(value) for value in told]


def _review_cells(one: NameInReview) -> list[str]:
    first = one.suggestions[0] if one.suggestions else None
    return [
        one.name,
        one.client,
        one.rule,
        "-" if first is None else ", ".join(some.model for some in one.suggestions),
        output.tokens(one.tokens),
        f"{one.events:,}",
        "-" if first is None else f"{first.score:.2f}",
        "-" if first is None else f"{first.margin:+.2f}",
    ]


_LEADERBOARD = (
    *("run_id", "model", "date", "test_cases", "pass_rate_2", "cost_per_case_usd", "seconds_per_case", "eligibility"),
    *("is_frontier", "front_rank", "n_dominated_by", "dominated_by_example", "frontier_probability"),
)


def _run_values(one: Placed) -> tuple[Any, ...]:
    run, standing = one.run, one.standing
    return (
        run.run_id,
        run.model,
        run.date,
        run.test_cases,
        run.pass_rate,
        run.cost_per_case_usd,
        run.seconds_per_case,
        f"missing: {', '.join(run.missing)}" if run.missing else "eligible",
        standing is not None and standing.is_frontier,
        None if standing is None else standing.front_rank,
        None if standing is None else standing.dominators,
        one.dominated_by,
        one.frontier_probability,
    )


def _order(row: ParetoRow) -> tuple[int, Decimal, int]:
    return row.front_rank or 2**31, -(row.pareto_score or Decimal(0)), row.ledger_row_id


def _cells(row: ParetoRow) -> list[str]:
    return [
        row.source_model,
        "-" if row.front_rank is None else str(row.front_rank),
        _figure(row.quality),
        _figure(row.cost_usd),
        _figure(row.latency),
        _figure(row.pareto_score),
        _figure(row.frontier_probability),
        _figure(row.weight_win_share),
        row.dominated_by_example or (row.eligibility if row.front_rank is None else ""),
    ]


def _lines(scale: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{name:<13}{value}\n" for name, value in scale)


def _list(scale: Sequence[tuple[str, str]]) -> str:
    return "\n" + "".join(f"- {name}: {value}\n" for name, value in scale) + "\n"


def _scale(row: ParetoRow, comparison: Comparison, mix: Mapping[str, Decimal]) -> list[tuple[str, str]]:
    weights = ", ".join(f"{name} {_plain(value)}" for name, value in comparison.weights[row.objectives].items())
    basis = [("quality", "quality"), ("cost", row.cost_basis)]
    if row.latency_basis is not None:
        basis.append(("latency", row.latency_basis))
    bounds = ", ".join(
        f"{name} {_plain(comparison.bounds[key].worst)} to {_plain(comparison.bounds[key].best)}" for name, key in basis
    )
    lines = [("quality", row.quality_name), ("cost", row.cost_basis)]
    if row.cost_basis == "usd_per_mtok":
        shares = ", ".join(f"{name} {Decimal(value) * 100:.1f} %" for name, value in mix.items())
        lines.append(("usage mix", shares))
    if row.latency_basis is not None:
        lines.append(("latency", row.latency_basis))
    return [*lines, ("weights", weights), ("bounds", bounds)]


def _figure(value: Decimal | int | None) -> str:
    if value is None:
        return "-"
    found = Decimal(value)
    if 0 < found < _LEAST_SHOWN:
        return f"<{_LEAST_SHOWN}"
    text = f"{found:.4f}" if 0 < abs(found) < 1 else f"{found:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value).lower() if isinstance(value, bool) else str(value)
