"""What a month's figures suggest: each rule on a ledger small enough to work its saving out by hand.

USD per million tokens (input, output, 5-minute write, 1-hour write, read): sonnet 4.5 3, 15, 3.75, 6, 0.30, twice that
(output 22.50) above 200,000 prompt tokens; haiku 4.5 1, 5, 1.25, 2, 0.10; opus 4.5 5, 25, 6.25, 10, 0.50; gpt-5.1-codex
1.25, 10, read 0.125, twice that as priority.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support import Row, World, at, claude, meta, rollout, tokens, turn
from tokenledger_dagster.contracts.suggestions import Suggestion, SuggestionsDocument
from tokenledger_dagster.exports.suggestions import keep_suggestions
from tokenledger_dagster.usage.suggestion_rules import Rule, SuggestionRulesError, load_rules

NOW = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)
OPUS, HAIKU = "claude-opus-4-5-20251101", "claude-haiku-4-5-20251001"
PLANS = """
schema_version: 1
subscriptions:
  - {name: max, plan: anthropic/max-20x, from: 2026-01-01, to: 2026-05-01}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def usd(text: str) -> Decimal:
    return Decimal(text)


def rules(rule: str, **thresholds: Any) -> dict[str, Rule]:
    """One rule alone; thresholds are those of the file unless given."""
    found = load_rules()[rule]
    changed = {**found.thresholds, **{name: Decimal(str(value)) for name, value in thresholds.items()}}
    return {rule: msgspec.structs.replace(found, thresholds=changed)}


def document(world: World, wanted: dict[str, Rule] | None = None, month: str = "2026-02") -> SuggestionsDocument:
    """Logs are read anew only where there are new ones."""
    world.sync()
    with duckdb.connect() as con:
        found = keep_suggestions(world.ledger, con, "UTC", month, now=NOW, rules=wanted)
    assert found is not None
    return found


def suggestions(world: World, wanted: dict[str, Rule] | None = None, month: str = "2026-02") -> list[Suggestion]:
    return document(world, wanted, month).suggestions


def figures(one: Suggestion) -> dict[str, Decimal]:
    return {each.name: each.value for each in one.evidence.figures}


def sessions(world: World, prefix: str, count: int, *usages: dict[str, Any], **same: Any) -> None:
    """As many equal sessions, one request a minute."""
    for number in range(count):
        name = f"{prefix}{number}"
        rows = [
            claude(f"{name}-m{place}", f"{name}-r{place}", minutes=place, session=name, **same, **usage)
            for place, usage in enumerate(usages)
        ]
        world.claude(*rows, name=f"{name}.jsonl")


def hours(usage: dict[str, int]) -> Row:
    """A usage object with 1-hour writes."""
    return {
        "input_tokens": usage.get("input", 0),
        "output_tokens": usage.get("output", 0),
        "cache_read_input_tokens": usage.get("read", 0),
        "cache_creation_input_tokens": usage["write_1h"],
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": usage["write_1h"]},
    }


# -------------------------------------------------------------------- cache reuse

START = {"input": 50_000, "output": 0}
GOOD = {"input": 1_000, "output": 0, "read": 9_000}
POOR = {"input": 8_000, "output": 0, "read": 2_000}
REUSE = {"minimum_session_requests": 3, "minimum_saving_usd": 0, "minimum_saving_share": 0, "minimum_requests": 1}


def test_sessions_below_the_median_would_save_its_reads(world: World) -> None:
    sessions(world, "good", 4, START, GOOD, GOOD)
    sessions(world, "poor", 1, START, POOR, POOR)

    (one,) = suggestions(world, rules("cache_reuse", **REUSE))

    # the median reads 90 %: of 20,000 prompt tokens behind the first request 18,000 instead of 4,000; each of the
    # 14,000 costs 0.30 instead of 3
    assert one.estimated_saving_usd == usd("0.0378")
    assert (one.scope.client, one.scope.model) == ("claude-code", "claude-sonnet-4-5")
    assert (one.evidence.requests, one.evidence.sessions, one.evidence.session_ids) == (2, 1, ["poor0"])
    found = figures(one)
    assert (found["read_share"], found["median_read_share"], found["compared_sessions"]) == tuple(
        map(Decimal, ("0.2", "0.9", "5"))
    )
    assert (found["paid_usd"], found["other_list_price_usd"]) == (usd("0.0492"), usd("0.0114"))


