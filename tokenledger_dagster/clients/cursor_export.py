"""Cursor's usage export: the only exact source of its usage, one request a row.

Here: the CSV of the dashboard, old and new, personal and team.  Not here: the chats on this machine (``cursor_state``).
Columns are found by their names, in any order, since Cursor has added some more than once.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from decimal import Decimal, InvalidOperation

import msgspec

from tokenledger_dagster.clients import cursor_hours, values
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.clients.documents import line_evidence, text_lines
from tokenledger_dagster.clients.memory import Memory
from tokenledger_dagster.clients.row_values import dated
from tokenledger_dagster.contracts.record import Counters, UsageRecord

SESSION = "dashboard"
"""An export names no session: all its requests stand in this one."""
_COUNTERS = {
    # the four are disjoint and add up to the total, whatever the words in brackets suggest
    "cache_write": "inputwcachewrite",
    "input": "inputwocachewrite",
    "cache_read": "cacheread",
    "output": "outputtokens",
}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+")
_NOON_US = 12 * 3_600_000_000


class _Row(msgspec.Struct):
    """One row of the export that counts something."""

    line: bytes
    place: int
    """How many equal lines stand before it."""
    timestamp_us: int
    hours: range
    """Hours that its date may mean; none where it has no date of its own."""
    identity: str
    fields: dict[str, str]
    counters: Counters
    flags: list[str]


class ExportReader:
    """Reads an export and adds the rows that earlier readings of it did not show."""

    def __init__(self, file: SourceFile, carry: bytes | None, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self._memory = Memory.of(carry)
        self._seen: Counter[str] = Counter()
        self._lines: Counter[bytes] = Counter()

    def carry(self) -> bytes:
        """The rows seen so far."""
        return self._memory.encode()

    def read(self, data: bytes) -> None:
        """Adds what is new."""
        rows = self._rows(text_lines(data), ended=data.endswith(b"\n"))
        known = sorted({hour for row in rows for hour in row.hours})
        told: set[int] = set()
        for row in rows:
            if self._memory.is_news(row.identity, row.line):
                covered = _covered(row.hours, known) - told
                told |= covered
                self._sink.records.append(self._record(row, covered))

    # ---------------------------------------------------------------- rows

    def _rows(self, lines: list[bytes], *, ended: bool) -> list[_Row]:
        columns: dict[str, int] | None = None
        width = 0
        found: list[_Row] = []
        last = len(lines) - 1
        for number, line in enumerate(lines):
            place = self._lines[line]
            self._lines[line] += 1
            if not line.strip():
                if number < last:
                    self._sink.skipped["blank"] += 1
                continue
            flags: list[str] = []
            fields = _fields(line, flags)
            unfinished = number == last and not ended
            header = _columns(fields) if fields else None
            if fields is None or (len(fields) < width and header is None):
                if unfinished:
                    self._sink.skipped["unfinished_last_line"] += 1
                else:
                    self._sink.quarantine(line, 0, "invalid_csv")
                continue
            if header is not None:  # also where exports were joined to one file
                columns, width = header, len(fields)
                missing = [name for name in _COUNTERS.values() if name not in header]
                if missing:
                    self._sink.problems.append(f"the export has no column {', '.join(missing)}; it counts as 0")
                continue
            if columns is None:
                self._sink.quarantine(line, 0, "unknown_header")
                self._sink.problems.append("this is no usage export of Cursor: it does not begin with its columns")
                break
            row = self._row(line, place, columns, width, fields, flags)
            if row is not None:
                found.append(row)
        return found

    def _row(
        self, line: bytes, place: int, columns: dict[str, int], width: int, fields: list[str], flags: list[str]
    ) -> _Row | None:
        named = {name: fields[at].strip() for name, at in columns.items()}
        counters = Counters(
            input_tokens=_count(named, "input", flags),
            output_tokens=_count(named, "output", flags),
            cache_write_tokens=_count(named, "cache_write", flags),
            cache_read_tokens=_count(named, "cache_read", flags),
        )
        if counters.total == 0:
            self._sink.skipped["zero_usage"] += 1
            return None
        if len(fields) > width:  # a cost such as $1,234.56 without quotes
            flags.append("fields_above_header")
            named.pop("cost", None)
            named.pop("costtoyou", None)
        total = named.get("totaltokens", "")
        if total and _number(total) != counters.total:
            flags.append("total_disagrees")
        timestamp_us, hours = self._time(named.get("date", ""), flags)
        shown = named["date"] if not hours else timestamp_us
        key = json.dumps([shown, named.get("model"), *msgspec.structs.astuple(counters)[:4]])
        identity = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
        same = self._seen[identity]
        self._seen[identity] += 1
        return _Row(line, place, timestamp_us, hours, f"{identity}-{same}", named, counters, flags)

    def _time(self, shown: str, flags: list[str]) -> tuple[int, range]:
        before = len(flags)
        time = dated(self._file, self._sink, flags, shown)
        hour, odd = cursor_hours.hour_of(time), len(flags) > before
        hours = 1
        if _DAY.fullmatch(shown) and "timestamp_from_file" not in flags:
            # noon: the day stays the same in nearly every zone
            flags.append("time_of_day_missing")
            time, hours = time + _NOON_US, 24
        return time, range(hour, hour + (0 if odd else hours))

    def _record(self, row: _Row, covered: set[int]) -> UsageRecord:
        named, counters = row.fields, row.counters
        evidence = line_evidence(row.line, row.place)
        model = values.text(named.get("model"))
        if model is None:
            row.flags.append("model_missing")
        kind = named.get("kind", "").lower()
        return UsageRecord(
            **evidence.placed(self._sink),
            timestamp_us=row.timestamp_us,
            session_id=SESSION,
            model_raw=model,
            counters=counters,
            message_id=row.identity,
            reported_cost_nano=_cost(named.get("cost") or named.get("costtoyou") or ""),
            flags=tuple(dict.fromkeys(row.flags)),
            raw_usage=_usage(named, counters),
            links=cursor_hours.names(cursor_hours.EXPORT, covered),
            status="error" if "errored" in kind or "aborted" in kind else None,
            account_hash=_account(named.get("user", "")),
            billing_kind=_billing(kind),
        )


def _fields(line: bytes, flags: list[str]) -> list[str] | None:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text = line.decode("utf-8", "replace")
        flags.append("invalid_utf8")
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration):
        return None


def _columns(fields: list[str]) -> dict[str, int] | None:
    """Places of the columns by name, or None where this is no header."""
    found: dict[str, int] = {}
    for at, name in enumerate(fields):
        found.setdefault(re.sub(r"[^a-z]", "", name.lower()), at)
    if "date" not in found or not any(name in found for name in _COUNTERS.values()):
        return None
    return found


def _number(text: str) -> int | None:
    plain = text.replace(",", "") if _GROUPED.fullmatch(text) else text
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 20 else None


def _count(named: dict[str, str], name: str, flags: list[str]) -> int:
    text = named.get(_COUNTERS[name], "")
    if not text:
        return 0
    number = _number(text)
    return values.count(text if number is None else number, flags.append)


def _cost(text: str) -> int | None:
    """Nano-USD of ``0.19``, ``$0.10`` or ``$1,234.56``; None for words, NaN and nothing."""
    try:
        cost = Decimal(text.removeprefix("$").replace(",", ""))
    except InvalidOperation:
        return None
    return values.cost_nano(float(cost))


def _billing(kind: str) -> str | None:
    if "included" in kind:
        return "included"
    if "on-demand" in kind or "usage-based" in kind:
        return "overage"
    return "api" if "api key" in kind else None


def _account(user: str) -> str | None:
    if not user:
        return None
    return hashlib.blake2b(b"cursor\x00" + user.lower().encode("utf-8", "replace"), digest_size=16).hexdigest()


def _usage(named: dict[str, str], counters: Counters) -> str:
    told = {
        "input_with_cache_write": counters.cache_write_tokens,
        "input_without_cache_write": counters.input_tokens,
        "cache_read": counters.cache_read_tokens,
        "output_tokens": counters.output_tokens,
        "total_tokens": _number(named.get("totaltokens", "")),
        "max_mode": {"yes": True, "no": False}.get(named.get("maxmode", "").lower()),
    }
    return json.dumps(told, separators=(",", ":"))


def _covered(own: range, known: list[int]) -> set[int]:
    """The row's own hours, and those between it and its neighbours in time."""
    if not own:
        return set()
    before = known[max(0, bisect_left(known, own[0]) - 1)]
    after = known[min(len(known) - 1, bisect_right(known, own[-1]))]
    return {*own, *cursor_hours.stretch(before, own[0]), *_onward(own[-1], after)}


def _onward(hour: int, after: int) -> range:
    return range(hour, after + 1) if after - hour <= cursor_hours.BRIDGED else range(0)
