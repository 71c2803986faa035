"""Requests that two files show: one stands for both, and no row is looked at until something else bears on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.families import Files, codex_family, resumed_family
from tests.ingest.test_properties import few, growing, orders, put, worlds
from tests.support import Row, World, claude, claude_progress, meta, rollout, tokens, turn
from tokenledger_dagster.ingest import scan, sync
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.settling import settle
from tokenledger_dagster.ingest.sync import SyncOptions
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import RecordingMetrics

FILES = ("s1.jsonl", "s2.jsonl")
Sums = dict[tuple[str, int], list[int]]
"""By session and quarter hour after nine: events, input, output."""
NINE = 1_968_228


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def unsettled(world: World, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the manifest as syncs left it."""
    with closing(connect(world.ledger, read_only=True)) as manifest:
        return manifest.execute(sql).fetchall()


def sums(world: World) -> Sums:
    query = (
        "SELECT session_id, slot, sum(event_count), sum(input_tokens), sum(output_tokens) "
        "FROM slots JOIN sessions USING (session_no) GROUP BY 1, 2"
    )
    return {(name, slot - NINE): rest for name, slot, *rest in unsettled(world, query)}


def rows(world: World) -> int:
    """Records that general booking was handed."""
    ((count,),) = unsettled(world, "SELECT count(*) FROM records")
    return int(count)


def holds(world: World, expected: Sums, *, handed: int) -> None:
    """The sums are these, from so many single records, and booking each record anew changes none."""
    assert (sums(world), rows(world)) == (expected, handed)
    settle(world.ledger)
    assert sums(world) == expected
    world.sync(full=True)
    assert sums(world) == expected


# ------------------------------------------------------------------ sessions of Claude that were resumed

FIRST, SECOND = claude("m1", "r1", output=5), claude("m2", "r2", minutes=20, output=6)


def resumed(*copied: Row, own: float = 45) -> list[Row]:
    """What a session says that was resumed from the first one."""
    return [*({**row, "sessionId": "s2"} for row in copied), claude("m3", "r3", minutes=own, session="s2", output=7)]


@pytest.mark.parametrize("order", [FILES, FILES[::-1]])
@pytest.mark.parametrize("together", [True, False])
def test_what_a_resumed_session_copied_is_the_first_ones(world: World, order: tuple[str, str], together: bool) -> None:
    told = {"s1.jsonl": [FIRST, SECOND, claude("m4", "r4", minutes=40, output=8)], "s2.jsonl": resumed(FIRST, SECOND)}
    for name in order:
        world.claude(*told[name], name=name)
        if not together:
            world.sync()
    world.sync()

    expected = {("s1", 0): [1, 10, 5], ("s1", 1): [1, 10, 6], ("s1", 2): [1, 10, 8], ("s2", 3): [1, 10, 7]}
    holds(world, expected, handed=0)


def test_the_session_whose_own_words_are_earlier_was_there_first_whatever_its_name(world: World) -> None:
    world.claude(FIRST, claude("m9", "r9", minutes=90, output=1), name="s1.jsonl")
    world.claude(*resumed(FIRST, own=30), name="s2.jsonl")
    world.sync()

    holds(world, {("s1", 6): [1, 10, 1], ("s2", 0): [1, 10, 5], ("s2", 2): [1, 10, 7]}, handed=0)


def test_a_copy_with_an_earlier_time_lends_it_and_one_that_says_more_its_counters(world: World) -> None:
    world.claude(FIRST, SECOND, claude("m4", "r4", minutes=44, output=8), name="s1.jsonl")
    early = {**FIRST, "timestamp": claude(minutes=-20)["timestamp"]}
    world.claude(*resumed(early, claude("m2", "r2", minutes=20, output=60)), name="s2.jsonl")
    world.sync()

    expected = {("s1", -2): [1, 10, 5], ("s1", 1): [1, 10, 60], ("s1", 2): [1, 10, 8], ("s2", 3): [1, 10, 7]}
    holds(world, expected, handed=0)


