"""Cline, Roo Code and Kilo Code's extension: task files, what their input means, and Cline's newer sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.planted import KEY, MAIL, PROMPT, SECRETS, found_below
from tests.support import START, World, buckets, set_mtime, us
from tokenledger_dagster.clients.places import Names, client_places

T0 = int(START.timestamp() * 1000)
SONNET = "claude-sonnet-4-5-20250929"
CLINE = ".config/Code/User/globalStorage/saoudrizwan.claude-dev/tasks"
ROO = ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/tasks"
KILO = ".config/Code/User/globalStorage/kilocode.kilo-code/tasks"
Row = dict[str, Any]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def usage(tokens_in: Any = 10, tokens_out: Any = 5, writes: Any = 0, reads: Any = 0, **more: Any) -> Row:
    return {"tokensIn": tokens_in, "tokensOut": tokens_out, "cacheWrites": writes, "cacheReads": reads, **more}


def request(minutes: float = 0, told: Row | str | None = None, **row: Any) -> Row:
    """A finished request; its usage is JSON in a string."""
    told = usage() if told is None else told
    text = told if isinstance(told, str) else json.dumps({"request": PROMPT, **told})
    return {"ts": T0 + int(minutes * 60_000), "type": "say", "say": "api_req_started", "text": text, **row}


def said(minutes: float = 0) -> Row:
    return {"ts": T0 + int(minutes * 60_000), "type": "say", "say": "text", "text": PROMPT}


def write(world: World, name: str, content: Any, task: str = "1771405200000", below: str = CLINE) -> Path:
    path = world.home_dir / below / task / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def task(world: World, *rows: Row, **where: str) -> Path:
    return write(world, "ui_messages.json", list(rows), **where)


def flags(world: World) -> list[list[str]]:
    return [[flag for flag in record["flags"] if flag != "model_missing"] for record in world.records()]


class TestPlaces:
    @pytest.mark.parametrize("editor", ["Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf"])
    @pytest.mark.parametrize("base", [".config", "Library/Application Support"])
    def test_every_editor_is_looked_at(self, world: World, base: str, editor: str) -> None:
        task(world, request(), below=CLINE.replace(".config/Code", f"{base}/{editor}"))
        task(world, request(), below=ROO.replace(".config/Code", f"{base}/{editor}"))
        task(world, request(), below=KILO.replace(".config/Code", f"{base}/{editor}"))
        world.sync()

        assert sorted(event.client for event in world.events()) == ["cline", "kilo", "roo"]

    @pytest.mark.parametrize(
        ("client", "below"),
        [
            ("cline", ".cline/data/tasks"),
            ("cline", ".vscode-server/data/User/globalStorage/saoudrizwan.claude-dev/tasks"),
            ("roo", ".vscode-mock/global-storage/tasks"),
            ("kilo", ".kilocode/cli/global/tasks"),
        ],
    )
    def test_what_runs_outside_the_editor_too(self, world: World, client: str, below: str) -> None:
        task(world, request(), below=below)
        world.sync()

        assert [event.client for event in world.events()] == [client]

    def test_variables_move_them(self, world: World) -> None:
        environ = {"HOME": str(world.home_dir), "XDG_CONFIG_HOME": "/nowhere", "CLINE_DIR": str(world.home_dir / "c")}
        task(world, request(), below="c/data/tasks")
        task(world, request())

        assert [root.where for root in client_places()["cline"].roots(environ)] == [
            str(world.home_dir / "c/data/tasks")
        ]

    def test_folders_of_checkpoints_are_not_walked(self) -> None:
        places = Names(["/*/ui_messages.json"])

        assert places.leads("1771405200000", "")
        assert not places.leads("checkpoints", "1771405200000/")


class TestRequests:
    def test_counters_time_cost_and_session(self, world: World) -> None:
        task(world, said(), request(1, usage(100, 50, 20, 10, cost=0.0123)), said(2))
        world.sync()

        (event,), (record,) = world.events(), world.records()
        assert event.buckets == (100, 20, 10, 50)
        assert (event.session, event.time) == ("1771405200000", "2026-02-18T09:01:00.000Z")
        assert float(record["reported_cost_usd"]) == 0.0123
        assert (record["status"], record["locator"]) == (
            "ok", "/1",
        )  # fmt: skip

    def test_a_running_request_is_no_event_until_it_is_done(self, world: World) -> None:
        task(world, request(0, {"apiProtocol": "anthropic"}))
        assert world.sync().providers["cline"].skipped == {"usage_null": 1}
        task(world, request(0, usage(7, 3)))
        assert world.sync().providers["cline"].skipped == {}

        assert buckets(world.events()) == [(7, 0, 0, 3)]

    def test_a_cancelled_request_counts_what_it_cost(self, world: World) -> None:
        task(world, request(0, usage(cancelReason="user_cancelled")), request(1, usage(0, 0, cancelReason="x")))
        summary = world.sync()

        assert buckets(world.events()) == [(10, 0, 0, 5)]
        assert summary.providers["cline"].skipped == {"zero_usage": 1}
        assert world.records()[0]["status"] == "error"

    def test_usage_of_subagents_is_usage_of_its_own(self, world: World) -> None:
        task(world, request(), request(0, usage(30, 20), say="subagent_usage"))
        world.sync()

        assert sorted(buckets(world.events())) == [(10, 0, 0, 5), (30, 0, 0, 20)]

    def test_sums_of_deleted_requests_are_not_added_to_what_was_read_of_them(self, world: World) -> None:
        task(world, request(), request(1))
        world.sync()
        task(world, request(), request(2, usage(10, 5), say="deleted_api_reqs"), request(3))
        summary = world.sync()

        assert len(world.events()) == 3
        assert summary.providers["cline"].skipped == {"deleted_requests": 1}

    def test_a_rewritten_request_counts_in_its_last_state(self, world: World) -> None:
        task(world, request(0, usage(10, 90)))
        world.sync()
        task(world, request(0, usage(12, 40)))
        world.sync()

        assert buckets(world.events()) == [(12, 0, 0, 40)]
        assert world.rules() == {"cline.rewritten": 1}

    def test_rows_that_move_up_stay_the_same_requests(self, world: World) -> None:
        task(world, said(), request(), said(1), request(2))
        world.sync()
        task(world, request(), request(2), request(3))
        world.sync()

        assert len(world.events()) == 3

    def test_the_same_task_below_several_roots_counts_once_in_its_fullest_state(self, world: World) -> None:
        task(world, request(0, usage(10, 5)))
        task(world, request(0, usage(10, 40)), request(1), below=CLINE.replace("Code", "Cursor"))
        world.sync()

        assert buckets(world.events()) == [(10, 0, 0, 40), (10, 0, 0, 5)]
        assert world.rules() == {"cline.copied_request": 1}

    def test_tasks_are_told_apart_and_so_are_clients(self, world: World) -> None:
        task(world, request(), task="one")
        task(world, request(), task="two")
        task(world, request(), task="one", below=ROO)
        world.sync()

        assert len(world.events()) == 3

    def test_without_a_time_a_request_is_known_by_its_place(self, world: World) -> None:
        path = task(world, request(ts=None), request(ts="yesterday"))
        set_mtime(path, us("2026-03-01T00:00:00Z") / 1e6)
        world.sync()

        assert [event.time for event in world.events()] == ["2026-03-01T00:00:00.000Z"] * 2
        assert flags(world) == [["timestamp_from_file"]] * 2

    def test_two_rows_of_one_moment_are_two_requests(self, world: World) -> None:
        task(world, request(), request())
        world.sync()
        world.sync(no_cache=True)

        assert len(world.events()) == 2
        assert len(world.records()) == 2

    def test_many_syncs_give_what_one_gives(self, tmp_path: Path) -> None:
        rows = [row for n in range(5) for row in (said(n), request(n + 0.5, usage(n + 1, n)))]
        at_once, bit_by_bit = World(tmp_path / "a"), World(tmp_path / "b")
        task(at_once, *rows)
        at_once.sync()
        for n in range(len(rows)):
            task(bit_by_bit, *rows[: n + 1])
            bit_by_bit.sync()

        assert bit_by_bit.booked() == at_once.booked()


class TestInput:
    """What ``tokensIn`` means (see the client's page)."""

    @pytest.mark.parametrize(
        ("below", "told", "row", "input"),
        [
            # Cline: the uncached part, but for providers whose own count it passes on
            (CLINE, usage(100, 5, 20, 10), {}, 100),
            (CLINE, usage(100, 5, 20, 10), {"modelInfo": {"providerId": "anthropic", "modelId": SONNET}}, 100),
            (CLINE, usage(100, 5, 20, 10), {"modelInfo": {"providerId": "litellm", "modelId": SONNET}}, 70),
            (CLINE, usage(25, 5, 20, 10), {"modelInfo": {"providerId": "litellm", "modelId": SONNET}}, 25),
            # Roo and Kilo: the whole prompt with OpenAI's protocol, and with Anthropic's since a release of 2025
            (ROO, usage(100, 5, 20, 10, apiProtocol="openai"), {}, 70),
            (ROO, usage(100, 5, 20, 10, apiProtocol="anthropic"), {}, 70),
            (ROO, usage(100, 5, 20, 10, apiProtocol="anthropic"), {"ts": us("2025-10-31T23:59:59Z") // 1000}, 100),
            (ROO, usage(100, 5, 20, 10, apiProtocol="openai"), {"ts": us("2025-10-31T23:59:59Z") // 1000}, 70),
            (ROO, usage(25, 5, 20, 10, apiProtocol="anthropic"), {}, 25),
            (ROO, usage(100, 5, 20, 10), {}, 100),
            (KILO, usage(100, 5, 20, 10, apiProtocol="anthropic"), {"ts": us("2025-11-11T23:59:59Z") // 1000}, 100),
            (KILO, usage(100, 5, 20, 10, apiProtocol="anthropic"), {}, 70),
        ],
    )
    def test_uncached_input(self, world: World, below: str, told: Row, row: Row, input: int) -> None:
        task(world, request(0, told, **row), below=below)
        world.sync()

        assert buckets(world.events()) == [(input, 20, 10, 5)]
        assert flags(world) == [["cache_inside_input"] if input == 70 else []]


class TestModels:
    def test_the_row_itself_comes_first(self, world: World) -> None:
        task(world, request(modelInfo={"providerId": "OpenRouter", "modelId": "x-ai/grok-code-fast-1", "mode": "act"}))
        write(world, "task_metadata.json", {"model_usage": [{"ts": T0, "model_id": "other", "model_provider_id": "p"}]})
        world.sync()

        assert world.events()[0].model_raw == "x-ai/grok-code-fast-1"
        assert world.records()[0]["upstream"] == "openrouter"

    def test_cline_notes_each_change_of_the_model_just_after_a_request_began(self, world: World) -> None:
        used = [
            {"ts": T0 + 100, "model_id": SONNET, "model_provider_id": "anthropic", "mode": "plan"},
            {"ts": T0 + 120_100, "model_id": "gpt-5.1", "model_provider_id": "openai-native", "mode": "act"},
        ]
        write(world, "task_metadata.json", {"files_in_context": [{"path": PROMPT}], "model_usage": used})
        task(world, request(0), request(1), request(2))
        world.sync()

        assert [event.model_raw for event in world.events()] == [SONNET, SONNET, "gpt-5.1"]
        assert {record["upstream"] for record in world.records()} == {"anthropic", "openai-native"}

    def test_roo_tells_it_in_each_prompts_environment_details(self, world: World) -> None:
        def prompt(minutes: float, model: str) -> Row:
            details = (
                f"<task>{PROMPT} <model>{KEY}</model></task>\n<environment_details>\n# Current Workspace Directory "
                f"(/home/ada/code/kelp) Files\n<slug>code</slug><model>{model}</model></environment_details>"
            )
            blocks = [{"type": "text", "text": PROMPT}, {"type": "text", "text": details}]
            return {"role": "user", "content": blocks, "ts": T0 + int(minutes * 60_000) + 50}

        answered = {"role": "assistant", "content": "<environment_details><model>wrong</model>", "ts": T0 + 90}
        write(world, "api_conversation_history.json", [prompt(0, SONNET), answered, prompt(2, "gpt-5.1")], below=ROO)
        task(world, request(0), request(1), request(2), below=ROO)
        world.sync()

        assert [event.model_raw for event in world.events()] == [SONNET, SONNET, "gpt-5.1"]
        assert {event.project for event in world.events()} == {"/home/ada/code/kelp"}

    def test_roos_history_item_tells_folder_and_parent(self, world: World) -> None:
        item = {"id": "t2", "parentTaskId": "t1", "workspace": "/home/ada/code/tidepool", "task": PROMPT}
        write(world, "history_item.json", item, task="t2", below=ROO)
        task(world, request(), task="t2", below=ROO)
        world.sync()

        (record,) = world.records()
        assert (record["cwd"], record["parent_session_id"]) == ("/home/ada/code/tidepool", "t1")

    def test_a_model_that_is_known_later_mends_the_request_with_the_next_writing(self, world: World) -> None:
        task(world, request())
        world.sync()
        assert world.records()[0]["flags"] == ["model_missing"]
        write(world, "task_metadata.json", {"model_usage": [{"ts": T0, "model_id": SONNET}]})
        task(world, request(), said(1))
        world.sync()

        assert [event.model_raw for event in world.events()] == [SONNET]

    def test_any_servers_protocol_is_no_upstream(self, world: World) -> None:
        task(world, request(modelInfo={"providerId": "openai", "modelId": "qwen3"}))
        world.sync()

        assert world.records()[0]["upstream"] is None

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[[1],{}]", b'{"model_usage":[3,{"model_id":7}]}', b"\xff"])
    def test_broken_files_beside_a_task_cost_only_what_they_tell(self, world: World, content: bytes) -> None:
        for name in ("task_metadata.json", "history_item.json", "api_conversation_history.json"):
            write(world, name, content)
        task(world, request())
        world.sync()

        assert buckets(world.events()) == [(10, 0, 0, 5)]


class TestHostile:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "blank"),
            (b"\x00\x00\x00", "nul_padding"),
            (b'{"a":1}', "unknown_layout"),
            (b'[{"ts":1,"type":"say","say":"api_req_started","te', "truncated_json"),
            (b"nothing", "invalid_json"),
            (b'[{"role":"user","content":"hi"}]', "unknown_layout"),
            (json.dumps([request(0, "no json")]).encode(), "invalid_json"),
            (json.dumps([request(0, "[1]")]).encode(), "usage_not_an_object"),
            (json.dumps([request(0, "")]).encode(), "usage_null"),
            (json.dumps([request(0, usage(-1, "x", True))]).encode(), "zero_usage"),
        ],
    )
    def test_what_cannot_be_read_is_counted(self, world: World, data: bytes, reason: str) -> None:
        write(world, "ui_messages.json", data)
        task(world, request(), task="other")
        summary = world.sync()

        assert summary.providers["cline"].skipped == {reason: 1}
        assert len(world.events()) == 1

    def test_bad_counters_are_zero_and_the_request_stays(self, world: World) -> None:
        text = '{"tokensIn":NaN,"tokensOut":5,"cacheReads":1e300,"cacheWrites":"7","cost":Infinity}'
        task(world, request(0, text))
        world.sync()

        assert buckets(world.events()) == [(0, 7, 0, 5)]
        assert flags(world) == [["counter_not_a_count", "counter_overflow"]]

    def test_a_file_cut_short_keeps_what_was_read_and_is_read_again(self, world: World) -> None:
        path = task(world, request(), request(1))
        world.sync()
        whole = path.read_bytes()
        path.write_bytes(whole[:-20])
        world.sync()
        assert len(world.events()) == 2
        path.write_bytes(whole)
        world.sync()

        assert len(world.events()) == 2
        assert len(world.records()) == 2

    def test_nothing_but_counts_and_names_is_kept(self, world: World) -> None:
        secret = " ".join(SECRETS)
        task(
            world,
            request(0, usage(streamingFailedMessage=secret, request=secret), modelInfo={"modelId": f"<{KEY}>"}),
            {"ts": T0, "type": "say", "say": "text", "text": secret, "images": [secret]},
        )
        write(world, "task_metadata.json", {"model_usage": [{"ts": T0, "model_id": secret, "model_provider_id": MAIL}]})
        write(world, "history_item.json", {"task": secret})
        write(world, "api_conversation_history.json", [{"role": "user", "content": f"<model>{secret}</model>"}])
        session(world, answer(content=secret, modelInfo={"id": secret, "provider": MAIL}))
        world.sync()

        assert len(world.events()) == 2
        assert found_below(world.ledger.root) == []


# ------------------------------------------------------------------ sessions of Cline 4.1 and its CLI


def answer(minutes: float = 0, message: str | None = "m1", metrics: Any = None, **more: Any) -> Row:
    told = {"inputTokens": 100, "outputTokens": 5, "cacheReadTokens": 60, "cacheWriteTokens": 20, "cost": 0.01}
    found = {
        "id": message,
        "role": "assistant",
        "ts": T0 + int(minutes * 60_000),
        "content": [{"type": "text", "text": PROMPT}],
        "modelInfo": {"id": SONNET, "provider": "anthropic"},
        "metrics": told if metrics is None else metrics,
        **more,
    }
    return {key: value for key, value in found.items() if value is not None}


def session(world: World, *messages: Row, name: str = "s1", stem: str = "s1") -> Path:
    document = {"version": 1, "agent": "lead", "sessionId": name, "messages": list(messages)}
    return write(world, f"{stem}.messages.json", document, task=name, below=".cline/data/sessions")


class TestSessions:
    def test_input_is_the_whole_request(self, world: World) -> None:
        session(world, {"role": "user", "content": PROMPT, "ts": T0}, answer())
        world.sync()

        (event,), (record,) = world.events(), world.records()
        assert event.buckets == (20, 20, 60, 5)
        assert (event.session, event.model_raw, event.time) == ("s1", SONNET, "2026-02-18T09:00:00.000Z")
        assert (record["upstream"], float(record["reported_cost_usd"])) == ("anthropic", 0.01)

    def test_input_below_the_cached_part_is_the_rest(self, world: World) -> None:
        session(world, answer(metrics={"inputTokens": 7, "outputTokens": 5, "cacheReadTokens": 60}))
        world.sync()

        assert buckets(world.events()) == [(7, 0, 60, 5)]

    def test_the_sessions_own_file_tells_folder_and_model(self, world: World) -> None:
        write(
            world,
            "s1.json",
            {"cwd": "/home/ada/code/kelp", "model": "gpt-5.1"},
            task="s1",
            below=".cline/data/sessions",
        )
        session(world, answer(modelInfo=None))
        world.sync()

        assert (world.events()[0].project, world.events()[0].model_raw) == ("/home/ada/code/kelp", "gpt-5.1")

    def test_a_subagents_messages_belong_to_the_session(self, world: World) -> None:
        session(world, answer())
        session(world, answer(1), stem="agent-7")
        world.sync()

        assert [event.session for event in world.events()] == ["s1", "s1"]
        assert {record["agent_id"] for record in world.records()} == {None, "agent-7"}

    def test_a_session_that_grows_and_is_read_again(self, world: World) -> None:
        session(world, answer())
        world.sync()
        session(world, answer(), answer(1, "m2"))
        world.sync()
        world.sync(no_cache=True)

        assert len(world.events()) == 2
        assert len(world.records()) == 2

    def test_answers_without_usage_are_counted(self, world: World) -> None:
        session(world, answer(metrics=3), answer(1, "m2", {"inputTokens": 0}), {"role": "assistant", "content": "x"})

        assert world.sync().providers["cline"].skipped == {"usage_not_an_object": 1, "zero_usage": 1, "usage_null": 1}

    def test_a_bare_list_is_read_and_another_layout_counted(self, world: World) -> None:
        write(world, "s1.messages.json", [answer(message=None, ts=None)], task="s1", below=".cline/data/sessions")
        write(world, "s2.messages.json", {"items": []}, task="s2", below=".cline/data/sessions")
        summary = world.sync()

        assert buckets(world.events()) == [(20, 20, 60, 5)]
        assert summary.providers["cline"].skipped == {"unknown_layout": 1}
