"""The files of the unified ledger: what is built, from which inputs, and how a folder differs from it.

Here: the committed build (from `config/` alone, the same bytes on every machine), the parts of a live one, writing and
comparing. Not here: what is in the rows (`unified.py`, `frontier.py`), whether files agree with each other
(`validation.py`), usage of a ledger (`exports.model_ledger`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from difflib import unified_diff
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tokenledger_dagster.contracts.ledger import (
    OBJECTIVES,
    PARETO,
    RUNTIME_METRICS,
    UNIFIED_LEDGER,
    ParetoRow,
    RuntimeMetric,
)
from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.models.comparison import Comparison, Figure, ObjectiveSet, load_comparison
from tokenledger_dagster.models.frontier import eligible_count, pareto_rows
from tokenledger_dagster.models.pipe_table import decode_table
from tokenledger_dagster.models.priors import UNKNOWN_MAKER, maker_priors, priors_csv
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY, read_config
from tokenledger_dagster.models.seed import SeedRow, normalise, normalized_csv, schema_seed_sql
from tokenledger_dagster.models.table_files import csv_text, ledger_schema_sql, ledger_seed_sql, pareto_view_sql
from tokenledger_dagster.models.unified import Entry, InUse, unified_ledger

if TYPE_CHECKING:
    from tokenledger_dagster.pricing.rate_table import RateTable

COMMITTED = CONFIG_DIRECTORY.parent / "ledger"
"""Where the committed files lie in a checkout."""
SEED = CONFIG_DIRECTORY / "models.csv"
BOOK = CONFIG_DIRECTORY / "pricing.example.json"
_DIFF_LINES = 40
_NAMING = 2
"""Cells at the beginning of a row that tell which row it is."""
_SUFFIXES = (".csv", ".sql")

SEED_CSV = "models_normalized.csv"
SEED_SQL = "models_schema_seed.sql"
LEDGER_CSV = "unified_model_provider_ledger.csv"
LEDGER_SCHEMA = "unified_model_provider_ledger.schema.sql"
LEDGER_SEED = "unified_model_provider_ledger.seed.sql"
PARETO_CSV = "unified_model_provider_pareto.csv"
PARETO_VIEW = "unified_model_provider_pareto.view.sql"
PRIORS_CSV = "model_priors_by_maker.csv"
RUNTIME_CSV = "cliproxyapi_runtime_metrics_snapshot.csv"


class Build(NamedTuple):
    """One build of the ledger, in memory."""

    entries: list[Entry]
    pareto: list[ParetoRow]
    runtime: list[RuntimeMetric]
    files: dict[str, str]
    """Text by file name."""

    @property
    def counts(self) -> dict[str, int]:
        """Figures of the build for people and metadata."""
        rows = [entry.row for entry in self.entries]
        told = {
            "ledger_rows": len(rows),
            "mapped": sum(row.canonical_model_guess is not None for row in rows),
            "priced": sum(row.pricing_input_usd_per_mtok is not None for row in rows),
            "pareto_rows": len(self.pareto),
            "runtime_rows": len(self.runtime),
        }
        for name in OBJECTIVES:
            eligible, frontier = eligible_count(self.pareto, name)
            told |= {f"{name} eligible": eligible, f"{name} frontier": frontier}
        return told


def committed_build() -> Build:
    """Return what `ledger/` of a checkout has to hold: from the files of `config/` alone.

    Prices are those of the example book and behind it the built-in list, at noon, UTC, of the day of the latter.
    """
    from tokenledger_dagster.pricing.snapshots import of_book

    book = of_book(None, BOOK.read_bytes(), str(BOOK))
    meta = json.loads((CONFIG_DIRECTORY / "rates.meta.json").read_bytes())
    comparison = load_comparison()
    return make_build(
        book.table,
        datetime.fromisoformat(meta["as_of"]).replace(hour=12, tzinfo=UTC),
        comparison,
        sets=comparison.objective_sets,
        mix=comparison.usage_mix,
    )


def make_build(
    table: RateTable,
    as_of: datetime,
    comparison: Comparison,
    *,
    sets: Sequence[ObjectiveSet],
    mix: Mapping[str, Decimal],
    in_use: Iterable[InUse] = (),
    runtime: Sequence[RuntimeMetric] = (),
) -> Build:
    """Return a build from the shipped benchmark table, some rates and, in a live one, a ledger's own figures."""
    seed = seed_rows()
    entries = unified_ledger(seed, table, comparison, as_of, in_use)
    rows = pareto_rows(entries, comparison, sets=sets, mix=mix, tasks=task_counts(), runtime=runtime)
    ledger = [entry.row for entry in entries]
    makers = {row.source_model: row.maker or UNKNOWN_MAKER for row in ledger}
    files = {
        **seed_files(seed),
        LEDGER_CSV: csv_text(UNIFIED_LEDGER, ledger),
        LEDGER_SCHEMA: ledger_schema_sql(),
        LEDGER_SEED: ledger_seed_sql(ledger),
        PARETO_CSV: csv_text(PARETO, rows),
        PARETO_VIEW: pareto_view_sql(rows, comparison, mix),
        PRIORS_CSV: priors_csv(maker_priors(seed, makers)),
        RUNTIME_CSV: csv_text(RUNTIME_METRICS, runtime),
    }
    return Build(entries, rows, list(runtime), files)


