"""What a home no longer needs: old runs, reconciliations, bench results, kept answers and aggregates.

Here: which of them go by number and age, and removing them. Not here: the numbers (`config/default.yaml`), the shape of
the report (`contracts.retention`).

Nothing is removed but what bears a name that this program gives, in the five places below: events, segments, landed
records, price snapshots, locked months, tables and whatever else lies in a home is not even looked at. The latest of
each kind stays, and so does what another file points to. No link is followed: neither one in the place of a folder, nor
one among its entries.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar, get_args

import msgspec

from tokenledger_dagster import home_files
from tokenledger_dagster.contracts.retention import Kind, Left, Removal, RetentionKind, RetentionReport
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.runs import SUMMARY_FILE, read_summary
from tokenledger_dagster.home import Home
from tokenledger_dagster.ingest.manifest import writer_lock
from tokenledger_dagster.pricing.standing import last_reconciled
from tokenledger_dagster.settings import Settings
from tokenledger_dagster.usage.aggregate_cache import is_entry_name, read_entry

__all__ = ["Rule", "retain", "rules_of"]

_WAIT_SECONDS = 10.0
_RUN = re.compile(r"(\d{8}-\d{6})(?:-(\d{1,6}))?", re.ASCII)
_RECONCILE = re.compile(r"reconcile-(\d{8}-\d{6})(?:-(\d{1,6}))?", re.ASCII)
_BENCH = re.compile(r"(\d{8}T\d{12})Z\.json()", re.ASCII)
_ANSWER = re.compile(r"[0-9a-f]{32}\.json")
_Stamp = Callable[[str], "tuple[datetime, int] | None"]
_Document = TypeVar("_Document")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Rule(NamedTuple):
    """How much of one kind is left."""

    most: int
    """At most so many, the latest ones; at least 1."""
    days: int
    """None older than this."""


class _Place(NamedTuple):
    """Where things of one kind lie, and how they are recognised."""

    kind: Kind
    parts: tuple[str, ...]
    """Folder, below the home's root."""
    is_ours: Callable[[str], bool]
    stamp: _Stamp
    """Time and number that a name tells; None where the file's own time counts."""
    holds_folders: bool


class _Found(NamedTuple):
    """One file or folder of ours."""

    made: datetime
    number: int
    name: str
    bytes: int


def rules_of(settings: Settings) -> dict[Kind, Rule]:
    """What the settings leave of each kind."""
    return {
        kind: Rule(getattr(settings, f"retention_{kind}_count"), getattr(settings, f"retention_{kind}_days"))
        for kind in get_args(Kind)
    }


def retain(home: Home, rules: dict[Kind, Rule], *, apply: bool = False, now: datetime | None = None) -> RetentionReport:
    """Tell what goes and why, and remove it where that is asked for.

    Args:
        home: the ledger's home.
        rules: how much of each kind is left.
        apply: remove it; otherwise nothing is touched.
        now: time that ages are counted from; None is the clock's.

    Returns:
        What goes, what was left although it would go, and what could not be removed.

    Raises:
        TokenLedgerError: another process is writing this ledger.
    """
    moment = now or datetime.now(UTC)
    if not apply:
        return _retained(home, rules, moment, apply=False)
    with writer_lock(home, _WAIT_SECONDS) as held:
        if not held:
            raise TokenLedgerError(f"{home.root}: another process is writing this ledger; try again when it is done")
        return _retained(home, rules, moment, apply=True)


def _retained(home: Home, rules: dict[Kind, Rule], now: datetime, *, apply: bool) -> RetentionReport:
    kinds: list[RetentionKind] = []
    removals: list[Removal] = []
    left: list[Left] = []
    problems: list[str] = []
    pointed_at = _pointed_at(home)
    for place in _PLACES:
        rule = rules[place.kind]
        folder = home.root.joinpath(*place.parts)
        going: list[Removal] = []
        found: list[_Found] = []
        try:
            with _opened(home.root, place.parts) as handle:
                found = _listed(handle, place, folder, left)
                stays = pointed_at | (_latest_of_each_kind(folder, found) if place.kind == "bench" else set())
                for one, reason in _going(found, rule, now):
                    if one.name not in stays:
                        going.append(_one(handle, place, folder, one, reason, problems, apply=apply))
        except FileNotFoundError:
            pass
        except OSError as error:
            if folder.is_symlink() or any(one.is_symlink() for one in folder.parents if one.is_relative_to(home.root)):
                left.append(Left(path=str(folder), reason="is a link or lies behind one; nothing is followed"))
            else:
                problems.append(_told(folder, error))
        kinds.append(
            RetentionKind(
                kind=place.kind,
                folder=str(folder),
                count=rule.most,
                days=rule.days,
                found=len(found),
                going=len(going),
                going_bytes=sum(one.bytes for one in going),
            )
        )
        removals += going
    return RetentionReport(
        generated_at=_text(now),
        home=str(home.root),
        applied=apply,
        kinds=kinds,
        removals=removals,
        left=left,
        problems=problems,
    )


# -------------------------------------------------------------------- what there is


def _by_name(pattern: re.Pattern[str], form: str) -> tuple[Callable[[str], bool], _Stamp]:
    """Recognises names that tell a time; one that no clock shows is not ours."""

    def stamp(name: str) -> tuple[datetime, int] | None:
        found = pattern.fullmatch(name)
        if found is None:
            return None
        try:
            return datetime.strptime(found[1], form).replace(tzinfo=UTC), int(found[2] or 1)
        except ValueError:
            return None

    return lambda name: stamp(name) is not None, stamp