def test_reads_take_the_place_of_input_before_that_of_writes(world: World) -> None:
    sessions(world, "good", 4, START, GOOD, GOOD)
    sessions(world, "poor", 1, START, {"input": 1_000, "output": 0, "write": 9_000}, GOOD)

    (one,) = suggestions(world, rules("cache_reuse", **REUSE))

    # 18,000 reads instead of 9,000; the second request takes 9,000 * 10,000 / 11,000, the third the rest of the parts:
    # 8,181 (1,000 of input, 7,181 of writes) and 818 of input
    saved = 1_000 * usd("2.7") + 7_181 * usd("3.45") + 818 * usd("2.7")
    assert one.estimated_saving_usd == saved / 1_000_000


@pytest.mark.slow
def test_few_sessions_a_small_gap_or_small_sums_suggest_no_reuse(world: World) -> None:
    sessions(world, "good", 4, START, GOOD, GOOD)
    sessions(world, "poor", 1, START, POOR, POOR)

    def found(**thresholds: Any) -> int:
        return len(suggestions(world, rules("cache_reuse", **{**REUSE, **thresholds})))

    # each threshold at the figure itself, and just beyond it
    assert (found(minimum_sessions=5), found(minimum_sessions=6)) == (1, 0)
    assert (found(minimum_session_requests=3), found(minimum_session_requests=4)) == (1, 0)
    assert (found(gap_share="0.699999"), found(gap_share="0.7")) == (1, 0)
    assert (found(minimum_session_prompt_tokens=20_000), found(minimum_session_prompt_tokens=20_001)) == (1, 0)
    assert (found(minimum_requests=2), found(minimum_requests=3)) == (1, 0)
    assert (found(minimum_saving_usd="0.0378"), found(minimum_saving_usd="0.037800001")) == (1, 0)
    # 0.0378 of 0.0492
    assert (found(minimum_saving_share="0.768"), found(minimum_saving_share="0.769")) == (1, 0)


def test_what_a_plan_carries_saves_nothing(world: World) -> None:
    world.ledger.plans_path.write_text(PLANS, encoding="utf-8")
    sessions(world, "good", 4, START, GOOD, GOOD)
    sessions(world, "poor", 1, START, POOR, POOR)

    assert suggestions(world, rules("cache_reuse", **REUSE)) == []


def test_a_discount_discounts_the_saving(world: World) -> None:
    world.ledger.plans_path.write_text("schema_version: 1\nproviders:\n  claude: {discount: 0.5}\n", encoding="utf-8")
    sessions(world, "good", 4, START, GOOD, GOOD)
    sessions(world, "poor", 1, START, POOR, POOR)

    (one,) = suggestions(world, rules("cache_reuse", **REUSE))
    assert one.estimated_saving_usd == usd("0.0189")


# -------------------------------------------------------------------- model routing

SHORT = {"input": 1_000, "output": 100}
LONG = {"input": 70_000, "output": 100}
ROUTING = {"minimum_model_requests": 3, "minimum_requests": 1, "minimum_saving_usd": 0}


def test_short_sessions_are_priced_at_a_cheaper_model_of_the_same_maker(world: World) -> None:
    sessions(world, "haiku", 3, SHORT, model=HAIKU)
    sessions(world, "opus", 2, SHORT, SHORT, model=OPUS)
    sessions(world, "long", 1, SHORT, LONG, model=OPUS)

    (one,) = suggestions(world, rules("model_routing", **ROUTING))

    # four requests of 1,000 in and 100 out: 0.0075 each on opus, 0.0015 on haiku
    assert one.estimated_saving_usd == usd("0.024")
    assert one.id == "model_routing:claude-code:claude:claude-opus-4-5:anthropic:claude-haiku-4-5"
    assert one.evidence.session_ids == ["opus0", "opus1"]
    assert "not of quality" in one.text