def again(world: World) -> None:
    world.claude({**FIRST, "sessionId": "s3"}, claude("m5", "r5", minutes=60, session="s3"), name="s3.jsonl")


def earlier(world: World) -> None:
    world.append(world.claude_path("s2.jsonl"), claude("m0", "r0", minutes=1, session="s2", output=1))


def repetition(world: World) -> None:
    other = claude_progress(claude("m1", "r1", output=2, session="s4"), sessionId="s4")
    world.claude(other, claude("m5", "r5", minutes=60, session="s4", output=5), name="s4.jsonl")


@pytest.mark.parametrize(
    ("happens", "expected", "handed"),
    [
        (again, {("s1", 0): [1, 10, 5], ("s1", 1): [1, 10, 6], ("s2", 3): [1, 10, 7], ("s3", 4): [1, 10, 5]}, 5),
        (earlier, {("s1", 0): [1, 10, 5], ("s1", 1): [1, 10, 6], ("s2", 0): [1, 10, 1], ("s2", 3): [1, 10, 7]}, 4),
        (repetition, {("s1", 0): [1, 10, 5], ("s1", 1): [1, 10, 6], ("s2", 3): [1, 10, 7], ("s4", 4): [1, 10, 5]}, 5),
    ],
)
def test_a_pair_is_taken_apart_when_something_else_bears_on_it(
    world: World, happens: Callable[[World], None], expected: Sums, handed: int
) -> None:
    world.claude(FIRST, SECOND, name="s1.jsonl")
    world.claude(*resumed(FIRST, SECOND), name="s2.jsonl")
    world.sync()
    assert rows(world) == 0
    happens(world)
    world.sync()

    holds(world, expected, handed=handed)


def arrives(world: World, told: dict[str, list[Row]], order: list[list[str]]) -> None:
    for step in order:
        for name in step:
            world.claude(*told[name], name=name)
        world.sync()


def shared(session: str) -> Row:
    return claude("m1", "r1", session=session)


A, B, C, D, HELPER = "s1.jsonl", "s2.jsonl", "s3.jsonl", "s4.jsonl", "s1/subagents/agent-a.jsonl"


@pytest.mark.parametrize("order", [[[A, HELPER, C, B]], [[A, HELPER, C], [B]], [[A], [HELPER], [C], [B]]])
def test_a_session_that_loses_its_first_own_words_is_ranked_anew(world: World, order: list[list[str]]) -> None:
    replay = claude("m2", "r2-replayed", minutes=10, session="s1", sidechain=True, output=2)
    told = {
        A: [shared("s1"), claude("m3", "r3", minutes=30, session="s1")],
        HELPER: [replay],
        C: [shared("s3"), claude("m4", "r4", minutes=20, session="s3")],
        B: [claude("m2", "r2", minutes=9, session="s2", output=7)],
    }
    arrives(world, told, order)

    expected = {("s2", 0): [1, 10, 7], ("s3", 0): [1, 10, 5], ("s3", 1): [1, 10, 5], ("s1", 2): [1, 10, 5]}
    assert sums(world) == expected
    world.sync(full=True)
    assert sums(world) == expected


@pytest.mark.parametrize("order", [[[A, B, C, D]], [[A, B, C], [D]], [[A], [B], [C], [D]]])
def test_what_two_sessions_no_longer_share_ranks_neither(world: World, order: list[list[str]]) -> None:
    def helped(session: str) -> Row:
        return claude("m2", "r2", minutes=5, session=session, sidechain=True)

    told = {
        A: [shared("s1"), helped("s1"), claude("m3", "r3", minutes=30, session="s1")],
        B: [helped("s2"), claude("m4", "r4", minutes=40, session="s2")],
        C: [shared("s3"), claude("m5", "r5", minutes=20, session="s3")],
        D: [claude("m2", "r2-direct", minutes=4, session="s4", output=7)],
    }
    arrives(world, told, order)

    expected = {
        **{("s3", 0): [1, 10, 5], ("s4", 0): [1, 10, 7]},
        **{("s1", 2): [1, 10, 5], ("s2", 2): [1, 10, 5], ("s3", 1): [1, 10, 5]},
    }
    assert sums(world) == expected
    world.sync(full=True)
    assert sums(world) == expected


