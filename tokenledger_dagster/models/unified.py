"""The rows of the unified ledger: each model of the benchmark seed with maker, list price and priors.

Here: one row per source model, put together from a mapping, a rate table and the seed. Not here: how a name is mapped
(`mapping.py`), a price found (`list_price.py`), and files (`artifacts.py`). Pure: the same inputs give the same rows on
every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tokenledger_dagster.contracts.ledger import LedgerRow
from tokenledger_dagster.models.comparison import Comparison, Figure
from tokenledger_dagster.models.list_price import ListPrice, list_price
from tokenledger_dagster.models.mapping import MappedName, map_name
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.models.priors import Coverage, coverage_by_model, number_of
from tokenledger_dagster.models.seed import SeedRow
from tokenledger_dagster.pricing.context import provider_for

if TYPE_CHECKING:
    from tokenledger_dagster.pricing.rate_table import RateTable

SEED_CONTEXT = "benchmark_table"
"""What the names of a benchmark table are mapped as: display names, by nobody's client."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InUse(NamedTuple):
    """A model that a ledger has usage of."""

    provider: str
    model: str
    """Canonical id."""


class Entry(NamedTuple):
    """One row with what it was made of; prices for the comparison."""

    row: LedgerRow
    price: ListPrice
    figures: Mapping[str, Decimal]
    """First values of the model's benchmark rows that are numbers, by `Figure.name`."""


def unified_ledger(
    seed: Sequence[SeedRow],
    table: RateTable,
    comparison: Comparison,
    as_of: datetime,
    in_use: Iterable[InUse] = (),
) -> list[Entry]:
    """Return the ledger's rows in the order of their slugs.

    Args:
        seed: the benchmark table in long form.
        table: the rates; a pricing book among them comes first.
        comparison: says which benchmark is shown as quality.
        as_of: the moment whose prices are shown, UTC.
        in_use: models of a ledger; those that the seed does not name get rows of their own, and so does a model of
            which it names efforts and speeds alone: usage of all of them joins to it.
    """
    used = set(in_use)
    found = _by_model(seed)
    coverage = coverage_by_model(seed)
    blank = _blank(seed)
    drafts = [_seeded(model, found[model], coverage[model], table, comparison.quality, as_of) for model in found]
    plain = {_key(one.row) for one in drafts if not one.row.modifiers}
    wanted = {key for one in drafts if (key := _key(one.row)) is not None} | used
    drafts += [_plain(one, blank, table, comparison.quality, as_of, one in used) for one in sorted(wanted - plain)]
    drafts.sort(key=lambda one: (one.row.source_model_slug, one.row.source_model))
    models = {one.model for one in used}
    canonical = _canonical(drafts)
    return [
        one._replace(
            row=msgspec.structs.replace(
                one.row,
                ledger_row_id=number,
                is_canonical=number - 1 in canonical,
                is_in_use=one.row.canonical_model_guess in models,
            )
        )
        for number, one in enumerate(drafts, 1)
    ]


