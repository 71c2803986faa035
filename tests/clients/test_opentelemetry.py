"""OpenTelemetry: which elements are requests, what their counters mean, and what makes two of them one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.clients.goldens import world_of
from tests.support import Row, World, at, jsonl, set_mtime, us
from tokenledger_dagster.clients.opentelemetry import OpenTelemetry

PLACE = ".local/state/agent-telemetry"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def span(number: int = 1, trace: str = "t1", minutes: float = 0, **attributes: Any) -> Row:
    """A chat span as an SDK's exporter writes it; attributes by their names with ``_`` for ``.`` replaced by hand."""
    return {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "name": "chat gpt-5.4",
        "endTime": [us(at(minutes)) // 1_000_000, us(at(minutes)) % 1_000_000 * 1000],
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-5.4",
            "gen_ai.conversation.id": "c1",
        }
        | attributes,
    }


def usage(input: Any = None, output: Any = None, **more: Any) -> Row:
    """Usage attributes of the current conventions."""
    named = {"input_tokens": input, "output_tokens": output, **more}
    return {f"gen_ai.usage.{name}": value for name, value in named.items() if value is not None}


def event(name: str, minutes: float = 0, **attributes: Any) -> Row:
    """A log record; ``__`` in a name stands for a dot."""
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return {"timeUnixNano": str(us(at(minutes)) * 1000), "attributes": {"event.name": name, **named}}


def write(world: World, *rows: Row | str | bytes, name: str = "spans.jsonl") -> Path:
    return world.write(world.home_dir / PLACE / name, *rows)


def read(world: World, *rows: Row | str | bytes, name: str = "spans.jsonl") -> list[Any]:
    write(world, *rows, name=name)
    world.sync()
    return world.events()


def flags(world: World) -> list[list[str]]:
    return [record["flags"] for record in world.records()]


# ------------------------------------------------------------------ counters: input, cache write, cache read, output


