"""Names that a person gave: in force with the next sync, for the past too, and taken back without a trace."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from tests.exports.small import build_all, rows, small_world
from tests.support import World, claude
from tokenledger_dagster.governance.doctor import examine
from tokenledger_dagster.governance.invariants import Inspection, inspect
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.unchanged import is_unchanged
from tokenledger_dagster.settings import load_settings

HOUSE = "  - {name: house-model-7, model: glm-4.6, modifiers: {channel: zai}, reason: our gateway}\n"
GLM_NANO = 40 * 600 + 10 * 2_200
"""40 in at $0.60, 10 out at $2.20 a million tokens."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return small_world(tmp_path)


def say(world: World, entries: str) -> None:
    world.ledger.overrides_path.write_text(f"schema_version: 1\noverrides:\n{entries}", encoding="utf-8")


def models(world: World) -> list[tuple[str, str, int | None]]:
    return [(event.model, event.provider, event.nano) for event in world.events() if event.model_raw == "house-model-7"]


def test_the_past_is_booked_anew(world: World) -> None:
    assert models(world) == [("house-model-7", "claude", None)]
    say(world, HOUSE)
    summary = world.sync()

    assert summary.problems == []
    assert models(world) == [("glm-4.6", "claude", GLM_NANO)]
    facts = (
        "SELECT m.rule, m.confidence, e.channel FROM events e JOIN models m USING (model_no) WHERE m.model = 'glm-4.6'"
    )
    assert world.query(facts) == [("override", 95, "zai")]


def test_it_is_as_if_it_had_always_been_said(world: World, tmp_path: Path) -> None:
    say(world, HOUSE)
    world.sync()
    same = World(tmp_path)
    before = world.booked()
    shutil.rmtree(world.ledger.lake)
    same.sync()

    assert same.booked() == before


def test_what_is_taken_back_leaves_no_trace(world: World) -> None:
    before = world.booked()
    say(world, HOUSE)
    world.sync()
    assert world.booked() != before
    world.ledger.overrides_path.unlink()
    world.sync()

    assert world.booked() == before


def test_days_are_those_of_the_requests(world: World) -> None:
    for minutes, message in ((0, "msg_8"), (24 * 60, "msg_9")):
        row = claude(message, message, minutes=minutes, model="house-model-7", input=40, output=10, session="s3")
        world.claude(row, name=f"{message}.jsonl")
    say(world, HOUSE.replace("reason", "from: 2026-02-19, reason"))
    world.sync()

    assert [model for model, _, _ in models(world)] == ["house-model-7", "house-model-7", "glm-4.6"]


def test_a_file_that_cannot_be_used_changes_nothing(world: World) -> None:
    say(world, HOUSE)
    world.sync()
    before = world.booked()
    say(world, "  - {name: house-model-7}\n")
    row = claude("msg_8", "req_8", minutes=700, model="house-model-7", input=40, output=10, session="s3")
    world.claude(row, name="later.jsonl")
    summary = world.sync()

    (problem,) = summary.problems
    assert problem == (
        f"{world.ledger.overrides_path}: overrides: house-model-7: model is missing; add it "
        "(names stay as they were booked)"
    )
    assert models(world) == [("glm-4.6", "claude", GLM_NANO)] * 2
    assert [event for event in world.events() if event.session != "s3"] == before.events


def test_both_computations_of_prices_follow_it(world: World) -> None:
    with closing(duckdb.connect()) as con:
        build_all(world, con)
        say(world, HOUSE)
        world.sync()
        build_all(world, con)

        assert inspect("costs_agree", Inspection(world.ledger, con)).passed
        assert rows(world, "unpriced", "model") == []
        assert ("glm-4.6",) in rows(world, "usage_models", "model")


def test_another_reason_is_recorded_and_books_nothing_anew(world: World) -> None:
    say(world, HOUSE)
    world.sync()
    say(world, HOUSE.replace("our gateway", "what the gateway says"))
    world.sync()

    ((kept,),) = world.query("SELECT value FROM meta WHERE key = 'model_overrides'")
    assert '"reason":"what the gateway says"' in kept


def test_a_look_at_unchanged_logs_sees_it(world: World) -> None:
    def look() -> bool:
        with closing(connect(world.ledger, read_only=True)) as manifest:
            return is_unchanged(str(world.ledger.root), manifest, world.environ)

    world.sync()
    assert look()
    say(world, HOUSE)
    assert not look()


def test_the_doctor_tells_them(world: World) -> None:
    def told() -> list[tuple[str, str]]:
        found = examine(world.ledger, world.environ, load_settings(world.environ))
        return [(one.level, one.text) for one in found if one.topic == "names"]

    say(world, HOUSE)
    assert told() == [
        ("ok", "1 model names are yours (house-model-7)"),
        ("info", "rules or names changed since the last sync; the next one books anew"),
    ]
    world.sync()
    assert told() == [("ok", "1 model names are yours (house-model-7)")]
