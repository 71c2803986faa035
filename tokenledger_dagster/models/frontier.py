"""The Pareto view of the unified ledger: what each row offers in each objective set, and how it stands.

Here: objectives from list prices, benchmark figures and runtime metrics; what is missing is neither zero nor worst, it
leaves the row out. Not here: dominance (`pareto.py`), scores (`scores.py`), what is compared (`comparison.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from tokenledger_dagster.contracts.ledger import ParetoRow, RuntimeMetric
from tokenledger_dagster.models.comparison import Comparison, Figure, ObjectiveSet
from tokenledger_dagster.models.list_price import ListPrice
from tokenledger_dagster.models.pareto import Point, frontier_probabilities, standings
from tokenledger_dagster.models.scores import linear, logarithmic, score, win_shares
from tokenledger_dagster.models.unified import Entry

ELIGIBLE = "eligible"
_PLACES = Decimal("0.000000001")
_ZERO = Decimal(0)


class Offer(NamedTuple):
    """What one ledger row offers in one objective set; None = not known."""

    entry: Entry
    quality: Decimal | None
    cost: Decimal | None
    latency: Decimal | None
    missing: tuple[str, ...]
    runtime: RuntimeMetric | None


def pareto_rows(
    entries: Sequence[Entry],
    comparison: Comparison,
    *,
    sets: Sequence[ObjectiveSet],
    mix: Mapping[str, Decimal],
    tasks: Mapping[str, int],
    runtime: Sequence[RuntimeMetric] = (),
) -> list[ParetoRow]:
    """Return one row per ledger row and objective set.

    Args:
        entries: the ledger.
        comparison: weights, bounds and minimum numbers.
        sets: what is compared.
        mix: shares of tokens that prices are blended by.
        tasks: number of tasks of a benchmark, by `Figure.name`, where it is known.
        runtime: how own requests went.
    """
    measured = {(one.provider, one.model): one for one in runtime}
    found = []
    for one in sets:
        offers = [_offer(entry, one, comparison, mix, measured) for entry in entries]
        found += _placed(offers, one, comparison, mix, tasks)
    return found


def blended(price: ListPrice, mix: Mapping[str, Decimal], without: tuple[str, ...] = ()) -> Decimal | None:
    """Return USD per million tokens at list price for a usage mix, nine places; None where a rate is missing.

    Rates below any long-context step: a mix says nothing of the length of single requests.
    """
    shares = {name: share for name, share in mix.items() if share and name not in without}
    rates = {name: getattr(price, name) for name in shares}
    whole = sum(shares.values(), _ZERO)
    if not whole or any(rate is None for rate in rates.values()):
        return None
    total = sum((rates[name] * share for name, share in shares.items()), _ZERO)
    return (total / whole).quantize(_PLACES, rounding=ROUND_HALF_EVEN)


def _offer(
    entry: Entry,
    one: ObjectiveSet,
    comparison: Comparison,
    mix: Mapping[str, Decimal],
    measured: Mapping[tuple[str, str], RuntimeMetric],
) -> Offer:
    row = entry.row
    own = None
    if row.is_canonical and row.inferred_provider is not None and row.canonical_model_guess is not None:
        # a row of one effort or speed has no latency of its own: requests are told apart by model only
        own = measured.get((row.inferred_provider, row.canonical_model_guess))
    quality = _quality(entry, one.quality, own, comparison)
    cost = blended(entry.price, mix) if one.cost.basis == "usd_per_mtok" else _figure(entry, one.cost)
    latency, why = _latency(entry, one, own, comparison)
    missing = [name for name, value in (("quality", quality), ("cost", cost)) if value is None]
    if cost is not None and cost <= 0:
        missing.append("cost (0 is no measure)")
    if one.latency is not None and latency is None:
        missing.append(why)
    return Offer(entry, quality, cost, latency, tuple(missing), own)


def _figure(entry: Entry, where: object) -> Decimal | None:
    name = Figure(getattr(where, "benchmark", ""), getattr(where, "notes", "")).name
    return entry.figures.get(name)


def _quality(entry: Entry, figure: Figure, own: RuntimeMetric | None, comparison: Comparison) -> Decimal | None:
    """The benchmark's quality; own requests' judged quality moves it as far as their number weighs."""
    prior = entry.figures.get(figure.name)
    if prior is None or own is None or own.quality_score is None:
        return prior
    weight = Decimal(own.requests)
    return (
        (weight * own.quality_score + comparison.prior_requests * prior) / (weight + comparison.prior_requests)
    ).quantize(_PLACES, rounding=ROUND_HALF_EVEN)


def _latency(
    entry: Entry, one: ObjectiveSet, own: RuntimeMetric | None, comparison: Comparison
) -> tuple[Decimal | None, str]:
    if one.latency is None:
        return None, ""
    if one.latency.basis == "s_per_task":
        found = _figure(entry, one.latency)
        return (found, "latency") if found else (None, "latency")
    if own is None or own.latency_p50_ms is None:
        return None, "latency"
    if own.latency_samples < comparison.minimum_requests:
        return None, f"latency ({own.latency_samples} of {comparison.minimum_requests} requests)"
    return Decimal(own.latency_p50_ms), "latency"


def _placed(
    offers: Sequence[Offer],
    one: ObjectiveSet,
    comparison: Comparison,
    mix: Mapping[str, Decimal],
    tasks: Mapping[str, int],
) -> list[ParetoRow]:
    able = [index for index, offer in enumerate(offers) if not offer.missing]
    points = [_point(offers[index], tasks.get(one.quality.name)) for index in able]
    parts = [_components(offers[index], one, comparison) for index in able]
    weights = comparison.weights[one.objectives]
    standing = dict(zip(able, standings(points), strict=True))
    chances = dict(zip(able, frontier_probabilities(points), strict=True))
    components = dict(zip(able, parts, strict=True))
    wins = dict(zip(able, win_shares(parts), strict=True))
    rows = []
    for index, offer in enumerate(offers):
        place, part, row = standing.get(index), components.get(index), offer.entry.row
        example = None if place is None or place.example is None else offers[able[place.example]].entry.row
        own = offer.runtime
        rows.append(
            ParetoRow(
                ledger_row_id=row.ledger_row_id,
                provider=row.inferred_provider,
                model=row.canonical_model_guess,
                objectives=one.objectives,
                is_frontier=place is not None and place.is_frontier,
                front_rank=None if place is None else place.front_rank,
                n_dominated_by=None if place is None else place.dominators,
                dominated_by_example=None if example is None else example.source_model,
                pareto_score=None if part is None else score(part, weights),
                quality_component=None if part is None else part["quality"],
                cost_component=None if part is None else part["cost"],
                latency_component=None if part is None else part.get("latency"),
                blended_cost_usd_per_mtok=blended(offer.entry.price, mix),
                runtime_latency_ms=_own_latency(own, comparison),
                runtime_quality_score=None if own is None else own.quality_score,
                benchmark_quality_score=offer.entry.figures.get(one.quality.name),
                eligibility=f"missing: {', '.join(offer.missing)}" if offer.missing else ELIGIBLE,
                runtime_source_path=None if own is None else own.source_path,
                source_model=row.source_model,
                quality_name=one.quality.name,
                quality=offer.quality,
                cost_basis=one.cost.basis,
                cost_usd=offer.cost,
                latency_basis=None if one.latency is None else one.latency.basis,
                latency=offer.latency,
                frontier_probability=chances.get(index),
                weight_win_share=wins.get(index),
                blended_cost_without_cache_reads_usd_per_mtok=blended(offer.entry.price, mix, ("cache_read",)),
                runtime_requests=None if own is None else own.latency_samples,
            )
        )
    return rows


def _own_latency(own: RuntimeMetric | None, comparison: Comparison) -> int | None:
    if own is None or own.latency_samples < comparison.minimum_requests:
        return None
    return own.latency_p50_ms


def _point(offer: Offer, tasks: int | None) -> Point:
    quality, cost = offer.quality or _ZERO, offer.cost or _ZERO
    costs = (cost,) if offer.latency is None else (cost, offer.latency)
    solved = None if tasks is None else int((quality * tasks / 100).to_integral_value(rounding=ROUND_HALF_EVEN))
    return Point(quality, costs, solved, tasks)


def _components(offer: Offer, one: ObjectiveSet, comparison: Comparison) -> dict[str, Decimal]:
    bounds = comparison.bounds
    found = {
        "quality": linear(offer.quality or _ZERO, bounds["quality"]),
        "cost": logarithmic(offer.cost or _ZERO, bounds[one.cost.basis]),
    }
    if one.latency is not None:
        found["latency"] = logarithmic(offer.latency or _ZERO, bounds[one.latency.basis])
    return found


def eligible_count(rows: Sequence[ParetoRow], objectives: str) -> tuple[int, int]:
    """Return how many rows of an objective set are eligible and how many of these are on the frontier."""
    mine = [row for row in rows if row.objectives == objectives]
    return sum(row.eligibility == ELIGIBLE for row in mine), sum(row.is_frontier for row in mine)
