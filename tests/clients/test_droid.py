"""Factory Droid: sums of a session in its settings file, and what a run prints at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import Row, World, at, jsonl, set_mtime, us
from tokenledger_dagster.usage.evidence import explain

LOCKED, WRITTEN = at(0), at(600)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def usage(input: Any = 0, output: Any = 0, write: Any = 0, read: Any = 0, thinking: Any = 0) -> Row:
    return {
        "inputTokens": input, "outputTokens": output, "cacheCreationTokens": write, "cacheReadTokens": read,
        "thinkingTokens": thinking,
    }  # fmt: skip


def settings(tokens: Any, **more: Any) -> Row:
    """A settings file; ``None`` leaves a key out."""
    found = {
        "assistantActiveTimeMs": 4100, "model": "claude-sonnet-4-5-20250929", "reasoningEffort": "off",
        "autonomyMode": "normal", "providerLock": "anthropic", "providerLockTimestamp": LOCKED, "tokenUsage": tokens,
        **more,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def folder(world: World) -> Path:
    return world.home_dir / ".factory" / "sessions"


def put(world: World, content: Row | str | bytes, name: str = "s1.settings.json", mtime: str = WRITTEN) -> Path:
    path = folder(world) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    set_mtime(path, us(mtime) / 1e6)
    return path


def flags(world: World) -> set[str]:
    return {flag for record in world.records() for flag in record["flags"]}


class TestCounters:
    def test_the_four_counters_are_disjoint_and_thinking_is_added_to_output(self, world: World) -> None:
        put(world, settings(usage(100, 50, 20, 10, 5)))
        world.sync()

        (event,) = world.events()
        assert event.buckets == (100, 20, 10, 55)
        assert event.reasoning == 5

    def test_a_bare_total_stands_under_output_and_is_flagged(self, world: World) -> None:
        put(world, settings({"totalTokens": 456}))
        world.sync()

        assert world.events()[0].buckets == (0, 0, 0, 456)
        assert flags(world) == {"only_total_known"}

    def test_a_total_beside_parts_is_not_counted(self, world: World) -> None:
        put(world, settings({**usage(10, 5), "totalTokens": 900}))
        world.sync()

        assert world.events()[0].buckets == (10, 0, 0, 5)

    def test_parts_that_come_after_a_bare_total_replace_it(self, world: World) -> None:
        put(world, settings({"totalTokens": 100}))
        world.sync()
        put(world, settings(usage(90, 30)), mtime=at(700))
        world.sync()

        assert [event.buckets for event in world.events()] == [(90, 0, 0, 30)]

    @pytest.mark.parametrize("odd", [-4, float("nan"), 10**30, True, "many", [3], 2.5])
    def test_what_is_no_count_is_zero_and_the_rest_stays(self, world: World, odd: Any) -> None:
        put(world, settings(usage(odd, 7)))
        world.sync()

        assert world.events()[0].buckets == (0, 0, 0, 7)
        assert any(flag.startswith("counter_") for flag in flags(world))

    @pytest.mark.parametrize(
        ("tokens", "reason"),
        [(None, "usage_null"), ({}, "usage_null"), (usage(), "zero_usage"), ([], "usage_not_an_object")],
    )  # fmt: skip
    def test_no_usage_is_no_event(self, world: World, tokens: Any, reason: str) -> None:
        put(world, settings(tokens))
        summary = world.sync()

        assert summary.providers["droid"].skipped == {reason: 1}
        assert world.events() == []


class TestDates:
    def test_the_first_look_stands_where_the_provider_was_locked(self, world: World) -> None:
        put(world, settings(usage(10)))
        world.sync()

        assert [event.time for event in world.events()] == [LOCKED]
        assert world.query("SELECT booking_flags FROM events") == [("date_estimated,sum_of_requests",)]

    def test_without_a_lock_the_session_began_with_its_first_message(self, world: World) -> None:
        put(world, settings(usage(10), providerLockTimestamp=None))
        put(world, jsonl({"type": "session_start", "id": "s1"}, {"type": "message", "timestamp": at(3)}), "s1.jsonl")
        world.sync()

        assert [event.time for event in world.events()] == [at(3)]

    @pytest.mark.parametrize("bad", [None, "soon", False, float("nan")])
    def test_without_any_time_the_files_stands_in(self, world: World, bad: Any) -> None:
        put(world, settings(usage(10), providerLockTimestamp=bad))
        world.sync()

        assert [event.time for event in world.events()] == [WRITTEN]
        assert flags(world) == {"timestamp_from_file"}

    def test_growth_stands_where_it_was_seen(self, world: World) -> None:
        put(world, settings(usage(10, 1)))
        world.sync()
        put(world, settings(usage(60, 5)), mtime=at(2_000))
        world.sync()

        assert [(event.time, event.input, event.output) for event in world.events()] == [
            (LOCKED, 10, 1),
            (at(2_000), 50, 4),
        ]

    def test_sums_that_fall_and_rise_again_change_no_earlier_day(self, world: World) -> None:
        looks = ((1_000, at(0)), (5_000, at(1_440)), (3_000, at(30_000)), (10, at(40_000)), (1_000, at(45_000)))
        booked = []
        for tokens, when in (*looks, (6_000, at(50_000))):
            put(world, settings(usage(tokens)), mtime=when)
            world.sync()
            booked.append([(event.time, event.input) for event in world.events()])

        assert booked[1] == [(LOCKED, 1_000), (at(1_440), 4_000)]
        assert booked[4] == booked[1]
        assert booked[5] == [*booked[1], (at(50_000), 1_000)]
        assert world.rules() == {"session_snapshot_superseded": 3}

    def test_growth_in_one_look_or_two_has_the_same_total(self, world: World, tmp_path: Path) -> None:
        other = World(tmp_path / "other")
        for tokens in (usage(10, 1, 2, 3, 4), usage(60, 5, 2, 9, 4)):
            put(world, settings(tokens))
            world.sync()
        put(other, settings(usage(60, 5, 2, 9, 4)))
        other.sync()

        sums = [tuple(map(sum, zip(*(event.buckets for event in one.events()), strict=True))) for one in (world, other)]
        assert sums == [(60, 2, 9, 9), (60, 2, 9, 9)]

    def test_growth_carries_the_model_of_its_time(self, world: World) -> None:
        put(world, settings(usage(10)))
        world.sync()
        put(world, settings(usage(25), model="gpt-5.2", providerLock="openai"), mtime=at(900))
        world.sync()

        assert [(event.model, event.input) for event in world.events()] == [("claude-sonnet-4-5", 10), ("gpt-5.2", 15)]


class TestIdentity:
    def test_copies_of_a_session_are_never_summed(self, world: World) -> None:
        put(world, settings(usage(100, 200)), "-home-ada-tidepool/s1.settings.json")
        put(world, settings(usage(10, 20), providerLockTimestamp=at(-60)), "archive/s1.settings.json")
        world.sync()

        assert [event.buckets for event in world.events()] == [(100, 0, 0, 200)]
        assert world.rules() == {"session_snapshot_superseded": 1}

    def test_the_order_in_which_copies_appear_changes_no_total(self, world: World, tmp_path: Path) -> None:
        other = World(tmp_path / "other")
        small, large = settings(usage(10)), settings(usage(100))
        for one, order in ((world, ((small, "b/"), (large, "a/"))), (other, ((large, "a/"), (small, "b/")))):
            for content, below in order:
                put(one, content, f"{below}s1.settings.json")
                one.sync()

        # what was booked stays as it was: a larger copy adds what it has more
        assert [event.input for event in world.events()] == [10, 90]
        assert [event.input for event in other.events()] == [100]

    def test_a_larger_copy_that_appears_later_changes_no_earlier_day(self, world: World) -> None:
        first = put(world, settings(usage(100)), "a/s1.settings.json", at(0))
        world.sync()
        first.unlink()
        put(world, settings(usage(260)), "b/s1.settings.json", at(4_320))
        world.sync()

        assert [(event.time, event.input) for event in world.events()] == [(LOCKED, 100), (at(4_320), 160)]

    @pytest.mark.parametrize("option", ["no_cache", "full"])
    def test_reading_again_adds_nothing(self, world: World, option: str) -> None:
        for tokens in (usage(10), usage(40)):
            put(world, settings(tokens))
            world.sync()
        before = world.events()
        world.sync(**{option: True})

        assert [event.event_id for event in world.events()] == [event.event_id for event in before]
        assert [event.time for event in world.events()] == [event.time for event in before]

    def test_settings_that_change_without_usage_add_no_record(self, world: World) -> None:
        put(world, settings(usage(10)))
        world.sync()
        put(world, settings(usage(10), autonomyMode="auto-high"))
        world.sync()

        assert len(world.records()) == 1

    def test_the_bytes_of_the_sums_are_the_evidence(self, world: World) -> None:
        put(world, settings(usage(10)))
        world.sync()
        (event,) = world.events()
        (explained,) = explain(world.ledger, [event.event_id], verify=True)

        assert (explained.evidence[0].locator, explained.status) == ("/tokenUsage", "verified")


class TestContext:
    def test_the_transcript_tells_folder_and_build(self, world: World) -> None:
        put(world, settings(usage(10)))
        put(
            world,
            jsonl({"type": "session_start", "id": "s1", "cwd": "/home/ada/kelp", "version": "0.81.0"}),
            "s1.jsonl",
        )
        world.sync()

        (record,) = world.records()
        assert (record["cwd"], record["client_version"], record["session_id"]) == ("/home/ada/kelp", "0.81.0", "s1")

    def test_a_session_in_the_agents_own_folder_is_real_usage(self, world: World) -> None:
        put(world, settings(usage(10)))
        put(world, jsonl({"type": "session_start", "id": "s1", "cwd": str(world.home_dir / ".factory")}), "s1.jsonl")
        world.sync()

        assert len(world.events()) == 1

    @pytest.mark.parametrize("lock", ["anthropic", "Anthropic", "factory", "openai", "no such word!", 3, None])
    def test_the_lock_names_who_serves(self, world: World, lock: Any) -> None:
        put(world, settings(usage(10), providerLock=lock))
        world.sync()

        provider = {"anthropic": "claude", "Anthropic": "claude", "openai": "codex"}.get(lock, "droid")
        assert world.query("SELECT provider FROM models JOIN events USING (model_no)") == [(provider,)]

    @pytest.mark.parametrize(
        ("logged", "model"),
        [
            ("custom:Claude-Opus-4.5-Thinking-[Anthropic]-0", "claude-opus-4-5"),
            ("Claude-Sonnet-4-[Anthropic]", "claude-sonnet-4"),
            ("custom:GPT-5.2-[OpenAI]-3", "gpt-5.2"),
            ("gemini-2.5-pro", "gemini-2.5-pro"),
        ],
    )
    def test_a_models_display_name_is_the_model(self, world: World, logged: str, model: str) -> None:
        put(world, settings(usage(10), model=logged))
        world.sync()

        assert [(event.model_raw, event.model) for event in world.events()] == [(logged, model)]

    def test_a_missing_model_is_told_by_the_transcript(self, world: World) -> None:
        put(world, settings(usage(10), model=None))
        put(
            world,
            jsonl({"type": "message", "text": "hello"}, {"content": "Model: Claude Opus 4.5 [Anthropic]"}),
            "s1.jsonl",
        )
        world.sync()

        assert [(event.model_raw, event.model) for event in world.events()] == [("Claude Opus 4.5", "claude-opus-4-5")]

    def test_words_of_a_prompt_are_no_model(self, world: World) -> None:
        put(world, settings(usage(10), model=None))
        put(world, jsonl({"content": "Model: hunter2 secret [mine]"}), "s1.jsonl")
        world.sync()

        assert [event.model_raw for event in world.events()] == ["anthropic-unknown"]
        assert flags(world) == {"model_missing"}

    def test_only_the_first_500_lines_are_searched(self, world: World) -> None:
        put(world, settings(usage(10), model=None, providerLock=None))
        rows = [*({"type": "todo_state"} for _ in range(500)), {"content": "Model: GPT-5 [OpenAI]"}]
        put(world, jsonl(*rows), "s1.jsonl")
        world.sync()

        assert [event.model_raw for event in world.events()] == [None]


def completion(session: str = "run-1", minutes: float = 0, **usage: Any) -> Row:
    return {"type": "completion", "session_id": session, "timestamp": at(minutes), "finalText": "done", "usage": usage}


START = {
    "type": "system",
    "subtype": "init",
    "session_id": "run-1",
    "model": "claude-opus-4-5",
    "cwd": "/home/ada/kelp",
}
RUN = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}


class TestRuns:
    def test_the_completion_of_a_saved_run_is_a_request_with_its_own_time(self, world: World) -> None:
        put(world, jsonl(START, completion(minutes=4, **RUN)), "run.jsonl")
        world.sync()

        (event,) = world.events()
        assert (event.buckets, event.time, event.session, event.model) == (
            (10, 2, 3, 5),
            at(4),
            "run-1",
            "claude-opus-4-5",
        )
        assert world.query("SELECT booking_flags FROM events") == [("sum_of_requests",)]

    def test_output_saved_elsewhere_is_read_where_it_is_told(self, world: World, tmp_path: Path) -> None:
        saved = tmp_path / "run.out"
        saved.write_bytes(jsonl(START, completion(**RUN)))
        world.sync(add_sources=(("droid", str(saved)),))

        assert [event.buckets for event in world.events()] == [(10, 2, 3, 5)]

    @pytest.mark.parametrize("first", ["run", "settings"])
    def test_the_sessions_settings_stand_for_its_runs(self, world: World, first: str) -> None:
        steps = {
            "run": lambda: put(world, jsonl(START, completion(**RUN)), "run.jsonl"),
            "settings": lambda: put(world, settings(usage(10, 5, 2, 3)), "run-1.settings.json"),
        }
        for step in sorted(steps, key=lambda name: name != first):
            steps[step]()
            world.sync()

        assert [event.buckets for event in world.events()] == [(10, 2, 3, 5)]
        assert world.rules() == {"superseded_by_source": 1}

    def test_two_runs_are_two_requests(self, world: World) -> None:
        path = put(world, jsonl(START, completion(minutes=1, **RUN)), "run.jsonl")
        world.sync()
        world.append(path, completion(minutes=2, **RUN))
        world.sync()

        assert [(event.time, event.model) for event in world.events()] == [
            (at(1), "claude-opus-4-5"),
            (at(2), "claude-opus-4-5"),
        ]

    def test_runs_without_usage_and_transcripts_count_nothing(self, world: World) -> None:
        rows = [
            {"type": "session_start", "id": "s1"}, {"type": "message", "message": {"role": "assistant", "content": []}},
            {"type": "completion", "session_id": "s1", "finalText": "done"}, completion(input_tokens=0),
            {"type": "completion", "usage": 7},
        ]  # fmt: skip
        put(world, jsonl(*rows), "s1.jsonl")
        summary = world.sync()

        assert summary.providers["droid"].skipped == {"usage_null": 1, "zero_usage": 1, "usage_not_an_object": 1}
        assert world.records() == []

    def test_a_run_that_names_nothing_is_dated_by_its_file(self, world: World) -> None:
        put(world, jsonl({"type": "completion", "usage": RUN, "timestamp": "later"}), "bare.jsonl")
        world.sync()

        assert [(event.session, event.time) for event in world.events()] == [("bare", WRITTEN)]
        assert flags(world) == {"model_missing", "session_from_file", "timestamp_from_file"}


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b'{"tokenUsage": {"inputTokens": 4', "truncated_json"),
            (b"{'tokenUsage': 3}", "invalid_json"),
            (b"", "blank"),
            (b"\x00" * 64, "nul_padding"),
            (b"[1, 2]", "usage_null"),
            (b'{"a":' * 5_000, "invalid_json"),
        ],
    )
    def test_a_damaged_file_is_counted(self, world: World, content: bytes, reason: str) -> None:
        put(world, content)
        put(world, settings(usage(10)), "other.settings.json")
        summary = world.sync()

        assert list(summary.providers["droid"].skipped) == [reason]
        assert len(world.events()) == 1

    def test_invalid_text_is_replaced_and_flagged(self, world: World) -> None:
        put(world, json.dumps(settings(usage(10), title="x")).encode().replace(b'"x"', b'"\xff"'))
        world.sync()

        assert [event.input for event in world.events()] == [10]
        assert flags(world) == {"invalid_utf8"}

    def test_a_half_written_file_is_read_when_it_is_whole(self, world: World) -> None:
        whole = json.dumps(settings(usage(10))).encode()
        put(world, whole[:40])
        world.sync()
        put(world, whole, mtime=at(700))
        world.sync()

        assert [event.input for event in world.events()] == [10]
        assert world.skipped() == {}


def test_nothing_secret_reaches_the_ledger(world: World, tmp_path: Path) -> None:
    secret = "sk-fac-0123456789"
    put(world, settings({**usage(10), "note": secret, "key": {"a": secret}}, providerLock=secret, title=secret))
    put(
        world,
        jsonl({"type": "session_start", "owner": secret, "title": secret}, {"type": "message", "text": secret}),
        "s1.jsonl",
    )
    put(
        world,
        jsonl({**START, "tools": [secret]}, {**completion(**RUN), "finalText": secret}, f"{{{secret}"),
        "run.jsonl",
    )
    world.sync()
    assert len(world.events()) == 2

    kept = b"".join(path.read_bytes() for path in (tmp_path / "ledger").rglob("*") if path.is_file())
    assert secret.encode() not in kept


class TestPlaces:
    def test_the_agents_variables_name_the_folder(self, world: World, tmp_path: Path) -> None:
        for name, below in (("FACTORY_DIR", "sessions"), ("DROID_SESSIONS_DIR", "")):
            root = tmp_path / name
            target = root / below / "s1.settings.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(settings(usage(10))))
            one = World(tmp_path / f"world-{name}", **{name: str(root)})
            one.sync()

            assert len(one.events()) == 1
