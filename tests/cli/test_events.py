from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from tests.cli.conftest import Run
from tests.support import World

USAGE = {
    "input_tokens",
    "output_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "tool_input_tokens",
    "tool_output_tokens",
}


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_a_contract_event(run: Run) -> None:
    found = lines(run("events").out)

    assert len(found) == 4
    assert len({event["event_id"] for event in found}) == 4
    for event in found:
        assert {"schema_version", "provider", "model", "session_id", "timestamp", "usage"} <= set(event)
        assert event["schema_version"] == 1
        assert set(event["usage"]) >= USAGE
        assert str(event["timestamp"]).endswith("Z")


def test_an_event_carries_its_evidence(world: World, run: Run) -> None:
    event = lines(run("events", "--client", "claude").out)[0]
    data = Path(str(event["source_path"])).read_bytes()
    place = event["locator"]

    assert data[place["byte_offset"] :].startswith(b'{"type":"assistant"')
    assert len(str(event["record_sha256"])) == 64


def test_events_are_those_of_the_report(run: Run) -> None:
    for filters in (
        [],
        ["--client", "codex"],
        ["--since", "2026-02-19"],
        ["--model", "gpt-5.4"],
        ["--tz", "Asia/Kathmandu"],
    ):
        events = lines(run("events", *filters).out)
        totals = run("report", "daily", *filters, "--format", "json").json["totals"]

        assert len(events) == totals["event_count"]
        assert sum(event["usage"][name] for event in events for name in USAGE) == totals["total_tokens"]


def test_duplicates_name_their_rule_and_owner(world: World, run: Run) -> None:
    (duplicate,) = lines(run("duplicates").out)
    (owner,) = [event.event_id for event in world.events() if event.copies]

    assert (duplicate["rule"], duplicate["owner_event_id"]) == ("claude.stream_copy", owner)


@pytest.mark.parametrize("command", ["events", "duplicates"])
def test_nothing_found_is_3(run: Run, command: str) -> None:
    assert run(command, "--since", "2030-01-01").code == 3


def test_csv_has_a_header_and_a_row_an_event(run: Run) -> None:
    assert len(run("events", "--format", "csv").out.splitlines()) == 5


def test_parquet_needs_a_file(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "events.parquet"

    assert run("events", "--format", "parquet").code == 2
    assert run("events", "--format", "parquet", "--output", str(target)).code == 0
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT count(*) FROM '{target}'").fetchone() == (4,)


def test_a_file_is_written_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "events.jsonl"
    found = run("events", "--output", str(target))

    assert found.out == ""
    assert "wrote 4 rows" in found.err
    assert len(target.read_text().splitlines()) == 4
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []
