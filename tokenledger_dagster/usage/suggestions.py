"""What the requests of one month suggest: each rule's requests priced again as they might have been.

A rule is a SQL file below `suggesting/` that names groups and, for each of their requests, what would have been
different; the saving is the difference between both prices, worked out by the statement that prices every event
(`pricing/price_events.sql`). Here: applying these rules. Not here: rules about plans (`usage.plan_suggestions`), what
rules demand (`usage.suggestion_rules`), texts (`usage.suggestion_texts`), where requests come from and where the
document is kept (`exports.suggestions`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tokenledger_dagster.contracts.suggestions import (
    ClientSavings,
    Figure,
    Suggestion,
    SuggestionEvidence,
    SuggestionScope,
)
from tokenledger_dagster.exports.engine import columns_of, load
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.resolve import RateKey, price_events_sql, resolve_distinct
from tokenledger_dagster.usage.suggestion_rules import REQUESTS, SAVING, SHARE, Rule
from tokenledger_dagster.usage.suggestion_texts import figure, made, usd

if TYPE_CHECKING:
    import duckdb

_FOLDER = Path(__file__).with_name("suggesting")
PRICED = ("cache_reuse", "model_routing", "premium_speed", "long_context", "one_hour_writes", "tool_share")
"""Rules whose requests are priced again."""
COUNTED = ("unpriced_usage", "undeclared_plan")
"""Rules that count requests."""
_SAVES = tuple(name for name in PRICED if name != "tool_share")
_ROUTING, _LONG = "model_routing", "long_context"
_OWN = frozenset(
    [
        "group_no",
        "client",
        "provider",
        "model",
        "detail",
        "channel",
        "median",
        "requests",
        "sessions",
        "total_tokens",
        "paid_nano",
        "list_nano",
        "other_nano",
        "difference_nano",
        "saving_nano",
        "without_rate",
        "event_ids",
        "session_ids",
    ]
)
"""Columns of a group that are no figures of its rule."""


class Period(NamedTuple):
    """The month that is looked at."""

    month: str
    zone: str
    since: datetime
    """UTC, naive, included."""
    until: datetime
    """UTC, naive, not included."""
    judged_until: datetime
    """Start of the current UTC day, naive: what is not over by then proves nothing."""

    def evidence(self, **fields: Any) -> SuggestionEvidence:
        """Evidence of this period."""
        start, end = (one.isoformat(timespec="seconds") + "Z" for one in (self.since, self.until))
        return SuggestionEvidence(period_start=start, period_end=end, **fields)


class Found(NamedTuple):
    """What the requests of a month suggest."""

    suggestions: list[Suggestion]
    clients: list[ClientSavings]


@cache
def statement(name: str) -> str:
    """Text of a SQL file of the rules."""
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


def statements_key() -> str:
    """Stands for all of them."""
    return "\n".join(path.read_text("utf-8") for path in sorted(_FOLDER.glob("*.sql"))) + price_events_sql()


def suggest(cursor: duckdb.DuckDBPyConnection, rules: dict[str, Rule], table: RateTable, period: Period) -> Found:
    """Return what the rules find, in the order of the rules.

    Args:
        cursor: a connection with the temporary tables `requests` (`suggesting/requests.sql`) and `resolved_rates`.
        rules: `load_rules`.
        table: the rates of the accepted snapshot.
        period: the month.
    """
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE emitted (suggestion_id VARCHAR, request_no BIGINT, saving_nano HUGEINT)"
    )
    cursor.execute("SET VARIABLE judged_until = ?", [period.judged_until])
    found: list[Suggestion] = []
    for name, rule in rules.items():
        if rule.enabled and name in (*PRICED, *COUNTED):
            found += _apply(cursor, name, rule, table, period)
    overlaps: dict[str, list[str]] = {}
    for one, other in cursor.execute(statement("overlaps")).fetchall():
        overlaps.setdefault(one, []).append(other)
    clients = [
        ClientSavings(client=client, requests=count, estimated_saving_usd=usd(nano))
        for client, count, nano in cursor.execute(statement("together")).fetchall()
    ]
    return Found([msgspec.structs.replace(one, overlaps_with=overlaps.get(one.id, [])) for one in found], clients)


def _apply(
    cursor: duckdb.DuckDBPyConnection, name: str, rule: Rule, table: RateTable, period: Period
) -> list[Suggestion]:
    for threshold, value in rule.thresholds.items():
        # whole numbers as such: a DECIMAL of few digits would not hold what it is compared with
        cursor.execute(f"SET VARIABLE {threshold} = ?", [int(value) if value == int(value) else value])
    cursor.execute(statement("changed"))
    if name == _ROUTING:
        _load_buckets(cursor, table)
    cursor.execute(statement(name))
    cursor.execute(statement("repriced"))
    if name == _ROUTING:
        _resolve(cursor, table)
    cursor.execute(statement("savings").format(priced=_priced(name)))
    cursor.execute(statement("groups"))
    columns = [column[0] for column in cursor.description or []]
    groups = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    kept = [group for group in groups if _is_enough(group, name, rule)]
    if name == _ROUTING:
        kept = _best(kept)
    for group in kept if name in _SAVES else ():
        cursor.execute(
            "INSERT INTO emitted SELECT ?, request_no, saving_nano FROM savings WHERE group_no = ?",
            [_id(name, group), group["group_no"]],
        )
    return [_suggestion(name, rule, group, period) for group in kept]


def _priced(name: str) -> str:
    """The statement that prices changed requests."""
    if name in COUNTED:
        return "SELECT CAST(NULL AS BIGINT) AS event_id, CAST(NULL AS BIGINT) AS list_price_nano WHERE false"
    if name == _LONG:
        low = "SELECT * REPLACE (CAST(NULL AS BIGINT) AS tier_from_tokens) FROM temp.resolved_rates"
        return f"WITH resolved_rates AS ({low}) SELECT * FROM ({price_events_sql()})"
    return price_events_sql()


def _load_buckets(cursor: duckdb.DuckDBPyConnection, table: RateTable) -> None:
    """How long a rate cannot change, by channel and model."""
    names = cursor.execute("SELECT DISTINCT channel, rate_model FROM requests ORDER BY ALL").fetchall()
    rows = [(channel, model, table.bucket_start_us(channel, model, 1)) for channel, model in names]
    ddl = "channel VARCHAR, rate_model VARCHAR, bucket_us BIGINT"
    load(cursor, "rate_buckets", ddl, list(zip(*rows, strict=True)))


def _resolve(cursor: duckdb.DuckDBPyConnection, table: RateTable) -> None:
    """Adds the rates of changed requests that no request of the month has."""
    keys = cursor.execute(
        "SELECT DISTINCT channel, model, requested_context, bucket, provider FROM events "
        "EXCEPT SELECT channel, model, requested_context, bucket, provider FROM resolved_rates ORDER BY ALL"
    ).fetchall()
    load(cursor, "resolved_rates", None, columns_of(resolve_distinct(table, [RateKey(*key) for key in keys])))


def _is_enough(group: dict[str, Any], name: str, rule: Rule) -> bool:
    """Whether sample and saving are what the rule demands."""
    if group["requests"] < rule.thresholds.get(REQUESTS, 0):
        return False
    if name not in _SAVES:
        return True
    saving = group["saving_nano"]
    return (
        saving > 0 and usd(saving) >= rule.thresholds[SAVING] and saving >= group["paid_nano"] * rule.thresholds[SHARE]
    )


def _best(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of several models that a model's sessions could go to, the one that saves most."""
    best: dict[tuple[str, ...], dict[str, Any]] = {}
    for group in groups:
        where = tuple(group[name] for name in ("client", "provider", "channel", "model"))
        if where not in best or group["saving_nano"] > best[where]["saving_nano"]:
            best[where] = group
    return list(best.values())


