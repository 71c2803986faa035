"""Days of a time zone, cut from UTC microseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import World, claude, us
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.ingest.zones import Zone, system_zone


def day(zone: str, text: str) -> str:
    return date.fromordinal(Zone(zone).day(us(text)) + date(1970, 1, 1).toordinal()).isoformat()


@pytest.mark.parametrize(
    ("zone", "instant", "local_day"),
    [
        ("UTC", "2026-02-18T23:59:59.999+00:00", "2026-02-18"),
        ("UTC", "2026-02-19T00:00:00+00:00", "2026-02-19"),
        ("Asia/Kathmandu", "2026-02-18T18:14:59+00:00", "2026-02-18"),
        ("Asia/Kathmandu", "2026-02-18T18:15:00+00:00", "2026-02-19"),
        ("America/New_York", "2026-03-08T04:59:59+00:00", "2026-03-07"),
        ("America/New_York", "2026-03-08T05:00:00+00:00", "2026-03-08"),
        ("America/New_York", "2026-03-09T03:59:59+00:00", "2026-03-08"),
        ("America/New_York", "2026-03-09T04:00:00+00:00", "2026-03-09"),
        ("America/New_York", "2026-11-02T04:59:59+00:00", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-04-04T13:00:00+00:00", "2026-04-05"),
        ("UTC", "1969-12-31T23:59:59+00:00", "1969-12-31"),
    ],
)
def test_a_day_starts_at_local_midnight(zone: str, instant: str, local_day: str) -> None:
    assert day(zone, instant) == local_day


@given(
    st.sampled_from(["Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "Europe/Dublin"]),
    st.integers(us("2000-01-01T00:00:00+00:00"), us("2037-12-31T00:00:00+00:00")),
)
def test_a_day_is_the_time_zone_databases_own(zone: str, instant: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    local = moment.astimezone(ZoneInfo(zone)).date()

    assert Zone(zone).day(instant) == local.toordinal() - date(1970, 1, 1).toordinal()


def test_times_beyond_the_calendar_have_days_too() -> None:
    assert Zone("Europe/Berlin").day(2**62) > 0
    assert Zone("Europe/Berlin").day(-(2**62)) < 0


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "UTC+25"])
def test_an_unknown_zone_names_the_remedy(name: str) -> None:
    with pytest.raises(UsageError, match="IANA name"):
        Zone(name)


@pytest.mark.parametrize(
    ("environ", "name"),
    [({"TZ": "Europe/Berlin"}, "Europe/Berlin"), ({"TZ": ":UTC"}, "UTC"), ({"TZ": "nonsense"}, "UTC")],
)
def test_the_systems_zone_comes_from_tz(environ: dict[str, str], name: str) -> None:
    assert system_zone(environ) == name


def test_a_change_of_zone_cuts_the_cells_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(claude("m1", timestamp="2026-02-18T20:00:00Z"), claude("m2", timestamp="2026-02-18T12:00:00Z"))
    world.sync(zone="UTC")
    utc = [(cell[0], cell[5]) for cell in world.cells()]
    world.sync(zone="Asia/Kathmandu")
    nepal = [(cell[0], cell[5]) for cell in world.cells()]
    world.sync(zone="UTC")

    assert utc == [(20_502, 2)]
    assert nepal == [(20_502, 1), (20_503, 1)]
    assert [(cell[0], cell[5]) for cell in world.cells()] == utc
