"""What the bundled sample gives, as named scenarios of figures: the ledger is made anew by the whole pipeline.

Here: reading the sample's logs into a temporary home, pricing it with committed rates, every report and table as rows
of figures, and the golden file of them. Not here: comparing (`governance.golden`), the figures' own rules.

The rates, the pricing book and the plans lie beside the golden file: an update of `config/rates.csv` changes no figure
here, so what differs was booked otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from tokenledger_dagster.contracts.costs import CostBreakdown
from tokenledger_dagster.contracts.golden import Difference, Figures, GoldenReport, SampleGolden, Scenario
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.governance.golden import (
    EDITED,
    GOLDEN_SAMPLE,
    LOCK_SAMPLE,
    NOTHING,
    GoldenError,
    compare,
    count_figures,
    is_new,
    is_sealed,
    read_sample,
    seal_of,
    stamp,
    write_lines,
)
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.home import SAMPLE_HOME, Home, ensure_home
from tokenledger_dagster.ingest.accepted import accept
from tokenledger_dagster.ingest.manifest import connect, transaction
from tokenledger_dagster.ingest.sync import SyncOptions, sync
from tokenledger_dagster.pricing.rates import BOOK, BUILT_IN
from tokenledger_dagster.pricing.snapshots import Snapshot
from tokenledger_dagster.usage.breakdown import cost_breakdown
from tokenledger_dagster.usage.effective import Effective, effective
from tokenledger_dagster.usage.report import KINDS, report_document
from tokenledger_dagster.usage.selection import Selection, month_days

if TYPE_CHECKING:
    import sqlite3

    import duckdb

TOTALS = "(totals)"
ZONES = ("America/Los_Angeles", "Asia/Kathmandu", "Pacific/Auckland")
"""West of UTC, east of it by a quarter hour, and east of it by most of a day, with a change of the clock."""
MONTHS = ("2026-08", "2026-09", "2026-10")
FILTERS: dict[str, Selection] = {
    "client-claude-code": Selection(clients=("claude-code",)),
    "client-codex": Selection(clients=("codex",)),
    "model-claude-sonnet-4-5": Selection(models=("claude-sonnet-4-5",)),
    "days-2026-09-03-to-2026-09-10": Selection(since="2026-09-03", until="2026-09-10"),
    "project-tidepool": Selection(projects=("tidepool",)),
    "no-estimates": Selection(estimates=False),
}
_PAID_UNTIL = date(2026, 12, 31)
"""After the last plan ended: no figure depends on the day it is made."""
_NOT_THE_SAMPLE = ("runs", "prices", "unified_model_provider_ledger", "unified_model_provider_pareto")
"""Tables that are made of a run, or of the committed prices and benchmarks."""


def sample_scenarios() -> dict[str, Scenario]:
    """Return every scenario of the sample, made anew in a temporary home.

    Raises:
        TokenLedgerError: the sample or what it is priced with is missing or cannot be used.
    """
    if not SAMPLE_HOME.is_dir():
        raise TokenLedgerError(f"{SAMPLE_HOME} is missing; run this from a clone of the repository")
    with TemporaryDirectory(prefix="tokenledger-golden-") as folder:
        home = ensure_home(Path(folder) / "ledger", "test")
        _read_logs(home)
        return dict(sorted(_scenarios(home)))


def lock_sample(path: Path, now: datetime, *, accept_changes: bool, epsilon: Decimal = NOTHING) -> GoldenReport:
    """Write what the sample gives as the golden file; where that changes a locked figure, only if it is accepted.

    A file that says the same already is left as it is.

    Raises:
        GoldenError: there is a golden file that cannot be read.
    """
    actual, found = sample_scenarios(), read_sample(path)
    report = _report(path, found, actual, now, epsilon)
    changed = report.problems if found is not None else []
    if not accept_changes and (changed or any(not is_new(one) for one in report.differences)):
        return report
    if found is not None and not report.differences and not changed:
        return report
    golden = SampleGolden(generated_at=stamp(now), seal=seal_of(actual), scenarios=actual)
    write_lines(path, golden)
    locked = sorted({one.scenario for one in report.differences} & actual.keys()) or list(actual)
    return msgspec.structs.replace(report, locked=locked, passed=True)


def verify_sample(path: Path, now: datetime, epsilon: Decimal = NOTHING) -> GoldenReport:
    """Return how the sample's figures differ from the golden file.  Raises GoldenError where there is none."""
    found = read_sample(path)
    if found is None:
        raise GoldenError(f"{path}: is not there; restore it with git, or run `{LOCK_SAMPLE}`")
    return _report(path, found, sample_scenarios(), now, epsilon)


def _report(
    path: Path, found: SampleGolden | None, actual: dict[str, Scenario], now: datetime, epsilon: Decimal
) -> GoldenReport:
    problems = [] if found is None or is_sealed(found) else [f"{path}: {EDITED}"]
    differences: list[Difference] = compare({} if found is None else found.scenarios, actual, epsilon)
    return GoldenReport(
        generated_at=stamp(now),
        kind="sample",
        golden=str(path),
        passed=not problems and not differences,
        epsilon_usd=epsilon,
        compared=0 if found is None else count_figures(found.scenarios),
        problems=problems,
        differences=differences,
    )


# -------------------------------------------------------------------- the ledger


def _read_logs(home: Home) -> None:
    """Reads the sample twice: once to know its models, and once more when the committed prices are accepted."""
    environ = {"HOME": str(SAMPLE_HOME), "TOKENLEDGER_HOME": str(home.root)}
    sync(home, environ, SyncOptions(host="golden"))
    with closing(connect(home)) as manifest, transaction(manifest):
        accept(home, manifest, fixed_prices())
    sync(home, environ, SyncOptions(host="golden", full=True))


