"""A request that transcripts and telemetry both show is booked once, whatever came first and in whatever pieces."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.test_properties import growing, put, worlds
from tests.support import Booked, Row, World, at, claude, jsonl, meta, rollout, tokens, turn, us
from tokenledger_dagster.clients import registry
from tokenledger_dagster.clients.adapter import Adapter
from tokenledger_dagster.clients.base import Sink, SourceFile
from tokenledger_dagster.contracts.record import Counters, UsageRecord
from tokenledger_dagster.ingest import scan, sync
from tokenledger_dagster.ingest.compaction import compact
from tokenledger_dagster.ingest.settling import settle

few = settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
orders = st.integers(0, 2**20).map(Random)
OTEL = ".local/state/agent-telemetry"
Files = dict[str, bytes]


# ------------------------------------------------------------------ rows of telemetry


def exported(name: str, attributes: dict[str, Any], minutes: float = 0, **fields: Any) -> Row:
    """A flat log record, as an SDK's file exporter writes it."""
    moment = us(at(minutes))
    return {
        "hrTime": [moment // 1_000_000, moment % 1_000_000 * 1000],
        "attributes": {"event.name": name, **attributes},
        **fields,
    }


def api_request(
    request: str | None = "req_1",
    *,
    session: str = "s1",
    input: int = 10,
    output: int = 5,
    write: int = 0,
    read: int = 0,
    minutes: float = 0,
    sequence: int | None = None,
) -> Row:
    """Claude Code's event of one request."""
    attributes = {
        "session.id": session,
        "model": "claude-sonnet-4-5-20250929",
        "input_tokens": str(input),
        "output_tokens": output,
        "cache_creation_tokens": write,
        "cache_read_tokens": read,
        "request_id": request,
        "event.sequence": sequence,
    }
    return exported("claude_code.api_request", {k: v for k, v in attributes.items() if v is not None}, minutes)


def completed(session: str = "t1", input: int = 10, cached: int = 0, output: int = 1, minutes: float = 0) -> Row:
    """Codex's event of one response."""
    attributes = {
        "event.kind": "response.completed",
        "conversation.id": session,
        "model": "gpt-5.1-codex",
        "input_token_count": input,
        "cached_token_count": cached,
        "output_token_count": output,
        "reasoning_token_count": 0,
    }
    return exported("codex.sse_event", attributes, minutes)


def span(trace: str, number: int, operation: str = "chat", *, input: int = 7, minutes: float = 0, **more: Any) -> Row:
    """A GenAI span."""
    moment = us(at(minutes)) * 1000
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": "gpt-5.4",
        "gen_ai.usage.input_tokens": input,
    }
    attributes |= {"gen_ai.usage.output_tokens": 1, "gen_ai.conversation.id": "c1", **more}
    return {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "name": operation,
        "endTimeUnixNano": str(moment),
        "attributes": attributes,
    }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def telemetry(world: World, *rows: Row, name: str = "logs.jsonl") -> Path:
    """Writes a file of telemetry at the default place."""
    return world.write(world.home_dir / OTEL / name, *rows)


def clients(world: World) -> list[tuple[str, int]]:
    """(client, input) of each event."""
    return [(event.client, event.input) for event in world.events()]


# ------------------------------------------------------------------ who stands


