"""CLIProxyAPI: what the counts of each version and upstream mean, and which records are one request."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.landing.rows import SECRETS, breakdown, detail, export, queued
from tests.support import Event, World, set_mtime, us
from tokenledger_dagster.clients.cliproxyapi import Owner, identity_of
from tokenledger_dagster.clients.cliproxyapi_counters import layout_of
from tokenledger_dagster.usage.evidence import explain


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, TOKENLEDGER_HOME=str(tmp_path / "ledger"))


def folder(world: World) -> Path:
    return world.ledger.root / "landing" / "cliproxyapi"


def lines(world: World, *rows: Any, name: str = "2026-02-18.jsonl") -> Path:
    return world.write(folder(world) / name, *rows)


def document(world: World, value: Any, name: str = "export.json") -> Path:
    path = folder(world) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def v6(world: World, model: str, **counts: int) -> Event:
    """The one event of an export with one detail."""
    document(world, export({model: [detail(tokens={f"{name}_tokens": count for name, count in counts.items()})]}))
    world.sync()
    (event,) = world.events()
    return event


def v7(world: World, **fields: Any) -> tuple[Event, list[str]]:
    """The one event of a queue record, with its flags."""
    lines(world, queued(**fields))
    world.sync()
    (event,) = world.events()
    return event, world.records()[0]["flags"]


class TestVersion6:
    """Counts are the upstream's own; the model says whose."""

    def test_openai_counts_the_cache_inside_input_and_reasoning_inside_output(self, world: World) -> None:
        event = v6(world, "gpt-5.3-codex", input=12000, output=800, reasoning=300, cached=9000, total=12800)

        assert (event.buckets, event.reasoning) == ((3000, 0, 9000, 800), 300)

    def test_anthropic_counts_the_cache_beside_input(self, world: World) -> None:
        event = v6(world, "claude-opus-4-6", input=40, output=1200, cached=52000, total=1240)

        assert event.buckets == (40, 0, 52000, 1200)

    def test_google_counts_thoughts_beside_output(self, world: World) -> None:
        event = v6(world, "gemini-2.5-pro", input=100, output=30, reasoning=12, cached=40, total=142)

        assert (event.buckets, event.reasoning) == ((60, 0, 40, 42), 12)

    def test_a_claude_model_that_google_serves_is_counted_googles_way(self, world: World) -> None:
        event = v6(world, "gemini-claude-sonnet-4-5", input=100, output=30, reasoning=12, cached=40, total=142)

        assert event.buckets == (60, 0, 40, 42)

    def test_of_a_model_nobody_knows_the_total_tells_where_reasoning_is(self, world: World) -> None:
        event = v6(world, "house-model", input=100, output=30, reasoning=12, total=142)

        assert (event.buckets, event.reasoning) == ((100, 0, 0, 42), 12)

    def test_of_a_model_nobody_knows_more_cache_than_input_is_beside_it(self, world: World) -> None:
        assert v6(world, "house-model", input=10, output=5, cached=30, total=15).buckets == (10, 0, 30, 5)

    def test_a_total_alone_counts_as_output_and_is_flagged(self, world: World) -> None:
        assert v6(world, "gpt-5", input=0, output=0, total=77).buckets == (0, 0, 0, 77)
        assert world.records()[0]["flags"] == ["only_total_known"]

    def test_more_cache_than_input_is_clamped_where_it_should_be_inside(self, world: World) -> None:
        assert v6(world, "gpt-5", input=10, output=5, cached=30, total=15).buckets == (0, 0, 10, 5)
        assert world.records()[0]["flags"] == ["cache_above_input"]

    def test_more_reasoning_than_output_is_clamped(self, world: World) -> None:
        event = v6(world, "gpt-5", input=10, output=5, reasoning=9, total=15)

        assert (event.buckets, event.reasoning) == ((10, 0, 0, 5), 5)
        assert world.records()[0]["flags"] == ["reasoning_above_output"]

    @pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"usage": one["usage"], "failed_requests": 0}])
    def test_export_and_management_usage_tell_the_same_requests(self, tmp_path: Path, wrap: Any) -> None:
        world = World(tmp_path, TOKENLEDGER_HOME=str(tmp_path / "ledger"))
        whole = export({"gpt-5": [detail(1), detail(2)]})
        document(world, whole, "export.json")
        document(world, wrap(whole), "usage.json")
        document(world, whole["usage"], "snapshot.json")
        world.sync()

        assert len(world.events()) == 2

    def test_times_with_an_offset_are_utc(self, world: World) -> None:
        document(world, export({"gpt-5": [detail(timestamp="2026-02-23T10:00:00+08:00")]}))
        world.sync()

        assert world.events()[0].time == "2026-02-23T02:00:00.000Z"

    def test_a_record_that_names_no_upstream_is_the_proxys(self, world: World) -> None:
        document(world, export({"gpt-5": [detail()]}))
        world.sync()

        assert world.query("SELECT provider FROM models") == [("proxyapi",)]

    def test_requests_whose_details_were_dropped_are_counted(self, world: World) -> None:
        capped = export({"gpt-5": [detail(1)]})
        capped["usage"]["apis"]["sk-PLANTEDKEY00112233445566"]["models"]["gpt-5"]["total_requests"] = 5
        document(world, capped)

        assert world.sync().providers["cliproxyapi"].skipped == {"details_missing": 4}

    def test_a_forks_request_id_is_the_identity(self, world: World) -> None:
        document(world, export({"gpt-5": [detail(1, request_id="q1")]}), "a.json")
        document(world, export({"gpt-5": [detail(1, request_id="q1", source="elsewhere")]}), "b.json")
        world.sync()

        assert len(world.events()) == 1


