"""From logs to sessions with their words: reads what changed, decides whose each prompt is, gives session by session.

Here: the flow, and its one border: nothing is read unless the switch says so.  Not here: any step's rules.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.registry import client_name, clients
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference import switch
from tokenledger_dagster.inference.policy import PromptPolicy, policy
from tokenledger_dagster.inference.prompts import discovery, index, owners, texts
from tokenledger_dagster.inference.prompts.found import PromptReport, SessionPrompts
from tokenledger_dagster.inference.prompts.notes import Entry, Notes
from tokenledger_dagster.inference.prompts.reading import read
from tokenledger_dagster.inference.prompts.registry import READERS, reader_of, why_none
from tokenledger_dagster.ingest.trouble import is_lasting, told
from tokenledger_dagster.settings import Settings, load_settings

__all__ = ["forget_texts", "session_prompts"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENTRIES = 10_000
"""Entries of one file that are held before they are written down."""
_SESSIONS = 500
"""Sessions whose words are looked up together."""
_REMEDY = "set `inference.prompts: true` under `features` or TOKENLEDGER_FEATURE_INFERENCE_PROMPTS=true"


def session_prompts(
    home: Home,
    environ: Mapping[str, str],
    *,
    standing: switch.Standing | None = None,
    settings: Settings | None = None,
    clients: Iterable[str] | None = None,
    since: datetime | None = None,
    known: Mapping[tuple[str, str], str] | None = None,
    changed_only: bool = False,
    report: PromptReport | None = None,
) -> Iterator[SessionPrompts]:
    """The words a person typed, session by session: by client, then by the time of the first prompt.

    A file that did not change since the last reading is not opened, unless the words of one of its sessions are asked
    for and not kept.  Sessions whose log is gone are given as long as `known` has them, or their words are kept.

    Args:
        home: an existing home, which remembers what was read.
        environ: the environment by which logs are found.
        standing: what the switch said; asked here where it is None.
        settings: for the switch; loaded where they are None.
        clients: names, or short ones, of the clients wanted; None = all.
        since: only sessions in which something was typed at or after this time; naive = UTC.
        known: digest by (client, session) of the words that the caller has: these are given without `texts`.
        changed_only: these are not given at all, and counted (`PromptReport.unchanged`).
        report: filled while sessions are taken.

    Raises:
        InferenceOffError: reading prompts is switched off.
        UsageError: a name is no client's.
        HomeKindError: the bundled sample would be mixed with a person's own.
    """
    found = standing or switch.standing(home, settings or load_settings(environ))
    report = report if report is not None else PromptReport()
    if not found.store_prompts and (removed := forget_texts(home)) is not None:
        report.problems.append(removed)
    if not found.prompts:
        why = f"inference is {found.told}" if not found.on else f"reading what was typed is off; {_REMEDY}"
        raise switch.InferenceOffError(why)
    names = _chosen(clients, report)
    first_us = None if since is None else _microseconds(since)
    reading = _Reading(home, environ, found.store_prompts, policy().prompts, report, changed_only=changed_only)
    return reading.sessions(names, first_us, known or {})


def forget_texts(home: Home) -> str | None:
    """Remove prompts kept by an earlier run: when `inference.store_prompts` is off, whether prompts are read or not.

    Returns:
        One line for a person, or None where nothing was kept.
    """
    return texts.forget(home)


class _Session(NamedTuple):
    """A row of the index's `sessions`."""

    session_id: str
    started_us: int
    last_us: int
    prompt_count: int
    digest: str
    files: list[int]


