"""Subscription plans as types: the shipped catalogue's, and those a person says they pay for.

Here: shapes, and what each figure must be. Not here: reading the files (`plans.py`), when a plan is billed
(`periods.py`), and which requests carry its fee (`economics.py`).
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.plainyaml import Given
from tokenledger_dagster.pricing.periods import half_even, months_between, period_start

CATALOGUE = CONFIG_DIRECTORY / "plans.yaml"
NANO = 1_000_000_000
"""Nano-USD of one USD."""

WeightMethod = Literal["list_price", "tokens", "requests"]
SubscriptionMode = Literal["subscription_derived", "subscription_manual"]
CostSource = Literal["list", "reported"]
Evidence = Literal["official", "secondary"]

FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
_MOST_USD = 10_000_000

_Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z", max_length=200)]
Key = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*\Z", max_length=100)]
_Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
_Seats = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class PlansError(TokenLedgerError):
    """A file of plans says something that cannot be used."""


class Price(Given, frozen=True):
    """What a seat costs a month, from a day on."""

    start: date | None = msgspec.field(name="from")
    usd_month: Decimal
    usd_month_annual: Decimal | None = None
    """The same month where a year is billed at once."""

    def __post_init__(self) -> None:
        _check_number("usd_month", self.usd_month, _MOST_USD)
        _check_number("usd_month_annual", self.usd_month_annual, _MOST_USD)


class Weight(Given, frozen=True):
    """A plan's usage allowance from a day on, as a multiple of the vendor's base plan. For information only."""

    start: date | None = msgspec.field(name="from")
    weight: Decimal

    def __post_init__(self) -> None:
        _check_number("weight", self.weight, 1_000_000)


class CataloguePlan(Given, frozen=True):
    """One plan of a vendor's price list."""

    vendor: _Text
    name: _Text
    provider: Key
    """Whose requests the plan carries: a key of the pricing book."""
    clients: tuple[Key, ...]
    """Clients whose requests it carries; empty = every client of the provider."""
    prices: tuple[Price, ...]
    """In order of their days; empty = no USD price was verified."""
    weights: tuple[Weight, ...]
    included_usd: Decimal | None
    """Usage at list price that a month and seat includes; None where the vendor names no figure."""
    source: _Text
    checked: date
    evidence: Evidence
    notes: str

    def __post_init__(self) -> None:
        _check_number("included_usd", self.included_usd, _MOST_USD)
        for starts in ([_start(row) for row in self.prices], [_start(row) for row in self.weights]):
            if starts != sorted(set(starts)):
                raise ValueError("prices or weights are not in order of their days; sort them, one row a day")

    def price_on(self, day: date) -> Price | None:
        """Return the price in force on a day, None where none is known."""
        return max((row for row in self.prices if _start(row) <= day), key=_start, default=None)