class TestCumulativeExports:
    def test_each_detail_is_booked_once_however_often_it_is_exported(self, world: World) -> None:
        for upto in (1, 2, 4):
            document(world, export({"gpt-5": [detail(second) for second in range(upto)]}), f"{upto}.json")
        world.sync()

        assert len(world.events()) == 4
        assert world.rules() == {"cliproxyapi.copied_request": 3}

    def test_an_export_that_is_written_over_adds_what_is_new(self, world: World) -> None:
        path = document(world, export({"gpt-5": [detail(1)]}))
        world.sync()
        document(world, export({"gpt-5": [detail(1), detail(2)]}))
        set_mtime(path, 1_771_600_000)
        summary = world.sync()

        assert (len(world.events()), summary.emitted_total) == (2, 1)

    def test_what_a_restarted_proxy_no_longer_exports_stays_booked(self, world: World) -> None:
        path = document(world, export({"gpt-5": [detail(1)]}))
        world.sync()
        document(world, export({"gpt-5": [detail(2)]}))
        set_mtime(path, 1_771_600_000)
        world.sync()

        assert len(world.events()) == 2

    def test_details_alike_in_all_but_the_nanosecond_are_two_requests(self, world: World) -> None:
        times = ["2026-02-18T09:00:00.123456781Z", "2026-02-18T09:00:00.123456782Z"]
        document(world, export({"gpt-5": [detail(timestamp=time) for time in times]}))
        world.sync()

        assert len(world.events()) == 2

    def test_details_alike_in_everything_are_one_request(self, world: World) -> None:
        document(world, export({"gpt-5": [detail(1), detail(1)]}))
        world.sync()

        assert (len(world.events()), world.rules()) == (1, {"cliproxyapi.same_request": 1})

    @pytest.mark.parametrize(
        "other",
        [
            {"source": "else"},
            {"auth_index": "1"},
            {"failed": True},
            {"tokens": {"input_tokens": 120, "output_tokens": 31}},
        ],
    )
    def test_details_that_differ_in_one_part_of_the_identity_are_two(self, world: World, other: dict[str, Any]) -> None:
        document(world, export({"gpt-5": [detail(1), detail(1, **other)]}))
        world.sync()

        assert len(world.events()) == 2

    def test_another_key_or_model_is_another_request(self, world: World) -> None:
        document(world, export({"gpt-5": [detail(1)], "gpt-5-mini": [detail(1)]}), "a.json")
        document(world, export({"gpt-5": [detail(1)]}, api="POST /v1/responses"), "b.json")
        world.sync()

        assert len(world.events()) == 3

    def test_the_latency_is_no_part_of_it(self, world: World) -> None:
        document(world, export({"gpt-5": [detail(1)]}), "early.json")
        document(world, export({"gpt-5": [detail(1, latency_ms=None)]}), "late.json")
        world.sync()

        assert len(world.events()) == 1

    def test_the_same_moment_in_another_zone_is_the_same_request(self) -> None:
        first = identity_of(detail(timestamp="2026-02-18T09:00:00.5Z"), Owner("k", "m"))

        assert identity_of(detail(timestamp="2026-02-18T17:00:00.500+08:00"), Owner("k", "m")) == first


