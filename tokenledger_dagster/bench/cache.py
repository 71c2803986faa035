"""The aggregate cache at work on the bundled sample: nothing kept, everything kept, one month that is another.

Here: three runs in a ledger of their own, and what each has to count. Not here: the cache (`usage.aggregate_cache`).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tokenledger_dagster.bench.results import now_text
from tokenledger_dagster.contracts.cache_bench import CacheCountsOfRun, CacheResult, CacheRun
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.home import SAMPLE_HOME, Home, ensure_home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.sync import SyncOptions, sync
from tokenledger_dagster.quarters import SLOT_US
from tokenledger_dagster.usage.aggregates import fill, open_aggregates

ZONE = "UTC"


def measure_cache(sample: Path = SAMPLE_HOME) -> CacheResult:
    """Three runs over a copy of the sample's logs; nothing is left behind.

    Raises TokenLedgerError where the sample is not there or holds no request.
    """
    if not sample.is_dir():
        raise TokenLedgerError(f"{sample} is missing; run this from a clone of the repository")
    with tempfile.TemporaryDirectory(prefix="tokenledger-bench-") as folder:
        person = Path(folder) / "person"
        shutil.copytree(sample, person)
        home = ensure_home(Path(folder) / "ledger", "bench")
        _sync(home, person)
        # of one moment, so that no day becomes due in between
        now = datetime.now(UTC)
        with open_aggregates(home, ZONE, enabled=False, now=now) as found:
            months = found.months
        if not months:
            raise TokenLedgerError(f"{sample}: holds no request; restore it from the repository")
        count = len(months)
        runs = [
            _run(home, now, "first", "nothing is kept yet", _counts(0, count, 0)),
            _run(home, now, "again", "nothing has changed", _counts(count, 0, 0)),
        ]
        _one_more_request(home, person)
        about = f"one more request in {months[-1]}"
        runs.append(_run(home, now, "grown", about, _counts(count - 1, 1, 1)))
    passed = all(one.passed for one in runs)
    return CacheResult(generated_at=now_text(), passed=passed, months=months, runs=runs)


def _run(home: Home, now: datetime, name: str, about: str, expected: CacheCountsOfRun) -> CacheRun:
    filled = fill(home, ZONE, now=now)
    actual = _counts(filled.hit_count, filled.miss_count, filled.invalidate_count)
    is_equal = _documents(home, now, enabled=True) == _documents(home, now, enabled=False)
    return CacheRun(
        name=name,
        about=about,
        actual=actual,
        expected=expected,
        equals_uncached=is_equal,
        duration_ms=filled.duration_ms,
        passed=is_equal and actual == expected,
    )


def _documents(home: Home, now: datetime, *, enabled: bool) -> list[bytes]:
    with open_aggregates(home, ZONE, enabled=enabled, now=now) as found:
        return [encode_json(found.costs(month)) for month in found.months]


def _counts(hit: int, miss: int, invalidate: int) -> CacheCountsOfRun:
    return CacheCountsOfRun(hit_count=hit, miss_count=miss, invalidate_count=invalidate)


def _one_more_request(home: Home, person: Path) -> None:
    """Writes and reads a request of the same quarter hour as the latest one."""
    with closing(connect(home, read_only=True)) as manifest:
        (slot,) = manifest.execute("SELECT max(slot) FROM slots").fetchone()
    moment = datetime.fromtimestamp(slot * SLOT_US / 1_000_000, UTC)
    usage = {"input_tokens": 1000, "output_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    row = {
        "type": "assistant",
        "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sessionId": "bench-cache",
        "isSidechain": False,
        "cwd": "/bench/cache",
        "requestId": "req_bench_cache",
        "message": {
            "id": "msg_bench_cache",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "usage": usage,
        },
    }
    path = person / ".claude" / "projects" / "-bench-cache" / "bench-cache.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    _sync(home, person)


def _sync(home: Home, person: Path) -> None:
    sync(home, {"HOME": str(person)}, SyncOptions(zone=ZONE))