def test_counters_never_fall_when_a_pair_is_taken_apart(world: World) -> None:
    world.claude(FIRST, SECOND, name="s1.jsonl")
    world.claude(*resumed(FIRST, FIRST), name="s2.jsonl")
    world.sync()
    metrics = RecordingMetrics()
    world.claude(claude("m1", "r1", output=50, session="s2"), name="-home-ada-code-kelp/s2.jsonl")
    sync.sync(world.ledger, world.environ, SyncOptions(), metrics)

    assert metrics.value(names.BOOKING_DUPLICATES, rule="claude.resume_copy") == 0
    assert world.rules() == {"claude.file_copy": 2, "claude.resume_copy": 1}


# ------------------------------------------------------------------ threads of Codex that were forked

STEP, NEXT = tokens((100, 0, 10), (100, 0, 10)), tokens((250, 0, 30), (150, 0, 20), minutes=20)
PARENT = [meta("t1"), turn(), STEP, NEXT]
FORK = [meta("t2", 45, forked_from_id="t1"), turn(), STEP, NEXT, tokens((300, 0, 35), (50, 0, 5), minutes=45)]


@pytest.mark.parametrize("order", [("t1", "t2"), ("t2", "t1")])
@pytest.mark.parametrize("together", [True, False])
def test_what_a_fork_copied_is_its_parents(world: World, order: tuple[str, str], together: bool) -> None:
    for name in order:
        world.codex(*(PARENT if name == "t1" else FORK), name=rollout(name))
        if not together:
            world.sync()
    world.sync()

    holds(world, {("t1", 0): [1, 100, 10], ("t1", 1): [1, 150, 20], ("t2", 3): [1, 50, 5]}, handed=0)


def test_a_fork_is_taken_apart_when_its_parent_turns_out_to_be_a_fork_itself(world: World) -> None:
    middle = [meta("t1", 10, forked_from_id="t0"), *PARENT[1:]]
    world.codex(*middle, name=rollout("t1"))
    world.codex(*FORK, name=rollout("t2"))
    world.sync()
    assert rows(world) == 0
    world.codex(meta("t0"), turn(), STEP, name=rollout("t0"))
    world.sync()

    assert sums(world) == {("t0", 0): [1, 100, 10], ("t1", 1): [1, 150, 20], ("t2", 3): [1, 50, 5]}
    settle(world.ledger)
    assert sums(world) == {("t0", 0): [1, 100, 10], ("t1", 1): [1, 150, 20], ("t2", 3): [1, 50, 5]}


# ------------------------------------------------------------------ whatever there is

made = st.tuples(st.sampled_from((resumed_family, codex_family)), st.integers(0, 2**20)).map(
    lambda told: told[0](Random(told[1]))
)


@settings(few, max_examples=40)
@given(made, orders)
def test_sums_are_those_of_booking_each_record_anew(files: Files, order: Random) -> None:
    with worlds() as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "PACK_ROWS", order.choice((1, 3, 50_000)))
        patch.setattr(sync, "BATCH_RECORDS", order.choice((1, 4, 250_000)))
        for _ in growing(world, files, order, whole=0.5):
            if order.random() < 0.5:
                world.sync()
        world.sync()
        before = sums(world)
        world.sync(full=True)
        assert sums(world) == before


@few
@given(made)
def test_the_rules_a_first_sync_tells_are_those_of_its_records(files: Files) -> None:
    with worlds() as world:
        for path, content in files.items():
            put(world, path, content)
        metrics = RecordingMetrics()
        sync.sync(world.ledger, world.environ, SyncOptions(), metrics)
        told = {rule: metrics.value(names.BOOKING_DUPLICATES, rule=rule) for rule in world.rules()}
        assert told == world.rules()
