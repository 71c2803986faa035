"""Inputs and expected figures pinned by other projects, kept outside the repository.

Set TOKENLEDGER_CONFORMANCE_DIR to the folder that holds ``cases`` and ``clients``.  Every field of a case's
``expected`` is compared by the function of its name below, or stands in ``NOT_COMPARED`` or ``RULED`` with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support import Event, World
from tokenledger_dagster.contracts.report import Report, Row
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.rates import Rate, price_nano
from tokenledger_dagster.usage.report import make_report
from tokenledger_dagster.usage.selection import Selection

CASES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "cases"
NAMES = sorted(path.parent.name for path in CASES.glob("*/expected.json"))

NOT_COMPARED = {
    "messages": "conversation rows without usage are not stored",
    "tool_calls": "tool calls are not stored",
    "summaries": "summaries are text, and text is not stored",
    "pricing_per_token": "input of the cost fields",
    "tolerance": "input of the cost fields",
    "env": "input of the run",
    "filter": "input of `filtered`",
    "cost_rule": "words for cost_usd_if_3_per_mtok",
    "scanner_units": "another project's unit, in which cached tokens count twice",
    "scanner_units_input_incl_plus_cached_plus_output": "another project's unit, in which cached tokens count twice",
    "sum_last_total_tokens": "sums `last` over repeated totals too, and those bill nothing (the case's ruling)",
    "naive_sum_of_last_input": "what a reader without the rule for repeated totals would sum",
    "first_wins_output": "what a reader that keeps the first copy would sum",
    "cost_usd_standard": "compared together with cost_usd_fast",
    "credits": "credits are kept in raw_usage and are no cost",
    "dedup_key": "another project's spelling of an identity; that one holds is shown by the number of events",
    "peer_input_inclusive": "another project's figure; `by_model` is the ruling",
    "peer_cache_write_row0": "another project's figure; `exclusive_cache_write_row0` is the ruling",
    "peer_values": "another project's figures; `totals` is the ruling",
    "totals_peer": "another project's figures; `totals` is the ruling",
    "record_total": "input of the rule that `totals` shows",
    "sum": "the sum of `costs`",
}
RULED = {
    ("claude-004-agent-progress-and-fast", "models_in_order"): (
        "speed is a pricing context and no part of the model's name",
        ["claude-opus-4-6", "claude-haiku-4-5-20251001", "claude-opus-4-6"],
    ),
    ("claude-004-agent-progress-and-fast", "project"): ("a project is the rows' own cwd; folder names are lossy", None),
    ("claude-008-config-dir-points-at-projects", "project"): ("a project is the rows' own cwd", None),
    ("codex-002-last-usage-date-filter", "filtered"): (
        "reasoning is inside output, so it is not added to the total again",
        {"events": 1, "input": 180, "cache_read": 20, "cache_write": 0, "output": 75, "reasoning": 5, "total": 275},
    ),
    ("droid-002-sidecar-model", "models"): ("thinking is a mode and no part of the model's name", ["claude-opus-4-5"]),
    ("droid-005-model-names", "mapping"): (
        "the catalogue's own ids",
        {
            "custom:Claude-Opus-4.5-Thinking-[Anthropic]-0": "claude-opus-4-5",
            "Claude-Sonnet-4-[Anthropic]": "claude-sonnet-4",
            "gemini-2.5-pro": "gemini-2.5-pro",
        },
    ),
    ("qwen-001-jsonl", "normalised"): (
        "reasoning is inside output",
        {"input": 95, "cache_read": 5, "output": 60, "reasoning": 10, "total": 160},
    ),
    ("claude-017-discovery", "files"): (
        "every *.jsonl below the root is read; what it holds tells whether it counts",
        [
            "project/session.jsonl",
            "project/session/other/agent-2.jsonl",
            "project/session/subagents/nested/agent-1.jsonl",
        ],
    ),
}

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not NAMES, reason="TOKENLEDGER_CONFORMANCE_DIR is not set to a folder of cases"),
]


BARE = {
    "usage.csv": "cursor",
    "usage-queue.json": "cliproxyapi",
    "copilot.jsonl": "opentelemetry",
    "codex-exec": "codex",
}
"""Files of a case that stand in no client's own place."""


