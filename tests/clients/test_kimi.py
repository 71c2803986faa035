"""Kimi: what its counters mean, which model served, and which rows are one request, in both layouts of its wire."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.clients.checks import (
    ODD_COUNTS,
    ODD_LINES,
    check_any_order,
    check_growth,
    check_nothing_is_kept,
    flags,
    pretty,
    put,
)
from tests.support import Row, World, at, jsonl, set_mtime, us

FOLDER = hashlib.md5(b"/home/ada/code/kelp", usedforsecurity=False).hexdigest()
OLD = f".kimi/sessions/{FOLDER}/k1/wire.jsonl"
NEW = ".kimi-code/sessions/wd_tide_0a1b/n1/agents/main/wire.jsonl"
ALIAS = "moonshot-ai/kimi-k2.7-code"


def old_usage(input: Any = 10, output: Any = 5, read: Any = 0, write: Any = 0) -> Row:
    return {"input_other": input, "output": output, "input_cache_read": read, "input_cache_creation": write}


def new_usage(input: Any = 10, output: Any = 5, read: Any = 0, write: Any = 0) -> Row:
    return {"inputOther": input, "output": output, "inputCacheRead": read, "inputCacheCreation": write}


def status(used: Any, name: str | None = "chatcmpl-1", minutes: float = 0, **row: Any) -> Row:
    payload = {"context_usage": 0.1, "token_usage": used, "message_id": name}
    payload = {key: value for key, value in payload.items() if value is not None or key == "token_usage"}
    return {"timestamp": us(at(minutes)) / 1e6, "message": {"type": "StatusUpdate", "payload": payload}, **row}


def nested(row: Row) -> Row:
    payload = {"task_tool_call_id": "call-1", "event": row["message"]}
    return {"timestamp": row["timestamp"], "message": {"type": "SubagentEvent", "payload": payload}}


def request(model: str = "kimi-k2.7-code", alias: str = ALIAS, **row: Any) -> Row:
    return {"type": "llm.request", "kind": "loop", "provider": "kimi", "model": model, "modelAlias": alias, **row}


def step(used: Row, name: str) -> Row:
    event = {"type": "step.end", "uuid": "s1", "usage": used, "messageId": name}
    return {"type": "context.append_loop_event", "event": event, "time": 1}


def record(used: Any, minutes: float = 0, model: Any = ALIAS, **row: Any) -> Row:
    return {"type": "usage.record", "model": model, "usage": used, "time": us(at(minutes)) // 1000, **row}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def synced(world: World, *rows: Row | str | bytes, name: str = OLD) -> list[tuple[int, int, int, int]]:
    put(world, {name: jsonl(*rows)})
    world.sync()
    return [event.buckets for event in world.events()]


def models(world: World) -> list[str | None]:
    return [event.model_raw for event in world.events()]


class TestCounters:
    def test_the_four_counters_are_disjoint_as_they_stand(self, world: World) -> None:
        assert synced(world, status(old_usage(100, 50, 10, 20))) == [(100, 20, 10, 50)]
        assert synced(world, record(new_usage(90, 40, 30, 5), 1), name=NEW)[1:] == [(90, 5, 30, 40)]

    @pytest.mark.parametrize(("value", "counted", "flag"), ODD_COUNTS)
    def test_an_odd_counter_never_loses_the_row(self, world: World, value: Any, counted: int, flag: str | None) -> None:
        assert synced(world, status(old_usage(value, 5))) == [(counted, 0, 0, 5)]
        assert flags(world) - {"model_missing"} == ({flag} if flag else set())

    def test_rows_without_usage_are_counted_and_no_events(self, world: World) -> None:
        rows = [status(None), status({}), status(old_usage(0, 0)), status("much")]

        assert synced(world, *rows) == []
        assert synced(world, record(None), record(new_usage(0, 0)), name=NEW) == []
        assert world.skipped() == {"usage_null": 3, "zero_usage": 2, "usage_not_an_object": 1}

    def test_seconds_and_milliseconds_are_told_apart(self, world: World) -> None:
        put(world, {NEW: jsonl(record(new_usage(), 7))})
        synced(world, status(old_usage(), minutes=3, timestamp=us(at(3)) / 1e6))

        assert [event.time for event in world.events()] == [at(3), at(7)]

    def test_without_readable_time_the_file_tells(self, world: World) -> None:
        put(world, {OLD: jsonl(status(old_usage(), timestamp="soon"))})
        set_mtime(world.home_dir / OLD, us(at(9)) / 1e6)
        world.sync()

        assert world.events()[0].time == at(9)
        assert "timestamp_from_file" in flags(world)


class TestModel:
    def test_the_old_wire_names_none_and_the_configuration_does(self, world: World) -> None:
        put(world, {".kimi/config.json": pretty({"model": "kimi-k2"})})
        synced(world, status(old_usage()))

        assert models(world) == ["kimi-k2"]
        assert flags(world) == {"model_from_config"}

    def test_its_default_model_is_an_alias(self, world: World) -> None:
        config = b'default_model = "work"\n[models.work]\nprovider = "p"\nmodel = "kimi-for-coding"\n'
        put(world, {".kimi/config.toml": config + b'[providers.p]\ntype = "kimi"\napi_key = "sk-1"\n'})
        synced(world, status(old_usage()))

        assert models(world) == ["kimi-for-coding"]
        assert world.records()[0]["upstream"] == "kimi"

    @pytest.mark.parametrize(
        "config",
        [b"", b"[", b"default_model = 3\nmodels = [1]\n", b'default_model = "a"\n[models.a]\nprovider = [1]\n'],
    )
    def test_a_damaged_configuration_stops_nothing(self, world: World, config: bytes) -> None:
        put(world, {".kimi/config.toml": config, ".kimi/kimi.json": config})

        assert synced(world, status(old_usage())) == [(10, 0, 0, 5)]

    def test_the_new_wire_names_an_alias_and_its_requests_the_model(self, world: World) -> None:
        rows = [request(), record(new_usage(), 1), request("glm-5", "zai/glm"), record(new_usage(), 2, "zai/glm")]
        synced(world, *rows, record(new_usage(), 3), name=NEW)

        assert models(world) == ["kimi-k2.7-code", "glm-5", "kimi-k2.7-code"]

    def test_an_alias_never_requested_is_looked_up_or_kept_and_flagged(self, world: World) -> None:
        put(world, {".kimi-code/config.toml": b'[models."a/b"]\nmodel = "b-2"\n'})
        synced(world, record(new_usage(), 1, "a/b"), record(new_usage(), 2, "c/d"), name=NEW)

        assert models(world) == ["b-2", "c/d"]
        assert flags(world) == {"model_from_config", "model_alias"}

    def test_without_any_name_the_model_is_missing(self, world: World) -> None:
        synced(world, record(new_usage(), 1, None), name=NEW)

        assert models(world) == [None]
        assert flags(world) == {"model_missing"}


class TestRequests:
    def test_a_message_id_is_one_request_in_every_file(self, world: World) -> None:
        put(world, {f".kimi/sessions/{FOLDER}/k2/wire.jsonl": jsonl(status(old_usage()))})

        assert synced(world, status(old_usage()), status(old_usage())) == [(10, 0, 0, 5)]
        assert sorted(world.rules()) == ["kimi.copied_request", "kimi.same_request"]

    def test_rows_without_id_are_told_apart_by_content_and_place(self, world: World) -> None:
        rows = [status(old_usage(), None), status(old_usage(), None), status(old_usage(), None, 1)]
        put(world, {f".kimi/sessions/{FOLDER}/k2/wire.jsonl": jsonl(*rows)})

        assert len(synced(world, *rows)) == 3

    def test_a_usage_record_bears_the_id_of_the_step_before_it(self, world: World) -> None:
        rows = [step(new_usage(), "chatcmpl-1"), record(new_usage(), 1), record(new_usage(7, 7), 2)]
        fork = [step(new_usage(), "chatcmpl-1"), record(new_usage(), 1, agentId="main")]
        put(world, {NEW.replace("n1", "n2"): jsonl(*fork)})

        assert synced(world, *rows, name=NEW) == [(10, 0, 0, 5), (7, 0, 0, 7)]
        assert world.rules() == {"kimi.copied_request": 1}

    def test_a_compaction_is_a_request_of_its_own(self, world: World) -> None:
        rows = [step(new_usage(), "chatcmpl-1"), record(new_usage(), 1), record(new_usage(), 2, usageScope="session")]

        assert len(synced(world, *rows, name=NEW)) == 2

    def test_a_subagents_wire_is_the_one_that_counts(self, world: World) -> None:
        child = f".kimi/sessions/{FOLDER}/k1/subagents/ab12/wire.jsonl"
        put(world, {child: jsonl(status(old_usage(), "chatcmpl-9"), status(old_usage(7, 7), None, 1))})
        rows = [nested(status(old_usage(), "chatcmpl-9")), nested(status(old_usage(7, 7), None, 1))]

        assert synced(world, *rows) == [(10, 0, 0, 5), (7, 0, 0, 7)]
        assert world.skipped() == {"subagent_copy": 1}
        assert {event.session for event in world.events()} == {"k1"}

    def test_a_parents_copy_counts_where_the_subagent_has_no_wire(self, world: World) -> None:
        assert synced(world, nested(status(old_usage(), "chatcmpl-9"))) == [(10, 0, 0, 5)]


class TestContext:
    def test_the_folders_hash_is_looked_up(self, world: World) -> None:
        put(world, {".kimi/kimi.json": pretty({"work_dirs": [{"path": "/home/ada/code/kelp"}, {"path": 7}]})})
        synced(world, status(old_usage()))

        assert world.events()[0].project == "/home/ada/code/kelp"

    def test_the_new_layout_keeps_it_beside_the_agents(self, world: World) -> None:
        put(world, {".kimi-code/sessions/wd_tide_0a1b/n1/state.json": pretty({"workDir": "/home/ada/code/tide"})})
        synced(world, record(new_usage()), name=NEW)

        (event,) = world.events()
        assert (event.session, event.project) == ("n1", "/home/ada/code/tide")

    def test_an_agent_may_be_sent_elsewhere(self, world: World) -> None:
        name = NEW.replace("main", "agent-0")
        synced(world, {"type": "config.update", "cwd": "/home/ada/shore"}, record(new_usage()), name=name)

        (found,) = world.records()
        assert (found["session_id"], found["agent_id"], found["cwd"]) == ("n1", "agent-0", "/home/ada/shore")

    @pytest.mark.parametrize("variable", ["KIMI_SHARE_DIR", "KIMI_DATA_DIR", "KIMI_CODE_HOME"])
    def test_the_clients_own_variables_are_followed(self, tmp_path: Path, variable: str) -> None:
        world = World(tmp_path, **{variable: str(tmp_path / "else")})
        world.write(tmp_path / "else/sessions/a/s1/wire.jsonl", status(old_usage()))
        world.sync()

        assert [event.session for event in world.events()] == ["s1"]


class TestEveryWay:
    ROWS = (
        {"type": "config.update", "modelAlias": ALIAS, "cwd": "/home/ada/code/tide"},
        request(), step(new_usage(), "chatcmpl-1"), record(new_usage(), 1), b"not json",
        record(new_usage(7, 7), 2, None), record(new_usage(7, 7), 2, None), status(old_usage(3, 3), "chatcmpl-2", 3),
    )  # fmt: skip

    def test_a_growing_wire(self, tmp_path: Path) -> None:
        check_growth(tmp_path, NEW, jsonl(*self.ROWS))

    def test_any_order(self, tmp_path: Path) -> None:
        files = {
            NEW: jsonl(*self.ROWS),
            NEW.replace("n1", "n2"): jsonl(*self.ROWS, record(new_usage(8, 8), 9)),
            OLD: jsonl(status(old_usage(), minutes=4), nested(status(old_usage(3, 3), "chatcmpl-2", 3))),
        }
        check_any_order(tmp_path, files)

    @pytest.mark.parametrize("name", [OLD, NEW])
    def test_hostile_lines_stop_nothing(self, world: World, name: str) -> None:
        odd = [
            b'{"type":"llm.request","model":[],"modelAlias":{}}',
            b'{"message":{"type":"SubagentEvent","payload":[]}}',
        ]
        odd += [b'{"type":"context.append_loop_event","event":{"type":"step.end","usage":[],"messageId":3}}']
        odd += [b'{"message":{"type":[],"payload":{}}}', b'{"type":"config.update","modelAlias":[],"cwd":{}}']

        assert (
            synced(world, status(old_usage()), *ODD_LINES, *odd, record(new_usage(), 1), name=name)
            == [(10, 0, 0, 5)] * 2
        )

    def test_nothing_that_was_said_or_configured_is_kept(self, world: World) -> None:
        secret = "sk-planted-ada@example.com"
        config = f'default_model = "a"\n[models.a]\nprovider = "p"\nmodel = "m"\n[providers.p]\napi_key = "{secret}"\n'
        begin = {"timestamp": 1, "message": {"type": "TurnBegin", "payload": {"user_input": secret}}}
        put(world, {".kimi/config.toml": config.encode()})
        synced(world, begin, status({**old_usage(), "note": secret}), f'{{"type":"usage.record","x":"{secret}')

        assert len(world.events()) == 1
        check_nothing_is_kept(world, secret)
