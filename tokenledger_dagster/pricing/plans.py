"""Subscription plans: the shipped catalogue, and what a person says they pay for.

`load_catalogue` reads `config/plans.yaml`, `load_plans` a home's `plans.yaml`; both refuse what they do not understand
with one line that names the file, the place and the remedy. Not here: when a plan is billed (`periods.py`), and which
requests carry its fee (`economics.py`).

Scalars are read by the type of their field and not by YAML's guesses: an amount is the text that was written and never
a float, an account hash of digits stays text, `no` is no truth value. Aliases and tags are refused.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from tokenledger_dagster.pricing.context import provider_key
from tokenledger_dagster.pricing.plan_types import (
    CATALOGUE,
    FIRST_DAY,
    LAST_DAY,
    Catalogue,
    CataloguePlan,
    CostSource,
    Evidence,
    Fee,
    Given,
    Key,
    Plans,
    PlansError,
    Price,
    ProviderTerms,
    Subscription,
    Weight,
    WeightMethod,
)
from tokenledger_dagster.printable import printable


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
    anchor = min(max(first_day, FIRST_DAY), LAST_DAY).replace(day=1)
    name = f"{provider} (pricing.json)"
    try:
        fees = (Fee(anchor, usd_month, source="pricing.json"),)
        return Subscription(name=name, provider=provider, start=anchor, clients=(), fees=fees)
    except ValueError as error:
        raise PlansError(f"pricing.json: {_shown(provider)}: subscription_usd_month: {error}") from error


class _Meta(Given, frozen=True):
    updated_at: date
    note: str = ""


def _completed(one: Subscription, catalogue: Catalogue) -> Subscription:
    """The subscription with what it leaves to the catalogue; ValueError where the two do not fit."""
    if not one.plan:
        if not one.fees:
            raise ValueError("has neither plan nor fees; name a plan of config/plans.yaml or list what was billed")
        if not one.provider:
            raise ValueError("provider is missing; add the pricing book's key, such as claude or codex")
        return msgspec.structs.replace(one, provider=provider_key(one.provider), clients=one.clients or ())
    plan = catalogue.plans.get(one.plan)
    if plan is None:
        raise ValueError(f"plan: {_shown(one.plan)} is not in the catalogue; {_nearest(one.plan, catalogue)}")
    if not one.fees and not plan.prices:
        raise ValueError(f"plan: no USD price of {one.plan} is known; list what was billed under fees")
    if not one.fees and one.annual_billing and any(price.usd_month_annual is None for price in plan.prices):
        raise ValueError(f"annual_billing: no yearly price of {one.plan} is known; remove it or use fees")
    clients = plan.clients if one.clients is None else one.clients
    return msgspec.structs.replace(one, provider=provider_key(one.provider or plan.provider), clients=clients)


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
    except FileNotFoundError as error:
        if path.is_symlink():
            raise PlansError(f"{path}: leads to a file that is not there; restore it or remove the link") from error
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
        _convert(Key, name, path, f"{place}: {_shown(name)}")
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

    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")
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