class Case:
    """One case after a sync."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.expected: dict[str, Any] = json.loads((CASES / name / "expected.json").read_text())["expected"]
        self.world = World(folder)
        shutil.rmtree(self.world.home_dir)
        shutil.copytree(CASES / name / "input", self.world.home_dir)
        home = str(self.world.home_dir)
        self.world.environ |= {
            key: value.replace("<input>", home) for key, value in self.expected.get("env", {}).items()
        }
        self.world.sources = tuple(
            (client, str(self.world.home_dir / name))
            for name, client in BARE.items()
            if (self.world.home_dir / name).exists()
        )
        self.summary = self.world.sync()
        self.events = self.world.events()

    def report(self, kind: str = "daily", **filters: Any) -> Report:
        connection = connect(self.world.ledger, read_only=True)
        try:
            return make_report(connection, kind, Selection(**filters), datetime(2026, 7, 1, tzinfo=UTC))
        finally:
            connection.close()

    @property
    def recorded(self) -> Decimal:
        """Cost the logs state, summed over the winners."""
        winners = {rid for (rid,) in self.world.query("SELECT rid FROM events")}
        costs = [one["reported_cost_usd"] for one in self.world.records() if one["rid"] in winners]
        return sum((cost for cost in costs if cost is not None), Decimal(0))


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    cases: dict[str, Case] = {}

    def case(name: str) -> Case:
        if name not in cases:
            cases[name] = Case(name, tmp_path_factory.mktemp("case"))
        return cases[name]

    return case


def tokens(event: Event | Row) -> dict[str, int]:
    if isinstance(event, Event):
        return {
            "input": event.input + event.tool_input, "cache_read": event.cache_read, "cache_write": event.cache_write,
            "cache_write_5m": event.cache_write - event.cache_write_1h, "cache_write_1h": event.cache_write_1h,
            "output": event.output + event.tool_output, "reasoning": event.reasoning,
            "total": sum(event.buckets) + event.tool_input + event.tool_output,
        }  # fmt: skip
    return {
        "input": event.input_tokens, "cache_read": event.cache_read_tokens, "cache_write": event.cache_write_tokens,
        "output": event.output_tokens, "reasoning": event.reasoning_tokens, "total": event.total_tokens,
        "events": event.event_count,
    }  # fmt: skip


def summed(events: list[Event]) -> Counter[str]:
    found: Counter[str] = Counter()
    for event in events:
        found.update(tokens(event))
    return found


def chosen(found: dict[str, int], wanted: dict[str, int]) -> dict[str, int]:
    return {name: found[name] for name in wanted}


# ------------------------------------------------------------------ one function a field: (case, expectation)


def events(case: Case, wanted: int) -> None:
    assert len(case.events) == wanted


def reasoning_inside(wanted: dict[str, int]) -> dict[str, int]:
    """The same where the source counts reasoning apart from output: then the total says so."""
    parts = sum(wanted.get(name, 0) for name in ("input", "cache_read", "cache_write", "output"))
    reasoning = wanted.get("reasoning", 0)
    if reasoning and wanted.get("total") == parts + reasoning:
        return {**wanted, "output": wanted["output"] + reasoning}
    return wanted


def totals(case: Case, wanted: dict[str, int]) -> None:
    wanted = reasoning_inside(wanted)
    assert chosen(summed(case.events), wanted) == wanted


def normalised(case: Case, wanted: dict[str, int]) -> None:
    totals(case, wanted)


def by_provider(case: Case, wanted: dict[str, dict[str, int]]) -> None:
    found = {}
    for upstream, provider in (("openai", "codex"), ("gemini", "google")):
        one = summed([event for event in case.events if event.provider == provider])
        found[upstream] = {
            "total": one["total"], "reasoning": one["reasoning"], "output_incl_reasoning": one["output"],
            "output_non_reasoning": one["output"] - one["reasoning"],
        }  # fmt: skip
    assert {name: chosen(found[name], one) for name, one in wanted.items()} == wanted


def rows(case: Case, wanted: list[dict[str, Any]]) -> None:
    costs = {record["rid"]: record["reported_cost_usd"] for record in case.world.records()}
    rids = dict(case.world.query("SELECT event_id, rid FROM events"))
    found = [
        {
            **tokens(event), "model": event.model_raw, "date": event.time[:10],
            "cost_usd": float(costs[rids[event.event_id]] or 0),
        }
        for event in case.events
    ]  # fmt: skip
    for one in wanted:
        assert one in [chosen(row, one) for row in found]


def exclusive_cache_write_row0(case: Case, wanted: int) -> None:
    row = case.expected["rows"][0]
    (event,) = [event for event in case.events if event.model_raw == row["model"]]
    assert event.cache_write == wanted


def reported(case: Case) -> list[float]:
    found = dict(case.world.query("SELECT rid, event_id FROM events"))
    return [float(one["reported_cost_usd"] or 0) for one in case.world.records() if one["rid"] in found]


def costs(case: Case, wanted: list[float]) -> None:
    assert sorted(reported(case)) == sorted(wanted)


def csv_rows(case: Case, wanted: int) -> None:
    skipped = case.world.skipped()
    assert len(case.world.records()) + skipped["zero_usage"] == wanted


def session(case: Case, wanted: str) -> None:
    assert {event.session for event in case.events} == {wanted}


def mapping(case: Case, wanted: dict[str, str]) -> None:
    names = json.loads((CASES / case.name / "input" / "names.json").read_text())
    assert {raw: resolve_model(raw, "droid", "2026-05-01").model for raw in names} == wanted


def totals_partial(case: Case, wanted: dict[str, int]) -> None:
    found = summed(case.events)
    if case.name.startswith("gemini-"):  # the source counts thoughts apart from output
        found["output"] -= found["reasoning"]
    assert chosen(found, wanted) == wanted


LAST_WINS_BUCKETS = ("input", "output", "cache_write", "cache_read")


def totals_inclusive_input(case: Case, wanted: int) -> None:
    assert sum(event.input + event.cache_read + event.cache_write for event in case.events) == wanted


def by_event(case: Case, wanted: list[dict[str, int]]) -> None:
    wanted = [{name: count for name, count in one.items() if name not in NOT_COMPARED} for one in wanted]
    assert [chosen(tokens(event), one) for event, one in zip(case.events, wanted, strict=True)] == wanted


def by_day(case: Case, wanted: dict[str, dict[str, Any]]) -> None:
    assert {row.key: chosen(tokens(row), wanted[row.key]) for row in case.report().rows} == wanted


def by_session(case: Case, wanted: dict[str, dict[str, int]]) -> None:
    found = {}
    for session, stem in case.world.query("SELECT DISTINCT session, stem FROM streams"):
        own = [event for event in case.events if event.session == session]
        counters = summed(own)
        found[stem.rpartition("-")[2]] = {
            "events": len(own),
            "input_incl_cached": counters["input"] + counters["cache_read"] + counters["cache_write"],
            "output": counters["output"],
        }
    assert {name: chosen(found[name], one) for name, one in wanted.items()} == wanted


def by_model(case: Case, wanted: list[str] | dict[str, dict[str, int]]) -> None:
    if isinstance(wanted, dict):
        for name, counters in wanted.items():
            own = summed([event for event in case.events if event.model_raw == name])
            assert chosen(own, counters) == counters
    found = {event.model for event in case.events} | {event.model_raw for event in case.events}
    assert set(wanted) <= found
    assert len({event.model for event in case.events}) == len(wanted)


def models(case: Case, wanted: list[str]) -> None:
    if case.events:
        by_model(case, wanted)


def models_in_order(case: Case, wanted: list[str]) -> None:
    assert [
        event.model_raw if event.model_raw in wanted else event.model
        for event in sorted(case.events, key=lambda event: event.timestamp_us)
    ] == wanted


def model_is_fallback(case: Case, wanted: bool) -> None:
    records = case.world.records()
    resolved = [one for one in records if one["model_raw"] in (None, "codex-auto-review")]
    assert (len(resolved) == len(records)) is wanted


def project(case: Case, wanted: str | None) -> None:
    assert {event.project for event in case.events} == {wanted}


def date(case: Case, wanted: str) -> None:
    assert [row.key for row in case.report().rows] == [wanted]


def timestamp(case: Case, wanted: str) -> None:
    assert [event.time for event in case.events] == [wanted]


def filtered(case: Case, wanted: dict[str, int]) -> None:
    given = case.expected["filter"]
    found = case.report(since=given["since"], zone=given["tz"]).totals
    assert chosen(tokens(found), wanted) == wanted  # type: ignore[arg-type]


def files(case: Case, wanted: list[str]) -> None:
    root = case.world.home_dir / ".claude" / "projects"
    paths = [path for (path,) in case.world.query("SELECT path FROM sources ORDER BY path")]
    assert [Path(path).relative_to(root).as_posix() for path in paths] == wanted


def per_file_events(case: Case, wanted: dict[str, int]) -> None:
    paths = dict(case.world.query(
        "SELECT o.path, count(*) FROM events e JOIN records r USING (rid) JOIN streams s USING (stream_no) "
        "JOIN sources o USING (source_no) GROUP BY o.path"
    ))  # fmt: skip
    for name, count in wanted.items():
        assert [found for path, found in paths.items() if path.endswith(f"/{name}")] == [count]


# ------------------------------------------------------------------ money


def rate(per_token: dict[str, float], factor: int = 1) -> Rate:
    """A rate row of prices in USD per token; what is not named costs what input costs, an hour's write twice that."""

    def nano(name: str, default: int) -> int:
        return round(Decimal(str(per_token[name])) * 10**15) * factor if name in per_token else default

    base = nano("input", 0)
    low = {
        "input": base, "cache_read": nano("cache_read", base), "cache_write_5m": nano("cache_write_5m", base),
        "cache_write_1h": 2 * base, "output": nano("output", 0),
    }  # fmt: skip
    high = {f"{name}_high": nano(f"{name}_above_200k", value) for name, value in low.items()}
    return Rate(
        channel="", model="", priced_context="standard", valid_from_us=None, valid_to_us=None,
        tier_from_tokens=200_000 if "input_above_200k" in per_token else None, tier_inclusive=False,
        list_basis="channel", confidence=100, source="", source_version="", status="active", **low, **high,
        tool_input=0, tool_output=0, tool_input_high=0, tool_output_high=0, layer="price_list",
    )  # fmt: skip


