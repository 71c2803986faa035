"""Amp: the ledger of a thread or its messages, never both, in any order of their appearing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.planted import KEY, MAIL, PROMPT, SECRETS, found_below
from tests.support import World, at, buckets, set_mtime, us

HAIKU = "claude-haiku-4-5-20251001"
Row = dict[str, Any]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def entry(number: int = 1, input: Any = 100, output: Any = 50, **more: Any) -> Row:
    """A ledger entry that led to the message of that number."""
    found = {
        "id": f"e{number}",
        "timestamp": at(number),
        "model": HAIKU,
        "credits": 1.25,
        "operationType": "inference",
        "tokens": {"input": input, "output": output},
        "toMessageId": number,
        **more,
    }
    return {key: value for key, value in found.items() if value is not None}


def message(number: int | None = 1, usage: Any = None, **more: Any) -> Row:
    found = {"role": "assistant", "messageId": number, "content": PROMPT, "usage": usage, **more}
    return {key: value for key, value in found.items() if value is not None}


def counts(input: Any = 100, output: Any = 50, write: Any = 0, read: Any = 0, minutes: float = 1, **more: Any) -> Row:
    found = {
        "model": HAIKU,
        "timestamp": at(minutes),
        "inputTokens": input,
        "outputTokens": output,
        "cacheCreationInputTokens": write,
        "cacheReadInputTokens": read,
        **more,
    }
    return {key: value for key, value in found.items() if value is not None}


def thread(world: World, *messages: Row, ledger: list[Any] | None = None, name: str = "T-1", **more: Any) -> Path:
    document = {
        "v": 3,
        "id": name,
        "title": PROMPT,
        "messages": [{"role": "user", "content": PROMPT}, *messages],
        **more,
    }
    if ledger is not None:
        document["usageLedger"] = {"events": ledger}
    path = world.home_dir / f".local/share/amp/threads/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


class TestLedger:
    def test_cached_tokens_come_from_the_message_an_entry_led_to(self, world: World) -> None:
        cached = {"cacheCreationInputTokens": 20, "cacheReadInputTokens": 10}
        thread(world, message(1), message(2, cached), ledger=[entry(2)])
        world.sync()

        (event,) = world.events()
        assert event.buckets == (100, 20, 10, 50)
        assert (event.session, event.model_raw, event.time) == ("T-1", HAIKU, "2026-02-18T09:02:00.000Z")

    def test_two_entries_of_one_message_count_its_cached_tokens_once(self, world: World) -> None:
        title = entry(2, 30, 3, id="title", operationType="title")
        thread(world, message(2, {"cacheReadInputTokens": 10}), ledger=[entry(2), title])
        world.sync()

        assert sorted(buckets(world.events())) == [(30, 0, 0, 3), (100, 0, 10, 50)]

    def test_messages_are_not_added_to_it(self, world: World) -> None:
        thread(world, message(1, counts(999, 999)), message(7, counts(888, 888)), ledger=[entry(1)])
        summary = world.sync()

        assert buckets(world.events()) == [(100, 0, 0, 50)]
        assert summary.providers["amp"].skipped == {"covered_by_ledger": 1}

    def test_credits_are_kept_as_evidence_and_are_no_cost(self, world: World) -> None:
        thread(world, ledger=[entry(1)])
        world.sync()

        (record,) = world.records()
        assert record["reported_cost_usd"] is None
        assert json.loads(record["raw_usage"])["credits"] == 1.25

    def test_entries_without_an_id_are_known_by_their_place(self, world: World) -> None:
        ledger = [entry(1, id=None, toMessageId=None)] * 2
        thread(world, ledger=ledger)
        world.sync()
        thread(world, ledger=[*ledger, entry(3)])
        world.sync()
        world.sync(no_cache=True)

        assert len(world.events()) == 3
        assert len(world.records()) == 3

    def test_an_empty_ledger_is_none(self, world: World) -> None:
        thread(world, message(1, counts(3, 4)), ledger=[])
        thread(world, message(1, counts(5, 6)), ledger=[{"id": "e1", "tokens": None}], name="T-2")
        world.sync()

        assert sorted(buckets(world.events())) == [(3, 0, 0, 4), (5, 0, 0, 6)]


class TestMessages:
    def test_an_answers_usage_is_a_request(self, world: World) -> None:
        usage = counts(10, 178, 986, 11_372, totalInputTokens=12_368, credits=2)
        thread(world, message(None, usage), message(None, counts(5, 42, 0, 12_000, 2)))
        world.sync()

        assert buckets(world.events()) == [(10, 986, 11_372, 178), (5, 0, 12_000, 42)]

    def test_a_stated_total_may_show_that_input_is_the_whole_prompt(self, world: World) -> None:
        thread(world, message(1, counts(100, 5, 20, 10, totalInputTokens=100)))
        world.sync()

        assert buckets(world.events()) == [(70, 20, 10, 5)]
        assert world.records()[0]["flags"] == ["cache_inside_input"]

    def test_a_rewritten_thread_counts_each_answer_in_its_last_state(self, world: World) -> None:
        thread(world, message(1, counts(10, 90)))
        world.sync()
        thread(world, message(1, counts(12, 40)), message(2, counts(1, 1)))
        world.sync()

        assert sorted(buckets(world.events())) == [(1, 0, 0, 1), (12, 0, 0, 40)]
        assert world.rules() == {"amp.rewritten": 1}

    def test_answers_without_usage_are_counted(self, world: World) -> None:
        thread(world, message(1), message(2, 7), message(3, counts(0, 0)), message(4, {"inputTokens": "3"}))
        summary = world.sync()

        assert summary.providers["amp"].skipped == {"usage_null": 1, "usage_not_an_object": 1, "zero_usage": 1}
        assert buckets(world.events()) == [(3, 0, 0, 0)]

    def test_without_a_time_the_file_tells_it(self, world: World) -> None:
        path = thread(world, message(1, counts(timestamp=None)))
        set_mtime(path, us("2026-03-01T00:00:00Z") / 1e6)
        world.sync()

        assert world.events()[0].time == "2026-03-01T00:00:00.000Z"
        assert world.records()[0]["flags"] == ["timestamp_from_file"]

    def test_the_folder_is_the_first_the_thread_began_in(self, world: World) -> None:
        trees = [{"displayName": "kelp", "uri": "file:///home/ada/code/kelp%20bed"}, {"uri": "file:///tmp"}]
        thread(world, message(1, counts()), env={"initial": {"trees": trees}})
        world.sync()

        assert world.events()[0].project == "/home/ada/code/kelp bed"


class TestBoth:
    def test_a_thread_seen_with_and_without_a_ledger_counts_each_request_once(self, tmp_path: Path) -> None:
        states: list[dict[str, Any]] = [
            {"ledger": [entry(1, 100, 50)]},
            {"messages": [message(1, counts(100, 50)), message(2, counts(7, 7, minutes=2))]},
        ]
        for number, order in enumerate(itertools.permutations(states)):
            world = World(tmp_path / str(number))
            for state in order:
                thread(world, *state.get("messages", []), ledger=state.get("ledger"))
                world.sync()

            assert sorted(buckets(world.events())) == [(7, 0, 0, 7), (100, 0, 0, 50)]
            assert world.rules() == {"superseded_by_source": 1}

    @pytest.mark.parametrize("numbered", [True, False])
    def test_where_either_side_has_no_number_the_ledger_stands_for_the_thread(
        self, tmp_path: Path, numbered: bool
    ) -> None:
        for turn in (1, -1):
            world = World(tmp_path / str(turn))
            sides: list[dict[str, Any]] = [
                {"ledger": [entry(1, toMessageId=1 if numbered else None)]},
                {"message": message(None if numbered else 1, counts(999, 999))},
            ]
            for side in sides[::turn]:
                thread(world, *([side["message"]] if "message" in side else []), ledger=side.get("ledger"))
                world.sync()

            assert buckets(world.events()) == [(100, 0, 0, 50)]

    def test_many_syncs_give_what_one_gives(self, tmp_path: Path) -> None:
        at_once, bit_by_bit = World(tmp_path / "a"), World(tmp_path / "b")
        for last in range(1, 5):
            thread(bit_by_bit, *(message(n, counts(n, n, minutes=n)) for n in range(1, last + 1)))
            bit_by_bit.sync()
        thread(at_once, *(message(n, counts(n, n, minutes=n)) for n in range(1, 5)))
        at_once.sync()

        assert bit_by_bit.booked() == at_once.booked()


class TestHostile:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "blank"),
            (b"\x00", "nul_padding"),
            (b"[]", "unknown_layout"),
            (b'{"id":"T-9","messages":[', "truncated_json"),
            (b"nothing", "invalid_json"),
            (
                b'{"id":"T-9","messages":[{"role":"assistant","usage":{"inputTokens":-5,"outputTokens":true}}]}',
                "zero_usage",
            ),
            (b'{"id":"T-9","usageLedger":{"events":[7,{"tokens":{"input":1}}]}}', "not_an_object"),
        ],
    )
    def test_what_cannot_be_read_is_counted(self, world: World, data: bytes, reason: str) -> None:
        path = thread(world, message(1, counts()))
        path.with_name("T-9.json").write_bytes(data)
        summary = world.sync()

        assert summary.providers["amp"].skipped == {reason: 1}
        assert len(world.events()) == (2 if reason == "not_an_object" else 1)

    def test_bad_counters_are_zero_and_the_request_stays(self, world: World) -> None:
        path = thread(world, message(1, counts(float("nan"), 5, 10**12, [1])))
        assert b"NaN" in path.read_bytes()
        world.sync()

        assert buckets(world.events()) == [(0, 0, 0, 5)]
        assert world.records()[0]["flags"] == ["counter_not_a_count", "counter_overflow"]

    def test_a_thread_without_an_id_is_known_by_its_file(self, world: World) -> None:
        thread(world, message(1, counts()), name="T-7", id=None)
        world.sync()

        assert world.events()[0].session == "T-7"
        assert world.records()[0]["flags"] == ["session_from_file"]

    def test_nothing_but_counts_and_names_is_kept(self, world: World) -> None:
        secret = " ".join(SECRETS)
        thread(world, message(1, counts(note=secret), content=secret), meta={"user": MAIL}, name="T-1")
        thread(world, ledger=[entry(1, reason=KEY)], name="T-2", title=secret)
        world.sync()

        assert len(world.events()) == 2
        assert found_below(world.ledger.root) == []
