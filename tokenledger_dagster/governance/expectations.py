"""Expectation suites, run by Great Expectations over the published database.

Here: preparing each dataset, having its expectations judged, and telling the result in our own shape.  Not here: the
suites (``governance.expectation_suites``), where results are written (``governance.quality``).

Great Expectations takes seconds to import and is an extra of its own: it is imported when a suite runs, and where it is
missing the suite is skipped.  It keeps nothing on the disk and sends nothing.
"""

from __future__ import annotations

import importlib.util
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from string import Template
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.contracts.quality import DatasetResult, ExpectationResult, SuiteResult
from tokenledger_dagster.exports.engine import literal, load
from tokenledger_dagster.exports.tables import is_current
from tokenledger_dagster.exports.warehouse import is_published
from tokenledger_dagster.governance.claims_basis import is_zone, last_read
from tokenledger_dagster.governance.expectation_suites import Dataset, Expectation, Suite, load_suite
from tokenledger_dagster.governance.outcome import SHOWN_ROWS, CheckOutcome, Inspection
from tokenledger_dagster.ingest.manifest import connect

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

MISSING = (
    'Great Expectations is not installed; `make setup EXTRAS="ui gx"` adds it, or `uv sync --extra gx` beside what is '
    "there."
)
_SEVERITIES = {"error": "critical", "warning": "warning"}


def is_installed() -> bool:
    """Whether Great Expectations could be imported."""
    return importlib.util.find_spec("great_expectations") is not None


def run_suite(name: str, look: Inspection) -> SuiteResult:
    """Runs one suite.

    Raises:
        SuiteError: its files cannot be used.
        ManifestError: the home holds no ledger.
    """
    suite, started = load_suite(name), time.perf_counter()
    if not is_installed():
        return _result(suite, started, skipped=True, message=MISSING)
    path = look.home.duckdb_path
    if not path.exists():
        message = f"{path} is not there, so nothing can be expected of it. Run `tokenledger orchestrate`."
        return _result(suite, started, skipped=True, message=message)
    import duckdb

    try:
        with _published(look) as con, _quiet():
            validator = _Validator()
            datasets = [validator.judge(suite.name, dataset, _rows(con, dataset)) for dataset in suite.datasets]
    except duckdb.Error as error:
        message = f"{path}: {_first_line(error)}. Run `tokenledger orchestrate`; if it stays, mend the query."
        return _result(suite, started, message=message, error_count=1)
    return _judged(suite, started, datasets)


def outcome(result: SuiteResult) -> CheckOutcome:
    """A suite's result as a check: fails on an expectation of severity error, warns on another one."""
    failed = result.error_count + result.warning_count
    rows = [
        {"dataset": dataset.name, "severity": one.severity, "expectation": one.says, "found": _found(one)}
        for dataset in result.datasets
        for one in sorted(dataset.expectations, key=lambda one: one.severity)
        if not one.passed
    ]
    return CheckOutcome(
        name=check_name(result.name),
        passed=not failed,
        actual=None if result.skipped else failed,
        expected=None if result.skipped else 0,
        delta=None if result.skipped else failed,
        rows=rows[:SHOWN_ROWS],
        description=result.message,
        blocking=False,
        severity="WARN" if failed and not result.error_count else "ERROR",
        skipped=result.skipped,
    )


def check_name(suite: str) -> str:
    """Name of a suite's check."""
    return f"expected_{suite}"


# -------------------------------------------------------------------- what the queries read


