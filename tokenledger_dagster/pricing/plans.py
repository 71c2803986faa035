"""Subscription plans: the shipped catalogue, and what a person says they pay for.

`load_catalogue` reads `config/plans.yaml`, `load_plans` a home's `plans.yaml`; both refuse what they do not understand
with one line that names the file, the place and the remedy. Not here: when a plan is billed (`periods.py`), and which
requests carry its fee (`economics.py`).

Scalars are read by the type of their field and not by YAML's guesses: an amount is the text that was written and never
a float, an account hash of digits stays text, `no` is no truth value. Aliases and tags are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.pricing.periods import half_even, months_between, period_start
from tokenledger_dagster.printable import printable

CATALOGUE = CONFIG_DIRECTORY / "plans.yaml"
NANO = 1_000_000_000
"""Nano-USD of one USD."""

WeightMethod = Literal["list_price", "tokens", "requests"]
SubscriptionMode = Literal["subscription_derived", "subscription_manual"]
CostSource = Literal["list", "reported"]
Evidence = Literal["official", "secondary"]

_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2199, 12, 31)
_MOST_USD = 10_000_000

_Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+\Z", max_length=200)]
_Key = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*\Z", max_length=100)]
_Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
_Seats = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class PlansError(TokenLedgerError):
    """A file of plans says something that cannot be used."""


class _Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was written in a file: no key may be unknown."""


class Price(_Given, frozen=True):
    """What a seat costs a month, from a day on."""

    start: date | None = msgspec.field(name="from")
    usd_month: Decimal
    usd_month_annual: Decimal | None = None
    """The same month where a year is billed at once."""

    def __post_init__(self) -> None:
        _check_number("usd_month", self.usd_month, _MOST_USD)
        _check_number("usd_month_annual", self.usd_month_annual, _MOST_USD)


class Weight(_Given, frozen=True):
    """A plan's usage allowance from a day on, as a multiple of the vendor's base plan. For information only."""

    start: date | None = msgspec.field(name="from")
    weight: Decimal

    def __post_init__(self) -> None:
        _check_number("weight", self.weight, 1_000_000)


class CataloguePlan(_Given, frozen=True):
    """One plan of a vendor's price list."""

    vendor: _Text
    name: _Text
    provider: _Key
    """Whose requests the plan carries: a key of the pricing book."""
    clients: tuple[_Key, ...]
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

    def weight_on(self, day: date) -> Decimal | None:
        """Return the usage weight in force on a day, None where none is known."""
        row = max((row for row in self.weights if _start(row) <= day), key=_start, default=None)
        return None if row is None else row.weight


class Catalogue(msgspec.Struct, frozen=True):
    """The plans on sale, by id such as `anthropic/max-20x`."""

    plans: dict[str, CataloguePlan]
    updated_at: date
    note: str = ""

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Ids of the plans without a verified USD price, sorted."""
        return tuple(sorted(name for name, plan in self.plans.items() if not plan.prices))


class Fee(_Given, frozen=True):
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


class Subscription(_Given, frozen=True, kw_only=True):
    """One plan that is paid for. What `load_plans` returns has its provider and clients filled in."""

    name: _Text
    provider: _Key | None = None
    plan: str = ""
    """Id in the catalogue; '' where only `fees` tell what it costs."""
    seats: _Seats = 1
    start: date = msgspec.field(name="from")
    """First billed day; its day of the month begins every billing period."""
    end: date | None = msgspec.field(name="to", default=None)
    """First day that is no longer paid for."""
    clients: tuple[_Key, ...] | None = None
    account_hash: _Text | None = None
    weight: WeightMethod = "list_price"
    annual_billing: bool = False
    fees: tuple[Fee, ...] = ()
    """What was billed; a period without an entry costs what the last one before it did."""

    def __post_init__(self) -> None:
        if not _FIRST_DAY <= self.start <= _LAST_DAY or not _FIRST_DAY <= (self.end or _FIRST_DAY) <= _LAST_DAY:
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


class ProviderTerms(_Given, frozen=True):
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


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Return the catalogue of plans in a file; None = the shipped one.

    Raises:
        PlansError: there is no such file, or it cannot be used.
    """
    where = path or CATALOGUE
    try:
        document = _document(where, "meta", "plans")
    except FileNotFoundError as error:
        raise PlansError(f"{where}: does not exist; install TokenLedger again") from error
    meta: _Meta = _convert(_Meta, document.get("meta"), where, "meta")
    plans = _by_key(CataloguePlan, _entries(document, "plans", dict, where), where, "plans")
    return Catalogue(plans, meta.updated_at, meta.note)