def fixed_prices() -> Snapshot:
    """Return the price snapshot that lies beside the golden file.

    Raises:
        GoldenError: a part is missing.
        SnapshotError, BookError: a part cannot be used.
    """
    parts = {BUILT_IN: GOLDEN_SAMPLE.with_name("rates.csv"), BOOK: GOLDEN_SAMPLE.with_name("pricing.json")}
    try:
        contents = {name: path.read_bytes() for name, path in parts.items()}
    except OSError as error:
        raise GoldenError(f"{error.filename}: {error.strerror}; restore it with git") from error
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    found = Snapshot(digests, contents.__getitem__, str(GOLDEN_SAMPLE.with_name("pricing.json")))
    found.check()
    return found


# -------------------------------------------------------------------- its figures


def _scenarios(home: Home) -> Iterator[tuple[str, Scenario]]:
    import duckdb

    with duckdb.connect() as con:
        _build(home, con)
        yield from _counts(home, con)
    with closing(connect(home, read_only=True)) as manifest:
        yield from _reports(manifest, home)
        write_atomic(home.plans_path, (GOLDEN_SAMPLE.with_name("plans.yaml")).read_bytes())
        plans = effective(manifest, str(home.root), _PAID_UNTIL)
        assert plans is not None  # they were declared a line above
        for kind in ("daily", "monthly", "client"):
            yield f"plans.report.{kind}", _report_rows(manifest, kind, Selection(), plans)
        for name, selection in _periods():
            yield f"plans.costs.{name}", _cost_rows(manifest, selection, plans)


def _build(home: Home, con: duckdb.DuckDBPyConnection) -> None:
    from tokenledger_dagster.exports.model_ledger import write_ledger, write_runtime, write_seed
    from tokenledger_dagster.exports.tables import build

    build("events", con, home, "UTC")
    write_seed(home)
    write_runtime(home, {}, con)
    write_ledger(home, con)
    for name in TABLES:
        build(name, con, home, "UTC")


def _counts(home: Home, con: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, Scenario]]:
    from tokenledger_dagster.exports.tables import stored, table_path

    tables = {name: stored(home, name) for name in TABLES if name not in _NOT_THE_SAMPLE}
    yield (
        "tables",
        {
            name: {
                "row_count": built.row_count,
                "total_tokens": built.total_tokens,
                "list_price_usd": built.list_price_usd,
            }
            for name, built in tables.items()
            if built is not None
        },
    )
    ledger = literal(table_path(home, "unified_model_provider_ledger"))
    yield "unified-ledger.providers", _query(con, statement("golden_unified", ledger=ledger))
    duplicates = literal(table_path(home, "duplicates"))
    yield "duplicates.rules", _query(con, statement("golden_duplicates", duplicates=duplicates))
    yield "lines.skipped", _query(con, statement("golden_skips"))


def _query(con: duckdb.DuckDBPyConnection, query: str) -> Scenario:
    """Rows by their first column."""
    cursor = con.execute(query)
    names = [column[0] for column in cursor.description or ()]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in cursor.fetchall()}


def _reports(manifest: sqlite3.Connection, home: Home) -> Iterator[tuple[str, Scenario]]:
    for kind in KINDS:
        yield f"report.{kind}", _report_rows(manifest, kind, Selection())
    for name, selection in FILTERS.items():
        yield f"filters.{name}", _report_rows(manifest, "monthly", selection)
    for zone in ZONES:
        yield f"zones.{zone}", _report_rows(manifest, "daily", Selection(zone=zone))
    for name, selection in _periods():
        yield f"costs.{name}", _cost_rows(manifest, selection, None)


def _periods() -> Iterator[tuple[str, Selection]]:
    yield "all", Selection()
    for month in MONTHS:
        since, until = month_days(month)
        yield month, Selection(since=since, until=until)


def _report_rows(
    manifest: sqlite3.Connection, kind: str, selection: Selection, plans: Effective | None = None
) -> Scenario:
    """Rows of a report by key, its totals, and for the plain days also the models within."""
    found = report_document(manifest, kind, selection, datetime.now(UTC), plans=plans)
    rows = {row["key"]: _figures(row) for row in found["rows"]}
    if kind == "daily" and plans is None and selection.zone == "UTC":
        rows |= {f"{row['key']} {one['model']}": _figures(one) for row in found["rows"] for one in row["models"]}
    return {**rows, TOTALS: _figures(found["totals"])}


def _cost_rows(manifest: sqlite3.Connection, selection: Selection, plans: Effective | None) -> Scenario:
    """A cost breakdown: its totals, its providers, its models, its plans."""
    found: CostBreakdown = cost_breakdown(manifest, selection, plans, datetime.now(UTC))
    rows = {TOTALS: _figures(msgspec.structs.asdict(found))}
    for part, shares in (("provider", found.provider_breakdown), ("model", found.model_breakdown)):
        rows |= {f"{part} {one.name}": _figures(msgspec.structs.asdict(one)) for one in shares}
    for plan in found.subscriptions:
        rows[f"plan {plan.subscription} from {plan.segment_start}"] = _figures(msgspec.structs.asdict(plan))
    return rows


def _figures(row: Mapping[str, Any]) -> Figures:
    """The numbers of a row, by name; money keeps its unit in the name."""
    return {
        name: value
        for name, value in row.items()
        if name != "schema_version" and (value is None or isinstance(value, (int, Decimal)))
        if not isinstance(value, bool) and not (value is None and not name.endswith("_usd"))
    }