class TestConventions:
    @pytest.mark.parametrize(
        ("attributes", "buckets", "reasoning"),
        [
            (usage(100, 20), (100, 0, 0, 20), 0),
            (usage("100", "20"), (100, 0, 0, 20), 0),
            ({"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 20}, (100, 0, 0, 20), 0),
            ({"llm.usage.prompt_tokens": 100, "llm.usage.completion_tokens": 20}, (100, 0, 0, 20), 0),
            ({"llm.token_count.prompt": 100, "llm.token_count.completion": 20}, (100, 0, 0, 20), 0),
            # cache inside input
            ({**usage(100, 20), "gen_ai.usage.cache_read.input_tokens": 60}, (40, 0, 60, 20), 0),
            ({**usage(100, 20), "gen_ai.usage.cache_read_input_tokens": 60}, (40, 0, 60, 20), 0),
            ({**usage(100, 20), "gen_ai.usage.input_tokens.cached": 60}, (40, 0, 60, 20), 0),
            ({**usage(100, 20), "gen_ai.usage.cache_creation.input_tokens": 30}, (70, 30, 0, 20), 0),
            ({**usage(100, 20), "gen_ai.usage.cache_write.input_tokens": 30}, (70, 30, 0, 20), 0),
            ({"llm.token_count.prompt": 100, "llm.token_count.prompt_details.cache_read": 60}, (40, 0, 60, 0), 0),
            # more cache than input: it stands beside it
            ({**usage(3, 20), "gen_ai.usage.cache_read.input_tokens": 60}, (3, 0, 60, 20), 0),
            # the total says so too
            ({**usage(100, 20, total_tokens=180), "gen_ai.usage.cache_read.input_tokens": 60}, (100, 0, 60, 20), 0),
            # reasoning inside output, unless the total says otherwise
            ({**usage(100, 20), "gen_ai.usage.reasoning.output_tokens": 5}, (100, 0, 0, 20), 5),
            ({**usage(100, 20), "gen_ai.usage.reasoning_tokens": 5}, (100, 0, 0, 20), 5),
            ({**usage(100, 20), "gen_ai.usage.output_tokens.reasoning": 5}, (100, 0, 0, 20), 5),
            ({**usage(100, 20, total_tokens=125), "gen_ai.usage.reasoning_tokens": 5}, (100, 0, 0, 25), 5),
            # what is left out is the rest of the total
            (usage(100, total_tokens=120), (100, 0, 0, 20), 0),
            (usage(None, 20, total_tokens=120), (100, 0, 0, 20), 0),
        ],
    )
    def test_every_spelling(self, world: World, attributes: Row, buckets: Any, reasoning: int) -> None:
        (found,) = read(world, span(**attributes))

        assert (found.buckets, found.reasoning) == (buckets, reasoning)

    def test_a_bare_total_is_output_and_flagged(self, world: World) -> None:
        (found,) = read(world, span(**usage(total_tokens=567)))

        assert found.buckets == (0, 0, 0, 567)
        assert flags(world) == [["only_total_known"]]

    def test_more_reasoning_than_output_is_clamped(self, world: World) -> None:
        (found,) = read(world, span(**usage(100, 20, reasoning_tokens=50)))

        assert (found.output, found.reasoning) == (20, 20)
        assert flags(world) == [["reasoning_above_output"]]

    @pytest.mark.parametrize(
        ("value", "flag"),
        [(-1, "counter_negative"), (1.5, "counter_not_a_count"), ("x", "counter_not_a_count"),
         (True, "counter_not_a_count"), (10**11, "counter_overflow"), ([1], "counter_not_a_count")],
    )  # fmt: skip
    def test_what_is_no_count_is_nothing_and_flagged(self, world: World, value: Any, flag: str) -> None:
        (found,) = read(world, span(**usage(value, 20)))

        assert found.buckets == (0, 0, 0, 20)
        assert flags(world) == [[flag]]

    def test_numbers_json_does_not_know(self, world: World) -> None:
        (found,) = read(world, json.dumps(span(**usage(float("nan"), 20))))

        assert found.buckets == (0, 0, 0, 20)


class TestAgents:
    def test_claude_codes_counters_are_disjoint(self, world: World) -> None:
        attributes = {"input_tokens": "3", "output_tokens": 4, "cache_read_tokens": 2, "cache_creation_tokens": 1}
        (found,) = read(
            world, event("api_request", session__id="s", model="claude-opus-4-6", cost_usd="0.5", **attributes)
        )

        assert found.buckets == (3, 1, 2, 4)
        assert str(world.records()[0]["reported_cost_usd"].normalize()) == "0.5"

    def test_claude_codes_span_and_event_are_one_request(self, world: World) -> None:
        counted = {"session.id": "s", "request_id": "req_1", "input_tokens": 3, "output_tokens": 4}
        traced = {"traceId": "t", "spanId": "a", "name": "claude_code.llm_request", "attributes": counted}
        (found,) = read(
            world, traced, {**event("claude_code.api_request"), "attributes": {**counted, "event.name": "api_request"}}
        )

        assert (found.buckets, found.copies) == ((3, 0, 0, 4), ("superseded_by_source",))

    def test_codex_counts_cache_inside_input(self, world: World) -> None:
        counted = {
            "input_token_count": 100,
            "cached_token_count": 60,
            "cache_write_token_count": 10,
            "output_token_count": 9,
        }
        row = event(
            "codex.sse_event", event__kind="response.completed", conversation__id="c", model="gpt-5.1-codex", **counted
        )
        (found,) = read(world, row)

        assert (found.buckets, found.session) == ((30, 10, 60, 9), "c")

    def test_only_completed_responses_of_codex_count(self, world: World) -> None:
        assert read(world, event("codex.sse_event", event__kind="response.created", input_token_count=5)) == []

    @pytest.mark.parametrize(
        ("total", "buckets"),
        [(125, (40, 0, 60, 25)), (185, (100, 0, 60, 25)), (120, (40, 0, 60, 20)), (None, (40, 0, 60, 25))],
        ids=["cache inside", "cache outside", "thoughts inside output", "not told"],
    )
    def test_the_total_tells_what_gemini_counts_inside_what(
        self, world: World, total: int | None, buckets: Any
    ) -> None:
        counted = {"input_token_count": 100, "cached_content_token_count": 60, "output_token_count": 20}
        row = event(
            "gemini_cli.api_response", session__id="g", thoughts_token_count=5, total_token_count=total, **counted
        )
        (found,) = read(world, row)

        assert (found.buckets, found.reasoning) == (buckets, 5)

    def test_an_agents_own_operations_are_no_requests(self, world: World) -> None:
        tool = span(1, **{**usage(5, 5), "gen_ai.operation.name": "execute_tool"})
        made = span(2, **{**usage(5, 5), "gen_ai.operation.name": "create_agent"})

        assert read(world, tool, made) == []

    def test_metrics_are_counted_and_never_booked(self, world: World) -> None:
        point = {"asInt": "5", "attributes": []}
        metric = {"name": "gen_ai.client.token.usage", "histogram": {"dataPoints": [point]}}
        line = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric, metric]}]}]}

        assert read(world, line, {"type": "metric", "name": "claude_code.token.usage"}) == []
        assert world.skipped() == {"otel_metric": 3}

    def test_what_is_no_export_is_counted(self, world: World) -> None:
        assert read(world, {"type": "system", "uiEvent": {"input_token_count": 5}}, {"resourceLogs": []}) == []
        assert world.skipped() == {"not_telemetry": 1}

    def test_no_counts_and_nothing_counted_are_told_apart(self, world: World) -> None:
        assert read(world, span(1, note="token"), span(2, **usage(0, 0))) == []
        assert world.skipped() == {"usage_null": 1, "zero_usage": 1}


