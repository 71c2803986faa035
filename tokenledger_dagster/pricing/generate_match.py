"""Which entry of the price list prices which of our models, while the rate table is built.

The price list merges identities for its own purpose (one row answers gpt-5.1 and gpt-5.1-codex-max); the ledger does
not. Only names an entry spells out count as its models, so that a prefix rule cannot claim a successor. Prices and
periods are `generate_rows.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tokenledger_dagster.models.names import ModelName, resolve_model
from tokenledger_dagster.pricing.context import channels, requested_context

MIN_NAME_CONFIDENCE = 85
EXACT_CONFIDENCE = 100
DECLARED_CONFIDENCE = 98
"""For a model the entry names beside its own id: same price, declared by the source."""


class Match(msgspec.Struct, frozen=True):
    """One of our models on a channel, and the price list's entry that prices it."""

    channel: str
    model: str
    maker: str
    context: str
    entry: Any
    """The price list's own model object."""
    confidence: int


def matches(providers: list[Any], as_of: str) -> list[Match]:
    """Return every (channel, model, context) the price list answers, each with its best entry, sorted.

    Args:
        providers: the price list's providers.
        as_of: day by which moving names are resolved.
    """
    best: dict[tuple[str, str, str], tuple[tuple[int, int, int, str], Match]] = {}
    by_id = {provider.id: provider for provider in providers}
    for provider_id, channel in channels("price_list").items():
        provider = by_id[provider_id]
        for entry in provider.models:
            for literal, name in _named_models(provider, entry, as_of):
                match = _match(channel, provider_id, entry, literal, name)
                rank = (-match.confidence, -name.confidence, len(name.modifiers), literal)
                key = (match.channel, match.model, match.context)
                if key not in best or rank < best[key][0]:
                    best[key] = (rank, match)
    found = {key: match for key, (_, match) in best.items()}
    for (channel, model, context), match in list(found.items()):
        # a model listed only under the global endpoint is priced there for everyone
        if context == "endpoint=global" and (channel, model, "standard") not in found:
            found[channel, model, "standard"] = msgspec.structs.replace(match, context="standard")
    return [found[key] for key in sorted(found)]


def _named_models(provider: Any, entry: Any, as_of: str) -> Iterator[tuple[str, ModelName]]:
    for literal in dict.fromkeys([entry.id, *_literals(entry.match)]):
        if literal != entry.id and provider.find_model(literal) is not entry:
            continue
        name = resolve_model(literal, "", as_of)
        if name.confidence >= MIN_NAME_CONFIDENCE and name.maker is not None:
            yield literal, name


def _match(channel: str, provider_id: str, entry: Any, literal: str, name: ModelName) -> Match:
    modifiers = {**name.modifiers, "channel": provider_id}
    return Match(
        channel=channel,
        model=name.model,
        maker=name.maker or "",
        context=requested_context("", None, None, modifiers),
        entry=entry,
        confidence=EXACT_CONFIDENCE if literal == entry.id else DECLARED_CONFIDENCE,
    )


def _literals(clause: Any) -> list[str]:
    """Return the strings a match clause spells out; regular expressions spell out none."""
    for attribute in ("equals", "starts_with", "contains", "ends_with"):
        if hasattr(clause, attribute):
            return [getattr(clause, attribute)]
    return [literal for part in getattr(clause, "or_", ()) for literal in _literals(part)]