def test_the_cheapest_of_several_models_is_named(world: World) -> None:
    sessions(world, "haiku", 3, SHORT, model=HAIKU)
    sessions(world, "sonnet", 3, SHORT)
    sessions(world, "opus", 2, SHORT, SHORT, model=OPUS)

    found = {one.scope.model: one for one in suggestions(world, rules("model_routing", **ROUTING))}

    assert found.keys() == {"claude-opus-4-5", "claude-sonnet-4-5"}
    assert found["claude-opus-4-5"].id.endswith("claude-haiku-4-5")


def test_what_is_longer_rare_or_hardly_cheaper_is_not_routed(world: World) -> None:
    sessions(world, "haiku", 3, SHORT, model=HAIKU)
    sessions(world, "opus", 1, SHORT, SHORT, model=OPUS)
    sessions(world, "prompt", 1, {"input": 1_001, "output": 100}, model=OPUS)
    sessions(world, "answer", 1, {"input": 1_000, "output": 101}, model=OPUS)

    def found(**thresholds: Any) -> list[list[str]]:
        listed = suggestions(world, rules("model_routing", **{**ROUTING, **thresholds}))
        return [one.evidence.session_ids for one in listed]

    assert found() == [["opus0"]]
    assert (found(minimum_saving_share="0.8"), found(minimum_saving_share="0.81")) == ([["opus0"]], [])
    assert (found(maximum_prompt_tokens=1_000), found(maximum_prompt_tokens=999)) == ([["opus0"]], [])
    assert (found(maximum_output_tokens=100), found(maximum_output_tokens=99)) == ([["opus0"]], [])
    assert found(minimum_model_requests=4) == []


def test_another_makers_model_is_no_place_to_go(world: World) -> None:
    fast(world, 3)
    sessions(world, "opus", 1, SHORT, SHORT, model=OPUS)

    assert suggestions(world, rules("model_routing", **ROUTING)) == []


# -------------------------------------------------------------------- speed and tier, long context

ANY = {"minimum_requests": 1, "minimum_saving_usd": 0, "minimum_saving_share": 0}


def fast(world: World, count: int = 1, session: str = "t1", tier: str = "priority") -> None:
    rows = [tokens((n * 1_000, 0, n * 100), (1_000, 0, 100), minutes=n) for n in range(1, count + 1)]
    world.codex(meta(session), turn("gpt-5.4", service_tier=tier), *rows, name=rollout(session))


def test_what_speed_added_is_the_price_above_standard(world: World) -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 100}
    world.claude(
        claude("m1", "r1", usage={**usage, "speed": "fast"}, model="claude-opus-4-6"),
        claude("m2", "r2", usage=usage, model="claude-opus-4-6"),
        claude("m3", "r3", usage={**usage, "service_tier": "standard"}, model="claude-opus-4-6"),
        claude("m4", "r4", usage={**usage, "service_tier": "batch"}),
    )

    (one,) = suggestions(world, rules("premium_speed", **ANY))

    # six times 0.0075
    assert (one.estimated_saving_usd, one.evidence.requests) == (usd("0.0375"), 1)
    assert one.id == "premium_speed:claude-code:claude:claude-opus-4-6:speed=fast"


def test_what_the_tier_above_a_threshold_added(world: World) -> None:
    world.claude(
        claude("m1", "r1", input=200_000, output=1_000),
        claude("m2", "r2", input=200_001, output=1_000, minutes=1),
    )
    (one,) = suggestions(world, rules("long_context", **ANY))

    # 200,001 * (6 - 3) + 1,000 * (22.50 - 15) per million
    assert (one.estimated_saving_usd, one.evidence.requests) == (usd("0.607503"), 1)


# -------------------------------------------------------------------- one-hour writes


def written(world: World, *rows: tuple[float, int, int]) -> None:
    """A session of (minute, 1-hour writes, reads)."""
    world.claude(
        *(
            claude(f"m{n}", f"r{n}", minutes=minute, usage=hours({"write_1h": write, "read": read}))
            for n, (minute, write, read) in enumerate(rows)
        )
    )


