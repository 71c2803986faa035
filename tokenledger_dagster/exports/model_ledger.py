"""The unified ledger of a home: the user's own prices, usage mix, models and latencies beside the public figures.

Here: what a ledger adds to the committed inputs, and the files below `TOKENLEDGER_HOME/ledger`, made when something
they stand on changed. Not here: the rows themselves (`tokenledger_dagster.models`), the tables made of the files
(`exports.recipes`).
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.contracts.ledger import RUNTIME_METRICS, ParetoRow
from tokenledger_dagster.errors import NothingToReport
from tokenledger_dagster.exports.costs import prices_of
from tokenledger_dagster.exports.engine import literal, sql
from tokenledger_dagster.exports.tables import stored
from tokenledger_dagster.fileio import write_atomic, write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.fingerprints import log_paths
from tokenledger_dagster.ingest.overridden import booked_in, key_of
from tokenledger_dagster.models import artifacts, runtime
from tokenledger_dagster.models.comparison import MIX, load_comparison
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.models.table_files import csv_text, read_rows
from tokenledger_dagster.models.unified import InUse

if TYPE_CHECKING:
    import duckdb

_KEPT = "_model_ledger.json"
_INPUTS = ("models.csv", "models_sources.csv", "pareto.yaml")
_SHARE = Decimal("0.000001")


class RuntimeOptions(msgspec.Struct, frozen=True):
    """Where runtime metrics come from."""

    snapshot: Path | None = None
    """A file of CLIProxyAPI, or a CSV of metrics; None = the logs of this ledger."""
    discover: bool = True
    """Look for the proxy's logs and the requests that were booked from them."""
    allow_missing: bool = True
    """Go on without any."""


class Written(NamedTuple):
    """What a step made."""

    counts: dict[str, int]
    digest: str
    """Stands for the files' content."""
    is_new: bool
    duration_ms: int


class Usage(NamedTuple):
    """What a ledger says of itself."""

    mix: dict[str, Decimal] | None
    """Shares of tokens, which sum to 1; None without usage."""
    in_use: list[InUse]


def usage_of(cursor: duckdb.DuckDBPyConnection, events: Path) -> Usage:
    """Return token shares and models of all booked events."""
    rows = cursor.execute(sql("ledger_usage", events=literal(events))).fetchall()
    sums = {name: sum(int(row[2 + place]) for row in rows) for place, name in enumerate(MIX)}
    return Usage(shares(sums), [InUse(row[0], row[1]) for row in rows])


def shares(sums: Mapping[str, int]) -> dict[str, Decimal] | None:
    """Return shares with six places that sum to exactly 1; None for no tokens."""
    whole = sum(sums.values())
    if not whole:
        return None
    found = {name: (Decimal(sums[name]) / whole).quantize(_SHARE, rounding=ROUND_HALF_EVEN) for name in MIX}
    largest = max(MIX, key=lambda name: (found[name], name))
    found[largest] += 1 - sum(found.values())
    return found


def write_seed(home: Home) -> Written:
    """Write the benchmark table in long form, as CSV and SQL."""
    started = time.perf_counter()
    key = _digest(_file(CONFIG_DIRECTORY / "models.csv"), __version__)
    if known := _known(home, "seed", key):
        return _told(known, started)
    seed = artifacts.seed_rows()
    files = artifacts.seed_files(seed)
    counts = {
        "rows": len(seed),
        "models": len({row.model for row in seed}),
        "values": sum(not r.is_missing for r in seed),
    }
    return _write(home, "seed", key, files, counts, started)


def write_runtime(
    home: Home, environ: Mapping[str, str], cursor: duckdb.DuckDBPyConnection, options: RuntimeOptions | None = None
) -> Written:
    """Write how requests through CLIProxyAPI went.

    Raises:
        NothingToReport: there are no records, and they may not be missing.
        SnapshotError: a named file cannot be used, or holds nothing of CLIProxyAPI and may not.
    """
    started, wanted = time.perf_counter(), options or RuntimeOptions()
    paths = [wanted.snapshot] if wanted.snapshot is not None else []
    events, overrides = stored(home, "events"), booked_in(home)
    if wanted.snapshot is None and wanted.discover:
        paths = [Path(path) for path in log_paths(home, environ, runtime.CLIENT)]
    stamps = [f"{path} {_stamp(path)}" for path in paths]
    key = _digest(repr(wanted), *stamps, "" if events is None else events.digest, key_of(overrides), __version__)
    if known := _known(home, "runtime", key):
        return _told(known, started)
    named = _named_before(home) if wanted.snapshot is None and wanted.discover else None
    also = _booked(cursor, events.path) if events is not None and wanted.snapshot is None and wanted.discover else []
    found = runtime.read_snapshot(paths, also, overrides) if paths or also else runtime.Snapshot([], 0, Counter())
    if not found.metrics and named is not None:
        return _told(named, started)
    if not found.metrics and not wanted.allow_missing:
        if wanted.snapshot is not None:
            raise runtime.SnapshotError(
                f"{wanted.snapshot}: holds no requests of CLIProxyAPI; name an export, queue records, landed lines or "
                "a table of metrics, or go on without any with --allow-missing-snapshot"
            )
        raise NothingToReport(
            f"no records of CLIProxyAPI in {home.root}; land them with `tokenledger proxy land`, name a file with "
            "--cliproxyapi-snapshot, or go on without any with --allow-missing-snapshot"
        )
    counts = {
        "rows": len(found.metrics),
        "records": found.records or sum(one.requests for one in found.metrics),
        "failures": sum(one.failures for one in found.metrics),
        "skipped": sum(found.skipped.values()),
    }
    files = {artifacts.RUNTIME_CSV: csv_text(RUNTIME_METRICS, found.metrics)}
    return _write(home, "runtime", key, files, counts, started, is_named=wanted.snapshot is not None)