class TestVersion7:
    def test_the_breakdown_is_preferred(self, world: World) -> None:
        event, flags = v7(world, token_breakdown=breakdown(10, 20, 30, 40, 5), tokens={"total_tokens": 105})

        assert (event.buckets, event.reasoning, flags) == ((10, 30, 20, 45), 5, [])

    def test_what_it_tells_of_the_request_is_kept(self, world: World) -> None:
        v7(world, auth_type="apikey")
        (record,) = world.records()

        told = {name: record[name] for name in ("request_id", "service_tier", "upstream", "latency_ms", "ttft_ms")}
        assert told == {
            "request_id": "r1", "service_tier": "priority", "upstream": "codex", "latency_ms": 1500, "ttft_ms": 210,
        }  # fmt: skip
        assert (record["status"], record["billing_kind"], record["model_raw"]) == ("ok", "api", "gpt-5.3-codex")
        assert record["account_hash"].startswith("blake2b:")

    def test_a_tier_that_was_only_asked_for_counts_where_the_answer_names_none(self, world: World) -> None:
        v7(world, service_tier="flex", response_service_tier=None)

        assert world.records()[0]["service_tier"] == "flex"

    def test_a_total_that_disagrees_with_the_breakdown_is_flagged(self, world: World) -> None:
        event, flags = v7(world, tokens={"total_tokens": 1})

        assert (event.buckets, flags) == ((3000, 0, 9000, 800), ["breakdown_disagrees"])

    @pytest.mark.parametrize(
        "broken",
        [
            {"total_tokens": 1}, {"schema_version": 3}, {"quality": "splendid"}, {"unclassified_tokens": 4},
            {"input": None}, {"output": {"total_tokens": 800, "non_reasoning_tokens": -1, "reasoning_tokens": 801}},
            {"input": {"total_tokens": 12000, "uncached_tokens": 1, "cache_read_tokens": 2, "cache_write_tokens": 3}},
        ],
    )  # fmt: skip
    def test_a_breakdown_that_breaks_its_invariants_gives_way_to_the_raw_counts(
        self, world: World, broken: dict[str, Any]
    ) -> None:
        event, flags = v7(world, token_breakdown=breakdown(**broken))

        assert (event.buckets, flags) == ((3000, 0, 9000, 800), ["breakdown_invalid"])

    @pytest.mark.parametrize("quality", ["inconsistent", "unclassified"])
    def test_where_the_proxy_knows_a_total_only_the_raw_counts_say_more(self, world: World, quality: str) -> None:
        empty = breakdown(0, 0, 0, 0, 0, quality=quality, total_tokens=12800, unclassified_tokens=12800)
        event, flags = v7(world, token_breakdown=empty)

        assert (event.buckets, flags) == ((3000, 0, 9000, 800), [f"breakdown_{quality}"])

    def test_a_total_nobody_can_part_counts_as_output(self, world: World) -> None:
        empty = breakdown(0, 0, 0, 0, 0, quality="unclassified", total_tokens=50, unclassified_tokens=50)
        event, flags = v7(world, token_breakdown=empty, tokens={})

        assert (event.buckets, flags) == ((0, 0, 0, 50), ["breakdown_unclassified", "only_total_known"])

    def test_without_a_breakdown_the_provider_says_what_counts_mean(self, world: World) -> None:
        raw = {"input_tokens": 40, "output_tokens": 12, "cache_read_tokens": 500, "cache_creation_tokens": 30}
        raw |= {"cached_tokens": 500, "cache_creation_1h_tokens": 10, "total_tokens": 582}
        event, _ = v7(world, provider="Claude", token_breakdown=None, tokens=raw)

        assert (event.buckets, event.cache_write_1h) == ((40, 30, 500, 12), 10)

    def test_the_same_counts_are_different_tokens_of_different_providers(self, world: World) -> None:
        raw = {"input_tokens": 100, "output_tokens": 30, "reasoning_tokens": 12}
        for provider, total in (("openai", 130), ("gemini", 142)):
            told = queued(
                None, provider=provider, model="direct", tokens={**raw, "total_tokens": total}, token_breakdown=None
            )
            lines(world, told, name=f"{provider}.jsonl")
        world.sync()

        assert sorted(event.output for event in world.events()) == [30, 42]

    def test_the_1h_part_of_cache_writes_is_kept_beside_a_breakdown(self, world: World) -> None:
        event, _ = v7(world, token_breakdown=breakdown(10, 0, 30, 4, 0), tokens={"cache_creation_1h_tokens": 20})

        assert (event.cache_write, event.cache_write_1h) == (30, 20)

    def test_a_request_without_tokens_is_no_event(self, world: World) -> None:
        lines(world, queued(failed=True, tokens={"total_tokens": 0}, token_breakdown=breakdown(total_tokens=0)))

        assert world.sync().providers["cliproxyapi"].skipped == {"zero_usage": 1}
        assert world.events() == []

    def test_a_failed_request_with_tokens_counts_as_what_it_is(self, world: World) -> None:
        v7(world, failed=True)

        assert world.records()[0]["status"] == "error"

    def test_the_model_that_served_counts_not_the_alias(self, world: World) -> None:
        event, _ = v7(world, model="gpt-5", alias="cheap")

        assert event.model_raw == "gpt-5"

    @pytest.mark.parametrize("model", [None, "unknown", "", 7])
    def test_without_a_model_the_record_is_kept_and_flagged(self, world: World, model: Any) -> None:
        event, flags = v7(world, model=model)

        assert (event.model_raw, flags) == (None, ["model_missing"])

    @pytest.mark.parametrize("provider", ["unknown", "", None, 5])
    def test_an_upstream_that_is_not_named_is_the_proxy(self, world: World, provider: Any) -> None:
        v7(world, provider=provider)

        assert world.query("SELECT provider FROM models") == [("proxyapi",)]
        assert world.records()[0]["upstream"] is None

    def test_without_a_time_the_files_stands_in(self, world: World) -> None:
        path = lines(world, queued(timestamp="0001-01-01T00:00:00Z"))
        set_mtime(path, us("2026-02-19T00:00:00Z") / 1e6)
        world.sync()

        assert world.events()[0].time == "2026-02-19T00:00:00.000Z"
        assert world.records()[0]["flags"] == ["timestamp_from_file"]


