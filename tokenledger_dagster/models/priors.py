"""Figures out of the model seed: coverage and prices by model, priors by maker.

A prior is a figure published before any request of one's own: every benchmark row but the two of prices.

Here: reading a cell's number, counting cells, and statistics within one benchmark row. Not here: which figure is better
or what it is worth against another (`pareto.py`); figures of different rows are never put together.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from statistics import median

import msgspec

from tokenledger_dagster.models.seed import SeedRow

__all__ = [
    "INPUT_PRICE",
    "OUTPUT_PRICE",
    "UNKNOWN_MAKER",
    "Coverage",
    "MakerPrior",
    "coverage_by_model",
    "maker_priors",
    "number_of",
    "priors_csv",
]

INPUT_PRICE = "Input Price"
OUTPUT_PRICE = "Output Price"
"""The benchmark rows that are prices, in USD per million tokens."""

UNKNOWN_MAKER = "unknown"
"""Maker of models that the mapping does not name."""

# $2.00, 77.2%, 1201, -3.5, 1,201, and a remark in brackets behind it
_NUMBER = re.compile(r"([+-]?)\$?((?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,15})?)\s*%?(?:\s*\([^()]*\))?", re.ASCII)


class Coverage(msgspec.Struct, frozen=True):
    """How many cells of a model hold a value, and what its price rows say. The ledger's columns of the same names."""

    benchmark_rows_total: int
    """Rows of the table."""
    benchmark_rows_non_missing: int
    benchmark_rows_missing: int
    benchmark_prior_rows_total: int
    """Rows of the table that are no prices."""
    benchmark_prior_rows_non_missing: int
    benchmark_prior_rows_missing: int
    benchmark_distinct_total: int
    """Benchmark names, prices among them; two rows of one benchmark are one name."""
    benchmark_distinct_non_missing: int
    """Names of which at least one row holds a value."""
    benchmark_input_usd_per_mtok: Decimal | None
    """The input price below any long-context threshold; None where missing."""
    benchmark_output_usd_per_mtok: Decimal | None
    unreadable_values: int
    """First values that are there and no number (no column of the ledger)."""


class MakerPrior(msgspec.Struct, frozen=True):
    """One benchmark row over the models of one maker. Statistics are of first values, in the row's own unit."""

    maker: str
    benchmark: str
    notes_configuration: str
    models: int
    """Models of the maker in the table."""
    non_missing: int
    """Of these, with a value."""
    unreadable: int
    """Of these values, no number; left out of the statistics."""
    min: Decimal | None
    """None where no value is a number, as the two that follow."""
    median: Decimal | None
    max: Decimal | None


def number_of(value: str) -> Decimal | None:
    """Return the number that a value states: 77.2 of `77.2%`, 4.00 of `$4.00 (>200k)`, 86.3 of `86.3% (py)`.

    Unit signs and a remark in brackets are passed over. Anything else around the number, or no number, is None.
    """
    match = _NUMBER.fullmatch(value.strip())
    return Decimal(match[1] + match[2].replace(",", "")) if match else None


def coverage_by_model(rows: Iterable[SeedRow]) -> dict[str, Coverage]:
    """Return each model's coverage and prices, in the order of the table's columns."""
    by_model: dict[str, list[SeedRow]] = {}
    for row in rows:
        by_model.setdefault(row.model, []).append(row)
    return {model: _coverage(cells) for model, cells in by_model.items()}


def maker_priors(rows: Iterable[SeedRow], makers: Mapping[str, str]) -> list[MakerPrior]:
    """Return one row per maker and benchmark row: by maker's name, then in the table's order.

    Args:
        rows: the seed.
        makers: model to maker; a model that is not in it counts under `unknown`.
    """
    groups: dict[tuple[str, int], list[SeedRow]] = {}
    for row in rows:
        if not _is_price(row):
            maker = makers.get(row.model, UNKNOWN_MAKER)
            groups.setdefault((maker, row.source_row_index), []).append(row)
    return [_maker_prior(maker, cells) for (maker, _), cells in sorted(groups.items())]


def priors_csv(priors: Iterable[MakerPrior]) -> str:
    """Return priors as CSV with a header line; lines end with a line feed, numbers are written without an exponent."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(MakerPrior.__struct_fields__)
    for prior in priors:
        values = msgspec.structs.astuple(prior)
        writer.writerow(f"{value:f}" if isinstance(value, Decimal) else value for value in values)
    return buffer.getvalue()


def _is_price(row: SeedRow) -> bool:
    return row.benchmark in (INPUT_PRICE, OUTPUT_PRICE)


def _coverage(cells: list[SeedRow]) -> Coverage:
    found = [row for row in cells if not row.is_missing]
    priors = [row for row in cells if not _is_price(row)]
    priors_found = [row for row in priors if not row.is_missing]
    return Coverage(
        benchmark_rows_total=len(cells),
        benchmark_rows_non_missing=len(found),
        benchmark_rows_missing=len(cells) - len(found),
        benchmark_prior_rows_total=len(priors),
        benchmark_prior_rows_non_missing=len(priors_found),
        benchmark_prior_rows_missing=len(priors) - len(priors_found),
        benchmark_distinct_total=len({row.benchmark for row in cells}),
        benchmark_distinct_non_missing=len({row.benchmark for row in found}),
        benchmark_input_usd_per_mtok=_price(cells, INPUT_PRICE),
        benchmark_output_usd_per_mtok=_price(cells, OUTPUT_PRICE),
        unreadable_values=sum(number_of(row.value_primary) is None for row in found),
    )


def _price(cells: list[SeedRow], benchmark: str) -> Decimal | None:
    """The first of a model's prices of that name that is a number."""
    numbers = (number_of(row.value_primary) for row in cells if row.benchmark == benchmark)
    return next((number for number in numbers if number is not None), None)


def _maker_prior(maker: str, cells: list[SeedRow]) -> MakerPrior:
    found = [number_of(row.value_primary) for row in cells if not row.is_missing]
    numbers = [number for number in found if number is not None]
    return MakerPrior(
        maker=maker,
        benchmark=cells[0].benchmark,
        notes_configuration=cells[0].notes_configuration,
        models=len(cells),
        non_missing=len(found),
        unreadable=len(found) - len(numbers),
        min=min(numbers, default=None),
        median=median(numbers) if numbers else None,
        max=max(numbers, default=None),
    )