class TestClaudeCode:
    @pytest.mark.parametrize("first", ["transcript", "telemetry", "both"])
    def test_the_transcript_stands_and_the_event_is_its_duplicate(self, world: World, first: str) -> None:
        if first != "telemetry":
            world.claude(claude("m1", "req_1"))
        if first != "transcript":
            telemetry(world, api_request("req_1"))
        world.sync()
        world.claude(claude("m1", "req_1"))
        telemetry(world, api_request("req_1"))
        world.sync()

        (event,) = world.events()
        assert (event.client, event.session, event.buckets) == ("claude-code", "s1", (10, 0, 0, 5))
        assert world.duplicates() == [("superseded_by_source", event.event_id)]

    def test_a_transcript_that_arrives_later_takes_over_with_its_own_id(self, world: World, tmp_path: Path) -> None:
        telemetry(world, api_request("req_1"))
        world.sync()
        (before,) = world.events()
        world.claude(claude("m1", "req_1"))
        world.sync()

        (event,) = world.events()
        alone = World(tmp_path / "alone")
        alone.claude(claude("m1", "req_1"))
        alone.sync()
        assert before.client == "opentelemetry"
        assert event.event_id == alone.events()[0].event_id != before.event_id
        assert event.copies == ("superseded_by_source",)

    def test_without_request_id_what_was_sent_tells(self, world: World) -> None:
        """The transcript's answer is often cut short, so the output does not have to agree."""
        world.claude(claude("m1", "req_1", input=3, write=80, read=170, output=1))
        telemetry(world, api_request(None, input=3, write=80, read=170, output=441, sequence=3))
        world.sync()

        assert clients(world) == [("claude-code", 3)]

    def test_a_transcript_row_without_request_id_is_told_by_what_was_sent(self, world: World) -> None:
        world.claude(claude("m1", None, input=3, write=80))
        telemetry(world, api_request("req_1", input=3, write=80))
        world.sync()

        assert clients(world) == [("claude-code", 3)]

    def test_equal_counters_under_another_request_id_are_another_request(self, world: World) -> None:
        world.claude(claude("m1", "req_1"))
        telemetry(world, api_request("req_1"), api_request("req_2", minutes=1))
        world.sync()

        assert clients(world) == [("claude-code", 10), ("opentelemetry", 10)]

    def test_a_request_that_only_telemetry_shows_stays(self, world: World) -> None:
        world.claude(claude("m1", "req_1"))
        telemetry(
            world, api_request("req_title", input=300, minutes=1), api_request(None, input=90, minutes=2, sequence=9)
        )
        world.sync()

        assert clients(world) == [("claude-code", 10), ("opentelemetry", 300), ("opentelemetry", 90)]
        assert world.duplicates() == []

    def test_equal_counters_of_another_session_are_another_request(self, world: World) -> None:
        world.claude(claude("m1", "req_1"))
        telemetry(world, api_request(None, session="s2", sequence=1, minutes=1))
        world.sync()

        assert clients(world) == [("claude-code", 10), ("opentelemetry", 10)]

    def test_every_row_of_a_streamed_answer_knows_its_event(self, world: World) -> None:
        world.claude(claude("m1", "req_1", output=1), claude("m1", "req_1", output=5))
        telemetry(world, api_request("req_1"))
        world.sync()

        (event,) = world.events()
        assert event.copies == ("claude.stream_copy", "superseded_by_source")


class TestCodex:
    @pytest.mark.parametrize("late", [False, True])
    def test_the_rollout_stands(self, world: World, late: bool) -> None:
        telemetry(world, completed(input=30, cached=10, output=3, minutes=2), completed(input=50, output=2, minutes=3))
        if late:
            world.sync()
        world.codex(meta(), turn(), tokens((30, 10, 3), (30, 10, 3), 2), tokens((80, 10, 5), (50, 0, 2), 3))
        world.sync()

        assert clients(world) == [("codex", 20), ("codex", 50)]
        assert world.rules() == {"superseded_by_source": 2}

    def test_a_response_of_which_the_rollout_knows_nothing_stays(self, world: World) -> None:
        telemetry(world, completed(input=30, minutes=2), completed(input=77, minutes=3))
        world.codex(meta(), turn(), tokens((30, 0, 1), (30, 0, 1), 2))
        world.sync()

        assert clients(world) == [("codex", 30), ("opentelemetry", 77)]