@cache
def seed_rows() -> list[SeedRow]:
    """Return the shipped benchmark table in long form, read once, not to be changed.  Raises PipeTableError."""
    return normalise(decode_table(SEED.read_bytes(), name=str(SEED)), name=str(SEED))


def seed_files(seed: list[SeedRow]) -> dict[str, str]:
    """Return the benchmark table's own files: CSV and SQL."""
    return {SEED_CSV: normalized_csv(seed), SEED_SQL: schema_seed_sql(seed)}


def task_counts() -> dict[str, int]:
    """Return the number of tasks of each benchmark row of which it is known, by `Figure.name`."""
    found: dict[str, int] = {}
    for row in read_config("models_sources.csv"):
        if row["sample_size"]:
            found[Figure(row["benchmark"], row["notes_configuration"]).name] = int(row["sample_size"])
    return found


def write_build(build: Build, folder: Path) -> list[Path]:
    """Write the files that differ from what lies in a folder, each at once, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in build.files.items():
        path = folder / name
        if _content(path) != text.encode():
            write_atomic(path, text.encode())
            written.append(path)
    return written


def differences(build: Build, folder: Path) -> dict[str, list[str]]:
    """Return what differs between a build and the files of a folder: lines of a diff by file name."""
    found: dict[str, list[str]] = {}
    for name, text in build.files.items():
        content = _content(folder / name)
        if content is None:
            found[name] = ["is missing"]
        elif content != text.encode():
            lines = _changed(name, content.decode("utf-8", "replace"), text)
            found[name] = lines[:_DIFF_LINES] or ["line ends differ"]
            if len(lines) > _DIFF_LINES:
                found[name].append(f"... and {len(lines) - _DIFF_LINES:,} lines more")
    for path in sorted(folder.glob("*")):
        if path.suffix in _SUFFIXES and path.name not in build.files:
            found[path.name] = ["is not among the files that are built; remove it"]
    return found


def _changed(name: str, theirs: str, ours: str) -> list[str]:
    """What changed between two texts: of CSV cell by cell, else line by line."""
    before, after = (_cells(text) if name.endswith(".csv") else [] for text in (theirs, ours))
    # rows that came, went or moved are told as lines
    if not before or before[0] != after[0] or [row[:_NAMING] for row in before] != [row[:_NAMING] for row in after]:
        return list(unified_diff(theirs.splitlines(), ours.splitlines(), "in the folder", "as built", n=0, lineterm=""))
    return [
        f"line {number}, {_row_name(new)}, {column}: {old_cell!r} in the folder, {new_cell!r} as built"
        for number, (old, new) in enumerate(zip(before, after, strict=True), 1)
        for column, old_cell, new_cell in zip_longest(after[0], old, new, fillvalue="")
        if old_cell != new_cell
    ]


def _cells(text: str) -> list[list[str]]:
    """Rows of CSV text, none where it is not."""
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        return []


def _row_name(row: Sequence[str]) -> str:
    return " ".join(cell for cell in row[:_NAMING] if cell) or "an empty row"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