class TestRequestIds:
    """A request id is short, and shared by what one connection asked for."""

    def test_a_record_that_is_told_twice_is_one_request(self, world: World) -> None:
        lines(world, queued("0a1b2c3d"), queued("0a1b2c3d"), name="a.jsonl")
        lines(world, queued("0a1b2c3d", latency_ms=9), name="b.jsonl")
        world.sync()

        assert (len(world.events()), sum(world.rules().values())) == (1, 2)

    @pytest.mark.parametrize("other", [{"second": 5}, {"model": "gpt-image-2"}])
    def test_another_time_or_model_under_it_is_another_request(self, world: World, other: dict[str, Any]) -> None:
        lines(world, queued("0a1b2c3d"), queued("0a1b2c3d", **other))
        world.sync()

        assert (len(world.events()), world.rules()) == (2, {})

    def test_the_earliest_is_known_by_the_id_alone_whatever_came_first(self, tmp_path: Path) -> None:
        alone, early, late = (World(tmp_path / name) for name in ("alone", "early", "late"))
        files = {"1.jsonl": queued("r1", 1), "2.jsonl": queued("r1", 2)}
        for world, order in ((alone, ["1.jsonl"]), (early, ["1.jsonl", "2.jsonl"]), (late, ["2.jsonl", "1.jsonl"])):
            world.environ["TOKENLEDGER_HOME"] = str(world.ledger.root)
            for name in order:
                lines(world, files[name], name=name)
                world.sync()
        ids = [[event.event_id for event in world.events()] for world in (alone, early, late)]

        assert ids[1] == ids[2]
        assert ids[0] == ids[1][:1]
        assert len(set(ids[1])) == 2

    def test_tries_on_several_accounts_count_for_what_each_used(self, world: World) -> None:
        nothing = queued("r1", 1, failed=True, token_breakdown=None, tokens={"total_tokens": 0})
        lines(world, nothing, queued("r1", 2))
        world.sync()

        assert (len(world.events()), world.skipped()) == (1, {"zero_usage": 1})