def write_ledger(home: Home, cursor: duckdb.DuckDBPyConnection, now: datetime | None = None) -> Written:
    """Write unified ledger and Pareto view: own prices and models, own usage mix, own latencies.

    Prices are those of noon, UTC, of the day.
    """
    started = time.perf_counter()
    as_of = (now or datetime.now(UTC)).replace(hour=12, minute=0, second=0, microsecond=0)
    prices, events = prices_of(home), stored(home, "events")
    metrics_path = home.ledger / artifacts.RUNTIME_CSV
    key = _digest(
        *(_file(CONFIG_DIRECTORY / name) for name in _INPUTS),
        *(prices.key, "" if events is None else events.digest, _file(metrics_path), key_of(prices.overrides)),
        *(as_of.isoformat(), __version__),
    )
    if known := _known(home, "ledger", key):
        return _told(known, started)
    comparison = load_comparison()
    used = Usage(None, []) if events is None else usage_of(cursor, events.path)
    metrics = runtime.read_snapshot([metrics_path]).metrics if metrics_path.exists() else []
    build = artifacts.make_build(
        prices.snapshot.table,
        as_of,
        comparison,
        sets=comparison.live_objective_sets,
        mix=used.mix or comparison.usage_mix,
        in_use=used.in_use,
        runtime=metrics,
    )
    # the runtime file is somebody else's: read here, never written
    files = {name: text for name, text in build.files.items() if name != artifacts.RUNTIME_CSV}
    return _write(home, "ledger", key, files, build.counts, started)


def live_view(home: Home, cursor: duckdb.DuckDBPyConnection) -> tuple[dict[str, Decimal], list[ParetoRow]]:
    """Return the usage mix of a home and the rows of its Pareto view as they were written last."""
    events = stored(home, "events")
    mix = None if events is None else usage_of(cursor, events.path).mix
    text = (home.ledger / artifacts.PARETO_CSV).read_bytes().decode("utf-8")
    return mix or load_comparison().usage_mix, read_rows(text, ParetoRow)


# -------------------------------------------------------------------- what was made before


class _Kept(msgspec.Struct, frozen=True):
    key: str
    counts: dict[str, int]
    digests: dict[str, str]
    """SHA-256 of the files by name."""
    is_named: bool = False
    """Whether somebody named the file it was made of."""


def written_files(home: Home) -> list[str]:
    """Names of the files below `ledger/` that were made last, whether they are still there or not."""
    return sorted({name for kept in _memory(home).values() for name in kept.digests})


def _named_before(home: Home) -> _Kept | None:
    """Metrics of a file that somebody named: they stand until records are found, or nobody is to look for any."""
    kept = _memory(home).get("runtime")
    return _known(home, "runtime", kept.key) if kept is not None and kept.is_named else None


def _known(home: Home, step: str, key: str) -> _Kept | None:
    """What a step made before, if that still lies there and nothing it stands on changed."""
    kept = _memory(home).get(step)
    if kept is None or kept.key != key:
        return None
    return kept if all(_file(home.ledger / name) == digest for name, digest in kept.digests.items()) else None


def _memory(home: Home) -> dict[str, _Kept]:
    try:
        return msgspec.json.decode((home.tables / _KEPT).read_bytes(), type=dict[str, _Kept])
    except (OSError, msgspec.DecodeError):
        return {}


def _write(
    home: Home,
    step: str,
    key: str,
    files: Mapping[str, str],
    counts: dict[str, int],
    started: float,
    *,
    is_named: bool = False,
) -> Written:
    home.ledger.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, text in files.items():
        content = text.encode()
        digests[name] = hashlib.sha256(content).hexdigest()
        if _file(home.ledger / name) != digests[name]:
            write_atomic(home.ledger / name, content)
    kept = _Kept(key, counts, digests, is_named)
    home.tables.mkdir(parents=True, exist_ok=True)
    write_json_atomic(home.tables / _KEPT, {**_memory(home), step: kept})
    return _told(kept, started)._replace(is_new=True)


def _told(kept: _Kept, started: float) -> Written:
    digest = _digest(*(f"{name} {one}" for name, one in sorted(kept.digests.items())))
    return Written(kept.counts, digest, False, round((time.perf_counter() - started) * 1000))


def _booked(cursor: duckdb.DuckDBPyConnection, events: Path) -> list[runtime.Outcome]:
    """Requests that were booked from the proxy's files, also where these are gone."""
    query = sql("booked_outcomes", events=literal(events), client=literal(runtime.CLIENT))
    return [
        runtime.Outcome(
            key=runtime.request_key(request, None if is_dated else time_us, raw, identity),
            provider=provider,
            model=model,
            latency_ms=latency,
            ttft_ms=first,
            is_failed=status == "error",
        )
        for request, time_us, is_dated, raw, identity, provider, model, latency, first, status in cursor.execute(
            query
        ).fetchall()
    ]


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "gone"
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _file(path: Path) -> str:
    """SHA-256 of a file, empty where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _digest(*parts: str) -> str:
    # paths may hold bytes that are no text
    return hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
