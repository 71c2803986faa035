"""One sync: find what changed, read it, commit it in batches, say what was done.

Here: the flow from the clients' roots to the ingest summary, under the writer lock.  Not here: any single step's rules.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tokenledger_dagster.clients.base import Client, SourceFile
from tokenledger_dagster.clients.logs import Logs, Root, agents_environ
from tokenledger_dagster.clients.memory import without_marks
from tokenledger_dagster.clients.registry import broken_plugins, clients, finder, plugins, roots_of
from tokenledger_dagster.contracts.summaries import (
    CacheCounts,
    IngestSummary,
    ProviderCounts,
    SourceCounts,
)
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home, keep_apart
from tokenledger_dagster.ingest import accepted, bookkeeping, overridden, resolved
from tokenledger_dagster.ingest.commit import Batch
from tokenledger_dagster.ingest.folding import fold
from tokenledger_dagster.ingest.ledger import Ledger
from tokenledger_dagster.ingest.manifest import (
    ManifestError,
    connect,
    get_meta,
    set_aside_older,
    set_meta,
    transaction,
    writer_lock,
)
from tokenledger_dagster.ingest.placing import Result
from tokenledger_dagster.ingest.plan import Plan, Sources, Task, make_plan, start_of
from tokenledger_dagster.ingest.scan import Scanned
from tokenledger_dagster.ingest.segments import absent, is_lost, sweep
from tokenledger_dagster.ingest.spawning import Crew, early
from tokenledger_dagster.ingest.unchanged import Walked, remember
from tokenledger_dagster.ingest.uncollected import no_collection
from tokenledger_dagster.ingest.workers import Scanning, scanning
from tokenledger_dagster.ingest.zones import Zone
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

if TYPE_CHECKING:
    from tokenledger_dagster.ingest.resolved import KeptRates

BATCH_RECORDS = 50_000
"""Most records of a commit, but for those of its last file."""
_LEAST_RECORDS = 5_000
FIRST_FILL_WAIT_SECONDS = 600.0

Progress = Callable[[int, int, int, int], None]
"""Called with files done, files in all, bytes done, bytes in all."""


class SyncOptions(msgspec.Struct, frozen=True):
    """What a sync is asked to do."""

    only: tuple[str, ...] = ()
    """Client names; empty = all."""
    no_cache: bool = False
    """Read every file from its beginning and reconcile."""
    full: bool = False
    """Also book everything anew from the stored records."""
    add_sources: tuple[tuple[str, str], ...] = ()
    """(client, path) pairs to read from now on."""
    zone: str = "UTC"
    """Zone in which cells are cut."""
    host: str | None = None
    """Name recorded with new records; None = this machine's."""
    wait_seconds: float = 0
    """How long to wait for another process that writes this ledger before answering without a sync."""


def sync(
    home: Home,
    environ: Mapping[str, str],
    options: SyncOptions,
    metrics: MetricsBackend | None = None,
    progress: Progress | None = None,
    walked: Walked | None = None,
) -> IngestSummary:
    """Brings the ledger of ``home`` up to date with the logs.

    Where another process is writing, nothing is read and ``synced`` is False, unless the home was never filled: then
    the other's first commit is waited for.  ``walked`` is what a look at the logs a moment ago found.  Raises
    ManifestError where the state cannot be used.
    """
    deadline = time.monotonic() + FIRST_FILL_WAIT_SECONDS
    crew = early()
    try:
        while True:
            with writer_lock(home, options.wait_seconds) as held:
                if held:
                    older = set_aside_older(home)
                    with closing(connect(home)) as connection:
                        found = _Sync(
                            home, connection, environ, options, metrics or NoopMetrics(), progress, walked, crew
                        )
                        if older is not None:
                            found.replaces(*older)
                        return found.run()
            if _filled(home) or time.monotonic() > deadline:
                return _unsynced(home)
            time.sleep(0.1)
    finally:
        if crew is not None:
            crew.dismiss()


def _filled(home: Home) -> bool:
    """Whether anything was ever committed; while a first sync runs there is nothing to answer from."""
    if not home.manifest_path.exists():
        return False
    try:
        connection = connect(home, read_only=True)
    except ManifestError:
        return False  # the other process is only now making it
    try:
        return connection.execute("SELECT 1 FROM segments LIMIT 1").fetchone() is not None
    finally:
        connection.close()


