"""What a report is about: the period and the filters, and the sums by day, session and model that match.

Here: reading matching sums from the manifest, from days where the zone allows and else from quarter hours, which no
zone's day or hour cuts.  Not here: how they are grouped and shown (``usage.report``).  Light: see ``cli.warm``.
"""

from __future__ import annotations

import sqlite3
from datetime import date
from functools import cache

from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.ingest.meta import get_meta
from tokenledger_dagster.quarters import SLOT_US

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from tokenledger_dagster.ingest.zones import Zone

    AtomCosts = Mapping[tuple[int, int, int, int], Any]
    """Effective cost by slot, session, model and whether estimated (``usage.effective``)."""
    Part = tuple[int, "SessionDim", "ModelDim", Sequence[int]]
    """Local day (days since 1970) or the block's start (microseconds UTC), session, model, and the sums of both within
    it in the order of ``_SUMS`` (tokens, nano-USD)."""

_EPOCH = date(1970, 1, 1).toordinal()
BLOCK_US = 5 * 3_600_000_000
_HOUR_US = 3_600_000_000
_SUMS = (
    "event_count, input_tokens, output_tokens, cache_write_tokens, cache_read_tokens, tool_input_tokens, "
    "tool_output_tokens, cache_write_1h_tokens, reasoning_tokens, web_search_requests, list_price_nano, "
    "unpriced_count, unpriced_tokens, is_estimated * (input_tokens + output_tokens + cache_write_tokens + "
    "cache_read_tokens + tool_input_tokens + tool_output_tokens), list_price_nano, 0, unpriced_count"
)
"""The last three are variable cost, share of a plan's fee and requests without any cost, while no plan is declared."""
_OWN_COSTS = 3
_FILTERS = ("since", "until", "clients", "models", "projects", "sessions", "estimates")
"""In the order in which a report names them."""


class Selection:
    """Filters of a report; days are local dates of ``zone``, both ends included."""

    __slots__ = ("clients", "estimates", "models", "projects", "sessions", "since", "until", "zone")

    def __init__(
        self,
        *,
        zone: str = "UTC",
        since: str | None = None,
        until: str | None = None,
        clients: tuple[str, ...] = (),
        models: tuple[str, ...] = (),
        projects: tuple[str, ...] = (),
        sessions: tuple[str, ...] = (),
        estimates: bool = True,
    ) -> None:
        """``models`` are canonical or raw names; ``projects`` project folders, or the last part of one."""
        self.zone = zone
        self.since = since
        self.until = until
        self.clients = clients
        self.models = models
        self.projects = projects
        self.sessions = sessions
        self.estimates = estimates

    def matches(self, session: SessionDim, model: ModelDim, day: int, estimated: bool) -> bool:
        """Whether usage of a session and model on a local day (since 1970) belongs to the selection."""
        return (
            (self.since is None or day >= day_number(self.since, "--since"))
            and (self.until is None or day <= day_number(self.until, "--until"))
            and _session_matches(session, self)
            and _model_matches(model, self)
            and (self.estimates or not estimated)
        )

    @property
    def is_of_time_alone(self) -> bool:
        """Whether it names nothing but a period, so that fees that no request carries belong to it."""
        return self.filters().keys() <= {"since", "until"}

    def filters(self) -> dict[str, object]:
        """The filters in force, for a report's own record."""
        found = {name: getattr(self, name) for name in _FILTERS}
        return {name: value for name, value in found.items() if value not in (None, (), True)}


class ModelDim:
    """A model as cells name it."""

    __slots__ = ("client", "model", "model_raw", "provider")

    def __init__(self, client: str, model_raw: str | None, model: str, provider: str) -> None:
        self.client = client
        self.model_raw = model_raw
        self.model = model
        self.provider = provider


class SessionDim:
    """A session as cells name it; one object per session."""

    __slots__ = ("client", "project", "session_id")

    def __init__(self, client: str, session_id: str, project: str | None) -> None:
        self.client = client
        self.session_id = session_id
        self.project = project


def day_number(text: str, option: str) -> int:
    """Days since 1970 of an ISO date.  Raises UsageError naming the option."""
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH
    except ValueError as error:
        raise UsageError(f"{option} {text}: not a date; write it as 2026-02-18") from error


@cache
def iso_day(day: int) -> str:
    """ISO date of days since 1970; days beyond the calendar are held at its ends."""
    return as_date(day).isoformat()


def as_date(day: int) -> date:
    """Date of days since 1970."""
    return date.fromordinal(min(max(day + _EPOCH, 1), date.max.toordinal()))


def month_days(month: str) -> tuple[str, str]:
    """First and last day of a month, YYYY-MM-DD.  Raises UsageError."""
    try:
        first = date.fromisoformat(f"{month}-01")
        # the 28th is in every month, and four days later is the next
        following = date.fromordinal(first.replace(day=28).toordinal() + 4).replace(day=1)
        last = date.fromordinal(following.toordinal() - 1)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--month {month}: no such month; write YYYY-MM") from error
    return first.isoformat(), last.isoformat()


