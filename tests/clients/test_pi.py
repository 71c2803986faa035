"""pi, omp and OpenClaw: what their counters mean, and which entries are one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.checks import ODD_COUNTS, ODD_LINES, check_any_order, check_growth, check_nothing_is_kept, flags, put
from tests.support import Row, World, at, jsonl, set_mtime, us

FOLDER = ".pi/agent/sessions/--home-ada-code-kelp--/"
LOG = f"{FOLDER}2026-02-18T09-00-00-000Z_p1.jsonl"
FORK = f"{FOLDER}2026-02-18T10-00-00-000Z_p2.jsonl"


def usage(input: Any = 10, output: Any = 5, read: Any = 0, write: Any = 0, **more: Any) -> Row:
    return {"input": input, "output": output, "cacheRead": read, "cacheWrite": write, **more}


def entry(
    name: str | None = "e1", used: Any = None, minutes: float = 0, response: str | None = None, **told: Any
) -> Row:
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "done"}],
        "api": "anthropic-messages",
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "usage": usage() if used is None else used,
        "stopReason": "stop",
        "timestamp": us(at(minutes)) // 1000 - 500,
        "responseId": response,
        **told,
    }
    message = {key: value for key, value in message.items() if value is not None and value is not ...}
    row = {"type": "message", "id": name, "parentId": None, "timestamp": at(minutes), "message": message}
    return {key: value for key, value in row.items() if value is not None or key == "parentId"}


def header(session: str = "p1", minutes: float = 0, **row: Any) -> Row:
    found = {"type": "session", "version": 3, "id": session, "timestamp": at(minutes), "cwd": "/home/ada/code/kelp"}
    return {**found, **row}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def synced(world: World, *rows: Row | str | bytes, name: str = LOG) -> list[tuple[int, int, int, int]]:
    put(world, {name: jsonl(*rows)})
    world.sync()
    return [event.buckets for event in world.events()]


class TestCounters:
    def test_the_four_counters_are_disjoint_as_they_stand(self, world: World) -> None:
        assert synced(world, header(), entry(used=usage(100, 50, 10, 20, totalTokens=180))) == [(100, 20, 10, 50)]

    def test_reasoning_is_part_of_the_output(self, world: World) -> None:
        assert synced(world, header(), entry(used=usage(20, 9, reasoning=5, totalTokens=29))) == [(20, 0, 0, 9)]
        assert world.events()[0].reasoning == 5

    def test_unless_the_total_counts_it_apart(self, world: World) -> None:
        assert synced(world, header(), entry(used=usage(20, 9, reasoning=5, totalTokens=34))) == [(20, 0, 0, 14)]

    def test_a_total_alone_counts_as_output(self, world: World) -> None:
        assert synced(world, header(), entry(used={"totalTokens": 33})) == [(0, 0, 0, 33)]
        assert flags(world) == {"only_total_known"}

    @pytest.mark.parametrize(("value", "counted", "flag"), ODD_COUNTS)
    def test_an_odd_counter_never_loses_the_row(self, world: World, value: Any, counted: int, flag: str | None) -> None:
        assert synced(world, header(), entry(used=usage(value, 5))) == [(counted, 0, 0, 5)]
        assert flags(world) == ({flag} if flag else set())

    @pytest.mark.parametrize(
        ("cost", "told"), [({"total": 0.05}, "0.05"), (0.05, "0.05"), ({"total": 0}, None), ("x", None)]
    )
    def test_the_cost_is_kept_as_recorded(self, world: World, cost: Any, told: str | None) -> None:
        synced(world, header(), entry(used=usage(cost=cost)))

        found = world.records()[0]["reported_cost_usd"]
        assert (found if found is None else str(found.normalize())) == told

    def test_entries_without_usage_are_counted_and_no_events(self, world: World) -> None:
        rows = [entry(used=...), entry(used={}), entry(used=usage(0, 0)), entry(used="lots")]

        assert synced(world, header(), *rows) == []
        assert world.skipped() == {"usage_null": 2, "zero_usage": 1, "usage_not_an_object": 1}

    @pytest.mark.parametrize("role", ["user", "toolResult", "custom", None])
    def test_usage_on_other_messages_is_not_theirs(self, world: World, role: str | None) -> None:
        assert synced(world, header(), entry(role=role)) == []


class TestRequests:
    def test_a_branch_that_was_left_was_paid_for(self, world: World) -> None:
        assert len(synced(world, header(), entry("e1"), entry("e2", minutes=1), entry("e3", minutes=2))) == 3

    def test_a_fork_begins_with_its_parents_entries(self, world: World) -> None:
        fork = header("p2", 60, parentSession=f"/home/ada/{LOG}")
        copy = {**entry("e1"), "parentId": "elsewhere"}
        put(world, {FORK: jsonl(fork, copy, entry("e2", minutes=61))})
        synced(world, header(), entry("e1"))

        assert [(event.session, event.time) for event in world.events()] == [("p1", at(0)), ("p2", at(61))]
        assert world.rules() == {"pi.forked_entry": 1}

    def test_siblings_share_what_their_missing_parent_left_them(self, world: World) -> None:
        fork = header("p2", 0, parentSession=f"/home/ada/{LOG}")
        put(world, {FORK: jsonl(fork, entry("e1"), entry("e2", minutes=61))})
        synced(world, {**fork, "id": "p3"}, entry("e1"), name=FORK.replace("p2", "p3"))

        assert [event.time for event in world.events()] == [at(0), at(61)]

    @pytest.mark.parametrize(("mine", "theirs"), [(None, None), (None, "e1"), ("e1", None)])
    def test_a_forks_entries_may_have_been_given_ids_later_or_not_yet(
        self, world: World, mine: str | None, theirs: str | None
    ) -> None:
        fork = header("p2", 60, parentSession=f"/home/ada/{LOG}")
        put(world, {FORK: jsonl(fork, entry(theirs), entry("e9", minutes=61))})

        assert len(synced(world, header(), entry(mine))) == 2

    @pytest.mark.parametrize("parent_first", [True, False])
    def test_the_parent_owns_them_also_where_the_fork_shows_more(self, world: World, parent_first: bool) -> None:
        fork = header("p2", 60, parentSession=f"/home/ada/{LOG}", cwd="/home/ada/other")
        files = [{LOG: jsonl(header(), entry())}, {FORK: jsonl(fork, entry(), entry("e2", minutes=61))}]
        for one in files if parent_first else reversed(files):
            put(world, one)
            world.sync()

        owners = {event.session: event.project for event in world.events()}
        assert owners == {"p1": "/home/ada/code/kelp", "p2": "/home/ada/other"}

    def test_a_turn_under_two_roots_is_booked_once(self, world: World) -> None:
        put(
            world,
            {f".omp/agent/sessions/abs-kelp/{LOG.rsplit('/', 1)[1]}": jsonl(header(), entry("other", response="r1"))},
        )

        assert synced(world, header(), entry(response="r1", minutes=1)) == [(10, 0, 0, 5)]

    def test_a_response_id_drawn_twice_is_two_requests(self, world: World) -> None:
        rows = [entry("e1", usage(10, 5), 1, "chatcmpl-77"), entry("e2", usage(10, 5), 2, "chatcmpl-77")]

        assert len(synced(world, header(), *rows, entry("e3", usage(11, 5), 3, "chatcmpl-77"))) == 3

    def test_short_entry_ids_mean_nothing_elsewhere(self, world: World) -> None:
        put(world, {FORK: jsonl(header("p2"), entry("m2", minutes=5))})

        assert len(synced(world, header(), entry("m2", minutes=1))) == 2

    def test_not_even_at_the_same_moment(self, world: World) -> None:
        put(world, {FORK: jsonl(header("p2"), entry("m2"))})

        assert len(synced(world, header(), entry("m2"))) == 2

    def test_a_session_under_two_roots_is_booked_once_also_without_response_ids(self, world: World) -> None:
        rows = jsonl(header(), entry("e1"), entry("e2"), entry("e3", minutes=1))
        put(world, {f".omp/agent/sessions/abs-kelp/{LOG.rsplit('/', 1)[1]}": rows})

        assert len(synced(world, rows.rstrip(b"\n"))) == 3

    def test_entries_that_are_given_ids_later_stay_the_same_requests(self, world: World) -> None:
        synced(world, header(version=1), entry(None), entry(None, minutes=1))
        before = [event.event_id for event in world.events()]
        synced(world, header(), entry("e1"), entry("e2", minutes=1))

        assert [event.event_id for event in world.events()] == before

    def test_entries_without_id_and_time_are_told_apart_by_content_and_place(self, world: World) -> None:
        rows = [{**entry(None, timestamp=...), "timestamp": None}] * 2
        put(world, {FORK: jsonl(header("p2"), *rows)})

        assert len(synced(world, header(), *rows)) == 2


class TestContext:
    def test_where_nothing_names_the_session_its_file_does(self, world: World) -> None:
        synced(world, entry(), name=f"{FOLDER}saved.jsonl")

        assert world.events()[0].session == "saved"
        assert flags(world) == {"session_from_file"}

    def test_the_session_is_named_behind_the_first_underscore(self, world: World) -> None:
        synced(world, entry(), name=".pi/agent/sessions/project-a/prefix_session_a.jsonl")

        (event,) = world.events()
        assert (event.session, event.project) == ("session_a", "project-a")

    def test_or_by_the_header(self, world: World) -> None:
        synced(world, header("h1"), entry(), name=f"{FOLDER}plain.jsonl")

        assert world.events()[0].session == "h1"

    def test_model_and_provider_are_the_messages_own_or_those_last_chosen(self, world: World) -> None:
        change = {"type": "model_change", "id": "c1", "provider": "OpenRouter", "modelId": "moonshotai/kimi-k2"}
        synced(world, header(), change, entry("e1"), entry("e2", minutes=1, model=..., provider=...))

        told = [(record["model_raw"], record["upstream"]) for record in world.records()]
        assert told == [("claude-sonnet-4-5", "anthropic"), ("moonshotai/kimi-k2", "openrouter")]

    def test_without_any_name_the_model_is_missing(self, world: World) -> None:
        synced(world, entry(model=...))

        assert flags(world) == {"model_missing"}

    @pytest.mark.parametrize(("stopped", "status"), [("stop", "ok"), ("aborted", "error"), (None, None)])
    def test_the_end_of_an_answer_tells_its_status(self, world: World, stopped: str | None, status: str | None) -> None:
        synced(world, header(), entry(stopReason=stopped))

        assert world.records()[0]["status"] == status

    def test_openclaw_keeps_an_agents_sessions_together_also_those_put_aside(self, world: World) -> None:
        folder = ".openclaw/agents/shore/sessions/"
        put(world, {f"{folder}c0.jsonl.reset.2026-02-17T00-00-00.000Z": jsonl(header("c0"), entry("m2"))})
        synced(world, header("c1", cwd="/home/ada/shore"), entry("m2", minutes=1), name=f"{folder}c1.jsonl")

        told = [(record["session_id"], record["agent_id"]) for record in world.records()]
        assert sorted(told) == [("c0", "shore"), ("c1", "shore")]

    def test_a_time_that_cannot_be_read_falls_to_the_messages_then_to_the_file(self, world: World) -> None:
        rows = [{**entry("e1"), "timestamp": "soon"}, {**entry("e2", usage(20), timestamp="soon"), "timestamp": []}]
        put(world, {LOG: jsonl(header(), *rows)})
        set_mtime(world.home_dir / LOG, us(at(9)) / 1e6)
        world.sync()

        assert [(event.time, event.input) for event in world.events()] == [
            ("2026-02-18T08:59:59.500Z", 10),
            (at(9), 20),
        ]

    @pytest.mark.parametrize(
        ("variable", "below"),
        [("PI_AGENT_DIR", ""), ("PI_CODING_AGENT_DIR", "sessions/"), ("OPENCLAW_STATE_DIR", "agents/a/sessions/")],
    )
    def test_the_clients_own_variables_are_followed(self, tmp_path: Path, variable: str, below: str) -> None:
        world = World(tmp_path, **{variable: str(tmp_path / "else")})
        world.write(tmp_path / f"else/{below}x_s1.jsonl", header("s1"), entry())
        world.sync()

        assert [event.session for event in world.events()] == ["s1"]


class TestEveryWay:
    ROWS = (
        header(), {"type": "model_change", "id": "c", "provider": "openai", "modelId": "gpt-5.1"}, entry("e1"),
        entry("e2", usage(20, 2), 1, "r2", model=..., provider=...), b"not json", entry("e3", usage(30, 3), 2),
    )  # fmt: skip

    def test_a_growing_session(self, tmp_path: Path) -> None:
        check_growth(tmp_path, LOG, jsonl(*self.ROWS))

    def test_any_order(self, tmp_path: Path) -> None:
        fork = header("p2", 60, parentSession=f"/home/ada/{LOG}")
        again = header("p3", 90, parentSession=f"/home/ada/{FORK}")
        files = {
            LOG: jsonl(*self.ROWS),
            FORK: jsonl(fork, entry("e1"), entry("e9", minutes=61)),
            FORK.replace("p2", "p3"): jsonl(again, entry("e1"), entry("e9", minutes=61)),
        }
        check_any_order(tmp_path, files)

    def test_hostile_lines_stop_nothing(self, world: World) -> None:
        odd = [b'{"type":"session","id":[],"parentSession":7,"timestamp":{},"cwd":[]}', b'{"type":"model_change"}']
        odd += [b'{"type":"message","message":{"role":"assistant","usage":{"input":1e999,"cost":[]}}}']

        assert synced(world, header(), entry("e1"), *ODD_LINES, *odd, entry("e2", minutes=1)) == [(10, 0, 0, 5)] * 2

    def test_nothing_that_was_said_is_kept(self, world: World) -> None:
        secret = "planted-prompt-ada@example.com"
        said = entry(used={**usage(), "note": secret}, content=secret, errorMessage=secret, provider=secret)
        prompt = {"type": "message", "id": "u1", "message": {"role": "user", "content": secret}}
        synced(world, header(), prompt, said, f'{{"type":"message","message":"{secret}')

        assert len(world.events()) == 1
        check_nothing_is_kept(world, secret)


class TestCopiesUnderAnotherName:
    def test_a_copy_beside_its_original_is_the_same_session(self, world: World) -> None:
        rows = jsonl(header("p-1"), entry("e1", usage(100)), entry("e2", usage(7), minutes=1))
        name = ".pi/agent/sessions/--home-ada-kelp--/2026-02-18T09-00-00-000Z_p-1.jsonl"
        put(world, {name: rows, name.replace(".jsonl", " (copy).jsonl"): rows})
        world.sync()

        assert [event.input for event in world.events()] == [100, 7]
        assert {event.session for event in world.events()} == {"p-1"}