def test_one_hour_writes_that_nothing_read_for_an_hour(world: World) -> None:
    written(world, (0, 10_000, 0), (61, 20_000, 5_000), (100, 0, 20_000))

    (one,) = suggestions(world, rules("one_hour_writes", **ANY))

    # the first write is read by nothing before 60 minutes have passed: 10,000 * (6 - 3.75) per million
    assert (one.estimated_saving_usd, one.evidence.requests) == (usd("0.0225"), 1)
    found = figures(one)
    assert found["unread_write_tokens"] == 10_000
    assert found["one_hour_write_tokens"] == 30_000
    assert found["late_read_tokens"] == 20_000


def test_a_read_within_the_hour_is_one_in_the_next_month_too(world: World) -> None:
    written(world, (0, 10_000, 0), (60, 0, 5_000))
    minute = 10 * 24 * 60 + 14.5 * 60  # 28 February, 23:30
    row = claude("m7", "r7", minutes=minute, session="s7", usage=hours({"write_1h": 10_000}))
    read = claude("m8", "r8", minutes=minute + 45, session="s7", read=5_000)
    world.claude(row, read, name="s7.jsonl")
    world.claude(claude("m9", "r9", session="s9", write=10_000), name="s9.jsonl")  # for five minutes

    assert suggestions(world, rules("one_hour_writes", **ANY)) == []


def test_an_hour_of_today_is_not_judged(world: World) -> None:
    written(world, (0, 10_000, 0))
    world.sync()
    for day, expected in ((18, 0), (19, 1)):
        with duckdb.connect() as con:
            now = datetime(2026, 2, day, 23, 59, tzinfo=UTC)
            found = keep_suggestions(world.ledger, con, "UTC", now=now, rules=rules("one_hour_writes", **ANY))
        assert found is not None
        assert len(found.suggestions) == expected


# -------------------------------------------------------------------- what is counted


def test_usage_without_a_price_points_to_reconciling(world: World) -> None:
    world.claude(
        claude(input=40, output=10, model="house-model-7"),
        claude("m2", "r2"),
        claude("m3", "r3", input=0, output=0, model="house-model-8"),
    )

    (one,) = suggestions(world, rules("unpriced_usage"))

    assert (one.estimated_saving_usd, one.severity) == (None, "warning")
    assert figures(one)["unpriced_tokens"] == 50
    assert "tokenledger pricing reconcile" in one.text
    assert suggestions(world, rules("unpriced_usage", minimum_unpriced_tokens=51)) == []


def test_a_large_share_of_tool_tokens_is_told_without_a_saving(world: World) -> None:
    def told(number: int, tool: int) -> Row:
        counters = {"input": 600, "output": 0, "cached": 0, "thoughts": 0, "tool": tool}
        names = {"id": f"0a1b2c3d-0000-4000-8000-{number:012d}", "type": "gemini", "model": "gemini-2.5-pro"}
        return {**names, "timestamp": at(number), "content": "done", "tokens": counters}

    header = {"sessionId": "g1", "projectHash": "kelp", "startTime": at(), "lastUpdated": at(), "kind": "main"}
    path = world.home_dir / ".gemini" / "tmp" / "kelp" / "chats" / "session-2026-02-18T09-00-aaaa0001.jsonl"
    world.write(path, header, told(1, 400), told(2, 0))
    lowest = {"minimum_requests": 1, "minimum_total_tokens": 1_600, "minimum_tool_share": "0.25"}

    (one,) = suggestions(world, rules("tool_share", **lowest))

    # 400 of 1,600 tokens, $1.25 a million
    assert (one.estimated_saving_usd, figures(one)["tool_share"]) == (None, usd("0.25"))
    assert figures(one)["difference_usd"] == usd("0.0005")
    for threshold, beyond in (
        ("minimum_requests", 2),
        ("minimum_total_tokens", 1_601),
        ("minimum_tool_share", "0.251"),
    ):
        assert suggestions(world, rules("tool_share", **{**lowest, threshold: beyond})) == []