class TestLayouts:
    """What a file holds is told by its content."""

    def test_an_array_a_line_each_and_one_line_of_an_array_are_the_same_requests(self, world: World) -> None:
        rows = [queued("r1"), queued("r2", 1)]
        document(world, rows, "answer.json")
        lines(world, *rows, name="a.jsonl")
        lines(world, json.dumps(rows), name="b.jsonl")
        document(world, rows[0], "one.json")
        world.sync()

        assert len(world.events()) == 2
        assert sum(world.rules().values()) == 5

    def test_control_messages_and_unknown_objects_are_counted(self, world: World) -> None:
        lines(world, {"support_refresh": True}, {"refresh": True}, {"left": 3}, "[1]", {"tokens": None}, {"tokens": 3})

        assert world.sync().providers["cliproxyapi"].skipped == {
            "control_message": 2,
            "unknown_record": 1,
            "not_an_object": 1,
            "usage_null": 1,
            "usage_not_an_object": 1,
        }

    def test_a_document_that_is_something_else_is_counted(self, world: World) -> None:
        document(world, {"hello": 1})

        assert world.sync().providers["cliproxyapi"].skipped == {"unknown_layout": 1}

    def test_a_landed_line_of_a_later_version_is_not_guessed_at(self, world: World) -> None:
        lines(world, {"schema_version": 2, "feeder": "cliproxyapi", "kind": "usage", "record": queued()})

        assert world.sync().providers["cliproxyapi"].skipped == {"unknown_record": 1}

    @pytest.mark.parametrize(
        ("provider", "model", "layout"),
        [
            ("codex", "claude-opus-4-6", "subset"), ("antigravity", "claude-opus-4-6", "separate"),
            ("somebody", "claude-opus-4-6", "independent"), (None, "Gemini-3", "separate"), (None, None, "unknown"),
        ],
    )  # fmt: skip
    def test_the_provider_comes_before_the_model(self, provider: str | None, model: str | None, layout: str) -> None:
        assert layout_of(provider, model) == layout