class _Sync:
    """The state of one sync."""

    def __init__(
        self,
        home: Home,
        connection: sqlite3.Connection,
        environ: Mapping[str, str],
        options: SyncOptions,
        metrics: MetricsBackend,
        progress: Progress | None,
        walked: Walked | None,
        crew: Crew | None,
    ) -> None:
        self._home = home
        self._db = connection
        self._environ = agents_environ(environ)
        self._options = options
        self._metrics = metrics
        self._crew = crew
        self._progress = progress or (lambda *_: None)
        self._walked = walked
        self._host = options.host or _node()
        found = overridden.wanted(home, connection)
        self._overrides = found.overrides
        self._key = overridden.key_of(self._overrides)
        self._rates: KeptRates | None = None
        self._started = time.time()
        self._now_us = int(self._started * 1_000_000)
        self._is_new = False
        self._prices = accepted.standing(home, connection)
        self._problems: list[str] = [found.problem] if found.problem else []
        self._notes: list[str] = []
        self._providers: dict[str, ProviderCounts] = {}
        self._sources = SourceCounts()
        self._cache = CacheCounts(bypassed=options.no_cache)
        self._contexts: dict[tuple[str, str], Mapping[str, str]] = {}
        self._origins: dict[tuple[str, str], Root] = {}
        self._found: dict[tuple[str, str, str], list[SourceFile]] = {}

    def replaces(self, aside: Path, added: Sequence[tuple[str, str]]) -> None:
        """Takes over from the manifest of an older version, which was put ``aside``."""
        self._is_new = True
        self._db.executemany("INSERT OR IGNORE INTO extra_sources VALUES (?, ?)", added)
        self._problems.append(f"the manifest was made anew from the lake for this version; the old one is {aside}")

    def run(self) -> IngestSummary:
        """Finds, reads, commits, summarises; the caller holds the writer lock."""
        self._price()
        if (self._options.full or self._is_new) and is_lost(self._home, self._db):
            from tokenledger_dagster.ingest.rebuild import rebuild

            rebuild(self._home, self._db, self._ledger(), self._now_us)
        sweep(self._home, self._db)
        self._remember_sources()
        files = self._discover()
        sources = Sources(self._db, self._names())
        plan = make_plan(files, sources, no_cache=self._options.no_cache)
        self._count(plan)
        if plan.tasks or self._options.full or self._stale():
            with self._scanning(plan.tasks) as scan:
                # only now are rates needed: a sync that finds nothing new prices nothing
                ledger = self._ledger()
                self._refresh(ledger)
                self._read(ledger, plan.tasks, scan)
            self._tell_booking(ledger)
            fold(self._home, self._db, ledger)
        self._mark_missing(plan)
        for path in absent(self._home, self._db):
            self._problems.append(f"{path} is missing or cut; restore it from a backup while its logs still exist")
        summary = self._finish(bool(plan.tasks))
        with transaction(self._db):
            if self._rates is not None:
                resolved.store(self._db, self._key, self._rates)
            if overridden.booked(self._db) != self._overrides:  # another reason for the same names
                overridden.keep(self._db, self._overrides)
            # where adapters of other packages log cannot be told without importing them
            if not self._options.only and not self._problems and not plugins():
                remember(str(self._home.root), self._db, self._environ, self._found)
        return summary

    def _ledger(self) -> Ledger:
        self._rates = self._rates or resolved.load(self._db, self._key, self._prices.snapshot)
        return Ledger(self._db, Zone(self._options.zone), self._rates, self._home.lake, self._overrides)

    def _price(self) -> None:
        """Says how the prices stand, and takes today's where they change nothing that is booked."""
        if self._prices.problem:
            self._problems.append(self._prices.problem)
        if self._prices.waiting is not None:
            self._notes.append(accepted.WAITING)
        if not self._prices.is_lost:
            accepted.accept(self._home, self._db, self._prices.snapshot)

    # ---------------------------------------------------------------- discovery

    def _names(self) -> list[str]:
        wanted = self._options.only
        return [name for name in clients() if not wanted or name in wanted]

    def _remember_sources(self) -> None:
        for client, path in self._options.add_sources:
            full = str(Path(path).expanduser().absolute())
            self._db.execute("INSERT OR IGNORE INTO extra_sources VALUES (?, ?)", (client, full))

    def _discover(self) -> list[SourceFile]:
        extra = self._db.execute("SELECT client, path FROM extra_sources ORDER BY client, path").fetchall()
        found: list[SourceFile] = []
        read: list[Path] = []
        walked = self._walked if self._walked is not None and self._walked.holds(self._db) else None
        for name, problem in broken_plugins().items():
            self._problems.append(f"the adapter of {name} cannot be used ({problem}); mend or remove its package")
        for client in self._names():
            roots, wrong = roots_of(client, self._environ)
            if wrong is not None:
                self._problems.append(f"the adapter of {client} cannot be used ({wrong}); mend or remove its package")
            if not roots and (named := _override(finder(client), self._environ)):
                self._problems.append(f"{named} names no folder of {client} logs; correct or unset it")
            for name, path in extra:
                if name == client:
                    if Path(path).exists():
                        roots.append(Root(Path(path), "--source"))
                    else:
                        self._problems.append(f"--source {name}={path} is not there; its events are kept")
            for root in roots:  # an adapter without logs is not even imported
                if walked:
                    root.found = walked.entries((client, root.where, root.origin))
                if not os.access(root.path, os.R_OK):
                    self._problems.append(f"{root.path} cannot be read; give this user permission to read it")
                context = clients()[client].context(root)
                below = self._found[client, root.where, root.origin] = list(clients()[client].files(root))
                for file in below:
                    self._contexts[client, file.path] = context
                    self._origins[client, file.path] = root
                    found.append(file)
            read += [root.path for root in roots]
        empty = self._db.execute("SELECT 1 FROM sources LIMIT 1").fetchone() is None
        keep_apart(self._home, read, empty=empty)
        return found

    def _count(self, plan: Plan) -> None:
        for client in self._names():
            self._metrics.gauge(names.INGEST_SOURCES, plan.seen[client], client=client)
        actions = Counter(task.action for task in plan.tasks)
        counts = self._sources
        counts.seen = plan.seen.total()
        counts.missing = len(plan.missing)
        counts.new = actions["new"]
        counts.changed = actions["tail"] + actions["observe"] + actions["reread"] + actions["reparse"]
        counts.unchanged = plan.unchanged
        self._cache.hit += plan.unchanged + actions["tail"] + actions["observe"]
        self._cache.miss += actions["new"] + actions["reread"] + actions["reparse"]

    # ---------------------------------------------------------------- reading and committing

    def _stale(self) -> bool:
        if self._prices.is_lost:
            return True
        return get_meta(self._db, "booking_key") != self._key or get_meta(self._db, "zone") != self._options.zone

    def _refresh(self, ledger: Ledger) -> None:
        """Books anew after a change of prices, names or rules; cuts cells anew after a change of zone."""
        if not self._options.full and not self._stale():
            return
        stored = get_meta(self._db, "booking_key")
        with transaction(self._db):
            if self._options.full or self._prices.is_lost or (stored is not None and stored != self._key):
                bookkeeping.rebook(self._db, ledger)
                accepted.accept(self._home, self._db, self._prices.snapshot)
            elif get_meta(self._db, "zone") not in (None, self._options.zone):
                ledger.cells.recut()
            set_meta(self._db, "booking_key", self._key)
            overridden.keep(self._db, self._overrides)
            set_meta(self._db, "zone", self._options.zone)

    def _scanning(self, work: Sequence[Task]) -> AbstractContextManager[Scanning]:
        files = [(task.file, start_of(task, self._carry(task))) for task in work]
        contexts = [self._contexts[task.file.client, task.file.path] for task in work]
        return scanning(files, contexts, self._now_us, self._crew)

    def _read(self, ledger: Ledger, work: Sequence[Task], scan: Scanning) -> None:
        total = sum(_pending(task) for task in work)
        done = records = 0
        batch: Batch | None = None
        with no_collection():
            try:
                for number, (place, scanned) in enumerate(scan.found, 1):
                    task = work[place]
                    done += _pending(task)
                    records += scanned.count
                    self._note(task, scanned)
                    batch = batch or Batch(self._home, self._db, ledger, self._now_us, self._host)
                    batch.add(Result(task, scanned, self._origins[task.file.client, task.file.path].origin))
                    if batch.records >= (_shared_batch(records, done, total) if scan.is_shared else BATCH_RECORDS):
                        self._commit(batch)
                        batch = None
                    self._progress(number, len(work), done, total)
                if batch is not None:
                    self._commit(batch)
                    batch = None
            finally:
                if batch is not None:
                    batch.abandon()

    def _carry(self, task: Task) -> bytes | None:
        if task.action not in ("tail", "observe") or task.known is None:
            return None
        row = self._db.execute("SELECT carry FROM sources WHERE source_no = ?", (task.known.source_no,)).fetchone()
        carry = bytes(row[0])
        return without_marks(carry) if task.action == "observe" and self._options.no_cache else carry

    def _note(self, task: Task, scanned: Scanned) -> None:
        """Takes what a scan tells of its file into the summary."""
        if scanned.error:
            self._problems.append(f"{task.file.shown}: {scanned.error}; what could be read of it is kept")
        self._problems += (f"{task.file.shown}: {problem}" for problem in scanned.problems)
        counts = self._providers.setdefault(task.file.client, ProviderCounts(skipped={}))
        counts.bytes_read += scanned.bytes_read
        for reason, count in scanned.skipped.items():
            counts.skipped[reason] = counts.skipped.get(reason, 0) + count
            self._metrics.counter(names.INGEST_SKIPPED, count, client=task.file.client, reason=reason)
        if scanned.position.held_back:
            counts.skipped["unfinished_last_line"] = counts.skipped.get("unfinished_last_line", 0) + 1
        self._metrics.counter(names.INGEST_BYTES, scanned.bytes_read, client=task.file.client)

    def _commit(self, batch: Batch) -> None:
        started = time.perf_counter()
        counts = batch.commit()
        self._metrics.histogram(names.BOOKING_DURATION, time.perf_counter() - started)
        self._cache.invalidate += counts.invalidated
        for name in counts.scanned.keys() | counts.emitted.keys():
            provider = self._providers.setdefault(name, ProviderCounts(skipped={}))
            provider.scanned += counts.scanned[name]
            provider.emitted += counts.emitted[name]
            self._metrics.counter(names.INGEST_RECORDS, counts.scanned[name], client=name)
            # an event that turns out to be a copy is taken back: a counter never falls, so only growth is told
            self._metrics.counter(names.BOOKING_EVENTS, max(0, counts.emitted[name]), client=name)

    def _tell_booking(self, ledger: Ledger) -> None:
        for rule, count in ledger.rules.items():
            # a row that turns out to be another's copy than it was is taken back: a counter never falls
            self._metrics.counter(names.BOOKING_DUPLICATES, max(0, count), rule=rule)
        for outcome, count in ledger.priced.items():
            self._metrics.counter(names.PRICING_EVENTS, count, outcome=outcome)

    def _mark_missing(self, plan: Plan) -> None:
        """Records vanished and returned files, and the new paths of moved ones that needed no reading."""
        newly = [("missing", source.source_no) for source in plan.missing if source.status != "missing"]
        back = [("present", source_no) for source_no in plan.returned]
        moved = [(file.shown, file.relative, file.ctime_ns, source_no) for file, source_no in plan.moved]
        if newly or back or moved:
            with transaction(self._db):
                self._db.executemany("UPDATE sources SET status = ? WHERE source_no = ?", newly + back)
                self._db.executemany(
                    "UPDATE sources SET path = ?, relative = ?, ctime_ns = ? WHERE source_no = ?", moved
                )

    # ---------------------------------------------------------------- summary

    def _finish(self, changed: bool) -> IngestSummary:
        finished = time.time()
        for counts in self._providers.values():
            counts.duplicates = counts.scanned - counts.emitted
        records, events = ledger_counts(self._db)
        summary = IngestSummary(
            generated_at=stamp(finished),
            started_at=stamp(self._started),
            finished_at=stamp(finished),
            duration_ms=round((finished - self._started) * 1000),
            providers=dict(sorted(self._providers.items())),
            sources=self._sources,
            cache=self._cache,
            emitted_total=sum(counts.emitted for counts in self._providers.values()),
            deduped_total=sum(counts.duplicates for counts in self._providers.values()),
            output=str(self._home.lake),
            ledger={"records": records, "events": events, "duplicates": records - events},
            problems=self._problems,
            notes=self._notes,
        )
        if changed or not self._home.ingest_summary_path.exists():
            write_json_atomic(self._home.ingest_summary_path, summary)
        for outcome in ("hit", "miss", "invalidate"):
            self._metrics.counter(names.INGEST_CACHE, getattr(self._cache, outcome), outcome=outcome)
        self._metrics.histogram(names.INGEST_DURATION, finished - self._started)
        return summary