class TestTraces:
    def details(self, trace: str, response: str | None = None, minutes: float = 0) -> Row:
        attributes = {"gen_ai.usage.input_tokens": 9, "gen_ai.request.model": "gpt-5.4", "gen_ai.conversation.id": "c1"}
        if response:
            attributes["gen_ai.response.id"] = response
        row = exported("gen_ai.client.inference.operation.details", attributes, minutes)
        return {**row, "traceId": trace, "spanId": "00000000000000aa"}

    def test_several_calls_of_a_trace_all_stay(self, world: World) -> None:
        telemetry(world, span("t", 1), span("t", 2, minutes=1), span("t", 3, minutes=2))
        world.sync()

        assert len(world.events()) == 3

    def test_an_agents_sums_give_way_to_its_calls(self, world: World) -> None:
        telemetry(world, span("t", 1, "invoke_agent", input=14), span("t", 2), span("t", 3))
        world.sync()

        assert [event.input for event in world.events()] == [7, 7]
        (owner,) = {event for _, event in world.duplicates()}
        assert owner == min(event.event_id for event in world.events())

    def test_an_agents_sums_count_where_nothing_better_is_there(self, world: World) -> None:
        telemetry(world, span("t", 1, "invoke_agent", input=14))
        world.sync()

        assert [event.input for event in world.events()] == [14]

    def test_an_agent_inside_an_agent_is_a_part_of_it(self, world: World) -> None:
        inner = {**span("t", 2, "invoke_agent", input=5), "parentSpanId": f"{1:016x}"}
        telemetry(world, inner, span("t", 1, "invoke_agent", input=14))
        world.sync()

        assert [event.input for event in world.events()] == [14]

    def test_the_agents_span_may_bear_the_id_of_its_last_response(self, world: World) -> None:
        last = {"gen_ai.response.id": "resp_2"}
        telemetry(world, span("t", 1, "invoke_agent", input=14, **last), span("t", 2), span("t", 3, **last))
        world.sync()

        assert [event.input for event in world.events()] == [7, 7]

    def test_the_call_beats_its_inference_details(self, world: World) -> None:
        telemetry(world, self.details("t"), self.details("u", "resp_1"))
        world.sync()
        assert [event.input for event in world.events()] == [9, 9]
        telemetry(world, span("t", 1), span("v", 2, minutes=1, **{"gen_ai.response.id": "resp_1"}), name="spans.jsonl")
        world.sync()

        assert [event.input for event in world.events()] == [7, 7]

    def test_what_gave_way_to_a_witness_that_gave_way_names_the_request_that_stands(self, world: World) -> None:
        session = {"gen_ai.conversation.id": "g1"}
        chat = exported(
            "gemini_cli.api_response",
            {"session.id": "g1", "model": "gemini-3-pro", "input_token_count": 9, "output_token_count": 1},
        )
        details = exported("gen_ai.client.inference.operation.details", {"gen_ai.usage.input_tokens": 9, **session})
        telemetry(world, details, chat)
        world.sync()

        (event,) = world.events()
        assert world.duplicates() == [("superseded_by_source", event.event_id)]

    def test_whoever_gave_way_to_a_witness_learns_what_that_one_gave_way_to(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(registry.clients()._made, "gemini-cli", Chats())  # type: ignore[arg-type]
        answer = {"session.id": "g1", "model": "gemini-3-pro", "input_token_count": 9, "output_token_count": 1}
        details = {"gen_ai.usage.input_tokens": 8, "gen_ai.usage.output_tokens": 1, "session.id": "g1"}
        telemetry(
            world,
            exported("gemini_cli.api_response", answer),
            exported("gen_ai.client.inference.operation.details", details),
        )
        world.sync()
        chat = world.write(world.home_dir / "chat.jsonl", {"id": "m1", "in": 9, "out": 1})
        world.sync(add_sources=(("gemini-cli", str(chat)),))
        (first,) = world.events()
        # the same request again: its event is booked anew, under another number
        world.append(chat, {"id": "m0", "in": 4, "out": 1}, {"id": "m1", "in": 9, "out": 2})
        world.sync()

        event = next(event for event in world.events() if event.input == 9)
        assert (event.client, event.output, event.event_id) == ("gemini-cli", 2, first.event_id)
        assert world.duplicates() == [
            ("gemini-cli.same_request", event.event_id),
            ("superseded_by_source", event.event_id),
            ("superseded_by_source", event.event_id),
        ]


class TestOthers:
    def test_gemini_clis_own_chat_stands(self, world: World) -> None:
        """Also where the two sides count the answer otherwise."""
        counted = {"input": 100, "output": 20, "cached": 60, "thoughts": 5, "tool": 0, "total": 125}
        message = {"id": "m1", "timestamp": at(1), "type": "gemini", "model": "gemini-3-pro", "tokens": counted}
        chat = {"sessionId": "g1", "startTime": at(0), "messages": [message]}
        world.write(world.home_dir / ".gemini/tmp/reef/chats/session-1.json", chat)
        told = {"input_token_count": 100, "cached_content_token_count": 60, "output_token_count": 25}
        telemetry(world, exported("gemini_cli.api_response", {"session.id": "g1", "model": "gemini-3-pro", **told}))
        world.sync()

        assert [(event.client, event.buckets) for event in world.events()] == [("gemini-cli", (40, 0, 60, 25))]
        assert world.rules() == {"superseded_by_source": 1}

    def test_a_copilot_message_gives_way_to_telemetry_of_any_kind_and_that_to_a_shutdown(self, world: World) -> None:
        folder = world.home_dir / ".copilot/session-state/c1"
        start = {"type": "session.start", "timestamp": at(0), "data": {"sessionId": "c1", "selectedModel": "gpt-5.4"}}
        answer = {"type": "assistant.message", "timestamp": at(1), "data": {"messageId": "m1", "outputTokens": 3}}
        path = world.write(folder / "events.jsonl", start, answer)
        turn_sums = {"gen_ai.usage.input_tokens": 50, "gen_ai.usage.output_tokens": 3, "gen_ai.conversation.id": "c1"}
        telemetry(world, exported("copilot_chat.agent.turn", turn_sums, 1))
        world.sync()
        assert clients(world) == [("opentelemetry", 50)]

        usage = {"inputTokens": 50, "outputTokens": 3, "cacheReadTokens": 0, "cacheWriteTokens": 0}
        ended = {"modelMetrics": {"gpt-5.4": {"requests": {"count": 1}, "usage": usage}}}
        world.append(path, {"type": "session.shutdown", "timestamp": at(2), "data": ended})
        world.sync()
        assert clients(world) == [("copilot-cli", 50)]


class Chats(Adapter):
    """Stands for a client whose own logs are the better source: one row a request, of the session g1."""

    name = "gemini-cli"
    parser_version = 1

    def reader(self, file: SourceFile, carry: bytes | None, sink: Sink, context: Any) -> Any:
        return _ChatRows(sink)


class _ChatRows:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def irrelevant(self, buffer: bytes, start: int, end: int) -> bool:
        return False

    def feed(self, line: bytes, offset: int, end: int) -> None:
        row = json.loads(line)
        self._sink.records.append(
            UsageRecord(
                ordinal=self._sink.ordinal,
                byte_offset=offset,
                byte_length=len(line),
                record_sha256=hashlib.sha256(line).hexdigest(),
                timestamp_us=us(at(0)),
                session_id="g1",
                model_raw="gemini-3-pro",
                counters=Counters(input_tokens=row["in"], output_tokens=row["out"]),
                message_id=row["id"],
            )
        )

    def carry(self) -> bytes:
        return b""

    def lineage(self) -> None:
        return


# ------------------------------------------------------------------ any order


@st.composite
def homes(draw: st.DrawFn) -> Files:
    """Transcripts, rollouts and telemetry of some of the same requests, delivered once, twice, or not at all."""
    number = draw(st.integers(1, 8))
    told: list[Row] = []
    transcripts: dict[str, list[Row]] = {}
    rollouts: dict[str, list[Row]] = {}
    sums: dict[str, list[int]] = {}
    for place in range(number):
        kind = draw(st.sampled_from(["claude", "claude", "codex", "trace"]))
        seen = draw(st.sampled_from(["both", "both", "transcript", "telemetry"]))
        has_id = draw(st.booleans())
        session = draw(st.sampled_from(["s1", "s2"]))
        fresh, output = place + 1, draw(st.integers(1, 3))
        if kind == "claude":
            if seen != "telemetry":
                rows = transcripts.setdefault(session, [])
                request = f"r{place}" if draw(st.booleans()) else None
                copies = draw(st.integers(1, 2))
                rows += [
                    claude(f"m{place}", request, session=session, input=fresh, output=output + copy, minutes=place)
                    for copy in range(copies)
                ]
            if seen != "transcript":
                told.append(
                    api_request(
                        f"r{place}" if has_id else None, session=session, input=fresh, output=output, minutes=place,
                        sequence=place,
                    )
                )  # fmt: skip
        elif kind == "codex":
            if seen != "telemetry":
                total = sums.setdefault(session, [0, 0, 0])
                total[0] += fresh
                total[2] += output
                rows = rollouts.setdefault(session, [meta(session), turn()])
                rows.append(tokens(tuple(total), (fresh, 0, output), place))
            if seen != "transcript":
                told.append(completed(session, input=fresh, output=output, minutes=place))
        else:
            trace = f"t{place % 2}"
            told.append(span(trace, place, draw(st.sampled_from(["chat", "chat", "invoke_agent"])), minutes=place))
    told += draw(st.lists(st.sampled_from(told), max_size=3)) if told else []
    files = {f".claude/projects/-home-ada/{name}.jsonl": jsonl(*rows) for name, rows in transcripts.items()}
    files |= {f".codex/sessions/{rollout(name)}": jsonl(*rows) for name, rows in rollouts.items()}
    cut = draw(st.integers(0, len(told)))
    for name, rows in (("a", told[:cut]), ("b", told[cut:])):
        if rows:
            files[f"{OTEL}/{name}.jsonl"] = jsonl(*rows)
    return files


def cold(files: Files) -> Booked:
    with worlds() as world:
        for path, content in files.items():
            put(world, path, content)
        world.sync()
        return world.booked()


@pytest.mark.slow
@settings(few, max_examples=40)
@given(homes(), orders)
def test_any_split_in_any_order_whatever_happens_in_between_is_one_cold_read(files: Files, order: Random) -> None:
    with worlds() as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "PACK_ROWS", order.choice((1, 3, 50_000)))
        patch.setattr(sync, "BATCH_RECORDS", order.choice((1, 4, 250_000)))
        happenings = (
            world.sync,
            world.sync,
            lambda: world.sync(no_cache=True),
            lambda: world.sync(full=True),
            lambda: settle(world.ledger) if world.ledger.manifest_path.exists() else None,
            lambda: compact(world.ledger),
        )
        for _ in growing(world, files, order, whole=0.4):
            if order.random() < 0.7:
                order.choice(happenings)()
        world.sync()
        booked = world.booked()
        patch.undo()
        assert booked == cold(files)


