"""What a selection cost, in all, by provider and by model.

Here: adding up the parts that reports are made of. Not here: what a part cost (`usage.effective`), the shape
(`contracts.costs`).
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

from tokenledger_dagster.contracts.costs import IDLE, CostBreakdown, CostShare, PlanShare
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.zones import DAY_US, Zone
from tokenledger_dagster.pricing.economics import PlanMonth, comparability, idle_by_day
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.effective import Effective, effective
from tokenledger_dagster.usage.selection import (
    ModelDim,
    Selection,
    SessionDim,
    as_date,
    day_number,
    iso_day,
    month_days,
    parts,
)

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_NANO = Decimal("0.000000001")
_EPOCH = date(1970, 1, 1)


class _Share:
    """Sums of one name."""

    def __init__(self) -> None:
        self.sums = [0] * 17
        self.sessions: set[SessionDim] = set()
        self.idle = 0
        self.plans: dict[tuple[str, date], PlanMonth] = {}
        self.modes: set[str] = set()

    def add(self, session: SessionDim, sums: Iterable[int]) -> None:
        self.sums = [one + other for one, other in zip(self.sums, sums, strict=True)]
        self.sessions.add(session)

    @property
    def tokens(self) -> int:
        return sum(self.sums[1:7])

    @property
    def variable(self) -> int:
        return self.sums[14]

    @property
    def allocated(self) -> int:
        return self.sums[15]

    @property
    def total(self) -> int:
        return self.variable + self.allocated + self.idle

    def take_plan(self, month: PlanMonth) -> None:
        self.plans[month.subscription, month.segment_start] = month
        self.modes.add(month.mode)


def cost_breakdown(
    connection: sqlite3.Connection, selection: Selection, plans: Effective | None, now: datetime
) -> CostBreakdown:
    """Return what the selection cost.

    Fees that no request carries belong to a selection of a period alone: of a model or session nobody can tell what
    part of them is its own.

    Args:
        connection: the manifest.
        selection: the period and the filters.
        plans: effective costs where something is declared.
        now: time of the document.
    """
    whole, providers, models = _Share(), dict[str, _Share](), dict[str, _Share]()
    for _, session, model, sums in parts(connection, selection, costs=None if plans is None else plans.costs):
        for share in (
            whole,
            providers.setdefault(model.provider, _Share()),
            models.setdefault(model.model, _Share()),
        ):
            share.add(session, sums)
    for share in () if plans is not None else (whole, *providers.values(), *models.values()):
        share.modes.add("token")
    shown = selection.is_of_time_alone
    months = [] if plans is None else _within(plans.months, selection)
    if plans is not None:
        _judge_parts(connection, selection, plans, whole, providers, models)
    for month in months if shown else ():
        for share in (whole, providers.setdefault(month.provider, _Share())):
            share.take_plan(month)
        idle = _idle(month, selection)
        if idle:
            models.setdefault(IDLE, _Share()).idle += idle
            models[IDLE].take_plan(month)
            providers[month.provider].idle += idle
            whole.idle += idle
    fine, reasons = _judged(whole)
    return CostBreakdown(
        generated_at=now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        timezone=selection.zone,
        filters=selection.filters(),
        variable_cost_usd=_usd(whole.variable),
        subscription_allocated_usd=_usd(whole.allocated),
        idle_subscription_usd=_usd(whole.idle),
        monthly_total_usd=_usd(whole.total),
        list_price_usd=_usd(whole.sums[10]),
        blended_usd_per_mtok=_per_mtok(whole.total, whole.tokens),
        total_tokens=whole.tokens,
        total_mtok=Decimal(whole.tokens).scaleb(-6, _EXACT),
        input_tokens=whole.sums[1],
        output_tokens=whole.sums[2],
        cache_write_tokens=whole.sums[3],
        cache_read_tokens=whole.sums[4],
        tool_input_tokens=whole.sums[5],
        tool_output_tokens=whole.sums[6],
        session_count=len(whole.sessions),
        skipped_unpriced_count=whole.sums[11],
        unpriced_tokens=whole.sums[12],
        provider_breakdown=_shares(providers),
        model_breakdown=_shares(models),
        list_usd_per_mtok=_per_mtok(whole.sums[10], whole.tokens),
        blended_usd_per_mtok_without_cache_reads=_per_mtok(whole.total, whole.tokens - whole.sums[4]),
        comparable=fine,
        not_comparable_reasons=list(reasons),
        subscriptions=[_plan(month) for month in months if month.fee_nano] if shown else [],
    )


def _judge_parts(
    connection: sqlite3.Connection,
    selection: Selection,
    plans: Effective,
    whole: _Share,
    providers: dict[str, _Share],
    models: dict[str, _Share],
) -> None:
    """Tells each share by which plans, or by none, its requests were paid."""
    projects = dict(connection.execute("SELECT session_no, project FROM sessions").fetchall())
    zone = Zone(selection.zone)
    months: dict[str, list[PlanMonth]] = {}
    for month in plans.months:
        months.setdefault(month.subscription, []).append(month)
    for key, cost in plans.costs.items():
        atom = plans.atoms[key]
        session = SessionDim(atom.client, atom.session_id, projects[key[1]])
        model = ModelDim(atom.client, atom.model_raw, atom.model, atom.provider)
        if not selection.matches(session, model, zone.day(atom.slot * SLOT_US), atom.is_estimated):
            continue
        shares = (whole, providers[atom.provider], models[atom.model])
        if cost.subscription is None or atom.billing_kind == "overage":
            for share in shares:
                share.modes.add("token")
            continue
        day = as_date(atom.slot * SLOT_US // DAY_US)
        mine = months[cost.subscription]
        month = mine[bisect_right(mine, day, key=lambda one: one.segment_start) - 1]
        for share in shares:
            share.take_plan(month)


def costs_of_month(home: Home, month: str | None, zone: str) -> CostBreakdown | None:
    """Return what a month of a zone cost, by default that of the latest event; None where nothing is booked.

    Raises:
        ManifestError: the home holds no ledger.
        PlansError: the plans cannot be used.
    """
    with closing(connect(home, read_only=True)) as connection:
        found = month or _latest_month(connection, zone)
        if found is None:
            return None
        since, until = month_days(found)
        plans = effective(connection, str(home.root))
        return cost_breakdown(connection, Selection(zone=zone, since=since, until=until), plans, datetime.now(UTC))


def _latest_month(connection: sqlite3.Connection, zone: str) -> str | None:
    (slot,) = connection.execute("SELECT max(slot) FROM slots").fetchone()
    return None if slot is None else iso_day(Zone(zone).day(slot * SLOT_US))[:7]


def _shares(found: dict[str, _Share]) -> list[CostShare]:
    """By tokens, largest first, then by name."""
    rows = []
    for name, share in sorted(found.items(), key=lambda item: (-item[1].tokens, item[0])):
        fine, reasons = _judged(share)
        tools = share.sums[5] + share.sums[6]
        rows.append(
            CostShare(
                name=name,
                tokens=share.tokens,
                mtok=Decimal(share.tokens).scaleb(-6, _EXACT),
                variable_cost_usd=_usd(share.variable),
                subscription_allocated_usd=_usd(share.allocated),
                total_cost_usd=_usd(share.total),
                blended_usd_per_mtok=_per_mtok(share.total, share.tokens),
                session_count=len(share.sessions),
                tool_share=_ratio(tools, share.tokens),
                idle_subscription_usd=_usd(share.idle),
                list_price_usd=_usd(share.sums[10]),
                unpriced_tokens=share.sums[12],
                pricing_modes=sorted(share.modes),
                comparable=fine,
                not_comparable_reasons=list(reasons),
            )
        )
    return rows


def _judged(share: _Share) -> tuple[bool, tuple[str, ...]]:
    return comparability(share.plans.values(), share.sums[12], share.tokens, share.modes)


def _within(months: list[PlanMonth], selection: Selection) -> list[PlanMonth]:
    """Plans whose days touch the selection's period."""
    since = _day(selection.since, "--since", -(10**9))
    until = _day(selection.until, "--until", 10**9)
    return [month for month in months if _number(month.segment_start) <= until and since < _number(month.segment_end)]