def _id(name: str, group: dict[str, Any]) -> str:
    parts = (name, group["client"], group["provider"], group["model"], group.get("channel", ""), group["detail"])
    return ":".join(part for part in parts if part)


def _suggestion(name: str, rule: Rule, group: dict[str, Any], period: Period) -> Suggestion:
    saves = name in _SAVES
    figures = [figure(key, value) for key, value in group.items() if key not in _OWN]
    figures += list(_sums(group, priced=name in PRICED))
    evidence = period.evidence(
        requests=group["requests"],
        sessions=group["sessions"],
        figures=figures,
        table="event_costs",
        keys=group["event_ids"],
        session_ids=group["session_ids"],
    )
    scope = SuggestionScope(
        month=period.month, client=group["client"], provider=group["provider"], model=group["model"]
    )
    return made(
        name,
        rule,
        suggestion_id=_id(name, group),
        scope=scope,
        evidence=evidence,
        saving=usd(group["saving_nano"]) if saves else None,
        detail=group["detail"],
    )


def _sums(group: dict[str, Any], *, priced: bool) -> Iterable[Figure]:
    """Figures that every group has."""
    yield figure("total_tokens", group["total_tokens"])
    yield figure("paid_usd", usd(group["paid_nano"]))
    if priced:
        yield figure("list_price_usd", usd(group["list_nano"]))
        yield figure("other_list_price_usd", usd(group["other_nano"]))
        yield figure("difference_usd", usd(group["difference_nano"]))
    if priced and group["without_rate"]:
        yield figure("without_rate_requests", Decimal(group["without_rate"]))