@contextmanager
def _published(look: Inspection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published tables, and beside them what only the machine knows: its clock and its files."""
    import duckdb

    with duckdb.connect() as con:
        con.execute(f"ATTACH {literal(look.home.duckdb_path)} AS published (READ_ONLY)")
        con.execute("USE published")
        _load_facts(con, look)
        _load_files(con)
        _load_days(con, look.zone)
        yield con


def _load_facts(con: duckdb.DuckDBPyConnection, look: Inspection) -> None:
    with closing(connect(look.home, read_only=True)) as manifest:
        (events,) = manifest.execute("SELECT count(*) FROM events").fetchone()
    current = is_published(look.home) and is_current(look.home, "events", look.con, look.zone)
    row = (
        datetime.now(UTC).replace(tzinfo=None),
        _utc(look.home.duckdb_path.stat().st_mtime),
        _utc(last_read(look)),
        current,
        events,
    )
    ddl = "checked_at TIMESTAMP, published_at TIMESTAMP, last_read TIMESTAMP, is_current BOOLEAN, "
    load(con, "home_facts", f"{ddl}ledger_event_count BIGINT", [[value] for value in row])


def _load_files(con: duckdb.DuckDBPyConnection) -> None:
    rows = []
    query = "SELECT client, path, first_seen, last_seen FROM sources WHERE status = 'present'"
    for client, path, first_seen, last_seen in con.execute(query).fetchall():
        try:
            rows.append((client, _utc(os.stat(path).st_mtime), first_seen, last_seen))
        except (OSError, ValueError):
            continue  # gone since; the next sync says so
    ddl = "client VARCHAR, changed TIMESTAMP, first_seen TIMESTAMP, last_seen TIMESTAMP"
    load(con, "log_files", ddl, list(zip(*rows, strict=True)))


def _load_days(con: duckdb.DuckDBPyConnection, zone: str) -> None:
    from tokenledger_dagster.governance.recomputed import local_days

    named = con.execute("SELECT DISTINCT timezone FROM usage_daily").fetchall()
    place = named[0][0] if named and is_zone(named[0][0]) else zone
    minutes = con.execute("SELECT DISTINCT date_trunc('minute', timestamp) FROM events").fetchall()
    days = local_days([minute for (minute,) in minutes], place)
    load(con, "local_days", "minute TIMESTAMP, day DATE", [list(days), list(days.values())])


def _rows(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> pd.DataFrame:
    return con.execute(dataset.query).df()


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


# -------------------------------------------------------------------- Great Expectations


@contextmanager
def _quiet() -> Iterator[None]:
    """Its notes about its own dependencies are nothing a person here could act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Validator:
    """Great Expectations without a project: nothing on the disk, nothing sent, no progress bars."""

    def __init__(self) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"  # it is asked for while the module is imported
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        self._gx = gx
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        self._source = context.data_sources.add_pandas("published")

    def judge(self, suite: str, dataset: Dataset, frame: pd.DataFrame) -> DatasetResult:
        """What became of every expectation of a dataset."""
        batches = self._source.add_dataframe_asset(f"{suite}.{dataset.name}").add_batch_definition_whole_dataframe(
            "all"
        )
        batch = batches.get_batch({"dataframe": frame})
        judged = [self._judge(batch, dataset, expectation, frame) for expectation in dataset.expectations]
        return DatasetResult(
            name=dataset.name, description=dataset.description, row_count=len(frame), expectations=judged
        )

    def _judge(self, batch: Any, dataset: Dataset, wanted: Expectation, frame: pd.DataFrame) -> ExpectationResult:
        told: dict[str, Any] = {
            "expect": wanted.expect,
            "arguments": wanted.arguments,
            "severity": wanted.severity,
            "means": wanted.means,
        }
        if frame.empty and not wanted.expect.startswith("expect_table_"):
            return ExpectationResult(**told, says=_named(wanted), passed=True, element_count=0, unexpected_count=0)
        shape = {
            "result_format": "SUMMARY",
            "partial_unexpected_count": SHOWN_ROWS,
            "unexpected_index_column_names": list(dataset.key),
        }
        try:
            found = batch.validate(self._made(wanted), result_format=shape)
        except Exception as error:  # it raises what its plug-ins raise; none of it may end the other expectations
            return ExpectationResult(**told, says=_named(wanted), passed=False, problem=_first_line(error))
        result = _plain(found.result)
        return ExpectationResult(
            **told,
            says=_sentence(found) or _named(wanted),
            passed=bool(found.success),
            element_count=result.get("element_count"),
            unexpected_count=result.get("unexpected_count"),
            observed=result.get("observed_value"),
            rows=[] if found.success else _unexpected(result),
            problem=_raised(found.exception_info),
        )

    def _made(self, wanted: Expectation) -> Any:
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
        from great_expectations.expectations.metadata_types import FailureSeverity

        severity, meta = FailureSeverity(_SEVERITIES[wanted.severity]), {"notes": wanted.means}
        return ExpectationConfiguration(
            type=wanted.expect, kwargs=dict(wanted.arguments), meta=meta, severity=severity
        ).to_domain_obj()


def _sentence(found: Any) -> str:
    """The expectation in words, as Great Expectations' own pages put it."""
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

    parts = []
    for content in InlineRenderer(render_object=found.expectation_config).get_rendered_content():
        template, params = getattr(content.value, "template", None), getattr(content.value, "params", None)
        if template:
            values = {name: _shown(param.get("value")) for name, param in (params or {}).items()}
            parts.append(Template(template).safe_substitute(values))
    return " ".join(parts).removesuffix(".")


def _named(wanted: Expectation) -> str:
    """The same where its own pages show a picture and no words."""
    arguments = ", ".join(f"{name} {_shown(value)}" for name, value in wanted.arguments.items())
    return f"{wanted.expect.removeprefix('expect_').replace('_', ' ')}: {arguments}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _unexpected(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Unexpected rows: their key, and the value."""
    found = result.get("partial_unexpected_index_list") or []
    if found and all(isinstance(row, dict) for row in found):
        return list(found[:SHOWN_ROWS])
    return [{"value": value} for value in (result.get("partial_unexpected_list") or [])[:SHOWN_ROWS]]


def _raised(info: Any) -> str | None:
    """Why an expectation could not be decided, in one line; None where it was."""
    if not isinstance(info, Mapping):
        return None
    for one in (info, *(value for value in info.values() if isinstance(value, Mapping))):
        if one.get("raised_exception"):
            return str(one.get("exception_message") or "it could not be decided").splitlines()[0]
    return None


def _plain(value: Any) -> Any:
    """Values of numpy and pandas as JSON has them; what JSON cannot say is nothing."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


# -------------------------------------------------------------------- telling


def _judged(suite: Suite, started: float, datasets: list[DatasetResult]) -> SuiteResult:
    failed = [one for dataset in datasets for one in dataset.expectations if not one.passed]
    errors = sum(one.severity == "error" for one in failed)
    count = sum(len(dataset.expectations) for dataset in datasets)
    message = f"All {count} expectations hold."
    if failed:
        (dataset, first), *_ = sorted(
            ((dataset.name, one) for dataset in datasets for one in dataset.expectations if not one.passed),
            key=lambda pair: pair[1].severity,
        )
        message = (
            f"{len(failed)} of {count} expectations do not hold, first {dataset}: {first.says}: {_found(first)}. "
            f"{first.means}"
        )
    return _result(
        suite,
        started,
        message=message,
        error_count=errors,
        warning_count=len(failed) - errors,
        datasets=datasets,
    )


def _found(one: ExpectationResult) -> str:
    if one.problem:
        return one.problem
    if one.unexpected_count is None:
        return f"found {one.observed}"
    rows = ", ".join(f"{name} {value}" for name, value in one.rows[0].items()) if one.rows else ""
    return f"{one.unexpected_count} of {one.element_count} rows are not{f', first {rows}' if rows else ''}"


def _result(
    suite: Suite,
    started: float,
    *,
    message: str,
    skipped: bool = False,
    error_count: int = 0,
    warning_count: int = 0,
    datasets: list[DatasetResult] | None = None,
) -> SuiteResult:
    return SuiteResult(
        name=suite.name,
        description=suite.description,
        generated_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        duration_ms=round((time.perf_counter() - started) * 1000),
        passed=not error_count,
        skipped=skipped,
        message=message,
        error_count=error_count,
        warning_count=warning_count,
        datasets=datasets or [],
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
