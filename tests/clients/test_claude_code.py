"""Claude Code: which rows are requests, and which rows are the same request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import SONNET, World, at, claude, claude_progress, line, set_mtime, user


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class TestCounters:
    def test_the_four_counters_are_disjoint(self, world: World) -> None:
        world.claude(claude(input=4, output=412, write=9_000, read=14_000))
        world.sync()

        (event,) = world.events()
        assert event.buckets == (4, 9_000, 14_000, 412)

    def test_a_split_tells_one_hour_writes_apart(self, world: World) -> None:
        split = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 70}
        world.claude(claude(usage={"input_tokens": 1, "cache_creation_input_tokens": 100, "cache_creation": split}))
        world.sync()

        (event,) = world.events()
        assert (event.cache_write, event.cache_write_1h) == (100, 70)

    def test_a_split_wins_over_a_flat_total_and_is_flagged(self, world: World) -> None:
        split = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
        world.claude(claude(usage={"cache_creation_input_tokens": 999, "cache_creation": split}))
        world.sync()

        (event,) = world.events()
        assert (event.cache_write, event.cache_write_1h) == (30, 20)
        assert world.records()[0]["flags"] == ["cache_split_disagrees"]

    def test_without_split_all_writes_are_five_minute_writes(self, world: World) -> None:
        world.claude(claude(write=100))
        world.sync()

        (event,) = world.events()
        assert (event.cache_write, event.cache_write_1h) == (100, 0)

    def test_web_searches_are_counted(self, world: World) -> None:
        world.claude(claude(usage={"input_tokens": 1, "server_tool_use": {"web_search_requests": 3}}))
        world.sync()

        assert world.events()[0].web_searches == 3

    def test_the_flat_shape_of_2024_is_read(self, world: World) -> None:
        row = {"timestamp": at(), "sessionId": "s1", "costUSD": 0.5, "message": {"model": "claude-3-5-sonnet-20241022"}}
        world.claude(
            {**row, "inputTokens": 10, "outputTokens": 20, "cacheCreationInputTokens": 30, "cacheReadInputTokens": 40}
        )
        world.sync()

        (event,) = world.events()
        assert event.buckets == (10, 30, 40, 20)
        assert event.model_raw == "claude-3-5-sonnet-20241022"

    def test_a_bad_counter_is_zero_and_its_row_stays(self, world: World) -> None:
        world.claude(claude(input=-5, output=True, read=7))
        world.sync()

        assert world.events()[0].buckets == (0, 0, 7, 0)
        assert set(world.records()[0]["flags"]) == {"counter_negative", "counter_not_a_count"}

    @pytest.mark.parametrize(
        ("usage", "reason"),
        [
            ({}, "usage_null"),
            ({"input_tokens": 0, "output_tokens": 0}, "zero_usage"),
            ([], "usage_not_an_object"),
            ("none", "usage_not_an_object"),
        ],
    )
    def test_usage_without_tokens_is_no_event(self, world: World, usage: object, reason: str) -> None:
        world.claude(claude(usage=usage))

        assert world.sync().providers["claude-code"].skipped == {reason: 1}
        assert world.events() == []

    def test_null_usage_is_no_event(self, world: World) -> None:
        row = claude()
        row["message"]["usage"] = None
        world.claude(row)

        assert world.sync().providers["claude-code"].skipped == {"usage_null": 1}

    def test_null_counters_are_absent_ones(self, world: World) -> None:
        world.claude(claude(usage={"input_tokens": 3, "output_tokens": None, "cache_creation": None}))
        world.sync()

        assert world.events()[0].buckets == (3, 0, 0, 0)

    def test_advisor_iterations_are_events_on_their_own_model(self, world: World) -> None:
        advisor = {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 100, "output_tokens": 9}
        usage = {"input_tokens": 1, "output_tokens": 2, "iterations": [{"type": "message", "input_tokens": 1}, advisor]}
        world.claude(claude(usage=usage), claude(usage=usage))
        world.sync()

        assert sorted((event.model_raw, *event.buckets) for event in world.events()) == [
            ("claude-opus-4-5", 100, 0, 0, 9),
            (SONNET, 1, 0, 0, 2),
        ]
        assert world.rules() == {"claude.stream_copy": 2}


class TestRows:
    def test_spaces_in_the_json_change_nothing(self, world: World) -> None:
        world.claude(line(claude(input=4)).replace(b":", b" : ").replace(b"09 : 00 : 00", b"09:00:00"))
        world.sync()

        assert world.events()[0].input == 4

    def test_the_order_of_keys_changes_nothing(self, world: World) -> None:
        world.claude(dict(reversed(claude(input=4).items())))
        world.sync()

        assert world.events()[0].input == 4

    def test_rows_without_usage_are_passed_over_silently(self, world: World) -> None:
        summary = {"type": "summary", "summary": "Tides", "leafUuid": "u1"}
        world.claude(user(), summary, {"type": "system", "subtype": "compact_boundary"}, claude())

        assert world.sync().providers["claude-code"].skipped == {}
        assert len(world.events()) == 1

    def test_the_summary_of_a_subagent_in_a_tool_result_is_no_request(self, world: World) -> None:
        world.claude({**user(), "toolUseResult": {"usage": {"input_tokens": 500}}}, claude(input=4))
        world.sync()

        assert [event.input for event in world.events()] == [4]

    def test_a_tool_input_that_looks_like_a_prompt_does_not_hide_the_row(self, world: World) -> None:
        row = claude(input=4)
        given = {"message": {"role": "user", "content": "hi"}}
        row["message"]["content"] = [{"type": "tool_use", "name": "send", "input": given}]
        world.claude(row)
        world.sync()

        assert [event.input for event in world.events()] == [4]

    def test_a_prompt_and_an_answer_on_one_line_are_both_read(self, world: World) -> None:
        world.claude(line(user()) + line(claude(input=4)))
        world.sync()

        assert [event.input for event in world.events()] == [4]

    def test_a_session_without_id_is_named_by_its_file(self, world: World) -> None:
        world.claude(claude(session=None), name="0f1e.jsonl")
        world.sync()

        assert world.events()[0].session == "0f1e"

    def test_a_row_without_model_is_kept(self, world: World) -> None:
        world.claude(claude(model=None))
        world.sync()

        (event,) = world.events()
        assert (event.model_raw, event.model, event.nano) == (None, "unknown", None)

    def test_synthetic_rows_with_tokens_cost_nothing(self, world: World) -> None:
        world.claude(claude(model="<synthetic>", input=7))
        world.sync()

        (event,) = world.events()
        assert (event.model, event.input, event.nano) == ("<synthetic>", 7, 0)

    def test_a_row_without_time_gets_its_files(self, world: World) -> None:
        path = world.claude(claude(timestamp="not-a-date"))
        set_mtime(path, 1_771_405_200)
        world.sync()

        assert world.events()[0].time == "2026-02-18T09:00:00.000Z"
        assert "timestamp_from_file" in world.records()[0]["flags"]

    def test_the_project_is_the_folder_of_the_sessions_first_row(self, world: World) -> None:
        world.claude(claude("m2", minutes=5, cwd="/second"), claude("m1", minutes=0, cwd="/first"))
        world.sync()

        assert {event.project for event in world.events()} == {"/first"}


class TestOneRequest:
    def test_streamed_copies_are_one_request_the_largest_output_kept_whole(self, world: World) -> None:
        world.claude(
            claude(input=4, output=4, read=900, minutes=0),
            claude(input=4, output=412, read=900, minutes=1),
            claude(input=4, output=4, read=900, minutes=2),
        )
        world.sync()

        (event,) = world.events()
        assert event.buckets == (4, 0, 900, 412)
        assert event.copies == ("claude.stream_copy", "claude.stream_copy")

    def test_the_earliest_copy_tells_the_time(self, world: World) -> None:
        world.claude(claude(output=4, minutes=0), claude(output=412, minutes=3))
        world.sync()

        assert world.events()[0].time == at(0)

    def test_a_guessed_time_never_beats_a_logged_one(self, world: World) -> None:
        path = world.claude(claude(output=4, timestamp=None), claude(output=3, minutes=3))
        set_mtime(path, 1_000_000_000)
        world.sync()

        assert world.events()[0].time == at(3)

    def test_a_null_request_id_is_a_value(self, world: World) -> None:
        world.claude(claude("m1", None, output=1), claude("m1", None, output=2), claude("m1", "r1", output=3))
        world.sync()

        assert sorted(event.output for event in world.events()) == [2, 3]

    def test_one_message_under_two_requests_is_two_events(self, world: World) -> None:
        world.claude(claude("m1", "r1"), claude("m1", "r2"))
        world.sync()

        assert len(world.events()) == 2

    def test_rows_without_message_id_count_each(self, world: World) -> None:
        world.claude(claude(None, None), claude(None, None), claude(None, None, output=9))
        world.sync()

        assert len(world.events()) == 3

    def test_equal_rows_of_a_copied_file_are_merged_by_the_larger_number(self, world: World) -> None:
        row = claude(None, None)
        world.claude(row, row, name="-home-ada-old/s1.jsonl")
        world.claude(row, row, row, name="-home-ada-new/s1.jsonl")
        world.sync()

        assert len(world.events()) == 3
        assert world.rules() == {"claude.file_copy": 2}


class TestCopiesAcrossFiles:
    def test_a_resumed_session_copies_rows_that_the_first_session_owns(self, world: World) -> None:
        world.claude(claude("m1", "r1", minutes=0), claude("m2", "r2", minutes=1), name="old.jsonl")
        copied = claude("m2", "r2", minutes=1, session="s2")
        world.claude(copied, claude("m3", "r3", minutes=60, session="s2"), name="new.jsonl")
        world.sync()

        assert [(event.session, event.time, event.copies) for event in world.events()] == [
            ("s1", at(0), ()),
            ("s1", at(1), ("claude.resume_copy",)),
            ("s2", at(60), ()),
        ]

    def test_a_session_wholly_contained_in_another_owns_what_it_holds(self, world: World) -> None:
        world.claude(claude("m1", "r1", minutes=0, session="s1"), name="old.jsonl")
        copied = claude("m1", "r1", minutes=0, session="s2")
        world.claude(copied, claude("m2", "r2", minutes=5, session="s2"), name="new.jsonl")
        world.sync()

        assert [event.session for event in world.events()] == ["s1", "s2"]

    def test_a_side_question_that_replays_a_message_under_a_new_request_is_none(self, world: World) -> None:
        world.claude(claude("m1", "r1", input=20))
        world.claude(
            claude("m1", "r9", input=20, sidechain=True, minutes=4),
            claude("m2", "r2", input=30, sidechain=True, minutes=5),
            name="-home-ada-code-tidepool/s1/subagents/agent-aside_question-1.jsonl",
        )
        world.sync()

        assert [(event.input, event.copies) for event in world.events()] == [
            (20, ("claude.sidechain_replay",)),
            (30, ()),
        ]

    def test_a_message_that_only_sidechains_show_is_one_event(self, world: World) -> None:
        world.claude(
            claude("m1", "r1", output=5, sidechain=True),
            claude("m1", "r2", output=8, sidechain=True),
            name="agent-1.jsonl",
        )
        world.sync()

        assert [(event.output, event.copies) for event in world.events()] == [(8, ("claude.sidechain_replay",))]

    def test_a_main_transcript_owns_what_a_helper_file_repeats(self, world: World) -> None:
        world.claude(claude("m1", "r1"))
        world.claude(
            claude("m1", "r1", sidechain=True), name="-home-ada-code-tidepool/s1/subagents/agent-acompact.jsonl"
        )
        world.sync()

        assert world.rules() == {"claude.subagent_copy": 1}

    def test_a_progress_row_loses_against_the_helpers_own_row(self, world: World) -> None:
        direct = claude("m1", "r1", output=188, sidechain=True, agentId="a1")
        partial = claude("m1", "r1", output=3)
        world.claude(claude_progress(partial))
        world.claude(direct, name="-home-ada-code-tidepool/s1/subagents/agent-a1.jsonl")
        world.sync()

        (event,) = world.events()
        assert (event.session, event.output, event.copies) == ("s1", 188, ("claude.progress_copy",))

    def test_a_message_known_only_from_a_progress_row_counts(self, world: World) -> None:
        world.claude(claude_progress(claude("m1", "r1", input=4)))
        world.sync()

        assert [event.input for event in world.events()] == [4]

    def test_a_helpers_rows_belong_to_the_session_that_started_it(self, world: World) -> None:
        world.claude(claude("m1", "r1", sidechain=True, agentId="a1"), name="-home-ada-code-tidepool/agent-a1.jsonl")
        world.sync()

        assert world.events()[0].session == "s1"
        assert world.records()[0]["agent_id"] == "a1"

    def test_the_sidechain_seen_first_yields_to_the_parent_row(self, world: World) -> None:
        world.claude(claude("m1", "r9", output=9, sidechain=True), name="agent-1.jsonl")
        world.sync()
        world.claude(claude("m1", "r1", output=5))
        world.sync()

        assert [(event.output, event.copies) for event in world.events()] == [(5, ("claude.sidechain_replay",))]


class TestContext:
    def test_fast_speed_is_its_own_context(self, world: World) -> None:
        world.claude(claude(usage={"input_tokens": 4, "speed": "fast"}, model="claude-opus-4-6"))
        world.sync()

        assert world.events()[0].context == "speed=fast"

    def test_a_recorded_cost_is_kept_as_evidence(self, world: World) -> None:
        world.claude(claude("m1", costUSD=0.01449), claude("m2", costUSD=0))
        world.sync()

        assert [str(record["reported_cost_usd"]) for record in world.records()] == ["0.014490000", "None"]

    def test_a_session_may_change_its_model(self, world: World) -> None:
        world.claude(claude("m1"), claude("m2", model="claude-opus-4-5-20251101"))
        world.sync()

        assert {event.model for event in world.events()} == {"claude-sonnet-4-5", "claude-opus-4-5"}