def parts(
    connection: sqlite3.Connection, selection: Selection, *, blocks: bool = False, costs: AtomCosts | None = None
) -> Iterator[Part]:
    """Everything that matches, by day (or 5-hour block), session and model.

    ``costs``: effective costs where plans are declared; they are known by quarter hour only.
    """
    sessions = {
        number: SessionDim(client, name, project)
        for number, client, name, project in connection.execute(
            "SELECT session_no, client, session_id, project FROM sessions"
        )
    }
    models = _models(connection)
    since = day_number(selection.since, "--since") if selection.since else None
    until = day_number(selection.until, "--until") if selection.until else None
    if costs is None and not blocks and get_meta(connection, "zone") == selection.zone:
        rows: Iterator[tuple[int, ...]] = connection.execute(
            f"SELECT day, day, session_no, model_no, is_estimated, {_SUMS} FROM cells ORDER BY day"
        )
    else:
        from tokenledger_dagster.ingest.zones import Zone

        rows = _from_slots(connection, Zone(selection.zone), blocks, costs)
    if not selection.filters():
        for at, _, session_no, model_no, _, *sums in rows:
            yield at, sessions[session_no], models[model_no], sums
        return
    kept_sessions = {number for number, one in sessions.items() if _session_matches(one, selection)}
    kept_models = {number for number, one in models.items() if _model_matches(one, selection)}
    for at, day, session_no, model_no, estimated, *sums in rows:
        if (
            (since is None or day >= since)
            and (until is None or day <= until)
            and session_no in kept_sessions
            and model_no in kept_models
            and (selection.estimates or not estimated)
        ):
            yield at, sessions[session_no], models[model_no], sums


class DaySums:
    """What the cells say of a selection that names no session or project, added up by SQLite.

    On tens of thousands of small sessions this is several times faster than ``parts``.
    """

    def __init__(self, connection: sqlite3.Connection, selection: Selection) -> None:
        self._db = connection
        self._models = {
            number: one
            for number, one in _models(connection).items()
            if _model_matches(one, selection) and (not selection.clients or one.client in selection.clients)
        }
        self._where = f"FROM cells WHERE model_no IN ({_listed(self._models)})"
        if selection.since:
            self._where += f" AND day >= {day_number(selection.since, '--since')}"
        if selection.until:
            self._where += f" AND day <= {day_number(selection.until, '--until')}"
        if not selection.estimates:
            self._where += " AND NOT is_estimated"

    @staticmethod
    def answer(connection: sqlite3.Connection, selection: Selection) -> bool:
        """Whether they answer the selection."""
        return not selection.sessions and not selection.projects and get_meta(connection, "zone") == selection.zone

    def sums(self) -> Iterator[tuple[int, int, ModelDim, Sequence[int]]]:
        """Everything that matches by day and model: day, model's number, model, sums in the order of ``_SUMS``."""
        columns = ", ".join([f"sum({sum_})" for sum_ in _SUMS.split(", ")])
        query = f"SELECT day, model_no, {columns} {self._where} GROUP BY day, model_no ORDER BY day"
        for day, model_no, *found in self._db.execute(query):
            yield day, model_no, self._models[model_no], found

    def sessions(self) -> int:
        """How many sessions match."""
        return int(self._db.execute(f"SELECT count(DISTINCT session_no) {self._where}").fetchone()[0])

    def sessions_by(self, column: str) -> dict[int, int]:
        """How many match by value of ``day`` or ``model_no``."""
        query = f"SELECT {column}, count(DISTINCT session_no) {self._where} GROUP BY {column}"
        return dict(self._db.execute(query).fetchall())

    def sessions_in(self, column: str, values: Iterable[int]) -> int:
        """How many match in any of several values of ``day`` or ``model_no``."""
        query = f"SELECT count(DISTINCT session_no) {self._where} AND {column} IN ({_listed(values)})"
        return int(self._db.execute(query).fetchone()[0])


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))


def _models(connection: sqlite3.Connection) -> dict[int, ModelDim]:
    query = "SELECT model_no, client, model_raw, model, provider FROM models"
    return {number: ModelDim(*row) for number, *row in connection.execute(query)}


def _session_matches(session: SessionDim, selection: Selection) -> bool:
    if selection.clients and session.client not in selection.clients:
        return False
    if selection.sessions and session.session_id not in selection.sessions:
        return False
    if not selection.projects:
        return True
    project = session.project or "unknown"
    return (
        project in selection.projects
        or project.rstrip("/\\").replace("\\", "/").rpartition("/")[2] in selection.projects
    )


def _model_matches(model: ModelDim, selection: Selection) -> bool:
    return not selection.models or model.model in selection.models or model.model_raw in selection.models


def _from_slots(
    connection: sqlite3.Connection, zone: Zone, blocks: bool, costs: AtomCosts | None
) -> Iterator[tuple[int, ...]]:
    """Quarter hours as rows: (day or block start, day, session, model, estimated, sums...)."""
    query = f"SELECT slot * {SLOT_US}, session_no, model_no, is_estimated, {_SUMS} FROM slots ORDER BY slot"
    for start, (at_us, *rest) in block_starts(connection.execute(query)):
        day = zone.day(at_us)
        if costs is not None:
            cost = costs[at_us // SLOT_US, rest[0], rest[1], rest[2]]
            rest[-_OWN_COSTS:] = (cost.variable_nano, cost.allocated_nano, cost.uncosted_count)
        yield (start if blocks else day, day, *rest)


def block_starts(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Rows in order of time (their first column, microseconds UTC), each with the start of its 5-hour block.

    Events may be told by the quarter hour they lie in: blocks begin and end on full hours.

    A block opens at the full hour (UTC) of the first event after the one before has ended, whatever is filtered.
    """
    start, end = 0, -(2**62)
    for row in rows:
        if row[0] >= end:
            start = row[0] // _HOUR_US * _HOUR_US
            end = start + BLOCK_US
        yield start, row