@pytest.mark.slow
@few
@given(homes(), st.booleans())
def test_a_lost_manifest_and_booking_anew_end_alike(files: Files, compacted: bool) -> None:
    with worlds() as world:
        for path in sorted(files, reverse=True):
            put(world, path, files[path])
            world.sync()
        before = world.booked()
        world.sync(full=True)
        assert world.booked() == before
        if compacted:
            compact(world.ledger)
        for path in world.ledger.lake.glob("manifest.sqlite*"):
            path.unlink()
        world.sync(full=True)
        assert world.booked() == before
        world.sync(no_cache=True)
        assert world.booked() == before


@pytest.mark.slow
@few
@given(homes())
def test_telemetry_never_changes_what_transcripts_say(files: Files) -> None:
    own = {path: content for path, content in files.items() if not path.startswith(OTEL)}
    both, alone = cold(files), cold(own)
    stripped = [msgspec.structs.replace(event, copies=()) for event in both.events if event.client != "opentelemetry"]
    assert stripped == [msgspec.structs.replace(event, copies=()) for event in alone.events]


@few
@given(homes())
def test_every_request_that_gave_way_names_an_event_that_is_there(files: Files) -> None:
    booked = cold(files)
    events = {event.event_id for event in booked.events}
    assert all(owner in events for rule, owner in booked.duplicates if rule == "superseded_by_source")


def test_a_ledger_without_telemetry_asks_nothing_of_the_links(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = sync.connect

    def traced(*arguments: Any, **options: Any) -> Any:
        connection = real(*arguments, **options)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sync, "connect", traced)
    world.claude(*(claude(f"m{n}", f"r{n}", minutes=n) for n in range(300)), name="s1.jsonl")
    world.claude(*(claude(f"m{n}", f"r{n}", minutes=n, session="s2") for n in range(300)), name="s2.jsonl")
    world.sync()

    about = [text for text in asked if "links" in text or "joined_sessions" in text]
    assert len(about) <= 4
