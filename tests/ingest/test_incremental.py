"""A second sync reads only what is new, and nothing is ever doubled or forgotten."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest
import zstandard

from tests.support import World, claude, jsonl, line, meta, rollout, set_mtime, tokens, turn
from tokenledger_dagster.clients import packed
from tokenledger_dagster.ingest import plan


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def first(world: World) -> Path:
    """A transcript of three requests, synced."""
    path = world.claude(*(claude(f"m{n}", f"r{n}", minutes=n, output=n + 1) for n in range(3)))
    world.sync()
    return path


def outputs(world: World) -> list[int]:
    return [event.output for event in world.events()]


def source(world: World) -> tuple[str, str, str]:
    """Id, path's last part and status of the only source."""
    ((source_id, path, status),) = world.query("SELECT source_id, path, status FROM sources")
    return source_id, Path(path).name, status


class TestUnchanged:
    def test_an_unchanged_file_is_only_stated(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        first(world)

        def refuse(*_: object) -> object:
            raise AssertionError("an unchanged file was opened")

        monkeypatch.setattr(packed, "opened_as_told", refuse)
        monkeypatch.setattr(plan, "opened", refuse)
        monkeypatch.setattr(plan, "encoding_of", refuse)
        summary = world.sync()

        assert (summary.sources.unchanged, summary.cache.hit, summary.cache.miss) == (1, 1, 0)
        assert summary.providers == {}

    def test_a_sync_without_news_writes_no_segment(self, world: World) -> None:
        first(world)
        before = world.files()
        world.sync()

        assert world.files() == before

    def test_a_sync_without_news_leaves_the_summary_of_the_last_change(self, world: World) -> None:
        first(world)
        before = world.ledger.ingest_summary_path.read_bytes()
        world.sync()

        assert world.ledger.ingest_summary_path.read_bytes() == before

    def test_a_touched_file_changes_nothing(self, world: World) -> None:
        path = first(world)
        before = world.booked()
        set_mtime(path, 1_900_000_000)
        summary = world.sync()

        assert summary.emitted_total == 0
        assert world.booked() == before

    def test_no_cache_reads_everything_and_changes_nothing(self, world: World) -> None:
        path = first(world)
        before = world.booked()
        summary = world.sync(no_cache=True)

        assert summary.providers["claude-code"].bytes_read == path.stat().st_size
        assert (summary.cache.bypassed, summary.providers["claude-code"].scanned) == (True, 0)
        assert world.booked() == before

    def test_full_books_anew_to_the_same_end(self, world: World) -> None:
        first(world)
        before = world.booked()
        world.sync(no_cache=True, full=True)

        assert world.booked() == before


class TestGrown:
    def test_an_append_reads_only_the_new_bytes(self, world: World) -> None:
        path = first(world)
        size = path.stat().st_size
        world.append(path, claude("m3", "r3", minutes=3, output=4))
        summary = world.sync()

        assert summary.providers["claude-code"].bytes_read == path.stat().st_size - size
        assert (summary.sources.changed, summary.cache.hit) == (1, 1)
        assert outputs(world) == [1, 2, 3, 4]

    def test_an_append_may_change_which_copy_wins(self, world: World) -> None:
        path = first(world)
        world.append(path, claude("m1", "r1", minutes=9, output=90))
        summary = world.sync()

        assert outputs(world) == [1, 90, 3]
        assert (summary.emitted_total, summary.deduped_total) == (0, 1)

    def test_the_codex_reducer_goes_on_where_it_stopped(self, world: World) -> None:
        path = world.codex(meta(), turn(), tokens((100, 0, 1), (100, 0, 1), 1))
        world.sync()
        world.append(path, tokens((100, 0, 1), (100, 0, 1), 2), tokens((130, 0, 2), None, 3))
        world.sync()

        assert [event.input for event in world.events()] == [100, 30]
        assert world.events()[1].model_raw == "gpt-5.1-codex"

    def test_two_appends_between_syncs_are_read_together(self, world: World) -> None:
        path = first(world)
        world.append(path, claude("m3", "r3", minutes=3, output=4))
        world.append(path, claude("m4", "r4", minutes=4, output=5))
        world.sync()

        assert outputs(world) == [1, 2, 3, 4, 5]


class TestLastLine:
    def test_an_unfinished_line_is_held_back_until_its_rest_arrives(self, world: World) -> None:
        path = first(world)
        row = jsonl(claude("m3", "r3", minutes=3, output=4))
        with path.open("ab") as handle:
            handle.write(row[:40])
        summary = world.sync()
        held = outputs(world)
        with path.open("ab") as handle:
            handle.write(row[40:])
        world.sync()

        assert summary.providers["claude-code"].skipped == {"unfinished_last_line": 1}
        assert held == [1, 2, 3]
        assert outputs(world) == [1, 2, 3, 4]

    def test_a_whole_row_without_line_end_counts_at_once_and_once(self, world: World) -> None:
        path = first(world)
        with path.open("ab") as handle:
            handle.write(line(claude("m3", "r3", minutes=3, output=4)))
        world.sync()
        at_once = outputs(world)
        with path.open("ab") as handle:
            handle.write(b"\n" + jsonl(claude("m4", "r4", minutes=4, output=5)))
        world.sync()

        assert at_once == [1, 2, 3, 4]
        assert outputs(world) == [1, 2, 3, 4, 5]

    def test_a_file_that_ends_inside_a_character_is_completed_later(self, world: World) -> None:
        row = jsonl(claude("m1", "r1", cwd="/home/ada/tüden"))
        cut = row.index(b"\\u00fc") + 3
        path = world.claude()
        path.write_bytes(row[:cut])
        world.sync()
        path.write_bytes(row)
        world.sync()

        assert [event.project for event in world.events()] == ["/home/ada/tüden"]

    @pytest.mark.parametrize(
        ("before", "row", "after"),
        [
            (b"", line(claude()), b"\x00\x00\x00"),
            (b"\xef\xbb\xbf", line(claude()), b""),
            (b"", line(claude()).replace(b"done", b"d\xffne"), b""),
            (b"", line(claude(read=float("nan"))), b""),
            (b"", line(claude(read=10**100)), b""),
        ],
        ids=["nul tail", "byte order mark", "invalid utf-8", "nan", "huge number"],
    )
    def test_a_whole_row_is_whole_however_damaged(self, world: World, before: bytes, row: bytes, after: bytes) -> None:
        world.claude().write_bytes(before + row + after)
        world.sync()

        assert [event.input for event in world.events()] == [10]


class TestRewritten:
    def test_a_rewritten_file_keeps_its_old_events_and_adds_the_new(self, world: World) -> None:
        path = first(world)
        world.write(path, claude("m0", "r0", output=1), claude("m9", "r9", minutes=9, output=10))
        summary = world.sync()

        assert summary.cache.invalidate == 1
        assert outputs(world) == [1, 2, 3, 10]
        assert world.rules() == {"reread_copy": 1}

    def test_rows_without_ids_are_not_doubled_by_a_rewrite(self, world: World) -> None:
        row = claude(None, None)
        path = world.claude(row, row)
        world.sync()
        world.write(path, claude(None, None, output=7, minutes=1), row, row)
        world.sync()

        assert sorted(outputs(world)) == [5, 5, 7]

    def test_a_truncated_file_keeps_its_events(self, world: World) -> None:
        path = first(world)
        world.write(path, claude("m0", "r0", output=1))
        world.sync()
        world.write(path)
        world.sync()

        assert outputs(world) == [1, 2, 3]

    def test_a_file_cut_and_grown_again_doubles_nothing(self, world: World) -> None:
        path = first(world)
        rows = [claude(f"m{n}", f"r{n}", minutes=n, output=n + 1) for n in range(4)]
        world.write(path, *rows[:1])
        world.sync()
        world.write(path, *rows)
        world.sync()

        assert outputs(world) == [1, 2, 3, 4]

    def test_a_rewritten_codex_file_doubles_nothing(self, world: World) -> None:
        rows = [tokens((100 * n, 0, n), (100, 0, 1), n) for n in range(1, 4)]
        path = world.codex(meta(), turn(), *rows)
        world.sync()
        world.write(path, meta(), turn(), turn("gpt-5.4"), *rows)
        world.sync()

        assert [event.input for event in world.events()] == [100, 100, 100]

    def test_an_edit_in_place_of_the_same_length_is_seen(self, world: World) -> None:
        path = first(world)
        path.write_bytes(path.read_bytes().replace(b'"m2"', b'"mX"'))
        set_mtime(path, 1_900_000_000)
        world.sync()

        assert outputs(world) == [1, 2, 3, 3]


class TestMoved:
    def test_a_renamed_file_is_the_same_source_and_is_not_read(self, world: World) -> None:
        path = first(world)
        before, booked = source(world), world.booked()
        path.rename(path.with_name("renamed.jsonl"))
        summary = world.sync()

        assert source(world) == (before[0], "renamed.jsonl", "present")
        assert (summary.sources.unchanged, summary.sources.missing, summary.sources.new) == (1, 0, 0)
        assert world.booked() == booked

    def test_a_renamed_file_goes_on_growing(self, world: World) -> None:
        path = first(world)
        size = path.stat().st_size
        moved = path.rename(path.with_name("renamed.jsonl"))
        world.append(moved, claude("m3", "r3", minutes=3, output=4))
        summary = world.sync()

        assert summary.providers["claude-code"].bytes_read == moved.stat().st_size - size
        assert outputs(world) == [1, 2, 3, 4]

    def test_a_renamed_project_folder_moves_all_its_files(self, world: World) -> None:
        for name in ("a", "b", "c"):
            world.claude(claude(name, name), name=f"-home-ada-old/{name}.jsonl")
        world.sync()
        before = sorted(world.query("SELECT source_id FROM sources"))
        old = world.claude_path("-home-ada-old/x").parent
        old.rename(old.with_name("-home-ada-new"))
        summary = world.sync()

        assert (summary.sources.unchanged, summary.sources.missing) == (3, 0)
        assert sorted(world.query("SELECT source_id FROM sources")) == before
        assert world.rules() == {}

    def test_an_archived_rollout_is_the_same_source(self, world: World) -> None:
        path = world.codex(meta(), turn(), tokens((100, 0, 1), minutes=1))
        world.sync()
        before, booked = source(world), world.booked()
        archived = world.codex_path(path.name, archived=True)
        archived.parent.mkdir(parents=True)
        path.rename(archived)
        summary = world.sync()

        assert source(world)[0] == before[0]
        assert (summary.sources.missing, summary.emitted_total) == (0, 0)
        assert world.booked() == booked

    def test_a_copy_to_another_disk_is_reconciled(self, world: World) -> None:
        path = first(world)
        before, booked = source(world), world.booked()
        shutil.copyfile(path, path.with_name("copied.jsonl"))
        path.unlink()
        world.sync()

        assert source(world)[:2] == (before[0], "copied.jsonl")
        assert world.booked() == booked

    @pytest.mark.parametrize("packing", ["gzip", "zstd"])
    def test_a_packed_file_is_the_same_source(self, world: World, packing: str) -> None:
        path = world.codex(meta(), turn(), tokens((100, 0, 1), minutes=1), tokens((130, 0, 2), minutes=2))
        world.sync()
        before, booked = source(world), world.booked()
        data = path.read_bytes()
        if packing == "gzip":
            packed = path.with_name(path.name + ".gz")
            packed.write_bytes(gzip.compress(data))
        else:
            packed = path.with_name(path.name + ".zst")
            packed.write_bytes(zstandard.compress(data))
        path.unlink()
        world.sync()

        assert source(world)[:2] == (before[0], packed.name)
        assert world.query("SELECT encoding FROM sources") == [(packing,)]
        assert world.booked() == booked

    def test_two_equal_files_that_move_together_stay_two(self, world: World) -> None:
        row = claude(None, None)
        one = world.claude(row, name="-home-ada-a/s1.jsonl")
        two = world.claude(row, name="-home-ada-b/s1.jsonl")
        world.sync()
        booked = world.booked()
        for path in (one, two):
            path.rename(path.with_name("s2.jsonl"))
        summary = world.sync()

        assert summary.sources.missing == 0
        assert world.booked() == booked

    def test_a_new_file_at_a_known_path_does_not_replace_what_moved_away(self, world: World) -> None:
        path = first(world)
        path.rename(path.with_name("rotated.jsonl"))
        world.write(path, claude("m9", "r9", minutes=9, output=10))
        world.sync()

        assert outputs(world) == [1, 2, 3, 10]


class TestGone:
    def test_a_deleted_file_keeps_its_events_and_counts_as_missing(self, world: World) -> None:
        path = first(world)
        before = world.booked()
        path.unlink()
        summary = world.sync()

        assert (summary.sources.seen, summary.sources.missing) == (0, 1)
        assert source(world)[2] == "missing"
        assert world.booked() == before

    def test_a_restored_file_is_present_again_and_doubles_nothing(self, world: World) -> None:
        path = first(world)
        data, before = path.read_bytes(), world.booked()
        path.unlink()
        world.sync()
        path.write_bytes(data)
        summary = world.sync()

        assert summary.sources.missing == 0
        assert source(world)[2] == "present"
        assert world.booked() == before

    def test_a_whole_home_may_vanish(self, world: World) -> None:
        first(world)
        world.codex(meta(), turn(), tokens((100, 0, 1), minutes=1))
        world.sync()
        before = world.booked()
        shutil.rmtree(world.home_dir)
        summary = world.sync()

        assert summary.sources.missing == 2
        assert world.booked() == before


class TestUnreadable:
    def test_a_file_that_cannot_be_read_is_a_problem_and_the_others_are_read(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bad = world.claude(claude("m1", "r1"), name="bad.jsonl")
        world.claude(claude("m2", "r2"), name="good.jsonl")
        opened = packed.opened_as_told

        def refuse(path: str) -> object:
            if path == str(bad):
                raise PermissionError(13, "Permission denied")
            return opened(path)

        with monkeypatch.context() as patch:
            patch.setattr(packed, "opened_as_told", refuse)
            summary = world.sync()

        assert [str(bad) in problem for problem in summary.problems] == [True]
        assert summary.providers["claude-code"].skipped == {"unreadable_file": 1}
        assert len(world.events()) == 1

        world.sync()
        assert len(world.events()) == 2

    def test_a_gzip_that_is_still_being_written_gives_what_it_has(self, world: World) -> None:
        rows = [tokens((100 * n, 0, n), (100, 0, 1), n) for n in range(1, 2_000)]
        data = gzip.compress(jsonl(meta(), turn(), *rows))
        path = world.codex(name=rollout() + ".gz")
        path.write_bytes(data[: len(data) // 2])
        summary = world.sync()
        partial = len(world.events())
        path.write_bytes(data)
        world.sync()

        assert len(summary.problems) == 1
        assert 0 <= partial < 1_999
        assert len(world.events()) == 1_999

    def test_an_empty_file_is_seen_and_read_when_it_fills(self, world: World) -> None:
        path = world.claude()
        world.sync()
        world.append(path, claude())
        world.sync()

        assert len(world.events()) == 1


class TestPacked:
    @pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".jsonl"])
    def test_packing_is_told_by_the_first_bytes_and_not_by_the_name(self, world: World, suffix: str) -> None:
        data = jsonl(meta(), turn(), tokens((100, 0, 1), minutes=1))
        for number, content in enumerate((gzip.compress(data), zstandard.compress(data), data)):
            path = world.codex(name=f"2026/02/18/{number}{suffix}")
            path.write_bytes(content)
        world.sync()

        assert [event.input for event in world.events()] == [100]

    def test_a_rotated_log_is_read(self, world: World) -> None:
        world.codex(meta(), turn(), tokens((100, 0, 1), minutes=1), name="2026/02/18/a.jsonl.1")

        assert world.sync().sources.seen == 1
        assert len(world.events()) == 1

    def test_utf16_is_read(self, world: World) -> None:
        path = world.claude()
        path.write_bytes(jsonl(claude()).decode().encode("utf-16"))
        world.sync()

        assert len(world.events()) == 1

    def test_offsets_of_a_packed_file_are_those_of_its_content(self, world: World) -> None:
        data = jsonl(meta(), turn(), tokens((100, 0, 1), minutes=1))
        world.codex(name=rollout() + ".gz").write_bytes(gzip.compress(data))
        world.sync()
        (record,) = world.records()

        start = record["byte_offset"]
        assert data[start : start + record["byte_length"]] == line(tokens((100, 0, 1), minutes=1))


def test_a_file_replaced_between_listing_and_reading_is_caught_up_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = first(world)
    extra = claude("m3", "r3", minutes=3, output=4)
    opened = packed.opened_as_told

    def grow(name: str) -> object:
        if name == str(path) and os.path.getsize(name) < 10_000:
            world.append(path, extra)
            monkeypatch.setattr(packed, "opened_as_told", opened)
        return opened(name)

    world.append(path, claude("m4", "r4", minutes=4, output=5))
    monkeypatch.setattr(packed, "opened_as_told", grow)
    world.sync()
    world.sync()

    assert outputs(world) == [1, 2, 3, 4, 5]


def test_a_zstd_file_is_read_once(world: World) -> None:
    data = jsonl(*(claude(f"m{number}", "r1", minutes=number) for number in range(30)))
    world.claude(name="a.jsonl.zst").write_bytes(zstandard.compress(data))
    assert world.sync().problems == []

    again = world.sync()

    assert (again.sources.unchanged, again.problems) == (1, [])
    assert len(world.events()) == 30


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \n", b""], ids=["LF", "CRLF", "blank", "none"])
@pytest.mark.parametrize("last", [b"}}}", b',"n":5}', b',"t":"x"}', b',"o":{"a":null}}'], ids=str)
def test_a_row_glued_behind_a_prompt_is_booked_whatever_the_line_ends_with(
    world: World, last: bytes, end: bytes
) -> None:
    prompt = line({"type": "user", "sessionId": "s1", "message": {"role": "user", "content": "hi"}})
    row = claude("m1", "r1", output=77)
    message = row.pop("message")
    answer = line({**row, "message": message})
    world.claude(name="s1.jsonl").write_bytes(prompt + (answer if last == b"}}}" else answer[:-1] + last) + end)
    world.sync()

    assert [event.output for event in world.events()] == [77]