def load_plans(path: Path | None, catalogue: Catalogue) -> Plans:
    """Return what a home's `plans.yaml` says is paid for; no file = nothing.

    Raises:
        PlansError: the file cannot be used, or two of its subscriptions would carry the same requests.
    """
    if path is None:
        return Plans()
    try:
        document = _document(path, "subscriptions", "providers")
    except FileNotFoundError:
        return Plans()
    found: list[Subscription] = []
    for index, entry in enumerate(_entries(document, "subscriptions", list, path)):
        name = entry.get("name") if isinstance(entry, dict) else None
        place = f"subscriptions: {_shown(name)}" if name and isinstance(name, str) else f"subscriptions[{index}]"
        given: Subscription = _convert(Subscription, entry, path, place)
        try:
            one = _completed(given, catalogue)
            for other in found:
                _check_apart(one, other)
        except ValueError as error:
            raise PlansError(f"{path}: {place}: {error}") from error
        found.append(one)
    terms = _by_key(ProviderTerms, _entries(document, "providers", dict, path), path, "providers")
    used = {one.plan: catalogue.plans[one.plan] for one in found if one.plan}
    return Plans(tuple(sorted(found, key=lambda one: one.name)), terms, used)


def book_subscription(provider: str, usd_month: Decimal, first_day: date) -> Subscription:
    """Return the subscription that a pricing book's `subscription_usd_month` stands for.

    It is billed on the first of each month, from the month of a first day on; a log's clock may be any.

    Raises:
        PlansError: the amount is none.
    """
    anchor = min(max(first_day, _FIRST_DAY), _LAST_DAY).replace(day=1)
    name = f"{provider} (pricing.json)"
    try:
        fees = (Fee(anchor, usd_month, source="pricing.json"),)
        return Subscription(name=name, provider=provider, start=anchor, clients=(), fees=fees)
    except ValueError as error:
        raise PlansError(f"pricing.json: {_shown(provider)}: subscription_usd_month: {error}") from error


class _Meta(_Given, frozen=True):
    updated_at: date
    note: str = ""


def _completed(one: Subscription, catalogue: Catalogue) -> Subscription:
    """The subscription with what it leaves to the catalogue; ValueError where the two do not fit."""
    if not one.plan:
        if not one.fees:
            raise ValueError("has neither plan nor fees; name a plan of config/plans.yaml or list what was billed")
        if not one.provider:
            raise ValueError("provider is missing; add the pricing book's key, such as claude or codex")
        return msgspec.structs.replace(one, clients=one.clients or ())
    plan = catalogue.plans.get(one.plan)
    if plan is None:
        raise ValueError(f"plan: {_shown(one.plan)} is not in the catalogue; {_nearest(one.plan, catalogue)}")
    if not one.fees and not plan.prices:
        raise ValueError(f"plan: no USD price of {one.plan} is known; list what was billed under fees")
    if not one.fees and one.annual_billing and any(price.usd_month_annual is None for price in plan.prices):
        raise ValueError(f"annual_billing: no yearly price of {one.plan} is known; remove it or use fees")
    clients = plan.clients if one.clients is None else one.clients
    return msgspec.structs.replace(one, provider=one.provider or plan.provider, clients=clients)


def _check_apart(one: Subscription, other: Subscription) -> None:
    if one.name == other.name:
        raise ValueError("another subscription has this name; choose one that is not in use")
    if (
        one.provider == other.provider
        and (not one.clients or not other.clients or set(one.clients) & set(other.clients))
        and (None in (one.account_hash, other.account_hash) or one.account_hash == other.account_hash)
        and (one.end or date.max) > other.start
        and (other.end or date.max) > one.start
    ):
        raise ValueError(
            f"carries the same requests as {_shown(other.name)} at the same time; tell them apart by clients, "
            "account_hash or days, or count them as seats of one"
        )


def _nearest(name: str, catalogue: Catalogue) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name[:100], catalogue.plans, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "see config/plans.yaml for the ids"


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


# reading; nothing below knows what a plan is

_Kind = TypeVar("_Kind")
_LARGEST_FILE = 1_048_576
_LONGEST_VALUE = 10_000
_DEEPEST = 8
_NULLS = ("", "~", "null", "Null", "NULL")
_PARTS: dict[str, type[msgspec.Struct]] = {"prices": Price, "weights": Weight, "fees": Fee}
_CHOICES = {"weight": WeightMethod, "cost_source": CostSource, "evidence": Evidence}
_REMEDIES = {
    "Invalid RFC3339": "is no day; write it as 2026-01-31",
    "Expected `date": "is no day; write it as 2026-01-31",
    "Invalid decimal": "is no number; write it as 18.40",
    "Expected `decimal": "is no number; write it as 18.40",
    "Expected `bool": "is neither true nor false; write one of them",
    "Expected `int` >": "is too small; write a larger number",
    "Expected `int` <": "is too large; write a smaller number",
    "Expected `int": "is no whole number; write one",
    "Expected `array": "is no list; write `- ` before each entry",
    "Expected `object": "is no mapping; write `name: value` lines",
    "Expected `str` matching": "is empty or not spelt as it must be; use plain letters and digits",
    "Expected `str` of": "is too long; shorten it",
    "Expected `str": "is no text; write one",
}
"""What msgspec says of a value -> what is wrong and the remedy."""


