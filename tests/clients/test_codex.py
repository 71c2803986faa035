"""Codex: which rows are requests, and which session owns rows that several files show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import World, at, jsonl, line, meta, rollout, set_mtime, spawned_by, tokens, turn, us


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def owned(world: World) -> list[tuple[str, int, str]]:
    return [(event.session, event.input, event.time) for event in world.events()]


class TestCounters:
    def test_cached_is_taken_out_of_input_and_reasoning_stays_inside_output(self, world: World) -> None:
        world.codex(meta(), turn(), tokens((100, 60, 30, 10)))
        world.sync()

        (event,) = world.events()
        assert event.buckets == (40, 0, 60, 30)
        assert event.reasoning == 10

    def test_cache_writes_are_taken_out_of_input_too(self, world: World) -> None:
        world.codex(meta(), turn(), tokens((100, 60, 30, 10, 15)))
        world.sync()

        assert world.events()[0].buckets == (25, 15, 60, 30)

    def test_cached_is_clamped_to_input(self, world: World) -> None:
        world.codex(meta(), turn(), tokens(last=(900, 1_000, 5), minutes=1))
        world.sync()

        assert world.events()[0].buckets == (0, 0, 900, 5)
        assert "cache_above_input" in world.records()[0]["flags"]

    def test_reasoning_is_clamped_to_output(self, world: World) -> None:
        world.codex(meta(), turn(), tokens((10, 0, 5, 8)))
        world.sync()

        assert world.events()[0].reasoning == 5

    def test_an_unreadable_number_is_zero_and_the_row_stays(self, world: World) -> None:
        huge = int("9" * 100)
        world.codex(
            meta(), turn(), tokens(last=(huge, 0, 5), minutes=1), tokens(last=(700, -3, float("nan")), minutes=2)
        )
        world.sync()

        assert [event.buckets for event in world.events()] == [(0, 0, 0, 5), (700, 0, 0, 0)]

    def test_heartbeats_and_empty_usage_are_no_events(self, world: World) -> None:
        world.codex(meta(), turn(), tokens(), tokens(total={}), tokens((0, 0, 0)))

        assert world.sync().providers["codex"].skipped == {"usage_null": 2, "zero_usage": 1}
        assert world.events() == []


class TestRows:
    def test_a_repeated_total_is_one_event_at_its_first_time(self, world: World) -> None:
        world.codex(
            meta(), turn(), tokens((100, 0, 5), (100, 0, 5), 1), tokens((100, 0, 5), (100, 0, 5), 700),
            tokens((130, 0, 7), (30, 0, 2), 701),
        )  # fmt: skip
        world.sync()

        assert owned(world) == [("t1", 100, at(1)), ("t1", 30, at(701))]
        assert world.rules() == {"codex.repeated_total": 1}

    def test_last_only_rows_are_told_apart_by_time(self, world: World) -> None:
        world.codex(meta(), turn(), tokens(last=(10, 0, 1), minutes=1), tokens(last=(10, 0, 1), minutes=2))
        world.sync()

        assert owned(world) == [("t1", 10, at(1)), ("t1", 10, at(2))]

    def test_the_model_is_that_of_the_turn(self, world: World) -> None:
        world.codex(
            meta(), turn("gpt-5.1-codex"), tokens((10, 0, 1), minutes=1), turn("gpt-5.4"), tokens((20, 0, 2), minutes=2)
        )
        world.sync()

        assert [event.model_raw for event in world.events()] == ["gpt-5.1-codex", "gpt-5.4"]

    def test_a_model_in_the_row_itself_comes_first(self, world: World) -> None:
        row = tokens((10, 0, 1))
        row["payload"]["info"]["model"] = "gpt-5-mini"
        world.codex(meta(), turn("gpt-5"), row)
        world.sync()

        assert world.events()[0].model_raw == "gpt-5-mini"

    def test_a_model_in_the_turns_metadata_is_found(self, world: World) -> None:
        world.codex(meta(), turn(None, metadata={"model": "gpt-5-mini"}), tokens((10, 0, 1)))
        world.sync()

        assert world.events()[0].model_raw == "gpt-5-mini"

    def test_keys_inside_the_instructions_are_not_the_sessions(self, world: World) -> None:
        world.codex(meta(base_instructions={"model": "gpt-4", "id": "other"}), turn("gpt-5"), tokens((10, 0, 1)))
        world.sync()

        (event,) = world.events()
        assert (event.session, event.model_raw) == ("t1", "gpt-5")

    def test_spaced_json_is_read(self, world: World) -> None:
        spaced = line(tokens((10, 0, 1))).replace(b'":', b'" : ')
        world.codex(line(meta()).replace(b'":', b'" : '), line(turn()), spaced)
        world.sync()

        assert owned(world) == [("t1", 10, at(0))]

    def test_wrong_types_do_not_lose_tokens(self, world: World) -> None:
        path = world.codex(meta(git="main", source=3), turn({}), tokens((10, 0, 1), timestamp=False))
        set_mtime(path, us(at(5)) / 1e6)
        world.sync()

        assert owned(world) == [("t1", 10, at(5))]

    @pytest.mark.parametrize(
        "time", [us(at(3)) // 1000, us(at(3)) // 1_000_000, us(at(3)) / 1e6, str(us(at(3)) // 1000)]
    )
    def test_numeric_times_are_read(self, world: World, time: object) -> None:
        world.codex(meta(), turn(), tokens((10, 0, 1), timestamp=time))
        world.sync()

        assert owned(world) == [("t1", 10, at(3))]

    def test_a_bad_time_falls_to_created_at(self, world: World) -> None:
        world.codex(meta(), turn(), tokens((10, 0, 1), timestamp="not-a-date", created_at=at(4)))
        world.sync()

        assert owned(world) == [("t1", 10, at(4))]

    def test_an_item_and_a_usage_row_on_one_line_are_both_read(self, world: World) -> None:
        item = {"timestamp": at(1), "type": "response_item", "payload": {"type": "message"}}
        world.codex(meta(), turn(), line(item) + line(tokens((10, 0, 1), minutes=1)))
        world.sync()

        assert owned(world) == [("t1", 10, at(1))]

    def test_only_the_first_session_meta_is_the_files_own(self, world: World) -> None:
        world.codex(meta("t1"), meta("ancestor"), turn(), tokens((10, 0, 1)))
        world.sync()

        assert world.events()[0].session == "t1"

    def test_a_file_without_session_meta_is_named_by_its_uuid(self, world: World) -> None:
        name = "2026/02/18/rollout-2026-02-18T09-00-00-019a1f57-aa8c-7580-ac92-18a00a76f4df.jsonl"
        world.codex(turn(), tokens((10, 0, 1)), name=name)
        world.sync()

        assert world.events()[0].session == "019a1f57-aa8c-7580-ac92-18a00a76f4df"


class TestConfig:
    def configure(self, world: World, text: str, when: float) -> None:
        path = world.home_dir / ".codex" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        set_mtime(path, us(at(when)) / 1e6)

    def test_a_session_without_turn_context_takes_the_configured_model(self, world: World) -> None:
        self.configure(world, 'model = "gpt-5.4"\n', 0)
        world.codex(meta(), tokens((10, 0, 1), minutes=1))
        world.sync()

        assert world.events()[0].model_raw == "gpt-5.4"
        assert world.records()[0]["flags"] == ["model_from_config"]

    def test_without_any_model_the_row_is_kept_and_flagged(self, world: World) -> None:
        world.codex(meta(), tokens((10, 0, 1)))
        world.sync()

        (event,) = world.events()
        assert (event.model_raw, event.model) == (None, "gpt-5")
        assert world.records()[0]["flags"] == ["model_fallback"]

    def test_a_configured_tier_holds_from_the_files_last_change_on(self, world: World) -> None:
        self.configure(world, 'service_tier = "fast"\n', 10)
        world.codex(meta(), turn("gpt-5.4"), tokens((10, 0, 1), minutes=9), tokens((20, 0, 2), minutes=10))
        world.sync()

        assert [event.context for event in world.events()] == ["standard", "speed=fast"]

    @pytest.mark.parametrize("text", ['# service_tier = "fast"\n', "service_tier = 3\n", "not toml [", ""])
    def test_comments_and_broken_settings_set_no_tier(self, world: World, text: str) -> None:
        self.configure(world, text, 0)
        world.codex(meta(), turn("gpt-5.4"), tokens((10, 0, 1), minutes=9))
        world.sync()

        assert world.events()[0].context == "standard"


class TestExecOutput:
    """Saved ``codex exec --json`` output may lie anywhere: its rows have no cumulative totals."""

    def exec(self, world: World, *rows: object) -> None:
        world.write(world.home_dir / "saved" / "out.jsonl", *rows)  # type: ignore[arg-type]
        world.sync(add_sources=(("codex", str(world.home_dir / "saved")),))

    @pytest.mark.parametrize("wrapper", [None, "data", "result", "response"])
    def test_usage_is_found_in_every_wrapper(self, world: World, wrapper: str | None) -> None:
        usage = {"usage": {"input_tokens": 120, "cached_input_tokens": 20, "output_tokens": 30}}
        self.exec(
            world, {"type": "turn.completed", "timestamp": at(1), **(usage if wrapper is None else {wrapper: usage})}
        )

        assert [event.buckets for event in world.events()] == [(100, 0, 20, 30)]

    def test_other_names_of_the_counters_are_known(self, world: World) -> None:
        usage = {
            "prompt_tokens": 50,
            "cached_tokens": 5,
            "completion_tokens": 12,
            "reasoning_tokens": 4,
            "total_tokens": 0,
        }
        self.exec(world, {"type": "result", "data": {"usage": usage, "model": "gpt-5-mini"}, "createdAt": at(1)})

        (event,) = world.events()
        assert (event.buckets, event.reasoning, event.model_raw) == ((45, 0, 5, 12), 4, "gpt-5-mini")

    def test_equal_rows_each_count(self, world: World) -> None:
        row = {"type": "turn.completed", "usage": {"input_tokens": 10, "output_tokens": 1}}
        self.exec(world, row, row)

        assert len(world.events()) == 2

    def test_the_thread_names_the_session(self, world: World) -> None:
        row = {"type": "turn.completed", "timestamp": at(1), "usage": {"input_tokens": 10}}
        self.exec(world, {"type": "thread.started", "thread_id": "th-7"}, row)

        assert world.events()[0].session == "th-7"


class TestForks:
    def parent(self, world: World) -> None:
        world.codex(
            meta("p"), turn(), tokens((100, 0, 1), (100, 0, 1), 1), tokens((150, 0, 2), (50, 0, 1), 2),
            tokens((170, 0, 3), (20, 0, 1), 9), name=rollout("p"),
        )  # fmt: skip

    def fork(self, world: World) -> None:
        world.codex(
            meta("c", 5, forked_from_id="p"), meta("p"), turn(),
            tokens((100, 0, 1), (100, 0, 1), 5), tokens((150, 0, 2), (50, 0, 1), 5), tokens((180, 0, 4), (30, 0, 2), 6),
            name=rollout("c"),
        )  # fmt: skip

    def test_the_parent_owns_the_copied_prefix_at_its_own_time(self, world: World) -> None:
        self.parent(world)
        self.fork(world)
        world.sync()

        assert owned(world) == [("p", 100, at(1)), ("p", 50, at(2)), ("c", 30, at(6)), ("p", 20, at(9))]
        assert world.rules() == {"codex.fork_prefix": 2}

    def test_a_fork_read_before_its_parent_ends_alike(self, world: World) -> None:
        self.fork(world)
        world.sync()
        alone = {event.time for event in world.events()}
        self.parent(world)
        world.sync()

        assert alone == {at(5), at(6)}
        assert owned(world) == [("p", 100, at(1)), ("p", 50, at(2)), ("c", 30, at(6)), ("p", 20, at(9))]

    def test_a_grandchilds_prefix_belongs_to_whoever_owns_it_in_the_child(self, world: World) -> None:
        self.parent(world)
        self.fork(world)
        world.codex(
            meta("g", 8, forked_from_id="c"), turn(), tokens((100, 0, 1), (100, 0, 1), 8),
            tokens((150, 0, 2), (50, 0, 1), 8), tokens((180, 0, 4), (30, 0, 2), 8), tokens((190, 0, 5), (10, 0, 1), 10),
            name=rollout("g"),
        )  # fmt: skip
        world.sync()

        assert owned(world) == [
            ("p", 100, at(1)), ("p", 50, at(2)), ("c", 30, at(6)), ("p", 20, at(9)), ("g", 10, at(10)),
        ]  # fmt: skip

    def test_siblings_of_a_missing_parent_bill_their_shared_prefix_once(self, world: World) -> None:
        for child, minute in (("c1", 5), ("c2", 7)):
            world.codex(
                meta(child, minute, forked_from_id="gone"), turn(), tokens((100, 0, 1), (100, 0, 1), minute),
                tokens((150, 0, 2), (50, 0, 1), minute), tokens((150 + minute, 0, 9), (minute, 0, 7), minute + 1),
                name=rollout(child),
            )  # fmt: skip
        world.sync()

        assert owned(world) == [("gone", 50, at(5)), ("gone", 100, at(5)), ("c1", 5, at(6)), ("c2", 7, at(8))] or owned(
            world
        ) == [("gone", 100, at(5)), ("gone", 50, at(5)), ("c1", 5, at(6)), ("c2", 7, at(8))]
        assert world.rules() == {"codex.fork_prefix": 2}

    def test_an_only_child_of_a_missing_parent_bills_what_it_shows(self, world: World) -> None:
        self.fork(world)
        world.sync()

        assert sum(event.input for event in world.events()) == 180


class TestSpawnedThreads:
    def spawned(self, world: World, *own: object) -> None:
        world.codex(
            meta("k", 5, source=spawned_by("p")), turn(), tokens((100, 0, 1), (100, 0, 1), 5),
            tokens((150, 0, 2), (50, 0, 1), 5), *own, name=rollout("k"),
        )  # type: ignore[arg-type]  # fmt: skip

    def test_rows_in_the_second_of_session_meta_are_a_replay_that_bills_nothing(self, world: World) -> None:
        self.spawned(world, tokens((180, 0, 4), (30, 0, 2), 6))
        world.sync()

        assert owned(world) == [("k", 30, at(6))]
        assert world.rules() == {"codex.spawn_replay": 2}

    def test_with_its_parent_there_the_replay_belongs_to_the_parents_events(self, world: World) -> None:
        world.codex(
            meta("p"),
            turn(),
            tokens((100, 0, 1), (100, 0, 1), 1),
            tokens((150, 0, 2), (50, 0, 1), 2),
            name=rollout("p"),
        )
        self.spawned(world, tokens((180, 0, 4), (30, 0, 2), 6))
        world.sync()

        assert [(event.session, event.input, event.copies) for event in world.events()] == [
            ("p", 100, ("codex.spawn_replay",)),
            ("p", 50, ("codex.spawn_replay",)),
            ("k", 30, ()),
        ]

    def test_a_thread_that_counts_from_zero_again_bills_its_last(self, world: World) -> None:
        self.spawned(world, tokens((30, 0, 2), (30, 0, 2), 6), tokens((45, 0, 3), (15, 0, 1), 7))
        world.sync()

        assert owned(world) == [("k", 30, at(6)), ("k", 15, at(7))]


class TestCopies:
    def test_a_row_alike_in_time_and_counters_in_two_files_is_one_event(self, world: World) -> None:
        shared = tokens((100, 0, 5), (100, 0, 5), 1)
        world.codex(meta("a"), turn(), shared, tokens((130, 0, 6), (30, 0, 1), 2), name=rollout("a"))
        world.codex(meta("b"), turn(), shared, tokens((170, 0, 7), (70, 0, 2), 3), name=rollout("b"))
        world.sync()

        assert owned(world) == [("a", 100, at(1)), ("a", 30, at(2)), ("b", 70, at(3))]
        assert world.rules() == {"codex.same_row": 1}

    def test_equal_totals_at_different_times_in_unrelated_files_are_two_events(self, world: World) -> None:
        for name, minute in (("a", 1), ("b", 2)):
            world.codex(meta(name), turn(), tokens((100, 0, 5), (100, 0, 5), minute), name=rollout(name))
        world.sync()

        assert owned(world) == [("a", 100, at(1)), ("b", 100, at(2))]

    def test_the_active_copy_wins_over_the_archived_one(self, world: World) -> None:
        name = Path(rollout("a")).name
        world.codex(
            meta("a"), turn(), tokens((100, 0, 5), minutes=1), tokens((130, 0, 6), minutes=2), name=rollout("a")
        )
        world.codex(meta("a"), turn(), tokens((100, 0, 5), minutes=1), name=name, archived=True)
        world.sync()

        assert owned(world) == [("a", 100, at(1)), ("a", 30, at(2))]
        assert world.rules() == {"codex.archived_copy": 1}

    def test_what_only_the_archived_copy_goes_on_to_show_counts(self, world: World) -> None:
        name = Path(rollout("a")).name
        first, second = tokens((100, 0, 5), minutes=1), tokens((130, 0, 6), minutes=2)
        world.codex(meta("a"), turn(), first, name=rollout("a"))
        world.codex(meta("a"), turn(), first, second, name=name, archived=True)
        world.sync()

        assert owned(world) == [("a", 100, at(1)), ("a", 30, at(2))]

    def test_a_file_that_is_only_archived_counts(self, world: World) -> None:
        world.codex(meta("a"), turn(), tokens((100, 0, 5), minutes=1), name="rollout-a.jsonl", archived=True)
        world.sync()

        assert owned(world) == [("a", 100, at(1))]

    def test_any_jsonl_below_the_root_is_read(self, world: World) -> None:
        world.codex(meta("a"), turn(), tokens((100, 0, 5), minutes=1), name="notes/saved.jsonl")
        world.sync()

        assert owned(world) == [("a", 100, at(1))]

    def test_an_event_id_depends_on_session_and_total_alone(self, tmp_path: Path) -> None:
        first, second = World(tmp_path / "1"), World(tmp_path / "2")
        first.codex(meta("a"), turn(), tokens((100, 0, 5), minutes=1), name=rollout("a"))
        second.codex(meta("a", cwd="/elsewhere"), tokens((100, 0, 5), (100, 0, 5), 7), name="x/y.jsonl")
        first.sync()
        second.sync()

        assert first.events()[0].event_id == second.events()[0].event_id


def test_a_session_known_only_later_is_the_owner_of_all_its_rows(tmp_path: Path) -> None:
    whole = jsonl(meta("t1"), turn(), tokens((100, 0, 5), minutes=1))
    world = World(tmp_path)
    path = world.codex(name="2026/02/18/odd-name.jsonl")
    path.write_bytes(whole[:30])
    world.sync()
    path.write_bytes(whole)
    world.sync()

    assert owned(world) == [("t1", 100, at(1))]


def test_a_file_rewritten_by_another_session_is_that_sessions(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.codex(meta("a"), turn(), name="2026/02/18/log.jsonl")
    world.sync()
    world.codex(meta("b"), turn(), tokens((100, 0, 5), minutes=1), name="2026/02/18/log.jsonl")
    world.sync()

    assert owned(world) == [("b", 100, at(1))]