class TestWho:
    @pytest.mark.parametrize(
        ("attributes", "provider"),
        [
            ({"gen_ai.provider.name": "anthropic"}, "claude"),
            ({"gen_ai.system": "az.ai.openai"}, "azure"),
            ({"gen_ai.provider.name": "aws.bedrock"}, "aws"),
            ({"gen_ai.provider.name": "OpenRouter"}, "openrouter"),
            ({"copilot_chat.turn": 1}, "copilot"),
            ({}, "codex"),
            ({"gen_ai.system": "a sentence, not a name"}, "codex"),
        ],
    )
    def test_the_provider_is_whoever_served_the_request(self, world: World, attributes: Row, provider: str) -> None:
        read(world, span(**usage(1, 1), **attributes))

        assert world.query("SELECT provider FROM models") == [(provider,)]

    def test_the_model_that_answered_comes_first(self, world: World) -> None:
        (found,) = read(world, span(**usage(1, 1), **{"gen_ai.response.model": "gpt-5.4-mini"}))

        assert found.model_raw == "gpt-5.4-mini"

    def test_without_conversation_the_trace_is_the_session(self, world: World) -> None:
        (found,) = read(world, span(**usage(1, 1), **{"gen_ai.conversation.id": None}))

        assert found.session == "trace:t1"
        assert flags(world) == [["session_from_trace"]]

    def test_without_any_time_the_file_tells_it(self, world: World) -> None:
        row = span(**usage(1, 1))
        del row["endTime"]
        path = write(world, row)
        set_mtime(path, us(at(7)) / 1e6)
        world.sync()

        assert world.events()[0].time == at(7)
        assert "timestamp_from_file" in flags(world)[0]

    def test_an_account_is_a_hash(self, world: World) -> None:
        read(world, span(**usage(1, 1), **{"organization.id": "org-77", "user.email": "ada@example.org"}))

        assert len(world.records()[0]["account_hash"]) == 32


# ------------------------------------------------------------------ containers


def wrapped(*records: Row, key: str = "resourceSpans", inner: str = "scopeSpans", leaf: str = "spans") -> Row:
    def value(found: Any) -> Row:
        return {"intValue": str(found)} if isinstance(found, int) else {"stringValue": found}

    listed = [
        {**one, "attributes": [{"key": k, "value": value(v)} for k, v in one["attributes"].items()]} for one in records
    ]
    return {key: [{"resource": {"attributes": []}, inner: [{"scope": {}, leaf: listed}]}]}


