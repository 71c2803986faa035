"""The compiled loops give what the Python ones give, and without them everything is read as well."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import World, claude, line, meta, tokens
from tokenledger_dagster.clients import compiled
from tokenledger_dagster.clients.claude_bulk import ClaudeBulkPacker
from tokenledger_dagster.clients.pack import EPOCH, Columns
from tokenledger_dagster.ingest import meeting, scan
from tokenledger_dagster.ingest.scan import Chain, extended
from tokenledger_dagster.pricing.context import channels

few = settings(max_examples=60, derandomize=True, deadline=None, database=None)
BUILT = compiled.bulk()


@pytest.fixture
def bulk() -> ModuleType:
    if BUILT is None:
        pytest.skip("the compiled readers were not built: no C compiler, or they are turned off")
    return BUILT


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """``compiled.found`` remembers its answer; tests of the answer start without one and leave none."""
    compiled.forget()
    yield
    compiled.forget()


class TestWhetherThereIsABuild:
    @pytest.mark.usefixtures("asked_anew")
    def test_the_environment_turns_it_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOKENLEDGER_COMPILED", "off")

        assert compiled.bulk() is None

    @pytest.mark.usefixtures("asked_anew")
    @pytest.mark.parametrize("older", [SimpleNamespace(SOURCES=1), SimpleNamespace()])
    def test_a_build_of_other_sources_is_not_used(self, older: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tokenledger_dagster.clients._bulk", older)
        monkeypatch.setattr("tokenledger_dagster.clients._bulk", older, raising=False)

        assert compiled.bulk() is None

    @pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is on the PATH")
    def test_where_there_is_a_compiler_there_is_a_build(self) -> None:
        assert BUILT is not None or os.environ.get(compiled.SWITCH) == "off", "run `make setup`"

    def test_a_file_at_which_it_fails_is_read_without_it(self, world: World, bulk: ModuleType) -> None:
        world.claude(claude("m1", "r1"), claude("m2", "r2", minutes=3))
        with patch.object(ClaudeBulkPacker, "place_of", side_effect=SystemError("a fault of the build")):
            summary = world.sync()

        assert (len(world.events()), summary.problems) == (2, [])
        assert compiled.bulk() is bulk

    def test_a_report_without_it_says_the_same(self, world: World) -> None:
        world.claude(claude("m1", "r1"), claude("m2", "r2", minutes=3))

        def report(state: Path, switch: str) -> object:
            environ = {
                **os.environ,
                "HOME": str(world.home_dir),
                "TOKENLEDGER_HOME": str(state),
                compiled.SWITCH: switch,
            }
            command = [sys.executable, "-m", "tokenledger_dagster.cli.main", "report", "daily", "--format", "json"]
            found = subprocess.run(command, env=environ, capture_output=True, check=True)
            document = json.loads(found.stdout)
            del document["generated_at"]
            return document

        assert report(world.home_dir.parent / "one", "off") == report(world.home_dir.parent / "other", "on")


@given(st.binary(max_size=300))
@few
def test_a_line_is_hashed_as_hashlib_hashes_it(line: bytes) -> None:
    if BUILT is not None:
        assert BUILT.digest_of(line) == hashlib.sha256(line).digest()


@pytest.mark.parametrize("size", [0, 55, 56, 63, 64, 119, 120, 128, 5_000])
def test_lines_that_just_fill_a_block_are_hashed_alike(bulk: ModuleType, size: int) -> None:
    line = bytes(range(256)) * 20

    assert bulk.digest_of(line[:size]) == hashlib.sha256(line[:size]).digest()


def test_two_lines_hashed_at_once_are_hashed_as_each_by_itself(bulk: ModuleType) -> None:
    line = bytes(range(256)) * 2
    sizes = (0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 500)
    for one in sizes:
        for other in sizes:
            expected = hashlib.sha256(line[:one]).digest(), hashlib.sha256(line[-other or 512 :]).digest()
            assert bulk.digests_of(line[:one], line[-other or 512 :]) == expected


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.binary(min_size=32, max_size=32)), max_size=8),
    st.integers(0, 2**150 - 4),
)
@few
def test_a_chain_goes_on_alike(rows: list[tuple[int, bytes]], before: int) -> None:
    offsets, hashes = [offset for offset, _ in rows], b"".join(digest for _, digest in rows)
    start = Chain(f"{before:038x}", 7)

    def chain(module: ModuleType | None) -> Chain:
        with patch.object(scan.compiled, "bulk", lambda: module):
            return extended(start, offsets, [], hashes)

    assert chain(BUILT) == chain(None)


_keys = st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 12), max_size=12).map(lambda keys: array("I", keys))


@given(
    st.lists(_keys, max_size=4), st.lists(_keys, max_size=4), st.lists(_keys, max_size=2), st.sets(st.integers(0, 12))
)
@few
def test_keys_that_meet_are_found_alike(
    new: list[array[int]], stored: list[array[int]], settled: list[array[int]], loose: set[int]
) -> None:
    def met(module: ModuleType | None) -> tuple[object, set[int]]:
        with patch.object(meeting.compiled, "bulk", lambda: module):
            holders, outside = meeting.met(dict(enumerate(new)), dict(enumerate(stored, 100)), settled, loose)
        return {key: sorted(found) for key, found in holders.items()}, outside

    assert met(BUILT) == met(None)


def test_a_key_is_met_where_two_packs_or_a_record_outside_of_packs_have_it(bulk: ModuleType) -> None:
    new, stored, settled = array("I", [7, 8, 8, 9]), array("I", [9, 10]), array("I", [7])

    found, outside = bulk.met([new], [stored], [settled], [10])

    assert sorted(found) == [(7, 0, 0), (8, 0, 1), (8, 0, 2), (9, 0, 3), (9, 1, 0), (10, 1, 1)]
    assert outside == {7, 10}


class TestColumns:
    def test_they_hold_what_lists_would(self, bulk: ModuleType) -> None:
        times = [
            datetime(2026, 2, 18, 9, 30, 0, 5, UTC),
            datetime(1, 1, 1, tzinfo=UTC),
            EPOCH - timedelta(microseconds=1),
        ]
        for kind, items in {
            "q": [0, -5, 2**62],
            "t": times,
            "h": [bytes(range(32)), bytes(32)],
            "v": [(1, None, 3, 4), (0,) * 12, ()],
        }.items():
            column = bulk.Column(kind)
            for item in items:
                column.append(item)

            assert list(column) == items
            column[0] = items[-1]
            assert (column[0], len(column)) == (items[-1], len(items))

    def test_a_time_of_another_zone_is_kept_in_utc(self, bulk: ModuleType) -> None:
        column = bulk.Column("t")
        column.append(datetime(2026, 2, 18, 9, 0, tzinfo=timezone(timedelta(hours=5, minutes=45))))

        assert column[0].isoformat() == "2026-02-18T03:15:00+00:00"

    @pytest.mark.parametrize(
        ("kind", "item"),
        [("q", "5"), ("q", 2**70), ("t", datetime(2026, 1, 1)), ("t", 5), ("h", b"x"), ("v", (-1,)), ("v", [])],
    )
    def test_what_does_not_fit_is_refused(self, bulk: ModuleType, kind: str, item: object) -> None:
        column = bulk.Column(kind)

        with pytest.raises((TypeError, ValueError, OverflowError)):
            column.append(item)
        assert len(column) == 0
        with pytest.raises(IndexError):
            column[0]

    def test_a_body_is_what_msgspec_writes_of_the_same_columns(self, bulk: ModuleType) -> None:
        moments = [datetime(2026, 2, 18, 9, 0, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, 1, UTC)]
        plain = Columns(
            layout="claude-1", ordinals=[3, 4], offsets=[0, 10_000_000_000], lengths=[99, 100], hashes=bytes(range(64)),
            times=moments, contexts=[("s", None, "\u00fc")], context_of=[0, 0], identities=[("m\"1", None)],
            event_of=[0, 0], winners=[1], values=[(1, 22, 333, 4444), (5, None, 10, 99, 100, None)],
            extras={1: {"a": 1}},
        )  # fmt: skip

        def column(kind: str, items: list[object]) -> object:
            made = bulk.Column(kind)
            for item in items:
                made.append(item)
            return made

        encode = msgspec.json.encode
        assert bulk.body(
            encode(plain.layout), plain.ordinals, column("q", [*plain.offsets]), column("q", [*plain.lengths]),
            plain.hashes, column("t", [*moments]), encode(plain.contexts), column("q", [*plain.context_of]),
            encode(plain.identities), column("q", [*plain.event_of]), column("q", [*plain.winners]),
            column("v", [*plain.values]), encode(plain.extras),
        ) == encode(plain)  # fmt: skip


def test_rows_of_the_writers_own_layout_need_no_python(world: World, bulk: ModuleType) -> None:
    world.claude(claude("m1", "r1"), claude("m1", "r1", output=9), claude("m2", "r2", minutes=3))
    with patch.object(ClaudeBulkPacker, "take_line", side_effect=AssertionError("a row was left to Python")):
        world.sync()

    assert len(world.events()) == 2


def test_a_line_that_is_cut_is_judged_by_its_own_bytes(world: World) -> None:
    cut = b'{"timestamp":"'
    behind = b'{"timestamp":"xxxxxxxx","type":"response_item","payload":{}}'
    world.codex(cut, behind)
    summary = world.sync()

    assert summary.providers["codex"].skipped["truncated_json"] == 1


def test_a_repeated_type_is_judged_as_python_judges_it(world: World) -> None:
    row = tokens((9, 0, 1))
    twice = line(row).replace(b'"type":"event_msg"', b'"type":"turn_context","type":"event_msg"', 1)
    world.codex(meta(), twice)
    world.sync()

    assert [event.buckets for event in world.events()] == [(9, 0, 0, 1)]


def test_every_prefix_that_names_a_channel_is_seen_by_the_compiled_loops() -> None:
    # sums.c passes over ids whose fifth character is a digit, as Anthropic's own are
    assert [prefix for prefix in channels("message_prefix") if len(prefix) < 5 or prefix[4].isdigit()] == []