def ledger_counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Records and events of the whole ledger."""
    row = connection.execute(
        "SELECT (SELECT coalesce(sum(row_count), 0) FROM segments), (SELECT coalesce(sum(event_count), 0) FROM cells)"
    ).fetchone()
    return int(row[0]), int(row[1])


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _node() -> str:
    """This machine's name; ``platform.node`` says the same after an import."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()


def _shared_batch(records: int, done: int, total: int) -> int:
    """Records of a batch, where helpers take a share and the first ``done`` of ``total`` bytes held ``records``.

    Helpers scan while this process commits, so the last batches are small: nobody helps with them.  All others are
    large, for a commit looks at the keys of all that came before.
    """
    expected = records * total // max(1, done)
    return min(BATCH_RECORDS, max(_LEAST_RECORDS, min(expected // 8, (expected - records) // 2)))


def _pending(task: Task) -> int:
    if task.action == "tail" and task.known is not None:
        return max(0, task.file.size - task.known.read_offset)
    return task.file.size


def _override(client: Logs | Client, environ: Mapping[str, str]) -> str | None:
    variable = client.override
    return f"{variable}={environ[variable]}" if variable and environ.get(variable) else None


def _unsynced(home: Home) -> IngestSummary:
    now = stamp(time.time())
    return IngestSummary(
        generated_at=now,
        started_at=now,
        finished_at=now,
        duration_ms=0,
        providers={},
        sources=SourceCounts(),
        cache=CacheCounts(),
        emitted_total=0,
        deduped_total=0,
        output=str(home.lake),
        problems=["another process is writing this ledger; nothing was read"],
        synced=False,
    )