def slug(name: str) -> str:
    """Return a name in small letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _canonical(entries: Sequence[Entry]) -> set[int]:
    """The index of one row of each provider and model, the first without modifiers."""
    chosen: dict[InUse, int] = {}
    for index, entry in enumerate(entries):
        if (key := _key(entry.row)) is not None and not entry.row.modifiers:
            chosen.setdefault(key, index)
    return set(chosen.values())


def _key(row: LedgerRow) -> InUse | None:
    """What usage joins to a row by; None where provider or model is not known."""
    if row.inferred_provider is None or row.canonical_model_guess is None:
        return None
    return InUse(row.inferred_provider, row.canonical_model_guess)


def _by_model(seed: Sequence[SeedRow]) -> dict[str, dict[str, Decimal]]:
    found: dict[str, dict[str, Decimal]] = {}
    for row in seed:
        figures = found.setdefault(row.model, {})
        value = None if row.is_missing else number_of(row.value_primary)
        if value is not None:
            figures[Figure(row.benchmark, row.notes_configuration).name] = value
    return found


def _blank(seed: Sequence[SeedRow]) -> Coverage:
    """Coverage of a model that the table does not have: all its rows are missing."""
    rows = {row.source_row_index: row for row in seed}.values()
    cells = [msgspec.structs.replace(row, model="", is_missing=True, raw_value="", value_primary="") for row in rows]
    return coverage_by_model(cells).get("", Coverage(0, 0, 0, 0, 0, 0, 0, 0, None, None, 0))


def _seeded(
    source: str,
    figures: Mapping[str, Decimal],
    coverage: Coverage,
    table: RateTable,
    quality: Figure,
    as_of: datetime,
) -> Entry:
    day = as_of.date().isoformat()
    mapped = map_name(source, SEED_CONTEXT, day)
    price = _price(table, mapped, source, day, as_of)
    provider = None
    if mapped.maker is not None:
        name = resolve_model(mapped.model or source, "", day)
        provider = provider_for("", msgspec.structs.replace(name, maker=mapped.maker))
    return _entry(source, mapped, provider, price, figures, coverage, table, quality, as_of)


def _price(table: RateTable, mapped: MappedName, source: str, day: str, as_of: datetime) -> ListPrice:
    if mapped.model is None:
        return ListPrice(note="the name does not say for certain which model it is")
    name = msgspec.structs.replace(
        resolve_model(source, "", day),
        model=mapped.model,
        maker=mapped.maker,
        confidence=mapped.model_confidence,
        modifiers={key: value for key, value in mapped.modifiers.items() if key != "channel"},
    )
    return list_price(table, name, _microseconds(as_of))


def _plain(
    one: InUse, coverage: Coverage, table: RateTable, quality: Figure, as_of: datetime, is_booked: bool
) -> Entry:
    """A model without modifiers that the seed does not name, priced as its provider bills it."""
    day = as_of.date().isoformat()
    mapped = map_name(one.model, "", day)
    name = resolve_model(one.model, "", day)
    price = list_price(table, name, _microseconds(as_of), billed_by=one.provider)
    entry = _entry(f"{one.provider}/{one.model}", mapped, one.provider, price, {}, coverage, table, quality, as_of)
    row = msgspec.structs.replace(
        entry.row,
        canonical_model_guess=one.model,
        provider_mapping_rule="booked" if is_booked else entry.row.provider_mapping_rule,
        provider_mapping_confidence=100 if is_booked else entry.row.provider_mapping_confidence,
    )
    return entry._replace(row=row)


def _entry(
    source: str,
    mapped: MappedName,
    provider: str | None,
    price: ListPrice,
    figures: Mapping[str, Decimal],
    coverage: Coverage,
    table: RateTable,
    quality: Figure,
    as_of: datetime,
) -> Entry:
    fee = None if table.book is None or provider is None else table.book.subscriptions().get(provider)
    row = LedgerRow(
        ledger_row_id=0,
        source_model=source,
        source_model_slug=slug(source),
        inferred_provider=provider,
        provider_mapping_rule=mapped.maker_rule,
        provider_mapping_confidence=mapped.maker_confidence,
        canonical_model_guess=mapped.model,
        model_mapping_rule=mapped.model_rule,
        model_mapping_confidence=mapped.model_confidence,
        pricing_provider=price.provider,
        pricing_model=price.model,
        pricing_subscription_usd_month=fee,
        pricing_input_usd_per_mtok=price.input,
        pricing_output_usd_per_mtok=price.output,
        pricing_cache_write_usd_per_mtok=price.cache_write,
        pricing_cache_read_usd_per_mtok=price.cache_read,
        pricing_tool_input_usd_per_mtok=price.tool_input,
        pricing_tool_output_usd_per_mtok=price.tool_output,
        benchmark_input_usd_per_mtok=coverage.benchmark_input_usd_per_mtok,
        benchmark_output_usd_per_mtok=coverage.benchmark_output_usd_per_mtok,
        benchmark_rows_total=coverage.benchmark_rows_total,
        benchmark_rows_non_missing=coverage.benchmark_rows_non_missing,
        benchmark_rows_missing=coverage.benchmark_rows_missing,
        benchmark_prior_rows_total=coverage.benchmark_prior_rows_total,
        benchmark_prior_rows_non_missing=coverage.benchmark_prior_rows_non_missing,
        benchmark_prior_rows_missing=coverage.benchmark_prior_rows_missing,
        benchmark_distinct_total=coverage.benchmark_distinct_total,
        benchmark_distinct_non_missing=coverage.benchmark_distinct_non_missing,
        pricing_vs_benchmark_input_delta=_delta(price.input, coverage.benchmark_input_usd_per_mtok),
        pricing_vs_benchmark_output_delta=_delta(price.output, coverage.benchmark_output_usd_per_mtok),
        maker=mapped.maker,
        modifiers=";".join(f"{key}={value}" for key, value in sorted(mapped.modifiers.items())),
        is_canonical=False,
        pricing_channel=price.channel,
        pricing_context=price.context,
        pricing_list_basis=price.list_basis,
        pricing_confidence=price.confidence,
        pricing_source=price.source,
        pricing_source_version=price.source_version,
        pricing_as_of=as_of.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        pricing_note=price.note,
        long_context_from_tokens=price.step_tokens,
        long_context_input_usd_per_mtok=price.step_input,
        long_context_output_usd_per_mtok=price.step_output,
        benchmark_quality_name=quality.name,
        benchmark_quality_score=figures.get(quality.name),
        is_in_use=False,
    )
    return Entry(row, price, figures)


def _delta(ours: Decimal | None, theirs: Decimal | None) -> Decimal | None:
    return None if ours is None or theirs is None else ours - theirs


def _microseconds(moment: datetime) -> int:
    return int((moment.astimezone(UTC) - _EPOCH).total_seconds()) * 1_000_000
