"""What requests cost the person who pays: list price where each is billed, a share of the fee where a plan carries it.

Here: pure integer arithmetic in nano-USD over `Atom`s. Not here: the plans (`plans.py`), their billing periods
(`periods.py`), list prices (`rate_table.py`), and where the sums are kept.

- A subscription carries an atom when provider, client, account and UTC day fit and it was not billed as `api`. Its cost
  is then a share of the segment's fee and nothing else: nobody pays for a request twice.
- `overage` of a carried provider costs its list price (the reported cost where that is the provider's source) without
  the discount, and takes no share of the fee.
- What no plan carries is in token mode: the reported cost where that is the provider's source and every request states
  one, else the list price less the discount.
- A fee is spread over its segment alone, in proportion to list price, tokens or requests, by largest remainder; ties go
  to the smaller identity. Tokens without a price count at the token-weighted median price of the segment's others.
- A fee that no request can take is idle and belongs to the segment's days evenly. Allocated + idle = fee, exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from tokenledger_dagster.pricing.periods import Segment, apportion, half_even, segments
from tokenledger_dagster.pricing.plan_types import (
    NANO,
    Catalogue,
    Plans,
    ProviderTerms,
    Subscription,
    SubscriptionMode,
    WeightMethod,
)

__all__ = [
    "Atom",
    "AtomCost",
    "Economics",
    "PlanMonth",
    "PricingMode",
    "apportion",
    "comparability",
    "economics",
    "idle_by_day",
]

PricingMode = Literal["token", "subscription_derived", "subscription_manual"]

_SLOTS_A_DAY = 96
_EPOCH = date(1970, 1, 1).toordinal()
_MTOK = 1_000_000
_PLACES = 6
"""Decimal places of a ratio."""


class Atom(NamedTuple):
    """Sums of the requests of one quarter hour, session, model name and kind of billing.

    The smallest unit that fees are spread over. The first nine fields are its identity.
    """

    slot: int
    """Quarter hours since 1970, UTC."""
    client: str
    session_id: str
    model_raw: str
    upstream: str
    """'' where the log names none, as with every text here."""
    billing_kind: str
    """`api`, `included`, `overage`; anything else = not told."""
    account_hash: str
    is_reported: bool
    """Every request states its own cost."""
    is_estimated: bool
    provider: str
    model: str
    event_count: int
    unpriced_count: int
    total_tokens: int
    unpriced_tokens: int
    list_nano: int
    """List price of the priced requests."""
    reported_nano: int


class AtomCost(NamedTuple):
    """What the requests of an atom cost together."""

    variable_nano: int
    allocated_nano: int
    """Their share of a plan's fee."""
    uncosted_count: int
    """Requests without any cost: no list price, none reported, no plan."""
    mode: PricingMode
    subscription: str | None
    """Name of the plan they belong to, overage included."""


class PlanMonth(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of one subscription: its fee, and what the plan carried for it. Days are UTC and half-open."""

    subscription: str
    plan: str
    """Id in the catalogue, or ''."""
    provider: str
    mode: SubscriptionMode
    weight_method: WeightMethod
    """The one that was used; a fallback from what the subscription asks for is among the flags."""
    period_start: date
    period_end: date
    segment_start: date
    segment_end: date
    is_complete: bool
    """Whether the segment is over."""
    seats: int
    fee_nano: int
    allocated_nano: int
    idle_nano: int
    list_nano: int
    """List price of what the plan carried, without overage."""
    overage_nano: int
    event_count: int
    total_tokens: int
    unpriced_tokens: int
    median_nano_per_mtok: int | None
    """List price at which unpriced tokens were weighed; None where none had to be."""
    leverage: Decimal | None
    """List price over fee."""
    utilisation: Decimal | None
    """List price over what the vendor includes in the segment's days."""
    flags: tuple[str, ...] = ()
    """Of `fee_unknown`, `weights_estimated`, `weights_by_tokens`, `weights_by_requests`, in this order."""


class Economics(NamedTuple):
    """The costs of atoms, aligned with them, and the months of plans by first day and name."""

    costs: list[AtomCost]
    months: list[PlanMonth]


def economics(atoms: Sequence[Atom], plans: Plans, catalogue: Catalogue, through: date) -> Economics:
    """Return what every atom costs and what became of every fee.

    Args:
        atoms: in any order.
        plans: subscriptions that nowhere carry the same requests (`load_plans` sees to it).
        catalogue: prices of the plans that are named by id.
        through: the last UTC day the ledger knows of; segments that begin later do not exist yet.
    """
    carriers: dict[str | None, list[_Carrier]] = {}
    shares: list[_Share] = []
    for subscription in plans.subscriptions:
        mine = [_Share(subscription, segment) for segment in segments(subscription, through)]
        carriers.setdefault(subscription.provider, []).append(_Carrier(subscription, mine))
        shares += mine
    terms = {name: _Terms(one) for name, one in plans.providers.items()}
    list_terms = _Terms(ProviderTerms())
    costs: list[AtomCost] = []
    known: dict[tuple[str, str, str, int], _Share | None] = {}
    for index, atom in enumerate(atoms):
        share = None
        if atom.billing_kind != "api" and atom.provider in carriers:
            key = (atom.provider, atom.client, atom.account_hash, atom.slot // _SLOTS_A_DAY)
            if key not in known:
                known[key] = _find(carriers[atom.provider], *key[1:])
            share = known[key]
        if share is not None and atom.billing_kind != "overage":
            share.carried.append(index)
            costs.append(_CARRIED)  # replaced below, when all of the segment's atoms are known
            continue
        variable, uncosted = terms.get(atom.provider, list_terms).cost(atom, discounted=share is None)
        if share is None:
            costs.append(AtomCost(variable, 0, uncosted, "token", None))
        else:
            share.overage_nano += variable
            costs.append(AtomCost(variable, 0, uncosted, share.subscription.mode, share.subscription.name))
    months = [_spread(share, atoms, costs, catalogue, through) for share in shares]
    months.sort(key=lambda month: (month.segment_start, month.subscription))
    return Economics(costs, months)


def idle_by_day(month: PlanMonth) -> dict[date, int]:
    """Return a month's idle nano-USD by UTC day, the first days taking what is left over; {} where nothing is idle."""
    if not month.idle_nano:
        return {}
    count = (month.segment_end - month.segment_start).days
    days = [month.segment_start + timedelta(days=index) for index in range(count)]
    return dict(zip(days, apportion(month.idle_nano, [1] * count), strict=True))


def comparability(
    months: Iterable[PlanMonth], unpriced_tokens: int, total_tokens: int, modes: Collection[str]
) -> tuple[bool, tuple[str, ...]]:
    """Say whether a group's effective cost may be compared with another's, and why not.

    Args:
        months: those that the group's requests lie in.
        unpriced_tokens: of the group.
        total_tokens: of the group.
        modes: pricing modes of its requests.
    """
    months = list(months)
    reasons = {
        "mixed_modes": "token" in modes and len(set(modes)) > 1,
        "mixed_weights": len({month.weight_method for month in months}) > 1,
        "billing_period_incomplete": not all(month.is_complete for month in months),
        "idle_over_half": 0 < sum(month.fee_nano for month in months) <= 2 * sum(month.idle_nano for month in months),
        "unpriced_over_1_percent": 0 < total_tokens <= 100 * unpriced_tokens,
        "fee_unknown": any("fee_unknown" in month.flags for month in months),
    }
    found = tuple(reason for reason, holds in reasons.items() if holds)
    return not found, found


_CARRIED = AtomCost(0, 0, 0, "token", None)


class _Share:
    """A segment of a subscription and the atoms that fall into it, by their index."""

    def __init__(self, subscription: Subscription, segment: Segment) -> None:
        self.subscription = subscription
        self.segment = segment
        self.carried: list[int] = []
        self.overage_nano = 0


class _Carrier:
    """A subscription whose segments are found by day."""

    def __init__(self, subscription: Subscription, shares: list[_Share]) -> None:
        self.subscription = subscription
        self.shares = shares
        self.starts = [share.segment.start.toordinal() - _EPOCH for share in shares]

    def on(self, day: int) -> _Share | None:
        """The segment that holds a day, counted from 1970."""
        index = bisect_right(self.starts, day) - 1
        if index < 0 or day >= self.starts[index] + self.shares[index].segment.days:
            return None
        return self.shares[index]


class _Terms:
    """A provider's terms of token mode as integers."""

    def __init__(self, terms: ProviderTerms) -> None:
        self.takes_reported = terms.cost_source == "reported"
        self.numerator, self.denominator = (1 - Fraction(terms.discount)).as_integer_ratio()

    def cost(self, atom: Atom, *, discounted: bool) -> tuple[int, int]:
        """What an atom costs in nano-USD, and how many of its requests have no cost."""
        if self.takes_reported and atom.is_reported:
            return atom.reported_nano, 0
        if discounted and self.denominator != 1:
            return half_even(atom.list_nano * self.numerator, self.denominator), atom.unpriced_count
        return atom.list_nano, atom.unpriced_count


def _find(carriers: list[_Carrier], client: str, account_hash: str, day: int) -> _Share | None:
    found = (one.on(day) for one in carriers if one.subscription.takes(client, account_hash))
    return next((share for share in found if share is not None), None)


def _spread(
    share: _Share, atoms: Sequence[Atom], costs: list[AtomCost], catalogue: Catalogue, through: date
) -> PlanMonth:
    """Spread a segment's fee over its atoms: their costs are replaced, and what became of the fee is returned."""
    subscription, segment = share.subscription, share.segment
    carried = [atoms[index] for index in share.carried]
    method, median, weights = _weigh(subscription.weight, carried)
    period_nano = subscription.period_nano(segment.period_start, catalogue)
    fee = segment.fee(period_nano or 0)
    is_idle = not any(weights)
    parts = [0] * len(carried) if is_idle else apportion(fee, weights, carried)
    for index, part in zip(share.carried, parts, strict=True):
        costs[index] = AtomCost(0, part, 0, subscription.mode, subscription.name)
    list_nano = sum(atom.list_nano for atom in carried)
    flags = {
        "fee_unknown": period_nano is None,
        "weights_estimated": median is not None,
        f"weights_by_{method}": method != subscription.weight,
    }
    return PlanMonth(
        subscription=subscription.name,
        plan=subscription.plan,
        provider=subscription.provider or "",
        mode=subscription.mode,
        weight_method=method,
        period_start=segment.period_start,
        period_end=segment.period_end,
        segment_start=segment.start,
        segment_end=segment.end,
        is_complete=segment.end - timedelta(days=1) <= through,
        seats=subscription.seats,
        fee_nano=fee,
        allocated_nano=0 if is_idle else fee,
        idle_nano=fee if is_idle else 0,
        list_nano=list_nano,
        overage_nano=share.overage_nano,
        event_count=sum(atom.event_count for atom in carried),
        total_tokens=sum(atom.total_tokens for atom in carried),
        unpriced_tokens=sum(atom.unpriced_tokens for atom in carried),
        median_nano_per_mtok=median,
        leverage=_ratio(list_nano, Fraction(fee)),
        utilisation=_ratio(list_nano, _included(share, catalogue)),
        flags=tuple(flag for flag, holds in flags.items() if holds),
    )


def _weigh(wanted: WeightMethod, carried: list[Atom]) -> tuple[WeightMethod, int | None, list[int]]:
    """The method that can be used, the price of tokens without one where it is needed, and the atoms' weights."""
    lacks_prices = wanted == "list_price" and any(atom.unpriced_tokens for atom in carried)
    median = _median(carried) if lacks_prices else None
    method: WeightMethod = "tokens" if lacks_prices and median is None else wanted
    counts = [atom.event_count for atom in carried]
    weights = counts
    if method == "list_price":
        weights = [atom.list_nano * _MTOK + atom.unpriced_tokens * (median or 0) for atom in carried]
    elif method == "tokens":
        weights = [atom.total_tokens for atom in carried]
    if carried and not any(weights):
        return "requests", None, counts
    return method, median, weights


def _median(carried: list[Atom]) -> int | None:
    """The token-weighted lower median of the priced atoms' list price, nano-USD per Mtok; None where none is priced."""
    rates = sorted(
        (atom.list_nano * _MTOK // tokens, tokens)
        for atom in carried
        if (tokens := atom.total_tokens - atom.unpriced_tokens) > 0
    )
    left = sum(tokens for _, tokens in rates)
    for rate, tokens in rates:
        left -= 2 * tokens
        if left <= 0:
            return rate
    return None


def _included(share: _Share, catalogue: Catalogue) -> Fraction:
    """The nano-USD of usage that the vendor includes in a segment; 0 where no figure is published."""
    plan = catalogue.plans.get(share.subscription.plan)
    usd = Fraction(plan.included_usd or 0) if plan is not None else Fraction(0)
    return usd * NANO * share.subscription.seats * Fraction(share.segment.days, share.segment.period_days)


def _ratio(value: int, base: Fraction) -> Decimal | None:
    """A quotient to six places, rounded half-even; None over nothing."""
    if not base:
        return None
    return Decimal(half_even(value * 10**_PLACES * base.denominator, base.numerator)).scaleb(-_PLACES)
