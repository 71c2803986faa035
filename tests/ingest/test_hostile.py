"""What real machines do to logs: other line ends, edits, mixed folders, damaged archives, missing relatives."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.support import World, claude, jsonl, meta, rollout, set_mtime, tokens
from tokenledger_dagster.cli.main import main


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def inputs(world: World) -> list[int]:
    return [event.input for event in world.events()]


class TestLineEnds:
    def test_crlf_and_lf_copies_of_a_row_without_id_are_one(self, world: World) -> None:
        row = jsonl(claude(None, None, input=7))
        world.claude(row, name="a.jsonl")
        world.claude(row.replace(b"\n", b"\r\n"), name="b.jsonl")
        world.sync()

        assert inputs(world) == [7]

    def test_a_carriage_return_that_arrives_late_changes_nothing(self, world: World) -> None:
        path = world.claude(jsonl(claude(None, None, input=7)).rstrip(b"\n"))
        world.sync()
        world.append(path, b"\r\n")
        world.sync(no_cache=True)

        assert inputs(world) == [7]


class TestEdits:
    def test_a_file_written_anew_that_also_grew_is_read_from_its_start(self, world: World) -> None:
        rows = [claude(f"m{n}", f"r{n}", input=n) for n in range(1, 8)]
        path = world.claude(*rows)
        world.sync()
        changed = [*rows[:2], claude("x3", "r3", input=3), claude("x4", "r4", input=4), *rows[4:], claude("m8", "r8")]
        other = path.with_suffix(".new")
        other.write_bytes(jsonl(*changed))
        other.replace(path)
        world.sync()

        assert len(world.events()) == 10

    def test_an_edit_that_puts_size_and_time_back_is_seen(self, world: World) -> None:
        path = world.claude(claude("m1", "r1", input=11))
        world.sync()
        before = path.stat()
        path.write_bytes(path.read_bytes().replace(b'"m1"', b'"m2"'))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        world.sync()

        assert inputs(world) == [11, 11]

    def test_a_total_that_lost_the_rows_before_it_does_not_bill_them_again(self, world: World) -> None:
        path = world.codex(meta(), tokens((100,)), tokens((200,), minutes=1), tokens((300,), minutes=2))
        world.sync()
        world.write(path, meta(), tokens((300,), minutes=2))
        world.sync()

        assert inputs(world) == [100, 100, 100]


class TestRelatives:
    def test_a_resume_of_a_resume_leaves_rows_with_the_first_session(self, world: World) -> None:
        def rows(session: str, count: int) -> list[dict[str, object]]:
            return [claude(f"m{n}", f"r{n}", minutes=n, session=session) for n in range(1, count + 1)]

        world.claude(*rows("z1", 2), name="z1.jsonl")
        world.claude(*rows("m2", 3), name="m2.jsonl")
        world.sync()
        world.claude(*rows("a3", 4), name="a3.jsonl")
        world.sync()

        assert [event.session for event in world.events()] == ["z1", "z1", "m2", "a3"]

    def test_a_fork_of_a_fork_whose_parent_is_missing_knows_its_grandparent(self, world: World) -> None:
        first, second = tokens((100,), minutes=1), tokens((250,), minutes=2)
        world.codex(meta("t1"), first, second, name=rollout("t1"))
        copied = [meta("t2", forked_from_id="t1"), meta("t1"), first, second]
        # copied rows are stamped anew when a session is forked
        restamped = [{**row, "timestamp": "2026-02-18T12:00:00.000Z"} for row in copied]
        own = tokens((400,), minutes=300)
        world.codex(meta("t3", forked_from_id="t2"), *restamped, own, name=rollout("t3"))
        world.sync()

        assert [(event.session, event.input) for event in world.events()] == [("t1", 100), ("t1", 150), ("t3", 150)]

    def test_one_folder_may_hold_the_logs_of_two_clients(self, world: World, tmp_path: Path) -> None:
        mixed = tmp_path / "mixed"
        world.write(mixed / "s1.jsonl", claude("m1", "r1", input=3))
        world.write(mixed / "rollout-t1.jsonl", meta(), tokens((40,)))
        world.sync(add_sources=(("claude-code", str(mixed)), ("codex", str(mixed))))

        assert sorted((event.client, event.input) for event in world.events()) == [("claude-code", 3), ("codex", 40)]


class TestDamage:
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("q.jsonl.zst", b"\x28\xb5\x2f\xfdgarbage"),
            ("q.jsonl.gz", gzip.compress(b"{}\n" * 400)[:-9]),
            ("q.jsonl.gz", gzip.compress(b"{}\n" * 400)[:14] + b"\xff" * 40),
        ],
        ids=["zstd", "cut gzip", "garbled gzip"],
    )
    def test_a_damaged_archive_is_reported_and_stops_nothing(self, world: World, name: str, data: bytes) -> None:
        world.claude(claude("m1", "r1", input=3))
        path = world.claude_path(name)
        path.write_bytes(data)
        summary = world.sync()

        assert inputs(world) == [3]
        assert [str(path) in problem for problem in summary.problems] == [True]

    def test_a_number_beyond_all_bounds_can_still_be_exported(
        self, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        row = jsonl(claude("m1", "r1", input=123456789, output=7)).replace(b"123456789", b"1e400")
        world.claude(row)
        monkeypatch.setenv("HOME", str(world.home_dir))
        monkeypatch.setenv("TOKENLEDGER_HOME", str(world.ledger.root))

        assert main(["events"]) == 0
        assert '"output_tokens":7' in capsys.readouterr().out

    @pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
    def test_a_time_no_calendar_shows_is_replaced_by_the_files(self, world: World, time: str) -> None:
        world.claude(claude("m1", "r1", timestamp=time))
        world.sync()

        assert world.records()[0]["flags"] == ["timestamp_from_file"]


class TestFamilies:
    def test_a_session_contained_in_its_resume_is_still_a_resume_of_another(self, world: World) -> None:
        def rows(session: str, *names: str) -> list[dict[str, object]]:
            minutes = {"m0": 0, "m1": 1, "m2": 2, "f0": 3, "g0": 4}
            return [claude(name, f"r{name}", minutes=minutes[name], session=session) for name in names]

        world.claude(*rows("s0", "m0", "m1", "m2"), name="s0.jsonl")
        world.claude(*rows("f1", "m0", "m1", "f0"), name="f1.jsonl")
        world.sync()
        world.claude(*rows("e2", "m0", "m1", "f0", "g0"), name="e2.jsonl")
        world.sync()

        assert [event.session for event in world.events()] == ["s0", "s0", "s0", "f1", "e2"]

    def test_a_repeat_in_the_middle_of_a_family_takes_nothing_from_the_parent(self, world: World) -> None:
        first, second = tokens((100,), minutes=1), tokens((250,), minutes=2)
        world.codex(meta("p1"), first, second, name=rollout("p1"))
        world.codex(meta("c1", forked_from_id="p1"), first, second, tokens((250,), minutes=30), name=rollout("c1"))
        again = [{**row, "timestamp": "2026-02-18T15:00:00.000Z"} for row in (first, second, second)]
        world.codex(meta("g1", forked_from_id="c1"), *again, name=rollout("g1"))
        world.sync()

        assert [(event.session, event.input) for event in world.events()] == [("p1", 100), ("p1", 150)]


def test_a_file_of_a_time_that_no_number_of_nanoseconds_tells_is_read_once(world: World) -> None:
    path = world.claude(claude("m1"))
    set_mtime(path, 9_999_999_999)

    assert world.sync().emitted_total == 1
    assert world.sync().sources.unchanged == 1
