"""Subscription plans: the shipped catalogue, and what a person says they pay for.

`load_catalogue` reads `config/plans.yaml`, `load_plans` a home's `plans.yaml`; both refuse what they do not understand
with one line that names the file, the place and the remedy. Not here: when a plan is billed (`periods.py`), and which
requests carry its fee (`economics.py`).

How values are read: `plainyaml.py`.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from tokenledger_dagster.plainyaml import Given, YamlFile, shown
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
    Key,
    Plans,
    PlansError,
    Price,
    ProviderTerms,
    Subscription,
    Weight,
    WeightMethod,
)

_FILE = YamlFile(
    PlansError,
    "plans",
    key=Key,
    parts={"prices": Price, "weights": Weight, "fees": Fee},
    choices={"weight": WeightMethod, "cost_source": CostSource, "evidence": Evidence},
)


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Return the catalogue of plans in a file; None = the shipped one.

    Raises:
        PlansError: there is no such file, or it cannot be used.
    """
    where = path or CATALOGUE
    try:
        document = _FILE.document(where, "meta", "plans")
    except FileNotFoundError as error:
        raise PlansError(f"{where}: does not exist; install TokenLedger again") from error
    meta: _Meta = _FILE.convert(_Meta, document.get("meta"), where, "meta")
    plans = _FILE.by_key(CataloguePlan, _FILE.entries(document, "plans", dict, where), where, "plans")
    return Catalogue(plans, meta.updated_at, meta.note)


def load_plans(path: Path | None, catalogue: Catalogue) -> Plans:
    """Return what a home's `plans.yaml` says is paid for; no file = nothing.

    Raises:
        PlansError: the file cannot be used, or two of its subscriptions would carry the same requests.
    """
    if path is None:
        return Plans()
    try:
        document = _FILE.document(path, "subscriptions", "providers")
    except FileNotFoundError:
        return Plans()
    found: list[Subscription] = []
    for index, entry in enumerate(_FILE.entries(document, "subscriptions", list, path)):
        name = entry.get("name") if isinstance(entry, dict) else None
        place = f"subscriptions: {shown(name)}" if name and isinstance(name, str) else f"subscriptions[{index}]"
        given: Subscription = _FILE.convert(Subscription, entry, path, place)
        try:
            one = _completed(given, catalogue)
            for other in found:
                _check_apart(one, other)
        except ValueError as error:
            raise PlansError(f"{path}: {place}: {error}") from error
        found.append(one)
    terms = _FILE.by_key(ProviderTerms, _FILE.entries(document, "providers", dict, path), path, "providers")
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
        raise PlansError(f"pricing.json: {shown(provider)}: subscription_usd_month: {error}") from error


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
        raise ValueError(f"plan: {shown(one.plan)} is not in the catalogue; {_nearest(one.plan, catalogue)}")
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
            f"carries the same requests as {shown(other.name)} at the same time; tell them apart by clients, "
            "account_hash or days, or count them as seats of one"
        )


def _nearest(name: str, catalogue: Catalogue) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name[:100], catalogue.plans, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else "see config/plans.yaml for the ids"
