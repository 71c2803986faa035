"""Aider's leaderboard of 2025: the frontier is the one that others worked out of it.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tokenledger_dagster.models.leaderboard import Placed, placed, read_leaderboard
from tokenledger_dagster.models.pareto import Point, standings

FOLDER = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "benchmarks"
LEADERBOARD = FOLDER / "aider" / "polyglot_leaderboard.yml"
EXPECTED = FOLDER / "aider_frontier.csv"
REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(
        not (LEADERBOARD.is_file() and EXPECTED.is_file()),
        reason="TOKENLEDGER_CONFORMANCE_DIR has no benchmarks/ below it",
    ),
]

Labels = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def found() -> dict[str, Placed]:
    return {one.run.run_id: one for one in placed(read_leaderboard(LEADERBOARD))}


@pytest.fixture(scope="module")
def labels() -> Labels:
    with EXPECTED.open(encoding="utf-8", newline="") as handle:
        return {row["run_id"]: row for row in csv.DictReader(handle)}


def frontier_of(found: dict[str, Placed]) -> set[str]:
    return {name for name, one in found.items() if one.standing is not None and one.standing.is_frontier}


def test_twenty_two_of_fifty_one_runs_are_beaten_by_none(found: dict[str, Placed]) -> None:
    assert len(found) == 69
    assert sum(one.standing is not None for one in found.values()) == 51
    assert len(frontier_of(found)) == 22
    assert max(one.standing.front_rank for one in found.values() if one.standing is not None) == 4


def test_the_runs_are_the_labelled_ones(found: dict[str, Placed], labels: Labels) -> None:
    assert {name: one.run.model for name, one in found.items()} == {name: row["model"] for name, row in labels.items()}


def test_who_takes_part_is_the_labelled(found: dict[str, Placed], labels: Labels) -> None:
    assert {name for name, one in found.items() if one.standing is not None} == {
        name for name, row in labels.items() if row["eligible"] == "1"
    }


@pytest.mark.parametrize("figure", ["is_frontier", "front_rank", "n_dominated_by", "example_dominator"])
def test_every_run_stands_as_labelled(found: dict[str, Placed], labels: Labels, figure: str) -> None:
    def said(one: Placed) -> str:
        if one.standing is None:
            return ""
        figures: dict[str, int | str] = {
            "is_frontier": int(one.standing.is_frontier),
            "front_rank": one.standing.front_rank,
            "n_dominated_by": one.standing.dominators,
            "example_dominator": one.dominated_by or "",
        }
        return str(figures[figure])

    wanted = {name: row[figure] if row["eligible"] == "1" else "" for name, row in labels.items()}
    assert {name: said(one) for name, one in found.items()} == wanted


def test_chances_are_the_labelled_within_the_error_of_two_samples(found: dict[str, Placed], labels: Labels) -> None:
    # both are of 2,000 draws, of different generators
    off = {
        name: (one.frontier_probability, labels[name]["p_frontier_bootstrap"])
        for name, one in found.items()
        if one.frontier_probability is not None
        and abs(one.frontier_probability - Decimal(labels[name]["p_frontier_bootstrap"])) > Decimal("0.045")
    }
    assert off == {}


@pytest.mark.parametrize(
    ("label", "latency", "size"), [("frontier_cost_quality", 0, 8), ("frontier_latency_quality", 1, 9)]
)
def test_two_objectives_have_their_own_frontier(
    found: dict[str, Placed], labels: Labels, label: str, latency: int, size: int
) -> None:
    able = {name: one.run for name, one in found.items() if one.standing is not None}
    points = [
        Point(run.pass_rate, (run.seconds_per_case if latency else run.total_cost_usd,))  # type: ignore[arg-type]
        for run in able.values()
    ]
    front = {name for name, standing in zip(able, standings(points), strict=True) if standing.is_frontier}
    assert len(front) == size
    assert front == {name for name, row in labels.items() if row[label] == "1"}


def test_taking_no_cost_for_free_would_give_another_frontier(found: dict[str, Placed], labels: Labels) -> None:
    naive = {name for name, row in labels.items() if row["naive_frontier_zero_cost"] == "1"}
    assert len(naive - frontier_of(found)) == 3
    assert len(frontier_of(found) - naive) == 9


def test_the_command_prints_the_same(labels: Labels) -> None:
    command = ["-m", "tokenledger_dagster.cli.main", "ledger", "frontier", str(LEADERBOARD), "--format", "json"]
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, timeout=60, check=True)
    document = json.loads(done.stdout)
    assert (document["runs"], document["eligible"], document["frontier"]) == (69, 51, 22)
    assert {row["run_id"] for row in document["rows"]} == {
        name for name, row in labels.items() if row["is_frontier"] == "1" and row["eligible"] == "1"
    }
