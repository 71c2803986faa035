"""`tokenledger orchestrate`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tokenledger_dagster.cli.main import main

pytestmark = pytest.mark.usefixtures("ledger", "elsewhere")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that is no checkout, so that nothing is recorded in ours."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def test_one_run_tells_and_writes_all_that_was_asked(
    capfd: pytest.CaptureFixture[str], ledger: Path, tmp_path: Path
) -> None:
    snapshot, summary, events = tmp_path / "here" / "ui.json", tmp_path / "there" / "summary.json", tmp_path / "e.jsonl"
    sent = ["--ui-snapshot-path", str(snapshot), "--pipeline-summary-path", str(summary), "--events-out", str(events)]

    code = main(["orchestrate", "--format", "json", "--month", "2026-09", "--snapshot-mode", "extended", *sent])

    out, err = capfd.readouterr()
    # the summary is one JSON document, in the home too
    assert (code, err.count("Traceback")) == (0, 0), err
    assert json.loads(out) == json.loads((ledger / "orchestrate-latest-summary.json").read_text())
    assert json.loads(out)["checks"]["failed_names"] == []
    # progress is a line per asset, and nothing of Dagster's own
    lines = err.splitlines()
    booked = [line.split() for line in lines if line.startswith("events/booked")]
    assert [line[:3] for line in booked] == [["events/booked", "95", "rows"]]
    assert not any("dagster" in line for line in lines)
    # artifacts go where they are sent
    made = json.loads(snapshot.read_text())
    assert (made["month"], made["mode"]) == ("2026-09", "extended")
    assert json.loads(summary.read_text())["ui_snapshot_path"] == str(snapshot)
    assert len(events.read_bytes().splitlines()) == 95


def test_failed_check_is_named(capfd: pytest.CaptureFixture[str], ledger: Path) -> None:
    with sqlite3.connect(ledger / "lake" / "manifest.sqlite") as manifest:
        manifest.execute("UPDATE events SET input_tokens = -5 WHERE event_no = 1")
    manifest.close()

    code = main(["orchestrate", "--format", "json"])

    out, err = capfd.readouterr()
    assert code == 1
    assert "check failed: events/booked: counters_non_negative" in err
    assert "events/booked: counters_non_negative" in json.loads(out)["checks"]["failed_names"]


def test_usage_without_a_price_fails_only_where_asked(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["orchestrate"]) == 0
    assert main(["orchestrate", "--on-unpriced", "error"]) == 1
    assert "pricing/unpriced: unpriced_share" in capfd.readouterr().err


def test_skipped_stages_are_not_run(capfd: pytest.CaptureFixture[str]) -> None:
    stages = ("sources", "events", "pricing", "usage", "reconcile", "ledger")
    code = main(["orchestrate", *(part for stage in stages for part in ("--skip", stage))])

    err = capfd.readouterr().err
    assert code == 0
    assert {line.split("/")[0] for line in err.splitlines() if "/" in line} == {"exports"}


@pytest.mark.slow
def test_only_the_clients_asked_for_are_read(capfd: pytest.CaptureFixture[str]) -> None:
    main(["orchestrate", "--providers", "codex", "--format", "json"])

    out, err = capfd.readouterr()
    assert "events/codex" in err
    assert "events/claude" not in err
    assert set(json.loads(out)["ingest"]["providers"]) <= {"codex"}


@pytest.mark.slow
def test_events_are_limited_as_asked(tmp_path: Path) -> None:
    limits = ["--since", "2026-10-01", "--providers", "codex", "--limit", "3"]
    main(["orchestrate", "--events-out", str(tmp_path / "some.jsonl"), *limits])

    some = [json.loads(line) for line in (tmp_path / "some.jsonl").read_bytes().splitlines()]
    assert [(one["client"], one["timestamp"][:7]) for one in some] == [("codex", "2026-10")] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--month", "2026-13"],
        ["--skip", "everything"],
        ["--providers", "nobody"],
        ["--limit", "0"],
        ["--since", "soon"],
    ],
    ids=lambda given: given[0],
)
def test_what_does_not_exist_is_a_usage_error(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["orchestrate", *arguments]) == 2
    assert capfd.readouterr().err.startswith("tokenledger orchestrate: ")