class Catalogue(msgspec.Struct, frozen=True):
    """The plans on sale, by id such as `anthropic/max-20x`."""

    plans: dict[str, CataloguePlan]
    updated_at: date
    note: str = ""

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Ids of the plans without a verified USD price, sorted."""
        return tuple(sorted(name for name, plan in self.plans.items() if not plan.prices))


class Fee(Given, frozen=True):
    """What one billing period cost, all seats together, as billed."""

    period: date
    """First day of the billing period."""
    amount: Decimal
    currency: _Currency = "USD"
    usd_per_unit: Decimal | None = None
    """USD for one unit of the currency; every currency but USD needs it."""
    source: str = ""

    def __post_init__(self) -> None:
        _check_number("amount", self.amount, 10**12)
        _check_number("usd_per_unit", self.usd_per_unit, _MOST_USD)
        if self.currency != "USD" and not self.usd_per_unit:
            raise ValueError(f"{self.currency} needs a rate above 0; add usd_per_unit")
        if self.currency == "USD" and self.usd_per_unit not in (None, 1):
            raise ValueError("an amount in USD has no rate; remove usd_per_unit")
        if self.nano > _MOST_USD * NANO:
            raise ValueError(f"the fee is above {_MOST_USD:,} USD; mend amount or usd_per_unit")

    @property
    def nano(self) -> int:
        """The fee in nano-USD, rounded half-even."""
        return _nano(Fraction(self.amount) * Fraction(self.usd_per_unit or 1))


class Subscription(Given, frozen=True, kw_only=True):
    """One plan that is paid for. What `load_plans` returns has its provider and clients filled in."""

    name: _Text
    provider: Key | None = None
    plan: str = ""
    """Id in the catalogue; '' where only `fees` tell what it costs."""
    seats: _Seats = 1
    start: date = msgspec.field(name="from")
    """First billed day; its day of the month begins every billing period."""
    end: date | None = msgspec.field(name="to", default=None)
    """First day that is no longer paid for."""
    clients: tuple[Key, ...] | None = None
    account_hash: _Text | None = None
    weight: WeightMethod = "list_price"
    annual_billing: bool = False
    fees: tuple[Fee, ...] = ()
    """What was billed; a period without an entry costs what the last one before it did."""

    def __post_init__(self) -> None:
        if not FIRST_DAY <= self.start <= LAST_DAY or not FIRST_DAY <= (self.end or FIRST_DAY) <= LAST_DAY:
            raise ValueError("the days must lie between 2000 and 2199; mend from or to")
        if self.end is not None and self.end <= self.start:
            raise ValueError("to, the first day no longer paid for, is not after from; mend one of them")
        for day in (fee.period for fee in self.fees):
            if not self.start <= day < (self.end or date.max):
                raise ValueError(f"fees: {day} is not within from and to; mend period")
            begins = period_start(self.start, months_between(self.start, day))
            if begins != day:
                raise ValueError(f"fees: no billing period begins on {day}; that month's begins on {begins}")
        if len({fee.period for fee in self.fees}) < len(self.fees):
            raise ValueError("fees: two entries have the same period; keep one of them")

    @property
    def mode(self) -> SubscriptionMode:
        """Whether the fee is what was billed or what the catalogue says."""
        return "subscription_manual" if self.fees else "subscription_derived"

    def takes(self, client: str, account_hash: str) -> bool:
        """Say whether the provider's requests of this client and account are carried."""
        return (not self.clients or client in self.clients) and self.account_hash in (None, account_hash)

    def period_nano(self, day: date, catalogue: Catalogue) -> int | None:
        """Return what the billing period that begins on a day costs in nano-USD, all seats; None where unknown."""
        if self.fees:
            billed = max((fee for fee in self.fees if fee.period <= day), key=lambda fee: fee.period, default=None)
            return None if billed is None else billed.nano
        plan = catalogue.plans.get(self.plan)
        price = None if plan is None else plan.price_on(day)
        if price is None:
            return None
        usd = price.usd_month_annual if self.annual_billing else price.usd_month
        return None if usd is None else _nano(Fraction(usd) * self.seats)


class ProviderTerms(Given, frozen=True):
    """What a provider's requests cost that no plan carries."""

    cost_source: CostSource = "list"
    """`reported`: where the log states a cost, that one is taken."""
    discount: Decimal = Decimal(0)
    """Share taken off the list price, at least 0 and less than 1."""

    def __post_init__(self) -> None:
        _check_number("discount", self.discount, 1)
        if self.discount == 1:
            raise ValueError("discount must be less than 1; write ten per cent as 0.10")


class Plans(msgspec.Struct, frozen=True):
    """Everything a person pays for, and on which terms."""

    subscriptions: tuple[Subscription, ...] = ()
    """Sorted by name."""
    providers: dict[str, ProviderTerms] = {}
    catalogue_plans: dict[str, CataloguePlan] = {}
    """What the catalogue says of the plans in use, so that a corrected price changes the digest."""

    @property
    def is_empty(self) -> bool:
        """Whether every request simply costs its list price."""
        return not self.subscriptions and not self.providers

    @property
    def digest(self) -> str:
        """What stands for the content in keys of caches: 16 hex digits of a SHA-256."""
        import hashlib

        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


def _start(row: Price | Weight) -> date:
    return row.start or date.min


def _nano(usd: Fraction) -> int:
    return half_even(usd.numerator * NANO, usd.denominator)


def _check_number(name: str, value: Decimal | None, most: int) -> None:
    """Refuse what is no plain number; the bounds on its exponent keep exact arithmetic cheap."""
    if value is None:
        return
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not -9 <= exponent <= 12 or not 0 <= value <= most:
        raise ValueError(f"{name} is not from 0 to {most:,} with at most nine decimal places; mend it")
