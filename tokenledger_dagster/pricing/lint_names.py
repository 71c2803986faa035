"""What is wrong with the names of a pricing book: providers, models, their aliases, and where the book comes from.

Here: rules about names, fees and `meta`. Not here: rates (`lint_rows.py`, `lint_history.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache

from tokenledger_dagster.contracts.pricing_book import BOOK_SCHEMA_VERSION, PricingBook, ProviderEntry
from tokenledger_dagster.contracts.pricing_lint import LintFinding
from tokenledger_dagster.models import rules
from tokenledger_dagster.models.names import SYNTHETIC, ModelName, resolve_model
from tokenledger_dagster.pricing.book_problems import alias_circles, is_fee
from tokenledger_dagster.pricing.book_rows import MIN_CANONICAL, canonical, look_up_key
from tokenledger_dagster.pricing.findings import error, shown, warning
from tokenledger_dagster.pricing.lint_rows import Look
from tokenledger_dagster.pricing.rates import BOOK, BUILT_IN

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def name_findings(look: Look) -> Iterator[LintFinding]:
    """Yield what is wrong with names, fees and `meta`."""
    document = look.document
    yield from _head(document, look.broken)
    yield from _provider_aliases(document)
    known = _known_models(look)
    for provider, entry in document.providers.items():
        yield from _provider(provider, entry, document)
        yield from _models(f"providers.{provider}.models", entry)
        yield from _aliases(f"providers.{provider}.model_aliases", entry, _priced(look, provider), known)


def is_time(text: str) -> bool:
    """Say whether a text is an RFC 3339 time, as `meta.updated_at` has to be."""
    try:
        return _RFC_3339.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def _head(document: PricingBook, broken: frozenset[str]) -> Iterator[LintFinding]:
    version, meta = document.schema_version, document.meta
    if version > BOOK_SCHEMA_VERSION:
        message = f"{shown(version)} is newer than this program knows; update TokenLedger"
        yield error("schema_version_newer", "schema_version", message, actual=version, expected=BOOK_SCHEMA_VERSION)
    elif version < BOOK_SCHEMA_VERSION:
        message = f"there is no version {shown(version)}; write {BOOK_SCHEMA_VERSION}"
        yield error("wrong_type", "schema_version", message, actual=version, expected=BOOK_SCHEMA_VERSION)
    if not any(entry.models for entry in document.providers.values()):
        yield warning("no_models", "providers", "no provider has a model, so the book prices nothing; add their rates")
    if "meta" in broken:
        return
    if not meta.source:
        message = "says not where the figures come from; name the page or the price list"
        yield warning("missing_meta_source", "meta.source", message)
    if not meta.updated_at:
        message = "says not when somebody last looked; write a time such as 2026-11-21T00:00:00Z"
        yield warning("missing_meta_updated_at", "meta.updated_at", message)
    elif not is_time(meta.updated_at):
        message = f"{shown(meta.updated_at)} is no time in UTC; write it as 2026-11-21T00:00:00Z"
        yield error("bad_date", "meta.updated_at", message, actual=meta.updated_at)


def _provider_aliases(document: PricingBook) -> Iterator[LintFinding]:
    aliases = document.provider_aliases
    circles = _exact_circles(aliases)
    for alias, target in aliases.items():
        place = f"provider_aliases.{alias}"
        if alias in circles:
            message = f"{shown(alias)} leads back to itself; let it name a provider of this book"
            yield error("alias_cycle", place, message, actual=target)
        elif target in aliases:
            message = f"leads to another alias, {shown(target)}; name the provider itself"
            yield error("provider_alias_chain", place, message, actual=target, expected=aliases[target])
        elif target not in document.providers:
            message = f"{shown(target)} is no provider of this book; add it to providers, or name one that is"
            yield error("provider_alias_unknown_target", place, message, actual=target)
        elif alias in document.providers:
            message = f"{shown(alias)} is a provider of this book, so the alias says nothing; remove one of them"
            yield warning("provider_alias_shadows_provider", place, message, actual=target)


def _exact_circles(aliases: dict[str, str]) -> set[str]:
    found: set[str] = set()
    done: set[str] = set()
    for start in aliases:
        path: dict[str, None] = {}
        name = start
        while name in aliases and name not in path and name not in done:
            path[name] = None
            name = aliases[name]
        if name in path:
            names = list(path)
            found.update(names[names.index(name) :])
        done.update(path)
    return found


def _provider(provider: str, entry: ProviderEntry, document: PricingBook) -> Iterator[LintFinding]:
    place, fee = f"providers.{provider}", entry.subscription_usd_month
    if fee < 0:
        message = f"{shown(fee)} is no monthly fee; write USD, 0 where there is no plan"
        yield error("negative_subscription", f"{place}.subscription_usd_month", message, actual=fee, expected=">= 0")
    elif not is_fee(fee):
        message = f"{shown(fee)} cannot be USD a month; write the plan's monthly fee"
        yield error("unit_slip", f"{place}.subscription_usd_month", message, actual=fee)
    called = _providers_called(provider)
    if called and not any(document.provider_aliases.get(one) == provider for one in called):
        name = min(called)
        message = f"TokenLedger books these requests under {name}, so nothing is priced by this entry; call it {name}, "
        message += f"or add provider_aliases.{name}"
        yield warning("provider_never_asked", place, message, actual=provider, expected=name)


@cache
def _provider_names() -> tuple[dict[str, set[str]], set[str]]:
    called: dict[str, set[str]] = {}
    for row in rules.read_config("providers.csv"):
        called.setdefault(row["key"], set()).add(row["provider"])
    return called, {name for names in called.values() for name in names}


def _providers_called(name: str) -> set[str]:
    """What requests are booked under that name this provider as clients and price lists do; empty where it is right."""
    called, providers = _provider_names()
    return set() if name in providers else called.get(name, set())


def _models(place: str, entry: ProviderEntry) -> Iterator[LintFinding]:
    seen: dict[str, str] = {}
    for model in entry.models:
        asked = _asked(model)
        if (first := seen.setdefault(look_up_key(canonical(model)), model)) != model:
            message = f"is another spelling of {shown(first)}; put their rates into one entry"
            yield warning("duplicate_model", f"{place}.{model}", message, actual=model, expected=canonical(model))
        elif asked is not None and look_up_key(asked.model) != look_up_key(canonical(model)):
            message = (
                f"requests of that name are looked up as {asked.model}, so nothing is priced by this entry; write "
            )
            message += f"the rates there{_where(asked)}"
            yield warning("model_never_asked", f"{place}.{model}", message, actual=model, expected=asked.model)


def _asked(name: str) -> ModelName | None:
    """What requests of that name are looked up as; None where by the name itself."""
    found = resolve_model(name, "", "")
    return found if found.confidence >= MIN_CANONICAL else None


def _where(name: ModelName) -> str:
    contexts = [f"{key}={name.modifiers[key]}" for key in ("speed", "processing", "variant") if key in name.modifiers]
    return f", under contexts.{contexts[0]}" if contexts else ""


def _aliases(place: str, entry: ProviderEntry, priced: set[str], known: set[str]) -> Iterator[LintFinding]:
    in_circle: set[str] = set()
    for circle in alias_circles(entry.model_aliases):
        in_circle |= {look_up_key(name) for name in circle}
        message = f"{shown(' -> '.join(circle))} is a circle; let one of them name a model"
        yield error("alias_cycle", f"{place}.{circle[0]}", message, actual=circle[1])
    models = {look_up_key(canonical(model)) for model in entry.models}
    there = models | known
    with_price = models | priced
    aliases = {look_up_key(alias) for alias in entry.model_aliases}
    for alias, target in entry.model_aliases.items():
        if look_up_key(alias) in in_circle:
            continue
        meant, spelling = look_up_key(canonical(target)), look_up_key(target)
        if meant not in there and spelling not in there and (spelling not in aliases or spelling == look_up_key(alias)):
            known_as = _asked(target)
            message = f"{shown(target)} is no model of this provider, of a price list or of the catalogue; "
            message += f"write {known_as.model}" if known_as else "add its rates, or name one that has some"
            expected = known_as.model if known_as else None
            yield error("alias_unknown_target", f"{place}.{alias}", message, actual=target, expected=expected)
        asked = _asked(alias)
        itself = look_up_key(alias if asked is None else asked.model)
        if itself == meant or itself not in with_price:
            continue
        message = f"{shown(alias)} is a model that has a price of its own, which the alias "
        is_asked = itself == look_up_key(alias) and itself not in models
        message += "replaces; remove it unless that is meant" if is_asked else "does not change; remove it"
        yield warning("alias_shadows_model", f"{place}.{alias}", message, actual=target)


def _known_models(look: Look) -> set[str]:
    """Look-up keys of every model that has a price in a list, or a place in the catalogue."""
    listed = {model for layer in look.table.layers if layer.name != BOOK for _, model in layer.rows}
    return {look_up_key(model) for model in (*listed, *rules.catalog(), SYNTHETIC)}


def _priced(look: Look, provider: str) -> set[str]:
    """The same of the models that the built-in price list has for a provider."""
    channels = set(look.channels[provider])
    return {
        look_up_key(model)
        for layer in look.table.layers
        if layer.name == BUILT_IN
        for channel, model in layer.rows
        if channel in channels
    }
