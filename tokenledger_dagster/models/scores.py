"""One number for each model, with its scale and weights in the open, and what other weights would choose.

Quality counts as it is, costs and latencies by their logarithm between fixed bounds (`config/pareto.yaml`): twice the
price always costs the same, and no score moves because a model was added. Here: components, score, sensitivity. Not
here: the frontier (`pareto.py`), which needs none of this and is the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import product

import msgspec

STEP = 20
"""Weights are varied in steps of one twentieth."""
_PLACES = Decimal("0.000001")
# decimal logarithms are the same on every machine, those of the C library differ in the last digit
_EXACT = Context(prec=28, rounding=ROUND_HALF_EVEN)


class Bounds(msgspec.Struct, frozen=True):
    """Values at which a component is 0 and 1."""

    worst: Decimal
    best: Decimal


def linear(value: Decimal, bounds: Bounds) -> Decimal:
    """Return where a value lies between the bounds, 0 to 1, six places."""
    return _clipped((value - bounds.worst) / (bounds.best - bounds.worst))


def logarithmic(value: Decimal, bounds: Bounds) -> Decimal:
    """Return where a value above 0 lies between the bounds by its logarithm, 0 to 1, six places."""
    whole = _EXACT.divide(bounds.best, bounds.worst).ln(_EXACT)
    return _clipped(_EXACT.divide(_EXACT.divide(value, bounds.worst).ln(_EXACT), whole))


def score(components: Mapping[str, Decimal], weights: Mapping[str, Decimal]) -> Decimal:
    """Return the weighted sum of components, 0 to 100, four places."""
    total = sum((components[name] * weight for name, weight in weights.items()), Decimal(0))
    return (total * 100).quantize(Decimal("0.0001"), context=_EXACT)


def win_shares(rows: Sequence[Mapping[str, Decimal]]) -> list[Decimal]:
    """Return for which share of all weightings each row scores best, three places; equal rows win alike.

    Weightings are all those in steps of one twentieth that sum to 1.
    """
    if not rows:
        return []
    names = sorted(rows[0])
    wins = [0] * len(rows)
    weightings = [one for one in product(range(STEP + 1), repeat=len(names)) if sum(one) == STEP]
    for weighting in weightings:
        found = [sum(row[name] * weight for name, weight in zip(names, weighting, strict=True)) for row in rows]
        best = max(found)
        for index, value in enumerate(found):
            wins[index] += value == best
    return [(Decimal(count) / len(weightings)).quantize(Decimal("0.001"), context=_EXACT) for count in wins]


def _clipped(value: Decimal) -> Decimal:
    return min(max(value, Decimal(0)), Decimal(1)).quantize(_PLACES, context=_EXACT)