def _document(path: Path, *keys: str) -> dict[str, Any]:
    """The top level of a file of plans, {} where it is empty; FileNotFoundError where there is none."""
    try:
        document = _read(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = printable(" ".join(str(error).split()))[:300]
        raise PlansError(f"{path}: cannot be read as plans ({reason}); mend it or take it away") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise PlansError(f"{path}: is no mapping; begin with `schema_version: 1`")
    for key in document:
        if key not in ("schema_version", *keys):
            raise PlansError(f"{path}: unknown key {_shown(key)}; use one of schema_version, {', '.join(keys)}")
    if document.get("schema_version") != "1":
        raise PlansError(f"{path}: schema_version is not 1; write `schema_version: 1` or use a newer TokenLedger")
    return document


def _entries(document: dict[str, Any], key: str, kind: type[_Kind], path: Path) -> _Kind:
    entries = document.get(key)
    if entries is None:
        return kind()
    if not isinstance(entries, kind):
        raise PlansError(f"{path}: {key}: {_REMEDIES['Expected `array' if kind is list else 'Expected `object']}")
    return entries


def _by_key(kind: type[_Kind], entries: dict[str, Any], path: Path, place: str) -> dict[str, _Kind]:
    for name in entries:
        _convert(_Key, name, path, f"{place}: {_shown(name)}")
    return {name: _convert(kind, entry, path, f"{place}: {name}") for name, entry in entries.items()}


def _convert(kind: Any, value: Any, path: Path, place: str) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$")
        steps = [step for step in at.rstrip("`").split(".") if step]
        raise PlansError(f"{': '.join((str(path), place, *steps))}: {_problem(what, kind, steps)}") from error


def _problem(what: str, kind: Any, steps: list[str]) -> str:
    """What is wrong and the remedy, in the file's words instead of msgspec's."""
    field = steps[-1].partition("[")[0] if steps else ""
    named = _shown(what.partition("`")[2].rstrip("`"))
    if what.startswith("Object contains unknown field"):
        return f"unknown key {named}; use one of {', '.join(_PARTS.get(field, kind).__struct_encode_fields__)}"
    if what.startswith("Object missing required field"):
        return f"{named} is missing; add it"
    if what.startswith("Invalid enum value"):
        return f"is none of {', '.join(get_args(_CHOICES[field]))}; use one of them"
    return next((remedy for words, remedy in _REMEDIES.items() if what.startswith(words)), what)


def _shown(text: str) -> str:
    return printable(text if len(text) <= 60 else text[:60] + "...")


def _read(path: Path) -> Any:
    """What a YAML file holds, every scalar as its text and null as None; ValueError where it cannot be read so."""
    import yaml

    with path.open("rb") as handle:
        content = handle.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError("it is larger than 1 MB")
    try:
        # the C loader is in every published wheel; a PyYAML built without libyaml has only the other one
        events = yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        next(events)
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        tree = _tree(events, next(events), 0)
        next(events)
        if not isinstance(next(events), yaml.StreamEndEvent):
            raise ValueError("it holds more than one document")
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace('"<byte string>", ', "")) from error
    return tree


def _tree(events: Iterator[Any], event: Any, depth: int) -> Any:
    import yaml

    line = f"line {event.start_mark.line + 1}"
    if isinstance(event, yaml.AliasEvent) or event.tag is not None:
        raise ValueError(f"{line}: aliases and tags are not read, write the value out")
    if isinstance(event, yaml.ScalarEvent):
        if len(event.value) > _LONGEST_VALUE:
            raise ValueError(f"{line}: a value is longer than {_LONGEST_VALUE:,} characters")
        return None if event.implicit[0] and event.value in _NULLS else event.value
    if depth == _DEEPEST:
        raise ValueError(f"{line}: nested too deep")
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_tree(events, item, depth + 1))
        return items
    mapping: dict[str, Any] = {}
    while not isinstance(item := next(events), yaml.MappingEndEvent):
        line = f"line {item.start_mark.line + 1}"
        key = _tree(events, item, depth + 1)
        if not isinstance(key, str) or not key:
            raise ValueError(f"{line}: a key is no name")
        if key in mapping:
            raise ValueError(f"{line}: {_shown(key)} is given twice")
        mapping[key] = _tree(events, next(events), depth + 1)
    return mapping