_PLACES = (
    _Place("runs", ("runs",), *_by_name(_RUN, "%Y%m%d-%H%M%S"), True),
    _Place("reconcile", (), *_by_name(_RECONCILE, "%Y%m%d-%H%M%S"), True),
    _Place("bench", ("bench",), *_by_name(_BENCH, "%Y%m%dT%H%M%S%f"), False),
    _Place("answers", (home_files.ANSWERS,), lambda name: bool(_ANSWER.fullmatch(name)), lambda _: None, False),
    _Place("aggregates", ("cache", "aggregates"), is_entry_name, lambda _: None, False),
)


def _listed(handle: int, place: _Place, folder: Path, left: list[Left]) -> list[_Found]:
    """Everything of ours in an open folder, the latest first; what only looks like it is told."""
    found = []
    for name in os.listdir(handle):
        if not place.is_ours(name):
            continue
        facts = os.stat(name, dir_fd=handle, follow_symlinks=False)
        size = facts.st_size
        if place.holds_folders:
            inside = _sizes(handle, name) if stat.S_ISDIR(facts.st_mode) else None
            if inside is None:
                left.append(Left(path=str(folder / name), reason="holds, or is, what no run writes"))
                continue
            size = sum(inside.values())
        elif not stat.S_ISREG(facts.st_mode):
            left.append(Left(path=str(folder / name), reason="is no plain file"))
            continue
        made, number = place.stamp(name) or (datetime.fromtimestamp(facts.st_mtime, UTC), 1)
        found.append(_Found(made, number, name, size))
    return sorted(found, reverse=True)


def _sizes(handle: int, name: str) -> dict[str, int] | None:
    """Bytes of the files in a folder by name; None where anything in it is not a plain file."""
    with _opened_in(handle, name) as inner:
        found = {one: os.stat(one, dir_fd=inner, follow_symlinks=False) for one in os.listdir(inner)}
    if not all(stat.S_ISREG(facts.st_mode) for facts in found.values()):
        return None
    return {one: facts.st_size for one, facts in found.items()}


def _pointed_at(home: Home) -> set[str]:
    """Names of runs and reconciliations that other files point to."""
    names = set()
    latest, last = read_summary(home.pipeline_summary_path), last_reconciled(home)
    if last is not None:
        names.add(Path(last.workdir).name)
    pointer = _decoded(home.reconcile_summary_path, _Workdir)
    if pointer is not None:
        names.add(Path(pointer.workdir).name)
    if latest is not None:
        stamp = datetime.fromisoformat(latest.started_at).astimezone(UTC).strftime("%Y%m%d-%H%M%S")
        for path in home.runs.glob(f"{stamp}*/{SUMMARY_FILE}"):
            summary = read_summary(path)
            if summary is not None and summary.run_id == latest.run_id:
                names.add(path.parent.name)
    return names


def _latest_of_each_kind(folder: Path, found: list[_Found]) -> set[str]:
    """The latest result of every kind of bench: charts and trends are drawn from it."""
    names: dict[str, str] = {}
    for one in found:
        result = _decoded(folder / one.name, _BenchKind)
        names.setdefault(result.kind if result is not None else "", one.name)
    return set(names.values())


class _Workdir(msgspec.Struct):
    workdir: str


class _BenchKind(msgspec.Struct):
    kind: str = ""


def _decoded(path: Path, kind: type[_Document]) -> _Document | None:
    try:
        return msgspec.json.decode(read_entry(path) or b"", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# -------------------------------------------------------------------- what goes


def _going(found: list[_Found], rule: Rule, now: datetime) -> Iterator[tuple[_Found, str]]:
    """What is too old or one too many, the latest first; the first of all always stays."""
    for place, one in enumerate(found[1:], 1):
        if place >= rule.most:
            yield one, f"more than {rule.most}"
        elif now - one.made > timedelta(days=rule.days):
            yield one, f"older than {rule.days} days"


def _one(
    handle: int, place: _Place, folder: Path, one: _Found, reason: str, problems: list[str], *, apply: bool
) -> Removal:
    removal = Removal(
        kind=place.kind, path=str(folder / one.name), reason=reason, bytes=one.bytes, made_at=_text(one.made)
    )
    if not apply:
        return removal
    try:
        if place.holds_folders:
            _remove_folder(handle, one.name)
        else:
            os.unlink(one.name, dir_fd=handle)
    except FileNotFoundError:
        pass  # somebody else was first
    except OSError as error:
        problems.append(_told(folder / one.name, error))
        return removal
    return msgspec.structs.replace(removal, is_removed=True)


def _remove_folder(handle: int, name: str) -> None:
    """Removes the plain files of a folder, then the folder; anything else in it keeps it there."""
    with _opened_in(handle, name) as inner:
        for one in os.listdir(inner):
            if stat.S_ISREG(os.stat(one, dir_fd=inner, follow_symlinks=False).st_mode):
                os.unlink(one, dir_fd=inner)
    os.rmdir(name, dir_fd=handle)


@contextmanager
def _opened(root: Path, parts: tuple[str, ...]) -> Iterator[int]:
    """A folder below the root, every step of the way a folder and not a link."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            inner = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _opened_in(handle: int, name: str) -> Iterator[int]:
    inner = os.open(name, _FOLDER, dir_fd=handle)
    try:
        yield inner
    finally:
        os.close(inner)


def _told(path: Path, error: OSError) -> str:
    return f"{path}: {error.strerror or error}; check its permissions, or remove it yourself"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