def cost(case: Case, factor: int = 1) -> float:
    per_token = case.expected["pricing_per_token"]
    one = rate(per_token, factor)
    return (
        sum(
            price_nano(one, e.input, e.cache_read, e.cache_write - e.cache_write_1h, e.cache_write_1h, e.output)
            for e in case.events
        )
        / 1e9
    )


def listed(events: list[Event]) -> float:
    assert [event for event in events if event.nano is None] == []
    return sum(event.nano or 0 for event in events) / 1e9


def cost_usd(case: Case, wanted: float) -> None:
    if case.name.startswith("cursor-"):
        assert sum(reported(case)) == pytest.approx(wanted, abs=5e-3)
    elif "pricing_per_token" in case.expected:
        assert cost(case) == pytest.approx(wanted, abs=1e-9)
    else:
        assert listed(case.events) == pytest.approx(wanted, abs=case.expected.get("tolerance", 1e-9))


def cost_usd_each(case: Case, wanted: float) -> None:
    assert [listed([event]) for event in case.events] == [wanted] * len(case.events)


def cost_usd_by_model(case: Case, wanted: dict[str, float]) -> None:
    names = {event.model for event in case.events}
    assert {name: listed([e for e in case.events if e.model == name]) for name in names} == wanted


def cost_usd_gpt5(case: Case, wanted: float) -> None:
    assert listed(case.events) == pytest.approx(wanted, abs=1e-9)