class TestHowItIsRead:
    def test_one_sync_is_many_syncs_in_any_order(self, tmp_path: Path) -> None:
        files = {
            "1.json": json.dumps(export({"gpt-5": [detail(second) for second in range(3)]})),
            "2.json": json.dumps(export({"gpt-5": [detail(second) for second in range(2, 6)]})),
            "3.jsonl": "\n".join(json.dumps(queued(f"r{number}", number)) for number in range(4)) + "\n",
            "4.json": json.dumps([queued("r3", 3), queued("r4", 4)]),
            "5.jsonl": json.dumps(queued(None, 9)) + "\n",
        }
        found = set()
        for seed in range(4):
            world = World(tmp_path / str(seed), TOKENLEDGER_HOME=str(tmp_path / str(seed) / "ledger"))
            for name in random.Random(seed).sample(sorted(files), len(files)):
                folder(world).mkdir(parents=True, exist_ok=True)
                (folder(world) / name).write_text(files[name])
                if seed:
                    world.sync()
            world.sync()
            found.add(tuple((event.event_id, event.buckets) for event in world.events()))

        assert len(found) == 1
        assert len(found.pop()) == 12

    def test_a_growing_file_is_read_from_where_it_ended(self, world: World) -> None:
        path = lines(world, queued("r1"))
        world.sync()
        world.append(path, queued("r2", 1))
        summary = world.sync()

        assert (len(world.events()), summary.providers["cliproxyapi"].scanned) == (2, 1)

    def test_reading_everything_again_adds_nothing(self, world: World) -> None:
        lines(world, queued("r1"))
        document(world, export({"gpt-5": [detail(1), detail(1)]}))
        world.sync()
        before = world.booked()
        world.sync(no_cache=True)

        assert world.booked() == before

    def test_every_event_can_be_shown_in_its_file(self, world: World) -> None:
        lines(world, queued("r1"), json.dumps([queued("r2", 1)]))
        document(world, export({"gpt-5": [detail(1)], "a/b~c": [detail(2)]}))
        document(world, [queued("r3", 2)], "array.json")
        world.sync()
        shown = explain(world.ledger, [event.event_id for event in world.events()], verify=True)

        assert [one.status for one in shown] == ["verified"] * 5

    def test_no_secret_is_in_any_byte_of_the_ledger(self, world: World) -> None:
        outside = world.home_dir / "saved"
        world.write(outside / "queue.jsonl", queued("r1"), queued(None, 3), b'{"api_key": "sk-PLANTEDKEY001122334455')
        world.write(outside / "export.json", json.dumps(export({"gpt-5": [detail(1)]})))
        world.write(outside / "broken.json", json.dumps(export({"gpt-5": [detail(1)]}))[:-30])
        world.sync(add_sources=(("cliproxyapi", str(outside)),))
        world.events()
        data = b"".join(path.read_bytes() for path in world.ledger.root.rglob("*") if path.is_file())

        assert len(world.events()) == 3
        assert [secret for secret in SECRETS if secret.encode() in data] == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"tokens": {"input_tokens": NaN, "output_tokens": 5}, "model": "gpt-5", "timestamp": 1771405200}',
        b'{"tokens": {"input_tokens": -4, "output_tokens": 5}, "timestamp": null, "model": {}}',
        b'{"tokens": {"input_tokens": 1e400, "output_tokens": "5"}, "provider": ["x"], "auth_index": {"a": 1}}',
        b'{"tokens": {"output_tokens": 5}, "model": "\xff\xfe", "source": 7, "request_id": 9, "failed": "yes"}',
        b'{"tokens": {"output_tokens": 5}, "token_breakdown": {"quality": [], "input": 3}, "latency_ms": "soon"}',
        b'{"tokens": {"output_tokens": 5}, "request_id": "\\ud800", "timestamp": "\\ud800", "model": "\\udfff"}',
        b'{"tokens": {"output_tokens": 5}, "token_breakdown": {"total_tokens": {}}, "service_tier": {}}',
        b'{"tokens": {"output_tokens": 5, "cached_tokens": true, "input_tokens": 99999999999}, "latency_ms": -1}',
    ],
)
def test_odd_values_lose_no_tokens(tmp_path: Path, line: bytes) -> None:
    world = World(tmp_path, TOKENLEDGER_HOME=str(tmp_path / "ledger"))
    lines(world, line, queued("r2"))
    document(world, {}).write_bytes(b"[" + line + b"]")
    world.sync()

    assert sorted({event.output for event in world.events()}) == [5, 800]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\x00", b"[", b"{}", b"[]", b"7", b'"x"', b"\xff", b'{"usage": {"apis": {"k": 3}}}', b"[[" * 5000],
)
def test_documents_that_hold_nothing_break_nothing(tmp_path: Path, data: bytes) -> None:
    world = World(tmp_path, TOKENLEDGER_HOME=str(tmp_path / "ledger"))
    document(world, {}).write_bytes(data)
    lines(world, queued("r2"))

    assert world.sync().problems == []
    assert len(world.events()) == 1