class TestContainers:
    def three(self) -> list[Row]:
        return [span(number, minutes=number, **usage(number, 1)) for number in (1, 2, 3)]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.jsonl", lambda rows: jsonl(wrapped(*rows))),
            ("a.json", lambda rows: jsonl(*(wrapped(row) for row in rows))),
            ("a.json", lambda rows: jsonl(wrapped(*rows)).rstrip()),
            ("a.json", lambda rows: json.dumps(wrapped(*rows), indent=1).encode()),
            ("a.json", lambda rows: json.dumps(rows, indent=1).encode()),
            ("a.json", lambda rows: json.dumps(rows).encode()),
            ("a.json", lambda rows: b"\n".join(json.dumps(row, indent=2).encode() for row in rows)),
            ("a.jsonl.gz", lambda rows: gzip.compress(jsonl(*rows), mtime=0)),
            ("a.json.gz", lambda rows: gzip.compress(json.dumps(wrapped(*rows), indent=1).encode(), mtime=0)),
            ("a.ndjson", lambda rows: b"\xef\xbb\xbf" + jsonl(*rows)),
            ("traces.jsonl.1", lambda rows: jsonl(*rows)),
            ("a.json", lambda rows: jsonl(wrapped(*rows, inner="instrumentationLibrarySpans"))),
        ],
    )
    def test_every_shape_gives_the_same_events(self, world: World, name: str, content: Any) -> None:
        path = world.home_dir / PLACE / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content(self.three()))
        world.sync()

        assert [(found.input, found.time) for found in world.events()] == [(1, at(1)), (2, at(2)), (3, at(3))]

    def test_each_element_of_a_line_is_its_own_evidence(self, world: World) -> None:
        path = write(world, wrapped(*self.three()))
        world.sync()

        data = path.read_bytes()
        found = [data[one["byte_offset"] : one["byte_offset"] + one["byte_length"]] for one in world.records()]
        assert [json.loads(one)["spanId"] for one in found] == [f"{number:016x}" for number in (1, 2, 3)]

    def test_a_span_of_pythons_console_exporter(self, world: World) -> None:
        row = {
            "name": "chat gpt-5.4",
            "context": {"trace_id": "0x7ace", "span_id": "0x0001", "trace_state": "[]"},
            "parent_id": None,
            "end_time": at(3),
            "attributes": span(**usage(5, 1))["attributes"],
        }
        (found,) = read(world, row)

        assert (found.time, found.session) == (at(3), "c1")

    @pytest.mark.parametrize("number", [us(at(3)) // 1_000_000, us(at(3)) // 1000, us(at(3)), us(at(3)) * 1000, at(3)])
    def test_times_of_flat_logs(self, world: World, number: Any) -> None:
        row = {"timestamp": number, "attributes": {"event.name": "api_request", "session.id": "s", "output_tokens": 1}}

        assert read(world, row)[0].time == at(3)

    def test_copilots_own_places_are_read(self, tmp_path: Path) -> None:
        world = World(tmp_path, COPILOT_OTEL_FILE_EXPORTER_PATH=str(tmp_path / "elsewhere" / "out.log"))
        world.write(world.home_dir / ".copilot/otel/a.jsonl", span(1, **usage(1, 1)))
        world.write(tmp_path / "elsewhere" / "out.log", span(2, minutes=1, **usage(2, 1)))
        world.sync()

        assert [found.input for found in world.events()] == [1, 2]

    def test_the_folder_can_be_named(self, tmp_path: Path) -> None:
        world = World(tmp_path, TOKENLEDGER_OTEL_DIR=f"{tmp_path}/a,{tmp_path}/b")
        world.write(tmp_path / "a" / "x.json", span(1, **usage(1, 1)))
        world.write(tmp_path / "b" / "deep" / "y.jsonl", span(2, minutes=1, **usage(2, 1)))
        world.sync()

        assert [found.input for found in world.events()] == [1, 2]


# ------------------------------------------------------------------ identity


class TestIdentity:
    def test_one_span_delivered_twice_is_one_event(self, world: World) -> None:
        row = span(**usage(5, 1))
        write(world, row, row)
        write(world, row, name="copy/again.json")
        world.sync()

        assert len(world.events()) == 1
        assert sum(world.rules().values()) == 2

    def test_retries_are_spans_of_their_own(self, world: World) -> None:
        assert len(read(world, span(1, **usage(5, 1)), span(2, **usage(5, 1)))) == 2

    def test_one_response_seen_by_two_instrumentations_is_one_event(self, world: World) -> None:
        told = {**usage(5, 1), "gen_ai.response.id": "resp_1"}

        assert len(read(world, span(1, **told), span(2, **told))) == 1

    def test_an_events_place_in_its_session_tells_it(self, world: World) -> None:
        """The sequence begins anew when a session is resumed, the time does not."""
        first = event("api_request", 1, session__id="s", event__sequence=3, output_tokens=1)
        resumed = event("api_request", 9, session__id="s", event__sequence=3, output_tokens=1)

        assert len(read(world, first, resumed, first)) == 2

    def test_log_records_of_one_span_are_told_by_their_counters(self, world: World) -> None:
        turns = [event("copilot_chat.agent.turn", n, **usage(n, 1)) | {"traceId": "t", "spanId": "a"} for n in (1, 2)]

        assert len(read(world, *turns)) == 2

    def test_what_has_no_identity_counts_as_often_as_a_file_shows_it(self, world: World) -> None:
        row = {"attributes": {"event.name": "api_request", "output_tokens": 4}}
        write(world, row, row)
        write(world, row, name="copy.jsonl")
        world.sync()

        assert len(world.events()) == 2

    def test_an_id_does_not_depend_on_file_or_container(self, tmp_path: Path) -> None:
        one, other = World(tmp_path / "1"), World(tmp_path / "2")
        first = read(one, span(**usage(5, 1)))
        second = read(other, "", wrapped(span(7, "t9", **usage(1, 1)), span(**usage(5, 1))), name="deep/z.json")

        assert first[0].event_id in {found.event_id for found in second}


# ------------------------------------------------------------------ growth


class TestGrowth:
    def test_a_growing_file_is_one_reading(self, world: World) -> None:
        path = write(world, span(1, **usage(1, 1)))
        world.sync()
        whole = jsonl(wrapped(span(2, minutes=1, **usage(2, 1))), span(3, minutes=2, **usage(3, 1)))
        for part in (whole[:50], whole[50:]):
            with path.open("ab") as handle:
                handle.write(part)
            world.sync()

        assert [found.input for found in world.events()] == [1, 2, 3]
        assert world.sync(no_cache=True).emitted_total == 0

    def test_a_growing_document_adds_what_is_new(self, world: World) -> None:
        path = world.home_dir / PLACE / "outfile.json"
        for count in (1, 2, 2, 3):
            rows = [{**span(n, minutes=n, **usage(n, 1))} for n in range(1, count + 1)]
            text = "".join(json.dumps(row, indent=2) + "\n" for row in rows)
            world.write(path, text + '{\n "attrib')
            world.sync()

        assert [found.input for found in world.events()] == [1, 2, 3]
        assert len(world.records()) == 3
        assert world.skipped() == {"truncated_json": 1}
        assert world.sync(no_cache=True).emitted_total == 0
        assert len(world.records()) == 3

    def test_rotation_moves_a_file_and_forgets_nothing(self, world: World) -> None:
        path = write(world, span(1, **usage(1, 1)), name="traces.json")
        world.sync()
        path.rename(path.with_name("traces-2026-02-18T10-00-00.000.json"))
        write(world, span(2, minutes=1, **usage(2, 1)), name="traces.json")
        world.sync()

        assert [found.input for found in world.events()] == [1, 2]


# ------------------------------------------------------------------ hostile input, secrets


@pytest.mark.parametrize(
    "line",
    [
        b'{"resourceLogs": 5, "x": "tokens"}',
        b'{"resourceLogs": [5, null, {"scopeLogs": "tokens"}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": ["token", 7, {"attributes": "input_tokens"}]}]}]}',
        b'{"resourceSpans": [{"resource": 3, "scopeSpans": [{"spans": [{"attributes": [{"key": 5}, "x.tokens"]}]}]}]}',
        b'{"attributes": {"event.name": ["api_request"], "input_tokens": 5}}',
        b'{"traceId": {"a": 1}, "spanId": 5, "name": [], "attributes": {"gen_ai.operation.name": 7, "x.tokens": {}}}',
        b'{"token',
        b"token \xff\xfe",
        b"[" * 5000 + b'"token"',
        b'{"hrTime": [99999999999999999999, "x"], "attributes": {"event.name": "api_request"}, "token": 1}',
    ],
)
def test_what_no_exporter_writes_is_survived(world: World, line: bytes) -> None:
    assert [found.input for found in read(world, line, span(**usage(5, 1)))] == [5]


def test_invalid_utf8_keeps_the_counters(world: World) -> None:
    line = json.dumps(span(**usage(5, 1), note="@@")).encode().replace(b"@@", b"\xff\xfe")
    (found,) = read(world, line)

    assert found.input == 5
    assert "invalid_utf8" in flags(world)[0]


def test_two_objects_on_a_line(world: World) -> None:
    pair = json.dumps(span(1, **usage(5, 1))) + json.dumps(span(2, minutes=1, **usage(6, 1)))

    assert [found.input for found in read(world, pair)] == [5, 6]


def test_a_line_without_any_token_is_not_decoded() -> None:
    reader = OpenTelemetry().reader
    line = b'{"resourceLogs":[{"body":"prompt"}]}'
    found = reader(SimpleNamespace(shape="lines"), None, None, {})  # type: ignore[arg-type]
    assert found.irrelevant(line, 0, len(line))  # type: ignore[union-attr]
    assert not found.irrelevant(line[:-1], 0, len(line) - 1)  # type: ignore[union-attr]


def test_no_secret_of_the_fixtures_reaches_the_ledger(tmp_path: Path) -> None:
    world = world_of("opentelemetry", tmp_path)
    world.sync()
    world.query("SELECT 1")

    planted = b"".join(path.read_bytes() for path in world.home_dir.rglob("*") if path.is_file())
    kept = b"".join(path.read_bytes() for path in world.ledger.root.rglob("*") if path.is_file())
    for secret in (b"mara@secret", b"secret-account", b"secret-org", b"secretuser", b"secret-host", b"10.9.8.7",
                   b"secret prompt", b"secret messages", b"secret token", b"secret-chatgpt-account"):  # fmt: skip
        assert secret in planted, secret
        assert secret not in kept, secret