class _Reading:
    """One reading of all logs."""

    def __init__(
        self,
        home: Home,
        environ: Mapping[str, str],
        keeps: bool,
        limits: PromptPolicy,
        report: PromptReport,
        *,
        changed_only: bool,
    ) -> None:
        self._changed_only = changed_only
        self._home, self._environ, self._keeps, self._limits, self._report = home, environ, keeps, limits, report
        self._key, problem = index.load_key(home)
        if problem is not None:
            report.problems.append(problem)
        self._held: dict[bytes, str] = {}
        """Words of what was just read, by digest, as many as may be held."""
        self._held_bytes = 0
        self._is_whole = True
        """Whether the index knows all that was ever read."""
        self._files: dict[int, SourceFile] = {}

    def sessions(
        self, names: list[str], since_us: int | None, known: Mapping[tuple[str, str], str]
    ) -> Iterator[SessionPrompts]:
        rules = f"{self._limits.max_characters}"
        problems = self._report.problems
        with ExitStack() as stack:
            self._index = stack.enter_context(index.opened(self._home, self._key, rules, problems))
            self._texts = stack.enter_context(texts.opened(self._home, is_on=self._keeps, told=problems))
            for name in names:
                there = discovery.find(self._home, self._environ, name, problems)
                given: set[str] = set()
                try:
                    yield from self._sessions_of(name, there, since_us, known, given)
                except sqlite3.Error as error:
                    self._index = stack.enter_context(index.in_memory(self._home, error, problems))
                    self._is_whole = False
                    yield from self._sessions_of(name, there, since_us, known, given)
            if self._is_whole and self._report.files_read and len(names) == len(READERS):
                self._texts.forget_others({digest for (digest,) in self._index.db.execute("SELECT digest FROM told")})

    def _sessions_of(
        self,
        client: str,
        there: list[SourceFile],
        since_us: int | None,
        known: Mapping[tuple[str, str], str],
        given: set[str],
    ) -> Iterator[SessionPrompts]:
        """One client's sessions but those of `given`, to which each is added.  Raises sqlite3.Error: of the index."""
        self._held, self._held_bytes, self._files = {}, 0, {}
        begun = time.perf_counter()
        # what was read is remembered, also where the caller takes no more
        with self._index.writing():
            self._read(client, there)
        self._report.read_seconds += time.perf_counter() - begun
        for one in self._given(client, since_us, known):
            if one.session_id not in given:
                given.add(one.session_id)
                self._report.sessions += 1
                self._report.prompts += one.prompt_count
                yield one

    # ---------------------------------------------------------------- reading

    def _read(self, client: str, there: list[SourceFile]) -> None:
        """Read what changed, and decide anew whose prompts are."""
        rows = self._index.files(client)
        changed = False
        back: list[int] = []
        for file in there:
            self._report.files += 1
            row, state = rows.pop(file.shown, None), discovery.state_of(file)
            if row is not None and row.state == state:
                self._files[row.file_no] = file
                self._report.skipped.update(row.skipped)
                back += [row.file_no] if row.is_gone else []
            else:
                changed = self._read_file(file, state) or changed
        gone = [row.file_no for row in rows.values() if not row.is_gone]
        self._index.mark(back, is_gone=False)
        self._index.mark(gone, is_gone=True)
        order = owners.ledger_order(self._home, client)
        stamp = _digest([self._limits.max_prompts, sorted(order.items())])
        if changed or back or gone or self._index.get(f"resolved {client}") != stamp:
            owners.resolve(self._index, client, order, self._key, self._limits.max_prompts)
            self._index.set(f"resolved {client}", stamp)

    def _read_file(self, file: SourceFile, state: str) -> bool:
        """Read one file from its beginning; whether what is known of it changed."""
        waiting: list[Entry] = []
        place = 0
        number = 0
        db = self._index.db

        def keep(entry: Entry, text: str) -> None:
            nonlocal place
            waiting.append(entry)
            self._hold(entry.digest, text)
            if len(waiting) == _ENTRIES:
                self._index.add(number, place, waiting)
                place += len(waiting)
                waiting.clear()

        notes = Notes(file, self._key, self._limits, keep)
        db.execute("SAVEPOINT file")
        number = self._index.begin(file)
        trouble = self._take(file, notes)
        lasts = trouble is not None and is_lasting(trouble)
        if trouble is not None and not (lasts and (place or waiting)):
            db.execute("ROLLBACK TO file")  # what it showed before stands
            if lasts:  # else the next reading tries again
                self._index.damaged(file, state, notes.skipped)
        else:
            self._index.add(number, place, waiting)
            self._index.finish(number, file, state, notes)
            self._files[number] = file
        db.execute("RELEASE file")
        self._report.skipped.update(notes.skipped)
        return trouble is None or lasts

    def _take(self, file: SourceFile, notes: Notes) -> Exception | None:
        """Open a file for its reader; whatever goes wrong is told, counted, and stops no other file."""
        self._report.files_read += 1
        try:
            reader = reader_of(file, notes)
            if reader is not None:
                self._report.bytes_read += read(file, reader, self._limits, notes.skipped)
        except Exception as problem:  # of any kind: the other files are read
            notes.skipped["unreadable_file"] += 1
            # what is said of a wrong value may quote it
            text = type(problem).__name__ if isinstance(problem, ValueError) else told(problem)
            self._report.problems.append(f"{file.shown}: {text}")
            return problem
        finally:
            self._report.masked += notes.masked
        return None

    def _hold(self, digest: bytes, text: str) -> None:
        size = len(text.encode("utf-8")) + 128
        if digest not in self._held and self._held_bytes + size <= self._limits.max_held_bytes:
            self._held[digest] = text
            self._held_bytes += size

    # ---------------------------------------------------------------- giving

    def _given(
        self, client: str, since_us: int | None, known: Mapping[tuple[str, str], str]
    ) -> Iterator[SessionPrompts]:
        paths = dict(self._index.db.execute("SELECT file_no, path FROM files WHERE client = ?", (client,)))
        query = (
            "SELECT session_id, started_us, last_us, prompt_count, digest, files FROM sessions WHERE client = ? "
            "ORDER BY started_us, session_id"
        )
        found = [row for row in self._index.db.execute(query, (client,)) if since_us is None or row[2] >= since_us]
        # before anything is made of them: they are nearly all there are, and many
        rows = [row for row in found if known.get((client, row[0])) != row[4]] if self._changed_only else found
        wanted = [_Session._make((*row[:5], msgspec.json.decode(row[5], type=list[int]))) for row in rows]
        for start in range(0, len(wanted), _SESSIONS):
            chunk = wanted[start : start + _SESSIONS]
            words = self._words(client, [row for row in chunk if known.get((client, row.session_id)) != row.digest])
            for row in chunk:
                has = known.get((client, row.session_id)) == row.digest
                said = None if has else words.get(row.session_id)
                if not has and said is None:
                    self._report.skipped["text_gone"] += 1
                    continue
                yield SessionPrompts(
                    client=client,
                    session_id=row.session_id,
                    started_at=_time(row.started_us),
                    last_at=_time(row.last_us),
                    texts=said,
                    prompt_count=row.prompt_count,
                    digest=row.digest,
                    paths=sorted(paths[number] for number in row.files),
                )
        self._report.unchanged += len(found) - len(rows)

    def _words(self, client: str, rows: list[_Session]) -> dict[str, list[str]]:
        """The words of sessions: of what was just read, else kept ones, else read again; none where they are gone."""
        told_of: dict[str, list[bytes]] = defaultdict(list)
        shown_by: dict[bytes, int] = {}
        query = "SELECT digest, file_no FROM told WHERE client = ? AND session_id = ? ORDER BY place"
        for row in rows:
            for digest, number in self._index.db.execute(query, (client, row.session_id)):
                told_of[row.session_id].append(digest)
                shown_by[digest] = number
        found = {digest: self._held[digest] for digest in shown_by if digest in self._held}
        found |= self._texts.find(digest for digest in shown_by if digest not in found)
        missing = {digest for digest in shown_by if digest not in found}
        if missing:
            found |= self._read_again({shown_by[digest] for digest in missing}, missing)
        self._texts.keep(found)
        return {
            session: [found[digest] for digest in digests]
            for session, digests in told_of.items()
            if all(digest in found for digest in digests)
        }

    def _read_again(self, numbers: Iterable[int], wanted: set[bytes]) -> dict[bytes, str]:
        """The wanted words out of files that were read before; the index stays as it is."""
        found: dict[bytes, str] = {}

        def keep(entry: Entry, text: str) -> None:
            if entry.digest in wanted:
                found[entry.digest] = text

        for number in sorted(numbers):
            file = self._files.get(number)
            if file is not None:
                self._take(file, Notes(file, self._key, self._limits, keep))
        return found


def _chosen(given: Iterable[str] | None, report: PromptReport) -> list[str]:
    """The clients to read, in the order of reports; those without prompts are told where they were asked for."""
    if given is None:
        return [name for name in clients() if name in READERS]
    wanted = set()
    for one in given:
        name = client_name(one)
        if name is None:
            raise UsageError(f"{one} is no client; use one of {', '.join(clients())}")
        wanted.add(name)
    report.without_prompts = {name: why_none(name) for name in clients() if name in wanted and name not in READERS}
    return [name for name in READERS if name in wanted]


def _microseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _digest(value: object) -> str:
    return blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
