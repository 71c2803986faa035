"""Who bears which part of a fee, and what everything else costs."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.pricing.economics import (
    Atom,
    AtomCost,
    Economics,
    PlanMonth,
    comparability,
    economics,
    idle_by_day,
)
from tokenledger_dagster.pricing.plan_types import Fee, Plans, ProviderTerms, Subscription
from tokenledger_dagster.pricing.plans import load_catalogue

CATALOGUE = load_catalogue()
USD = 10**9
APRIL = date(2026, 4, 1)
APRIL_OVER = date(2026, 4, 30)


def slot(day: date, quarter: int = 0) -> int:
    return (day - date(1970, 1, 1)).days * 96 + quarter


def atom(**fields: Any) -> Atom:
    """One priced request of Claude Code on 10 April 2026 that cost a dollar at list price, unless said otherwise."""
    usual: dict[str, Any] = {
        "slot": slot(date(2026, 4, 10)),
        "client": "claude-code",
        "session_id": "s",
        "model_raw": "opus",
        "upstream": "",
        "billing_kind": "",
        "account_hash": "",
        "is_reported": False,
        "is_estimated": False,
        "provider": "claude",
        "model": "claude-opus-5",
        "event_count": 1,
        "unpriced_count": 0,
        "total_tokens": 1_000,
        "unpriced_tokens": 0,
        "list_nano": USD,
        "reported_nano": 0,
    }
    return Atom(**usual | fields)


def paid(nano: int, **fields: Any) -> Subscription:
    """A plan for Claude billed at this sum on the first of each month from April 2026 on, unless said otherwise."""
    usual: dict[str, Any] = {"name": "plan", "provider": "claude", "start": APRIL, "clients": ()}
    fees = (Fee(fields.get("start", APRIL), Decimal(nano).scaleb(-9)),)
    return Subscription(**usual | {"fees": fees} | fields)


def derived(plan: str, **fields: Any) -> Subscription:
    found = CATALOGUE.plans[plan]
    usual: dict[str, Any] = {"name": "plan", "start": APRIL, "provider": found.provider, "clients": found.clients}
    return Subscription(**usual | {"plan": plan} | fields)


def run(
    atoms: list[Atom], *subscriptions: Subscription, through: date = APRIL_OVER, **terms: ProviderTerms
) -> Economics:
    return economics(atoms, Plans(subscriptions, terms), CATALOGUE, through)


def only_month(atoms: list[Atom], *subscriptions: Subscription) -> PlanMonth:
    (month,) = run(atoms, *subscriptions).months
    return month


# token mode


def test_without_a_plan_a_request_costs_its_list_price() -> None:
    assert run([atom()]).costs == [AtomCost(USD, 0, 0, "token", None)]


def test_a_request_without_a_price_is_counted_as_not_costed() -> None:
    (cost,) = run([atom(event_count=3, unpriced_count=2, list_nano=5)]).costs
    assert (cost.variable_nano, cost.uncosted_count) == (5, 2)


@pytest.mark.parametrize(("list_nano", "variable"), [(10, 9), (5, 4), (15, 14), (25, 22)])
def test_a_discount_comes_off_the_list_price_rounded_to_even(list_nano: int, variable: int) -> None:
    (cost,) = run([atom(list_nano=list_nano)], claude=ProviderTerms(discount=Decimal("0.1"))).costs
    assert cost.variable_nano == variable


def test_a_reported_cost_is_taken_where_the_provider_is_believed() -> None:
    told = atom(is_reported=True, reported_nano=7, unpriced_count=1)
    (cost,) = run([told], claude=ProviderTerms("reported", Decimal("0.5"))).costs
    assert (cost.variable_nano, cost.uncosted_count) == (7, 0)


@pytest.mark.parametrize(("source", "is_reported"), [("list", True), ("reported", False)])
def test_otherwise_the_list_price_is(source: Any, is_reported: bool) -> None:
    (cost,) = run([atom(is_reported=is_reported, reported_nano=7)], claude=ProviderTerms(source)).costs
    assert cost.variable_nano == USD


def test_terms_are_the_providers_own() -> None:
    (cost,) = run([atom()], codex=ProviderTerms(discount=Decimal("0.5"))).costs
    assert cost.variable_nano == USD


# who is carried


def test_a_carried_request_costs_its_share_of_the_fee_and_nothing_else() -> None:
    (cost,) = run([atom(unpriced_count=1)], paid(20 * USD)).costs
    assert cost == AtomCost(0, 20 * USD, 0, "subscription_manual", "plan")


@pytest.mark.parametrize(
    "other",
    [
        {"provider": "codex"},
        {"client": "opencode"},
        {"account_hash": "b"},
        {"account_hash": ""},
        {"billing_kind": "api"},
        {"slot": slot(APRIL, -1)},
        {"slot": slot(date(2026, 5, 1))},
    ],
)
def test_a_request_outside_the_plan_is_in_token_mode(other: dict[str, Any]) -> None:
    one = atom(**{"account_hash": "a"} | other)
    plan = paid(20 * USD, clients=("claude-code",), account_hash="a")
    assert run([one], plan).costs == [AtomCost(USD, 0, 0, "token", None)]


@pytest.mark.parametrize(
    "other",
    [
        {"billing_kind": "included"},
        {"billing_kind": "unknown"},
        {"account_hash": "b"},
        {"client": "pi"},
        {"slot": slot(APRIL)},
        {"slot": slot(APRIL_OVER, 95)},
    ],
)
def test_a_plan_without_bounds_takes_every_request_of_its_provider_and_days(other: dict[str, Any]) -> None:
    (cost,) = run([atom(**other)], paid(20 * USD)).costs
    assert (cost.mode, cost.allocated_nano) == ("subscription_manual", 20 * USD)


def test_overage_costs_its_list_price_without_discount_and_takes_no_share() -> None:
    atoms = [atom(), atom(billing_kind="overage", list_nano=3 * USD)]
    found = run(atoms, paid(20 * USD), claude=ProviderTerms(discount=Decimal("0.5")))
    assert [(cost.variable_nano, cost.allocated_nano) for cost in found.costs] == [(0, 20 * USD), (3 * USD, 0)]
    assert found.costs[1].subscription == "plan"
    assert (found.months[0].overage_nano, found.months[0].list_nano, found.months[0].event_count) == (3 * USD, USD, 1)


def test_overage_costs_what_the_log_states_where_the_provider_is_believed() -> None:
    over = atom(billing_kind="overage", is_reported=True, reported_nano=7, unpriced_count=1)
    (cost,) = run([over], paid(20 * USD), claude=ProviderTerms("reported")).costs
    assert (cost.variable_nano, cost.uncosted_count) == (7, 0)


def test_two_accounts_carry_their_own_requests() -> None:
    plans = [paid(20 * USD, name=name, account_hash=name) for name in ("a", "b")]
    found = run([atom(account_hash="a"), atom(account_hash="b")], *plans)
    assert [cost.subscription for cost in found.costs] == ["a", "b"]


# shares of a fee

OPUS = atom(model_raw="opus", list_nano=54_800_000_000, total_tokens=95_000_000)
HAIKU = atom(model_raw="haiku", list_nano=60_500_000_000, total_tokens=41_000_000)
SONNET = atom(model_raw="sonnet", list_nano=101_500_000_000, total_tokens=24_000_000)


@pytest.mark.parametrize(
    ("weight", "usd"),
    [
        ("list_price", ["50.553505535", "55.811808118", "93.634686347"]),  # 50.55, 55.81 and 93.63
        ("tokens", ["118.75", "51.25", "30"]),
        ("requests", ["66.666666666", "66.666666667", "66.666666667"]),  # haiku comes before opus and sonnet
    ],
)
def test_the_weight_decides_who_bears_a_plan_of_200_dollars(weight: Any, usd: list[str]) -> None:
    found = run([OPUS, HAIKU, SONNET], derived("anthropic/max-20x", weight=weight))
    shares = [Decimal(cost.allocated_nano).scaleb(-9) for cost in found.costs]
    if weight == "requests":
        shares, usd = sorted(shares), sorted(usd)
    assert shares == [Decimal(text) for text in usd]
    assert (found.months[0].allocated_nano, found.months[0].idle_nano) == (200 * USD, 0)


def test_the_last_nano_dollar_goes_to_the_smaller_identity() -> None:
    atoms = [atom(session_id=name) for name in "cab"]
    assert [cost.allocated_nano for cost in run(atoms, paid(100)).costs] == [33, 34, 33]


def test_every_segment_spreads_its_own_part_of_the_fee() -> None:
    plan = paid(31 * USD, start=date(2026, 3, 21))
    march, april = atom(slot=slot(date(2026, 3, 25))), atom(slot=slot(date(2026, 4, 5)))
    found = run([march, april, april._replace(session_id="t")], plan, through=date(2026, 4, 15))
    assert [cost.allocated_nano for cost in found.costs] == [11 * USD, 10 * USD, 10 * USD]


def test_seats_are_paid_each() -> None:
    assert only_month([atom()], derived("anthropic/max-5x", seats=3)).fee_nano == 300 * USD


def test_tokens_without_a_price_count_at_the_median_price_of_the_others() -> None:
    cheap = atom(session_id="a", total_tokens=10, list_nano=100)
    usual = atom(session_id="b", total_tokens=30, list_nano=600)
    unknown = atom(session_id="c", total_tokens=20, list_nano=0, unpriced_tokens=20, unpriced_count=1)
    found = run([cheap, usual, unknown], paid(1_100))
    assert [cost.allocated_nano for cost in found.costs] == [100, 600, 400]
    assert (found.months[0].median_nano_per_mtok, found.months[0].flags) == (20_000_000, ("weights_estimated",))


def test_where_nothing_has_a_price_tokens_are_the_weight() -> None:
    atoms = [
        atom(session_id=str(tokens), total_tokens=tokens, unpriced_tokens=tokens, unpriced_count=1, list_nano=0)
        for tokens in (10, 30)
    ]
    found = run(atoms, paid(400))
    assert [cost.allocated_nano for cost in found.costs] == [100, 300]
    assert (found.months[0].weight_method, found.months[0].flags) == ("tokens", ("weights_by_tokens",))


def test_where_everything_is_free_requests_are_the_weight() -> None:
    atoms = [atom(session_id=str(count), event_count=count, list_nano=0) for count in (1, 3)]
    found = run(atoms, paid(400))
    assert [cost.allocated_nano for cost in found.costs] == [100, 300]
    assert (found.months[0].weight_method, found.months[0].flags) == ("requests", ("weights_by_requests",))


def test_a_fee_without_requests_is_idle() -> None:
    month = only_month([atom(billing_kind="overage")], paid(400))
    assert (month.fee_nano, month.allocated_nano, month.idle_nano, month.flags) == (400, 0, 400, ())


def test_idle_fees_belong_to_the_days_evenly() -> None:
    days = idle_by_day(only_month([], paid(62)))
    assert list(days) == [APRIL + timedelta(days=index) for index in range(30)]
    assert list(days.values()) == [3, 3] + [2] * 28


def test_a_month_without_idle_fees_has_no_idle_days() -> None:
    assert idle_by_day(only_month([atom()], paid(62))) == {}


# months of plans


def test_a_month_says_what_the_plan_carried_and_what_it_was_worth() -> None:
    atoms = [
        atom(provider="cursor", client="cursor", slot=slot(date(2026, 4, 20)), list_nano=9 * USD, event_count=4),
        atom(provider="cursor", client="cursor", slot=slot(date(2026, 4, 21)), list_nano=6 * USD, event_count=1),
    ]
    (month,) = run(atoms, derived("cursor/pro", start=date(2026, 4, 16))).months
    assert month == PlanMonth(
        subscription="plan",
        plan="cursor/pro",
        provider="cursor",
        mode="subscription_derived",
        weight_method="list_price",
        period_start=date(2026, 4, 16),
        period_end=date(2026, 5, 16),
        segment_start=date(2026, 4, 16),
        segment_end=date(2026, 5, 1),
        is_complete=True,
        seats=1,
        fee_nano=10 * USD,
        allocated_nano=10 * USD,
        idle_nano=0,
        list_nano=15 * USD,
        overage_nano=0,
        event_count=5,
        total_tokens=2_000,
        unpriced_tokens=0,
        median_nano_per_mtok=None,
        leverage=Decimal("1.5"),  # of 10 USD for 15 of 30 days
        utilisation=Decimal("1.5"),  # of 10 USD included in them
    )


def test_what_a_free_plan_carries_has_no_leverage() -> None:
    month = only_month([atom(provider="copilot")], derived("github/copilot-free"))
    assert (month.fee_nano, month.leverage, month.utilisation) == (0, None, None)


@pytest.mark.parametrize(("through", "is_complete"), [(date(2026, 4, 29), False), (APRIL_OVER, True)])
def test_a_segment_is_complete_when_its_last_day_is(through: date, is_complete: bool) -> None:
    (month,) = run([], paid(1), through=through).months
    assert month.is_complete is is_complete


def test_a_fee_that_is_not_known_is_nothing_and_flagged() -> None:
    plan = paid(5, fees=(Fee(date(2026, 5, 1), Decimal(5)),))
    april, may = run([atom()], plan, through=date(2026, 5, 1)).months
    assert (april.fee_nano, april.flags) == (0, ("fee_unknown",))
    assert (may.fee_nano, may.flags) == (5 * USD, ())


def test_months_are_in_order_of_their_first_day_and_name() -> None:
    plans = [paid(1, name="b", provider="codex"), paid(1, name="a", start=date(2026, 3, 15))]
    found = run([], *plans).months
    assert [(month.segment_start, month.subscription) for month in found] == [
        (date(2026, 3, 15), "a"),
        (APRIL, "a"),
        (APRIL, "b"),
        (date(2026, 4, 15), "a"),
    ]


# may effective costs be compared

WHOLE = only_month([atom()], paid(20 * USD))
IDLE = only_month([], paid(20 * USD))


def changed(month: PlanMonth, **fields: Any) -> PlanMonth:
    return msgspec.structs.replace(month, **fields)


@pytest.mark.parametrize(
    ("months", "unpriced", "modes", "reasons"),
    [
        ([], 0, ["token"], ()),
        ([WHOLE, WHOLE], 9, ["subscription_manual"], ()),
        ([WHOLE], 0, ["subscription_manual", "subscription_derived"], ()),
        ([WHOLE], 0, ["subscription_manual", "token"], ("mixed_modes",)),
        ([WHOLE, changed(WHOLE, weight_method="tokens")], 0, ["subscription_manual"], ("mixed_weights",)),
        ([WHOLE, changed(WHOLE, is_complete=False)], 0, ["subscription_manual"], ("billing_period_incomplete",)),
        ([WHOLE, IDLE], 0, ["subscription_manual"], ("idle_over_half",)),
        ([WHOLE, WHOLE, IDLE], 0, ["subscription_manual"], ()),
        ([WHOLE], 10, ["subscription_manual"], ("unpriced_over_1_percent",)),
        ([changed(WHOLE, flags=("fee_unknown",))], 0, ["subscription_manual"], ("fee_unknown",)),
        (
            [changed(IDLE, is_complete=False)],
            10,
            ["token", "subscription_manual"],
            ("mixed_modes", "billing_period_incomplete", "idle_over_half", "unpriced_over_1_percent"),
        ),
    ],
)
def test_effective_costs_compare_only_on_one_footing(
    months: list[PlanMonth], unpriced: int, modes: list[str], reasons: tuple[str, ...]
) -> None:
    assert comparability(months, unpriced, 1_000, modes) == (not reasons, reasons)


# properties

ATOM = st.builds(
    atom,
    slot=st.integers(slot(date(2026, 2, 20)), slot(date(2026, 5, 20))),
    client=st.sampled_from(["claude-code", "opencode"]),
    session_id=st.sampled_from("abc"),
    model_raw=st.sampled_from("xyz"),
    billing_kind=st.sampled_from(["", "", "included", "overage", "api"]),
    account_hash=st.sampled_from(["", "a"]),
    is_reported=st.booleans(),
    provider=st.sampled_from(["claude", "claude", "codex", "google"]),
    event_count=st.integers(1, 5),
    total_tokens=st.integers(100, 10**6),
    unpriced_tokens=st.sampled_from([0, 0, 50, 100]),
    unpriced_count=st.sampled_from([0, 1]),
    list_nano=st.sampled_from([0, 1]) | st.integers(0, 10**10),
    reported_nano=st.integers(0, 10**10),
)
ATOMS = st.lists(ATOM, max_size=12, unique_by=lambda one: one[:9])
WEIGHTS = st.sampled_from(["list_price", "tokens", "requests"])
PLANS = st.builds(
    lambda cents, anchor, weight, end: Plans(
        (
            paid(cents * 10**7, name="claude", start=anchor, weight=weight, end=end, clients=("claude-code",)),
            derived("openai/pro-200", name="codex", start=date(2026, 3, 31), clients=(), weight=weight),
        ),
        {"google": ProviderTerms("reported", Decimal("0.15"))},
    ),
    st.integers(0, 50_000),
    st.dates(date(2026, 1, 1), date(2026, 3, 31)),
    WEIGHTS,
    st.none() | st.dates(date(2026, 4, 1), date(2026, 6, 1)),
)
THROUGH = st.dates(date(2026, 4, 1), date(2026, 5, 20))


@settings(max_examples=60)
@given(ATOMS, PLANS, THROUGH)
def test_allocated_and_idle_are_the_fee_exactly(atoms: list[Atom], plans: Plans, through: date) -> None:
    found = economics(atoms, plans, CATALOGUE, through)
    by_plan = Counter[str | None]()
    for cost in found.costs:
        by_plan[cost.subscription] += cost.allocated_nano
    for month in found.months:
        assert month.allocated_nano + month.idle_nano == month.fee_nano
        assert sum(idle_by_day(month).values()) == month.idle_nano
        by_plan[month.subscription] -= month.allocated_nano
    assert not any(by_plan.values())


@settings(max_examples=60)
@given(ATOMS, PLANS, THROUGH)
def test_the_days_add_up_to_the_months_and_these_to_the_total(atoms: list[Atom], plans: Plans, through: date) -> None:
    found = economics(atoms, plans, CATALOGUE, through)
    days = Counter[date]()
    for one, cost in zip(atoms, found.costs, strict=True):
        days[date(1970, 1, 1) + timedelta(days=one.slot // 96)] += cost.variable_nano + cost.allocated_nano
    months = Counter[date]()
    for month in found.months:
        days.update(idle_by_day(month))
        months[month.segment_start.replace(day=1)] += month.fee_nano
    for one, cost in zip(atoms, found.costs, strict=True):
        months[(date(1970, 1, 1) + timedelta(days=one.slot // 96)).replace(day=1)] += cost.variable_nano
    summed = Counter[date]()
    for day, nano in days.items():
        summed[day.replace(day=1)] += nano
    assert +summed == +months
    assert summed.total() == sum(cost.variable_nano for cost in found.costs) + sum(m.fee_nano for m in found.months)


@settings(max_examples=60)
@given(ATOMS, PLANS, THROUGH)
def test_no_cost_is_negative_and_token_mode_takes_no_share(atoms: list[Atom], plans: Plans, through: date) -> None:
    for cost in economics(atoms, plans, CATALOGUE, through).costs:
        assert min(cost.variable_nano, cost.allocated_nano, cost.uncosted_count) >= 0
        assert (cost.mode == "token") == (cost.subscription is None)
        assert cost.mode != "token" or cost.allocated_nano == 0


@settings(max_examples=60)
@given(ATOMS, PLANS, THROUGH, st.randoms())
def test_the_order_of_atoms_does_not_matter(atoms: list[Atom], plans: Plans, through: date, rng: random.Random) -> None:
    shuffled = rng.sample(atoms, len(atoms))
    one, other = (economics(these, plans, CATALOGUE, through) for these in (atoms, shuffled))
    assert dict(zip(atoms, one.costs, strict=True)) == dict(zip(shuffled, other.costs, strict=True))
    assert one.months == other.months


@settings(max_examples=60)
@given(ATOMS, PLANS, THROUGH, ATOMS)
def test_requests_of_another_provider_or_month_change_nothing(
    atoms: list[Atom], plans: Plans, through: date, more: list[Atom]
) -> None:
    april = [one for one in atoms if slot(APRIL) <= one.slot < slot(date(2026, 5, 1)) and one.provider == "claude"]
    others = [one._replace(provider="codex") for one in more]
    others += [one for one in more if not slot(APRIL) <= one.slot < slot(date(2026, 5, 1))]
    before = economics(april, plans, CATALOGUE, through)
    after = economics(april + others, plans, CATALOGUE, through)
    assert after.costs[: len(april)] == before.costs


@settings(max_examples=60)
@given(ATOMS, PLANS, THROUGH, st.integers(0, 60))
def test_a_month_that_is_over_never_changes_again(atoms: list[Atom], plans: Plans, through: date, days: int) -> None:
    before = [month for month in economics(atoms, plans, CATALOGUE, through).months if month.is_complete]
    later = through + timedelta(days=days)
    new = atom(slot=slot(later + timedelta(days=1)), session_id="new")
    after = economics([*atoms, new], plans, CATALOGUE, later).months
    assert [month for month in after if month in before] == before