def test_a_plan_that_only_the_log_knows_is_asked_for(world: World) -> None:
    head = (
        "Date,Kind,Model,Max Mode,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,Output Tokens,"
        "Total Tokens,Cost"
    )
    export = world.home_dir / "usage-events.csv"
    kinds = (("Included", 0), ("On-Demand", 1))
    rows = [
        f'"{at(minute)}","{kind}","claude-4.5-sonnet","No","0","1000","0","100","1100","0.01"' for kind, minute in kinds
    ]
    export.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    world.sources = (("cursor", str(export)),)

    (one,) = suggestions(world, rules("undeclared_plan"))

    assert (one.scope.client, one.evidence.requests, one.estimated_saving_usd) == ("cursor", 1, None)
    # 1,000 in and 100 out
    assert figures(one)["counted_usd"] == usd("0.0045")
    world.ledger.plans_path.write_text(PLANS.replace("anthropic/max-20x", "cursor/pro"), encoding="utf-8")
    assert suggestions(world, rules("undeclared_plan")) == []


# -------------------------------------------------------------------- plans


def plan(world: World, text: str = PLANS, *, input: int = 10) -> None:
    world.ledger.plans_path.write_text(text, encoding="utf-8")
    for month in (1, 2, 3):
        row = claude(f"m{month}", f"r{month}", input=input, output=0, timestamp=f"2026-0{month}-10T09:00:00Z")
        world.claude(row, name=f"plan{month}.jsonl")


def test_a_plan_that_carries_next_to_nothing_is_named(world: World) -> None:
    plan(world, input=1_000_000 // 6)
    (one,) = suggestions(world, rules("idle_subscription"))
    # 166,666 at 3 per million
    assert one.estimated_saving_usd == 200 - usd("0.499998")
    assert (one.scope.subscription, one.scope.client) == ("max", None)
    assert one.evidence.table == "subscriptions"
    assert one.evidence.keys == ["max/2026-01-01", "max/2026-02-01"]


def test_a_plan_is_judged_once_while_it_is_paid_for(world: World) -> None:
    plan(world)
    world.claude(claude("m7", "r7", timestamp="2026-05-10T09:00:00Z"), name="later.jsonl")
    both = {**rules("idle_subscription"), **rules("plan_below_list")}

    # its first period alone proves nothing; from May on there is no plan any more
    found = {month: suggestions(world, both, f"2026-{month}") for month in ("01", "02", "04", "05")}
    assert {month: [one.rule for one in listed] for month, listed in found.items()} == {
        "01": [],
        "02": ["idle_subscription"],
        "04": ["idle_subscription"],
        "05": [],
    }
    assert [one.rule for one in suggestions(world, rules("plan_below_list"))] == ["plan_below_list"]


def test_a_plan_that_carries_far_more_than_its_fee(world: World) -> None:
    text = PLANS.replace("plan: anthropic/max-20x", "provider: claude, fees: [{period: 2026-01-01, amount: 0.10}]")
    plan(world, text, input=200_000)

    (one,) = suggestions(world, rules("plan_above_list"))
    assert (one.estimated_saving_usd, figures(one)["list_price_usd"]) == (None, usd("0.6"))
    assert suggestions(world, rules("plan_below_list")) == []
    assert suggestions(world, rules("plan_above_list", minimum_leverage="6.1")) == []


def test_a_plan_with_usage_that_has_no_price_is_not_called_too_dear(world: World) -> None:
    plan(world)
    world.claude(claude("mx", "rx", model="house-model-7"), name="house.jsonl")
    assert suggestions(world, rules("idle_subscription")) == []


# -------------------------------------------------------------------- all together


def test_requests_that_two_rules_speak_of_are_counted_once(world: World) -> None:
    written(world, (0, 250_000, 0))
    both = {**rules("long_context", **ANY), **rules("one_hour_writes", **ANY)}

    found = document(world, both)

    # 12 instead of 6, or 7.50, per million of 250,000
    assert {one.rule: one.estimated_saving_usd for one in found.suggestions} == {
        "long_context": usd("1.5"),
        "one_hour_writes": usd("1.125"),
    }
    assert found.estimated_saving_usd == usd("1.5")
    first, second = found.suggestions
    assert (first.overlaps_with, second.overlaps_with) == ([second.id], [first.id])


def test_a_rule_that_is_off_says_nothing(world: World) -> None:
    world.claude(claude(model="house-model-7"))
    off = {"unpriced_usage": msgspec.structs.replace(load_rules()["unpriced_usage"], enabled=False)}
    found = document(world, off)
    assert (found.suggestions, [one.enabled for one in found.rules]) == ([], [False])


def _everything() -> dict[str, Rule]:
    names = ("cache_reuse", "model_routing", "premium_speed", "long_context", "one_hour_writes")
    lowest = {
        "cache_reuse": {
            **REUSE,
            "minimum_sessions": 2,
            "minimum_session_requests": 2,
            "minimum_session_prompt_tokens": 1,
        },
        "model_routing": {**ROUTING, "minimum_model_requests": 1, "minimum_saving_share": 0},
    }
    return {name: rules(name, **lowest.get(name, ANY))[name] for name in names}


_REQUEST = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from([OPUS, HAIKU, "claude-sonnet-4-5-20250929"]),
    st.integers(0, 300_000),
    st.integers(0, 50_000),
    st.integers(0, 50_000),
    st.integers(1, 5_000),
    st.integers(0, 120),
)


