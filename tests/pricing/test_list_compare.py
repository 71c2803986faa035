"""Where two rate tables differ, and what only one of them has."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tokenledger_dagster.pricing.lists.compare import Disagreement, Missing, disagreements, missing
from tokenledger_dagster.pricing.rates import COLUMNS

DAY = date(2026, 11, 20)
UNITS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


def row(usd: str = "2 0.2 2.5 4 10", **cells: Any) -> list[str]:
    """A row of gpt-5.4 at OpenAI with these rates (USD per million tokens), `high` the ones above its tier."""
    made = dict.fromkeys(COLUMNS, "")
    made |= {"channel": "openai", "model": "gpt-5.4", "context": "standard", "status": "active", "source": "ours"}
    made |= {unit: nano(rate) for unit, rate in zip(UNITS, usd.split(), strict=True)}
    if high := cells.pop("high", None):
        made |= {f"{unit}_high": nano(rate) for unit, rate in zip(UNITS, high.split(), strict=True)}
    return list((made | {name: str(value) for name, value in cells.items()}).values())


def nano(usd: str) -> str:
    return str(int(Decimal(usd) * 10**9))


def found(ours: list[list[str]], theirs: list[list[str]], **options: Any) -> list[tuple[Any, ...]]:
    """Unit, ours, theirs, percent of each disagreement on the day."""
    return [
        (one.unit, str(one.ours_usd_per_mtok), str(one.theirs_usd_per_mtok), str(one.difference_percent))
        for one in disagreements(ours, theirs, options.pop("day", DAY), **options)
    ]


def test_a_disagreement_says_all_there_is_to_know() -> None:
    ours = [row("2 0.2 2.5 4 10", source="genai-prices")]
    theirs = [row("2 0.2 2.5 4 12.5", source="litellm")]

    assert disagreements(ours, theirs, DAY) == [
        Disagreement(
            channel="openai",
            model="gpt-5.4",
            context="standard",
            unit="output",
            ours_usd_per_mtok=Decimal(10),
            theirs_usd_per_mtok=Decimal("12.5"),
            difference_percent=Decimal("25.00"),
            ours_source="genai-prices",
            theirs_source="litellm",
            time_of_day=False,
        )
    ]


def test_every_unit_is_compared() -> None:
    assert found([row("2 0.2 2.5 4 10")], [row("3 0.1 5 8 20")]) == [
        ("cache_read", "0.2", "0.1", "-50.00"),
        ("cache_write_1h", "4", "8", "100.00"),
        ("cache_write_5m", "2.5", "5", "100.00"),
        ("input", "2", "3", "50.00"),
        ("output", "10", "20", "100.00"),
    ]


@pytest.mark.parametrize(
    ("theirs", "threshold", "expected"),
    [
        ("2 0.2 2.5 4 10.1", "0.01", []),
        ("2 0.2 2.5 4 9.9", "0.01", []),
        ("2 0.2 2.5 4 10.11", "0.01", [("output", "10", "10.11", "1.10")]),
        ("2 0.2 2.5 4 9.89", "0.01", [("output", "10", "9.89", "-1.10")]),
        ("2 0.2 2.5 4 10.11", "0.05", []),
        ("2 0.2 2.5 4 10.000000001", "0", [("output", "10", "10.000000001", "0.00")]),
    ],
)
def test_a_difference_has_to_exceed_a_share_of_ours(theirs: str, threshold: str, expected: list[Any]) -> None:
    assert found([row()], [row(theirs)], threshold=Decimal(threshold)) == expected


def test_percents_have_two_places() -> None:
    assert found([row("3 0.2 2.5 4 10")], [row("4 0.2 2.5 4 10")]) == [("input", "3", "4", "33.33")]


def test_nothing_has_no_percents() -> None:
    free = "0 0 0 0 0"

    assert found([row(free)], [row("2 0 0 0 0")]) == [("input", "0", "2", "None")]
    assert found([row("2 0 0 0 0")], [row(free)]) == [("input", "2", "0", "-100.00")]
    assert found([row(free)], [row(free)]) == []


# ------------------------------------------------------------------ tiers


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({}, {}, []),
        ({"tier_from_tokens": 272_000, "high": "4 1 1 1 1"}, {}, [("tier", "272000", "0", "-100.00")]),
        ({}, {"tier_from_tokens": 272_000, "high": "4 1 1 1 1"}, [("tier", "0", "272000", "None")]),
        (
            {"tier_from_tokens": 200_000, "high": "4 1 1 1 1"},
            {"tier_from_tokens": 272_000, "high": "4 1 1 1 2"},
            [("output_high", "1", "2", "100.00"), ("tier", "200000", "272000", "36.00")],
        ),
        # whether the threshold itself belongs to the tier is no difference
        (
            {"tier_from_tokens": 200_000, "tier_inclusive": "true", "high": "4 1 1 1 1"},
            {"tier_from_tokens": 200_000, "tier_inclusive": "false", "high": "4 1 1 1 1"},
            [],
        ),
    ],
)
def test_tiers_are_compared(ours: dict[str, Any], theirs: dict[str, Any], expected: list[Any]) -> None:
    assert found([row(**ours)], [row(**theirs)]) == expected


# ------------------------------------------------------------------ days


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 10, 18), [("input", "1", "3", "200.00")]),
        (date(2026, 10, 19), [("input", "2", "3", "50.00")]),
        (date(2026, 11, 19), [("input", "2", "3", "50.00")]),
        (date(2026, 11, 20), []),
    ],
)
def test_rows_hold_from_a_day_until_before_another(day: date, expected: list[Any]) -> None:
    ours = [
        row("1 1 1 1 1", valid_to_utc="2026-10-19"),
        row("2 1 1 1 1", valid_from_utc="2026-10-19", valid_to_utc="2026-11-20"),
        row("3 1 1 1 1", valid_from_utc="2026-11-20"),
    ]

    assert found(ours, [row("3 1 1 1 1")], day=day) == expected


def test_on_a_day_without_a_rate_there_is_nothing_to_compare() -> None:
    assert found([row(valid_from_utc="2026-11-21")], [row("9 9 9 9 9")]) == []
    assert found([row(valid_to_utc="2026-11-20")], [row("9 9 9 9 9")]) == []


def test_an_announced_rate_prices_nothing_yet() -> None:
    ours = [
        row("1 1 1 1 1", valid_to_utc="2026-12-01"),
        row("2 1 1 1 1", valid_from_utc="2026-12-01", status="scheduled"),
    ]

    assert found(ours, [row("2 1 1 1 1")], day=date(2026, 12, 2)) == [("input", "1", "2", "100.00")]


# ------------------------------------------------------------------ times of day


SLOTS = [
    row("1 1 1 1 2", tod_from="00:00", tod_to="10:00"),
    row("4 4 4 4 8", tod_from="10:00", tod_to="24:00"),
]


@pytest.mark.parametrize("theirs", ["1 1 1 1 2", "4 4 4 4 8"])
def test_one_slot_that_agrees_is_agreement(theirs: str) -> None:
    assert found(SLOTS, [row(theirs)]) == []
    assert found([row(theirs)], SLOTS) == []


def test_no_slot_agrees_where_each_differs_in_a_unit() -> None:
    differing = disagreements(SLOTS, [row("1 1 1 1 8")], DAY)

    assert [(one.unit, str(one.ours_usd_per_mtok), one.time_of_day) for one in differing] == [("output", "2", True)]


def test_the_nearest_slot_is_reported() -> None:
    assert [unit for unit, *_ in found(SLOTS, [row("5 4 4 4 9")])] == ["input", "output"]
    assert found(SLOTS, [row("5 5 5 5 9")])[0] == ("cache_read", "4", "5", "25.00")


def test_two_lists_of_slots_agree_in_a_common_one() -> None:
    theirs = [row("4 4 4 4 8", tod_from="00:00", tod_to="12:00"), row("9 9 9 9 9", tod_from="12:00", tod_to="24:00")]

    assert found(SLOTS, theirs) == []


# ------------------------------------------------------------------ what is compared


def test_only_the_same_channel_model_and_context_are_compared() -> None:
    theirs = [
        row("9 9 9 9 9", channel="azure"),
        row("9 9 9 9 9", model="gpt-5.5"),
        row("9 9 9 9 9", context="speed=fast"),
    ]

    assert found([row()], theirs) == []


def test_keys_narrow_the_comparison_and_order_does_not_matter() -> None:
    ours = [row("1 1 1 1 1", channel=channel, context=context) for channel in "ba" for context in ("y", "x")]
    theirs = [row("1 1 1 1 2", channel=channel, context=context) for channel in "ab" for context in ("x", "y")]

    places = [(one.channel, one.context) for one in disagreements(ours, theirs, DAY)]
    narrowed = [(one.channel, one.context) for one in disagreements(ours, theirs, DAY, keys={("b", "gpt-5.4")})]

    assert places == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert disagreements(ours[::-1], theirs[::-1], DAY) == disagreements(ours, theirs, DAY)
    assert narrowed == [("b", "x"), ("b", "y")]


def test_models_that_only_one_has() -> None:
    ours = [row(), row(context="speed=fast"), row(model="gpt-5.5"), row(channel="azure")]
    theirs = [row(), row(model="kimi-k3", channel="moonshotai")]

    assert missing(ours, theirs) == [
        Missing(channel="azure", model="gpt-5.4", only_in="ours"),
        Missing(channel="moonshotai", model="kimi-k3", only_in="theirs"),
        Missing(channel="openai", model="gpt-5.5", only_in="ours"),
    ]
    assert missing(ours, theirs, {("openai", "gpt-5.5"), ("openai", "nonesuch")}) == [
        Missing(channel="openai", model="gpt-5.5", only_in="ours")
    ]
    assert missing([], []) == []
