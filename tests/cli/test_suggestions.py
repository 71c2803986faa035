"""``tokenledger suggestions``, and who passes on what it found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import World
from tokenledger_dagster.cli import warm
from tokenledger_dagster.usage.kept_suggestions import kept_path

TEXT = (
    "claude-code: 1 request to acme-coder-9 with 330 tokens and no list price (unknown_model), so no cost is counted; "
    "`tokenledger pricing reconcile` shows what would price them."
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_TIMEZONE", "UTC")


def test_json_is_the_contract_and_what_is_kept(run: Run, world: World) -> None:
    found = run("suggestions", "--format", "json")

    assert found.code == 0
    assert (found.json["schema_version"], found.json["month"], found.json["requests"]) == (1, "2026-03", 1)
    (one,) = found.json["suggestions"]
    (event,) = [json.loads(line) for line in run("events", "--since", "2026-03-01").out.splitlines()]
    assert one == {
        "id": "unpriced_usage:claude-code:claude:acme-coder-9:unknown_model",
        "rule": "unpriced_usage",
        "rule_dated": "2026-11-21",
        "severity": "warning",
        "scope": {
            "month": "2026-03",
            "client": "claude-code",
            "provider": "claude",
            "model": "acme-coder-9",
            "subscription": None,
        },
        "title": "acme-coder-9: 330 tokens without a price",
        "text": TEXT,
        "evidence": {
            "period_start": "2026-03-01T00:00:00Z",
            "period_end": "2026-04-01T00:00:00Z",
            "requests": 1,
            "sessions": 1,
            "figures": [
                {"name": "unpriced_tokens", "value": 330, "unit": "tokens"},
                {"name": "total_tokens", "value": 330, "unit": "tokens"},
                {"name": "paid_usd", "value": 0, "unit": "usd"},
            ],
            "table": "event_costs",
            "keys": [event["event_id"]],
            "session_ids": ["s1"],
        },
        "estimated_saving_usd": None,
        "method": "Counted.",
        "assumptions": [],
        "confidence": "high",
        "limits": ["What they cost is not known."],
        "overlaps_with": [],
    }
    assert Path(kept_path(str(world.ledger.root), "2026-03")).read_text("utf-8") == found.out
    # nothing has changed: the same document, made at the same time
    assert run("suggestions", "--format", "json").out == found.out


def test_snapshot_and_costs_pass_on_what_was_found(run: Run, world: World) -> None:
    assert run("snapshot").json["suggestions"] == []
    assert run("costs", "--month", "2026-03", "--json").json["suggestions"] == []

    run("suggestions")

    shown = run("snapshot").json
    assert (shown["suggestions"], shown["suggestions_path"]) == (
        [TEXT],
        kept_path(str(world.ledger.root), "2026-03"),
    )
    costs = run("costs", "--month", "2026-03", "--json").json
    assert costs["suggestions"] == [TEXT] == [one["text"] for one in costs["suggestion_details"]]
    for others, expected in (
        (["--client", "claude"], [TEXT]),
        (["--model", "acme-coder-9"], []),
        (["--tz", "Asia/Tokyo"], []),
    ):
        assert run("costs", "--month", "2026-03", *others, "--json").json["suggestions"] == expected
    assert run("snapshot", "--month", "2026-02").json["suggestions"] == []


def test_the_short_way_of_a_snapshot_shows_the_same(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run("suggestions")
    run("snapshot")
    assert warm.answer("snapshot", [], os.environ) == 0
    short = world.ledger.ui_snapshot_path.read_text("utf-8")
    assert "suggestions_path" in short
    monkeypatch.setattr(warm, "answer", lambda *_: None)
    run("snapshot")
    without_time = [line for line in short.splitlines() if "generated_at" not in line]
    again = world.ledger.ui_snapshot_path.read_text("utf-8").splitlines()
    assert [line for line in again if "generated_at" not in line] == without_time


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[1]", b'{"suggestions": 3}', b'{"schema_version": 2}'])
def test_a_damaged_file_is_as_good_as_none(run: Run, world: World, content: bytes) -> None:
    run("suggestions")
    path = Path(kept_path(str(world.ledger.root), "2026-03"))
    path.write_bytes(content)

    shown = run("snapshot")
    assert (shown.code, shown.json["suggestions"]) == (0, [])
    assert run("costs", "--month", "2026-03", "--json").json["suggestions"] == []
    assert run("suggestions", "--json").json["suggestions"][0]["text"] == TEXT


def test_another_zone_leaves_what_is_kept(run: Run) -> None:
    run("suggestions")
    assert run("suggestions", "--tz", "Asia/Tokyo", "--json").json["timezone"] == "Asia/Tokyo"
    assert run("snapshot").json["suggestions"] == [TEXT]


def test_a_month_without_suggestions_says_so(run: Run) -> None:
    found = run("suggestions", "--month", "2026-02")
    assert (found.code, found.err) == (0, "")
    assert found.out == "2026-02: nothing to suggest; 11 rules looked at 3 requests.\n"


def test_tables_name_rule_and_limits(run: Run) -> None:
    table, markdown = run("suggestions").out, run("suggestions", "--format", "markdown").out
    assert "unpriced_usage" in table
    assert "Limits: What they cost is not known." in table
    assert markdown.startswith("## Suggestions for 2026-03\n")
    assert "| acme-coder-9: 330 tokens without a price |" in markdown


def test_what_matches_nothing_exits_with_3(run: Run) -> None:
    for given in (["--month", "2031-01"], ["--client", "codex"]):
        found = run("suggestions", *given)
        assert (found.code, found.out) == (3, "")
        assert found.err.startswith("tokenledger suggestions: no events for --")


def test_what_cannot_be_meant_exits_with_2(run: Run) -> None:
    for given in (["--client", "nobody"], ["--month", "soon"], ["--tz", "Nowhere/Else"]):
        found = run("suggestions", *given)
        assert (found.code, len(found.err.strip().splitlines())) == (2, 1)