def _idle(month: PlanMonth, selection: Selection) -> int:
    nothing, nobody = ModelDim("", None, "", ""), SessionDim("", "", None)
    return sum(
        nano for day, nano in idle_by_day(month).items() if selection.matches(nobody, nothing, _number(day), False)
    )


def _plan(month: PlanMonth) -> PlanShare:
    return PlanShare(
        subscription=month.subscription,
        provider=month.provider,
        pricing_mode=month.mode,
        weight_method=month.weight_method,
        segment_start=month.segment_start.isoformat(),
        segment_end=(month.segment_end - timedelta(days=1)).isoformat(),
        fee_usd=_usd(month.fee_nano),
        allocated_usd=_usd(month.allocated_nano),
        idle_usd=_usd(month.idle_nano),
        list_price_usd=_usd(month.list_nano),
        leverage=month.leverage,
        utilisation=month.utilisation,
        is_complete=month.is_complete,
        flags=list(month.flags),
    )


def _day(text: str | None, option: str, empty: int) -> int:
    return empty if text is None else day_number(text, option)


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _usd(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9, _EXACT)


def _per_mtok(nano: int, tokens: int) -> Decimal:
    """USD per million tokens, nine places; 0 without tokens."""
    return _ratio(nano * 1_000_000, tokens * 10**9)


def _ratio(one: int, other: int) -> Decimal:
    if not other:
        return Decimal(0)
    return _EXACT.divide(Decimal(one), Decimal(other)).quantize(_NANO, context=_EXACT)