def cost_usd_if_3_per_mtok(case: Case, wanted: float) -> None:
    case.expected["pricing_per_token"] = {"input": 3e-6, "input_above_200k": 6e-6}
    assert cost(case) == pytest.approx(wanted, abs=1e-9)


def cost_usd_recorded(case: Case, wanted: float) -> None:
    assert float(case.recorded) == pytest.approx(wanted, abs=1e-9)


def fast(case: Case) -> list[Event]:
    """The events of the case where its setting was made before them."""
    config = case.world.home_dir / ".codex" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    if not config.exists():
        config.write_text('service_tier = "fast"\n')
    os.utime(config, (0, 0))
    again = World(case.world.home_dir.parent / "fast", CODEX_HOME=str(config.parent))
    again.sync()
    return again.events()


def cost_usd_fast(case: Case, wanted: float) -> None:
    assert {event.context for event in fast(case)} == {"service_tier=priority"}
    assert {event.context for event in case.events} == {"standard"}  # they are older than the setting
    assert cost(case) == pytest.approx(case.expected["cost_usd_standard"], abs=1e-9)
    assert cost(case, case.expected["pricing_per_token"]["fast_multiplier"]) == pytest.approx(wanted, abs=1e-9)


def cost_usd_fast_gpt54(case: Case, wanted: float) -> None:
    found = [event for event in fast(case) if event.model == "gpt-5.4"]
    assert {event.context for event in found} == {"speed=fast"}
    assert listed(found) == pytest.approx(wanted, abs=1e-9)