def test_other_usage_and_the_order_of_logs_change_no_saving(world: World, tmp_path: Path) -> None:
    sessions(world, "good", 4, START, GOOD, GOOD)
    sessions(world, "poor", 1, START, POOR, POOR)
    written(world, (0, 250_000, 0), (61, 20_000, 5_000))
    first = suggestions(world, _everything())

    other = World(tmp_path / "other")
    fast(other, 4)
    written(other, (0, 250_000, 0), (61, 20_000, 5_000))
    other.sync()
    sessions(other, "poor", 1, START, POOR, POOR)
    sessions(other, "good", 4, START, GOOD, GOOD)

    assert {one.rule for one in first} == {"cache_reuse", "long_context", "one_hour_writes"}
    assert first == [one for one in suggestions(other, _everything()) if one.scope.client == "claude-code"]


@pytest.mark.slow
@given(requests=st.lists(_REQUEST, min_size=2, max_size=12), order=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_savings_are_bounded_and_depend_on_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[Any, ...]], order: Any
) -> None:
    rows = []
    for number, (session, model, input_, read, write, output, minute) in enumerate(requests):
        usage = {**hours({"write_1h": write, "read": read, "input": input_, "output": output})}
        rows.append(claude(f"m{number}", f"r{number}", session=session, model=model, minutes=minute, usage=usage))

    def of(listed: list[Row], more: bool) -> SuggestionsDocument:
        world = World(tmp_path_factory.mktemp("world"))
        for row in listed:
            path = world.claude_path(f"{row['sessionId']}.jsonl")
            path.parent.mkdir(parents=True, exist_ok=True)
            world.append(path, row)
        if more:
            fast(world, 4)
        return document(world, _everything())

    first = of(rows, more=False)
    shuffled = [*rows]
    order.shuffle(shuffled)
    second = of(shuffled, more=True)

    for one in first.suggestions:
        assert one.estimated_saving_usd is not None
        assert 0 < one.estimated_saving_usd <= figures(one)["paid_usd"]
    assert first.estimated_saving_usd <= sum((one.estimated_saving_usd or 0 for one in first.suggestions), Decimal(0))
    assert first.suggestions == [one for one in second.suggestions if one.scope.client == "claude-code"]


def test_a_text_with_a_figure_that_is_not_there_is_refused(world: World) -> None:
    world.claude(claude(model="house-model-7"))
    other = {"unpriced_usage": msgspec.structs.replace(load_rules()["unpriced_usage"], text="{tide} tokens")}
    with pytest.raises(SuggestionRulesError, match=r"there is no figure 'tide'; use one of .*unpriced_tokens"):
        suggestions(world, other)
