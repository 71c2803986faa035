"""What an unpriced name might be another name of: suggestions for a person, never a price.

Here: likeness of names, and when to say nothing. A name is never shortened silently: a suggestion says what it leaves
out. Another number is another model (`claude-opus-5` and `claude-opus-5-5` have prices of their own), so numbers have
to agree. Not here: which models have a price (`coverage.py`), and accepting a suggestion (`patch.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from functools import cache
from typing import NamedTuple

from tokenledger_dagster.contracts.reconcile import ModelSuggestion, ProviderSuggestion
from tokenledger_dagster.models.names import ModelName, maker_of
from tokenledger_dagster.models.rules import read_config, squash
from tokenledger_dagster.pricing.context import UNKNOWN_PROVIDER, provider_for, provider_of_channel
from tokenledger_dagster.pricing.rates import MIN_CONFIDENCE

MOST_CONFIDENCE = MIN_CONFIDENCE - 1
LEAST_LIKENESS = 0.85
"""Of two whole names, as `difflib` has it; below this nothing is suggested."""
_LEAST_WORD_LIKENESS = 0.7
"""Of the words of two names one by one: `mini` is no slip of `nano`."""
_FAMILY = "reserved.family"
_RESERVED = "reserved."
_PARTS = re.compile(r"[a-z]+|[0-9]+")
_DATE_LENGTHS = (6, 8)


class _Likeness(NamedTuple):
    """How alike two names are; larger is more."""

    confidence: int
    length: int
    """Parts of the known name: of two it may begin with, the longer one says more."""


def suggested_model(name: ModelName, known: Iterable[str], booked: Collection[str]) -> ModelSuggestion | None:
    """Return what an unpriced name might be another name of, None where nothing is near or two things are alike.

    A name that the catalogue knows is nothing else's; a router is no model; a family (`sonnet`) is suggested one only
    where just one of its models was booked beside it, or has a price at all.

    Args:
        name: the name, as it was resolved without a pricing book.
        known: models that have a price where this one was used.
        booked: of these, the ones that the same provider's requests of the same time name.
    """
    if name.confidence >= MIN_CONFIDENCE:
        return None
    if name.rule.startswith(_RESERVED):
        return _of_family(name.model, set(known), set(booked)) if name.rule == _FAMILY else None
    found: list[tuple[_Likeness, str, str]] = []
    for candidate in known:
        maker = maker_of(candidate)
        if candidate == name.model or (name.maker and maker and name.maker != maker):
            continue
        if alike := _alike(name.model, candidate):
            found.append((_Likeness(alike[0], len(_parts(candidate))), candidate, alike[1]))
    if not found:
        return None
    best = max(likeness for likeness, _, _ in found)
    nearest = [one for one in found if one[0] == best]
    if len(nearest) > 1:
        return None
    _, model, why = nearest[0]
    return ModelSuggestion(model=name.model, alias_of=model, confidence=best.confidence, why=why)


def suggested_provider(
    provider: str, channels: Collection[str], book: Collection[str], *, is_unpriced: bool
) -> ProviderSuggestion | None:
    """Return which provider of the book might be meant by one that it does not have, None where none is near.

    Args:
        provider: whoever bills, as requests name them.
        channels: provider ids of the price lists under which their rates are looked up.
        book: the book's providers.
        is_unpriced: whether some of their requests have no price; else only another name of the same one is suggested.
    """
    if provider == UNKNOWN_PROVIDER:
        return None
    same = sorted(one for one in book if one != provider and _identity(one) == _identity(provider))
    if len(same) == 1:
        return ProviderSuggestion(alias_of=same[0], confidence=55, why="another name of the same provider")
    if same or not is_unpriced:
        return None
    ratios = {one: _ratio(squash(one.lower()), squash(provider.lower())) for one in book}
    near = sorted(one for one, ratio in ratios.items() if ratio >= LEAST_LIKENESS)
    if len(near) == 1:
        ratio = ratios[near[0]]
        return ProviderSuggestion(alias_of=near[0], confidence=int(50 * ratio), why=f"spelled alike ({ratio:.0%})")
    if len(channels) == 1 and provider not in _known_providers():
        (channel,) = channels
        owners = sorted(one for one in book if _identity(one) == provider_of_channel(channel))
        if len(owners) == 1:
            why = f"its rates are looked up on channel {channel}, which is that provider's; who bills is not known"
            return ProviderSuggestion(alias_of=owners[0], confidence=20, why=why)
    return None


def _of_family(family: str, known: set[str], booked: set[str]) -> ModelSuggestion | None:
    words = set(_parts(family))
    for pool, confidence, why in (
        (booked & known, 35, "the only model of this family booked beside it"),
        (known, 25, "the only model of this family that has a price"),
    ):
        members = [model for model in pool if words <= set(_parts(model))]
        if len(members) == 1:
            return ModelSuggestion(model=family, alias_of=members[0], confidence=confidence, why=why)
        if members:
            return None
    return None


def _alike(name: str, known: str) -> tuple[int, str] | None:
    """Confidence and reason of taking a name for a known one, None where they are not alike."""
    mine, theirs = _parts(name), _parts(known)
    if not mine or not theirs:
        return None
    if mine == theirs:
        return MOST_CONFIDENCE - 1, "the same words and numbers, separated otherwise"
    if sorted(mine) == sorted(theirs):
        return 55, "the same words and numbers in another order"
    if mine[: len(theirs)] == theirs:
        return _longer(mine[len(theirs) :])
    if len(theirs) > 1 and mine[-len(theirs) :] == theirs:
        left_out = "-".join(mine[: -len(theirs)])
        return 40, f"ends with it; leaves out '{left_out}', which may be another price"
    return _misspelt(mine, theirs)


def _longer(rest: tuple[str, ...]) -> tuple[int, str] | None:
    """The same of a name that begins with a known one."""
    left_out = "-".join(rest)
    if all(part.isdecimal() for part in rest):
        if len("".join(rest)) in _DATE_LENGTHS and len(rest[0]) >= 2:
            return 50, f"begins with it; leaves out '{left_out}', which may be a date"
        return None  # another version
    if rest[0].isdecimal():
        return None
    return 35, f"begins with it; leaves out '{left_out}', which may be another model at another price"


def _misspelt(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[int, str] | None:
    if [part for part in mine if part.isdecimal()] != [part for part in theirs if part.isdecimal()]:
        return None
    if len(mine) == len(theirs) and any(
        _ratio(one, other) < _LEAST_WORD_LIKENESS for one, other in zip(mine, theirs, strict=True)
    ):
        return None
    ratio = _ratio("".join(mine), "".join(theirs))
    if ratio < LEAST_LIKENESS:
        return None
    return int(ratio * (MOST_CONFIDENCE - 5)), f"spelled alike ({ratio:.0%}), numbers agree"


@cache
def _parts(name: str) -> tuple[str, ...]:
    """Words and numbers of a name, in order."""
    return tuple(_PARTS.findall(name.lower()))


def _ratio(one: str, other: str) -> float:
    if 2 * min(len(one), len(other)) < _LEAST_WORD_LIKENESS * (len(one) + len(other)):
        return 0.0  # the matcher is slow on long names, and could not say more
    first, second = sorted((one, other))  # the result depends on their order
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


def _identity(provider: str) -> str:
    """The pricing book's usual key of a provider by any of its names."""
    usual = provider_for("", ModelName("", None, {}, "", 0), provider)
    return usual if usual != provider else provider_of_channel(provider)


@cache
def _known_providers() -> frozenset[str]:
    return frozenset(row["provider"] for row in read_config("providers.csv"))