# ------------------------------------------------------------------ real logs


def copied_prefix_rows(case: Case, wanted: int) -> None:
    # a repeated total among the copied rows keeps its own rule, so rows are counted by their place
    runs = [json.loads(runs) for (runs,) in case.world.query("SELECT lineage FROM streams")]
    assert max(end for one in runs for end, _, rule in one if rule is not None) == wanted


def token_rows(case: Case, wanted: dict[str, int]) -> None:
    rows = [count for (count,) in case.world.query("SELECT count(*) FROM records GROUP BY stream_no ORDER BY 1")]
    assert rows == sorted(wanted.values())


def sessions(case: Case, wanted: int) -> None:
    assert len({event.session for event in case.events}) == wanted


def token_count_rows_with_info(case: Case, wanted: int) -> None:
    assert case.world.query("SELECT count(*) FROM records") == [(wanted,)]


def repeat_snapshot_rows(case: Case, wanted: int) -> None:
    assert case.world.rules() == {"codex.repeated_total": wanted}


def per_file_final(case: Case, wanted: dict[str, list[int]]) -> None:
    found = {}
    for session in {event.session for event in case.events}:
        (path,) = {path for (path,) in case.world.query("SELECT path FROM sources") if session in path}
        one = summed([event for event in case.events if event.session == session])
        name = next(part for part in wanted if part in path)
        found[name] = [one["input"] + one["cache_read"], one["cache_read"], one["output"], one["reasoning"]]
    assert found == wanted


def peer_pinned(case: Case, wanted: dict[str, int]) -> None:
    (row,) = case.report(since="2026-02-23", until="2026-02-23").rows
    assert {
        "input": row.input_tokens + row.cache_read_tokens, "cached_input": row.cache_read_tokens,
        "output": row.output_tokens, "reasoning_output": row.reasoning_tokens, "total": row.total_tokens,
    } == wanted  # fmt: skip


