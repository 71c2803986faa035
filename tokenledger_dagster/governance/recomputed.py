"""Totals of booked events, worked out once more from the lines of `tokenledger events`, in pandas.

Here: reading the lines, the day, week, month and 5-hour block of each event as the contract words them, and sums.  Not
here: what is compared with what (``governance.claims``), and any code of the tables themselves (``exports``): a mistake
made there must not be made here too.

The lines are read in batches, and what is kept of them is one row per day, block, session, project and model: memory
follows the variety of the usage and not the number of requests.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

COUNTERS = (
    *("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens"),
    *("tool_input_tokens", "tool_output_tokens"),
)
_PARTS = ("cache_write_1h_tokens", "reasoning_tokens", "web_search_requests")
_SUMMED = (
    *(*COUNTERS, "total_tokens", *_PARTS, "list_price_usd", "effective_cost_usd"),
    *("unpriced_tokens", "unpriced_count", "event_count", "estimated_tokens"),
)
FIGURES = (*_SUMMED, "session_count")
"""What is known of any selection; money is whole nano-USD."""
MONEY = ("list_price_usd", "effective_cost_usd")

_NAMES = ("client", "provider", "maker", "model", "session_id", "project")
_HOUR_US = 3_600_000_000
_BLOCK_US = 5 * _HOUR_US
_MINUTE_US = 60_000_000
_BATCH_LINES = 20_000
_FOLD_ROWS = 500_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_SUM = 2**62
_ALL = "everything"


class ExportError(Exception):
    """The lines cannot be summed: they are no events, or not in the order of time that the contract promises."""


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    tool_input_tokens: int
    tool_output_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    web_search_requests: int


class _Event(msgspec.Struct):
    """What is read of a line; the rest of it is left aside."""

    event_id: str
    timestamp: str
    client: str
    provider: str
    model: str
    session_id: str
    usage: _Usage
    is_estimated: bool
    maker: str | None = None
    project: str | None = None
    list_price_usd: Decimal | None = None


class Lines(io.RawIOBase):
    """A file for the writer of events; ``close`` it to have the last lines counted."""

    def __init__(self, zones: Sequence[str], costs: Iterator[tuple[str, int | None]] | None = None) -> None:
        """Prepares to sum.

        Args:
            zones: IANA names of the zones in which days are wanted.
            costs: id and effective cost (nano-USD) of every event in the order of the lines; None where an event costs
                its list price.
        """
        super().__init__()
        self._zones = {name: ZoneInfo(name) for name in zones}
        self._costs = costs
        self._decoder = msgspec.json.Decoder(list[_Event])
        self._pending: list[bytes] = []
        self._codes: dict[str, dict[str | None, int]] = {name: {} for name in _NAMES}
        self._parts: list[pd.DataFrame] = []
        self._latest: int | None = None
        self._block = -(2**63)

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Takes one line.  Raises ExportError."""
        self._pending.append(bytes(data))
        if len(self._pending) >= _BATCH_LINES:
            self._take()
        return len(data)

    def totals(self) -> Totals:
        """The sums of all lines so far.  Raises ExportError."""
        self._take()
        if self._costs is not None and next(self._costs, None) is not None:
            raise ExportError("there are costs of events that the export does not hold")
        names = {name: list(codes) for name, codes in self._codes.items()}
        return Totals(_folded(self._parts, self._keys), names)

    @property
    def _keys(self) -> list[str]:
        return [*_NAMES, "block", *self._zones]

    def _take(self) -> None:
        if not self._pending:
            return
        try:
            events = self._decoder.decode(b"[" + b",".join(self._pending) + b"]")
        except msgspec.DecodeError as error:
            raise ExportError(f"a line is no event ({error})") from error
        self._pending.clear()
        self._parts.append(_folded([self._frame(events)], self._keys))
        if sum(map(len, self._parts)) > _FOLD_ROWS:
            self._parts = [_folded(self._parts, self._keys)]

    def _frame(self, events: list[_Event]) -> pd.DataFrame:
        """One row per event: keys as numbers, figures as integers."""
        import numpy as np
        import pandas as pd

        found: dict[str, Any] = {}
        for name in _NAMES:
            codes = self._codes[name]
            found[name] = [codes.setdefault(getattr(event, name), len(codes)) for event in events]
        usages = [event.usage for event in events]
        for name in (*COUNTERS, *_PARTS):
            found[name] = np.array([getattr(usage, name) for usage in usages], dtype=np.int64)
        total = sum(found[name] for name in COUNTERS)
        nano = [None if event.list_price_usd is None else _nano(event.list_price_usd) for event in events]
        unpriced = np.array([value is None for value in nano])
        listed = np.array([value or 0 for value in nano], dtype=np.int64)
        moments = np.array([event.timestamp.removesuffix("Z") for event in events], dtype="datetime64[us]")
        times = moments.astype(np.int64)
        frame = pd.DataFrame(
            {
                **found,
                "total_tokens": total,
                "list_price_usd": listed,
                "effective_cost_usd": listed if self._costs is None else self._effective(events),
                "unpriced_tokens": np.where(unpriced, total, 0),
                "unpriced_count": unpriced.astype(np.int64),
                "event_count": 1,
                "estimated_tokens": np.where([event.is_estimated for event in events], total, 0),
                "block": self._blocks(times),
                "first_time": times,
                "last_time": times,
            }
        )
        minutes, places = np.unique(times // _MINUTE_US, return_inverse=True)
        for name, zone in self._zones.items():
            frame[name] = np.array([_local_day(minute, zone) for minute in minutes.tolist()], dtype=np.int64)[places]
        return frame

    def _effective(self, events: list[_Event]) -> list[int]:
        """Effective costs, event by event: a cost that is missing or of another event is no cost of this one."""
        assert self._costs is not None
        found = []
        for event in events:
            event_id, nano = next(self._costs, ("", None))
            if event_id != event.event_id:
                raise ExportError(f"event {event.event_id} has no cost where its cost should stand")
            found.append(nano or 0)
        return found

    def _blocks(self, times: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Start of the block of each event: the full hour of the first event after the previous block's end."""
        import numpy as np

        if bool((np.diff(times) < 0).any()) or (self._latest is not None and times[0] < self._latest):
            raise ExportError("the events are not in order of time")
        self._latest = int(times[-1])
        starts, at = np.empty_like(times), 0
        while at < len(times):
            if times[at] >= self._block + _BLOCK_US:
                self._block = int(times[at]) // _HOUR_US * _HOUR_US
            end = int(np.searchsorted(times, self._block + _BLOCK_US, side="left"))
            starts[at:end] = self._block
            at = end
        return starts


class Totals:
    """Sums of events by whatever tells them apart."""

    def __init__(self, atoms: pd.DataFrame, names: dict[str, list[str | None]]) -> None:
        """Takes one row per day, block, session, project and model, and what the numbers in it stand for."""
        self._atoms = atoms
        self._names = names

    def by(self, keys: Sequence[str], zone: str, *, month: str | None = None) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Figures by key.

        Args:
            keys: any of client, provider, maker, model, session_id, project; day, week, week_start, month and timezone
                of ``zone``; block_start, block_end.
            zone: one of the zones that were asked for.
            month: only this month of ``zone``, as 2026-02.

        Returns:
            Values of ``keys`` as tables hold them -> ``FIGURES``, first_time and last_time (naive UTC), and models.
        """
        atoms = self._selected(zone, month)
        if not len(atoms):
            return {}
        # a zone tells nothing apart
        column_of = {key: self._column(atoms, key, zone) for key in keys if key != "timezone"}
        columns = list(dict.fromkeys(column_of.values()))
        if not columns:  # everything is one group
            atoms, columns = atoms.assign(**{_ALL: 0}), [_ALL]
        summed = _folded([atoms], columns)
        sessions = self._distinct(atoms, columns, ["client", "session_id"])
        counts = Counter(_tuples(sessions, columns))
        pairs = self._distinct(atoms, columns, ["model"])
        models: dict[tuple[Any, ...], list[str]] = {}
        for group, code in zip(_tuples(pairs, columns), pairs["model"].tolist(), strict=True):
            models.setdefault(group, []).append(str(self._names["model"][code]))
        figures = _tuples(summed, [*_SUMMED, "first_time", "last_time"])
        found = {}
        for group, (*sums, first, last) in zip(_tuples(summed, columns), figures, strict=True):
            values = dict(zip(columns, group, strict=True))
            told = {name: self._value(name, values[column]) for name, column in column_of.items()}
            found[tuple(told.get(name, zone) for name in keys)] = {
                **{name: int(value) for name, value in zip(_SUMMED, sums, strict=True)},
                "session_count": counts[group],
                "first_time": _moment(first),
                "last_time": _moment(last),
                "models": sorted(models[group]),
            }
        return found

    def _selected(self, zone: str, month: str | None) -> pd.DataFrame:
        if month is None or not len(self._atoms):
            return self._atoms
        wanted = {day for day in self._atoms[zone].unique().tolist() if _month(day) == month}
        return self._atoms[self._atoms[zone].isin(wanted)]

    @staticmethod
    def _distinct(atoms: pd.DataFrame, columns: list[str], also: list[str]) -> pd.DataFrame:
        return atoms[list(dict.fromkeys([*columns, *also]))].drop_duplicates()

    @staticmethod
    def _column(atoms: pd.DataFrame, key: str, zone: str) -> str:
        """Column by which a key is grouped; weeks and months are made of days where they are first asked for."""
        if key in _NAMES:
            return key
        if key in ("block_start", "block_end"):
            return "block"
        if key in _OF_DAY:
            column = f"{zone} {key}"
            if column not in atoms:
                days = {day: _OF_DAY[key](day) for day in atoms[zone].unique().tolist()}
                atoms[column] = atoms[zone].map(days)
            return column
        return zone

    def _value(self, key: str, value: Any) -> Any:
        if key in _NAMES:
            return self._names[key][value]
        if key in ("block_start", "block_end"):
            return _moment(value + (_BLOCK_US if key == "block_end" else 0))
        return date.fromordinal(value) if key == "day" else value


def local_days(minutes: Iterable[datetime], zone: str) -> dict[datetime, date]:
    """Local date of every minute (naive UTC) in an IANA zone."""
    place = ZoneInfo(zone)
    days = {
        minute: _local_day((minute.replace(tzinfo=UTC) - _EPOCH) // timedelta(minutes=1), place) for minute in minutes
    }
    return {minute: date.fromordinal(day) for minute, day in days.items()}


def _folded(parts: Iterable[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """One row per distinct key, figures summed."""
    import pandas as pd

    columns = list(dict.fromkeys(keys))
    frames = list(parts)
    if not frames:
        return pd.DataFrame(columns=[*columns, *_SUMMED, "first_time", "last_time"])
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    # int64 wraps without a word; Python's integers do not
    wide = [one for one in _SUMMED if frame[one].dtype != object and int(frame[one].max()) * len(frame) > _LARGEST_SUM]
    frame = frame.astype(dict.fromkeys(wide, object)) if wide else frame
    grouped = frame.groupby(columns, sort=False)
    summed = grouped[list(_SUMMED)].sum()
    summed["first_time"] = grouped["first_time"].min()
    summed["last_time"] = grouped["last_time"].max()
    return summed.reset_index()


def _tuples(frame: pd.DataFrame, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(frame[column].tolist() for column in columns), strict=True))


def _nano(usd: Decimal) -> int:
    return int(usd.scaleb(9))


def _moment(us: int) -> datetime:
    return _EPOCH.replace(tzinfo=None) + timedelta(microseconds=int(us))


def _local_day(minute: int, zone: ZoneInfo) -> int:
    """Ordinal of the local date, minutes since 1970; the calendar's first and last days are taken as UTC's."""
    moment = _EPOCH + timedelta(minutes=minute)
    try:
        return moment.astimezone(zone).toordinal()
    except OverflowError:
        return moment.toordinal()


def _week(day: int) -> str:
    year, week, _ = date.fromordinal(day).isocalendar()
    return f"{year:04}-W{week:02}"


def _monday(day: int) -> date:
    return date.fromordinal(day - date.fromordinal(day).weekday())


def _month(day: int) -> str:
    return date.fromordinal(day).isoformat()[:7]


_OF_DAY = {"week": _week, "week_start": _monday, "month": _month}
