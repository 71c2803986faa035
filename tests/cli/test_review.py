"""``tokenledger ledger review``: names that wait, as a person and a program read them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.support import World, claude
from tokenledger_dagster.models.overrides import load_overrides


@pytest.fixture
def misspelt(world: World) -> World:
    """Beside `acme-coder-9`, a name with a typing error."""
    world.claude(claude("m9", "r9", input=5_000, output=0, model="claude-sonet-4-5-20250929"), name="s9.jsonl")
    return world


def test_the_queue_is_shown_with_the_entry_to_paste(run: Run, misspelt: World) -> None:
    shown = run("ledger", "review")

    assert (shown.code, shown.err) == (0, "")
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert lines[0] == "Name Client Why Suggestion Tokens Requests Score Margin"
    assert lines[2].startswith("claude-sonet-4-5-20250929 claude-code unknown_name claude-sonnet-4-5 5,000 1 0.95 +0.")
    assert lines[3] == "acme-coder-9 claude-code unknown_name - 330 1 - -"
    assert lines[4].startswith("2 names wait; suggestions: 1. A suggestion is a likeness of names: an estimate that")
    assert f"What you know to be true goes into {misspelt.ledger.overrides_path}:" in shown.out
    head, _, entry = shown.out.partition("schema_version: 1\n")
    assert head
    path = misspelt.ledger.overrides_path
    path.write_text(f"schema_version: 1\n{entry}", encoding="utf-8")
    (one,) = load_overrides(path).entries
    assert (one.name, one.model, one.modifiers) == (
        "claude-sonet-4-5-20250929",
        "claude-sonnet-4-5",
        {"date": "2025-09-29"},
    )
    again = run("ledger", "review")
    assert "claude-sonet" not in again.out
    assert run("report", "model", "--no-sync", "--format", "json").json["totals"]["unpriced_count"] == 1


def test_names_that_differ_by_case_give_one_entry_since_the_file_takes_no_more(run: Run, misspelt: World) -> None:
    misspelt.claude(claude("m8", "r8", input=10, output=0, model="Claude-Sonet-4-5-20250929"), name="s8.jsonl")

    shown = run("ledger", "review").out

    assert "3 names wait; suggestions: 2." in shown
    entries = shown.partition("schema_version: 1\n")[2]
    misspelt.ledger.overrides_path.write_text(f"schema_version: 1\n{entries}", encoding="utf-8")
    assert len(load_overrides(misspelt.ledger.overrides_path).entries) == 1
    assert "onet" not in run("ledger", "review").out


def test_as_json_and_csv_each_suggestion_is_an_estimate(run: Run, misspelt: World) -> None:
    (first, second) = run("ledger", "review", "--format", "json").json["names"]
    assert [one["is_estimate"] for one in first["suggestions"]] == [True]
    assert (second["name"], second["suggestions"]) == ("acme-coder-9", [])

    rows = list(csv.DictReader(io.StringIO(run("ledger", "review", "--format", "csv", "--no-sync").out)))
    assert [(row["name"], row["suggestion"], row["is_estimate"]) for row in rows] == [
        ("claude-sonet-4-5-20250929", "claude-sonnet-4-5", "true"),
        ("acme-coder-9", "", ""),
    ]
    assert "```yaml\n" in run("ledger", "review", "--format", "markdown", "--no-sync").out


def test_where_every_name_is_known_there_is_nothing_to_review(run: Run, world: World) -> None:
    world.claude(claude())

    shown = run("ledger", "review")

    assert (shown.code, shown.out) == (0, "Every name in the logs is known from 85 on; nothing to review.\n")


def test_a_home_that_was_never_filled_has_nothing_to_report(run: Run, tmp_path: Path) -> None:
    shown = run("ledger", "review", "--no-sync")

    assert (shown.code, shown.out) == (3, "")
    assert shown.err.startswith("tokenledger ledger: no events yet in ")