def direct(case: Case) -> list[dict[str, Any]]:
    return [record for record in case.world.records() if not record["is_progress"]]


def rows_with_usage(case: Case, wanted: int) -> None:
    assert len(direct(case)) == wanted


def events_unique_message_request(case: Case, wanted: int) -> None:
    assert len({(record["message_id"], record["request_id"]) for record in direct(case)}) == wanted


def naive_sum(case: Case, wanted: dict[str, int]) -> None:
    assert {name: sum(record[f"{name}_tokens"] for record in direct(case)) for name in wanted} == wanted


def last_wins(case: Case, wanted: dict[str, int]) -> None:
    ids = {(record["message_id"], record["request_id"]) for record in direct(case)}
    winners = {rid for (rid,) in case.world.query("SELECT rid FROM events")}
    kept = [r for r in case.world.records() if r["rid"] in winners and (r["message_id"], r["request_id"]) in ids]
    found = {name: sum(record[f"{name}_tokens"] for record in kept) for name in LAST_WINS_BUCKETS}
    hour = sum(record["cache_write_1h_tokens"] for record in kept)
    assert {**found, "cache_write_1h": hour, "cache_write_5m": found["cache_write"] - hour} == wanted


def agent_progress(case: Case, wanted: dict[str, Any]) -> None:
    known = {record["message_id"] for record in direct(case)}
    progress = {r["message_id"]: r for r in case.world.records() if r["is_progress"]}
    only = [record for name, record in progress.items() if name not in known]
    assert len(progress) == wanted["unique_ids"]
    assert len(only) == wanted["only_in_progress"]
    names = wanted["only_tokens"]
    assert {name: sum(record[f"{name}_tokens"] for record in only) for name in names} == names


FIELDS = {
    "cost_usd_fast_gpt-5.4": cost_usd_fast_gpt54,
    "peer_pinned_2026-02-23_utc": peer_pinned,
    **{
        one.__name__: one
        for one in (
            events, totals, by_event, by_day, by_session, models, models_in_order, model_is_fallback, project, date,
            timestamp, filtered, files, per_file_events, cost_usd, cost_usd_each, cost_usd_by_model, cost_usd_gpt5,
            cost_usd_if_3_per_mtok, cost_usd_recorded, cost_usd_fast, copied_prefix_rows, token_rows, sessions,
            token_count_rows_with_info, repeat_snapshot_rows, per_file_final, rows_with_usage,
            events_unique_message_request, naive_sum, last_wins, agent_progress, totals_inclusive_input, normalised,
            by_model, totals_partial, by_provider, rows, exclusive_cache_write_row0, costs, csv_rows, session, mapping,
        )
    },
}  # fmt: skip


def expectations() -> list[Any]:
    """(case, field) of everything that can be compared."""
    found = []
    for name in NAMES:
        for field in json.loads((CASES / name / "expected.json").read_text())["expected"]:
            if field not in NOT_COMPARED:
                found.append(pytest.param(name, field, id=f"{name}-{field}"))
    return found


@pytest.mark.parametrize(("name", "field"), expectations())
def test_case(synced: Callable[[str], Case], name: str, field: str) -> None:
    case = synced(name)
    wanted = case.expected[field]
    if (name, field) in RULED:
        wanted = RULED[name, field][1]
    FIELDS[field](case, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_every_case_keeps_the_event_contract(synced: Callable[[str], Case], name: str) -> None:
    case = synced(name)
    records = case.world.query("SELECT count(*) FROM records")[0][0]

    assert case.summary.problems == []
    assert len({event.event_id for event in case.events}) == len(case.events)
    assert len(case.events) + len(case.world.duplicates()) == records
    for event in case.events:
        assert min(event.buckets) >= 0
        assert event.reasoning <= event.output
        assert event.cache_write_1h <= event.cache_write
