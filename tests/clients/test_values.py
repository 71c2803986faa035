from __future__ import annotations

import json
import math

import pytest

from tokenledger_dagster.clients import values
from tokenledger_dagster.contracts.record import Counters

MAX = 10_000_000_000


@pytest.mark.parametrize(
    ("logged", "tokens"),
    [(0, 0), (7, 7), (MAX, MAX), (None, 0), (3.0, 3), ("12", 12), (" 12 ", 12)],
)
def test_what_is_a_count_is_taken_without_a_flag(logged: object, tokens: int) -> None:
    flags: list[str] = []

    assert values.count(logged, flags.append) == tokens
    assert flags == []


@pytest.mark.parametrize(
    ("logged", "flag"),
    [
        (-1, "counter_negative"),
        ("-5", "counter_negative"),
        (-2.0, "counter_negative"),
        (MAX + 1, "counter_overflow"),
        (10**100, "counter_overflow"),
        (12.5, "counter_not_a_count"),
        (math.nan, "counter_not_a_count"),
        (math.inf, "counter_not_a_count"),
        (True, "counter_not_a_count"),
        ("many", "counter_not_a_count"),
        ("٣", "counter_not_a_count"),
        ({}, "counter_not_a_count"),
        ([5], "counter_not_a_count"),
    ],
)
def test_what_is_no_count_is_zero_and_flagged(logged: object, flag: str) -> None:
    flags: list[str] = []

    assert values.count(logged, flags.append) == 0
    assert flags == [flag]


def test_the_six_disjoint_counters_are_the_total() -> None:
    counters = Counters(1, 2, 4, 8, 16, 32, cache_write_1h_tokens=3, reasoning_tokens=2, web_search_requests=9)

    assert counters.total == 63


@pytest.mark.parametrize(
    "logged",
    [
        "2026-02-18T09:00:00Z",
        "2026-02-18T09:00:00.000Z",
        "2026-02-18T09:00:00+00:00",
        "2026-02-18T11:00:00+02:00",
        "2026-02-18T14:45:00+05:45",
        "2026-02-18T09:00:00",
        1_771_405_200,
        1_771_405_200.0,
        1_771_405_200_000,
        1_771_405_200_000_000,
        1_771_405_200_000_000_000,
        "1771405200",
        "1771405200000",
    ],
)
def test_one_instant_in_every_notation(logged: object) -> None:
    assert values.time_us(logged) == 1_771_405_200_000_000


def test_microseconds_are_kept() -> None:
    assert values.time_us("2026-02-18T09:00:00.123456Z") == 1_771_405_200_123_456


def test_digits_are_an_epoch_number_even_where_they_look_like_a_date() -> None:
    # 1760-10-23 in ISO's short notation, 2025-10-10 as milliseconds
    assert values.time_us("1760102312345") == values.time_us(1_760_102_312_345)


@pytest.mark.parametrize("logged", [None, "", "not-a-date", False, True, {}, [], -1, math.nan, math.inf, 1e30])
def test_what_is_no_time_is_none(logged: object) -> None:
    assert values.time_us(logged) is None


@pytest.mark.parametrize(
    ("timestamp_us", "flags"),
    [
        (0, ["timestamp_epoch"]),
        (1_771_405_200_000_000, []),
        (1_771_405_200_000_000 + 86_400_000_000, []),
        (1_771_405_200_000_000 + 86_400_000_001, ["timestamp_future"]),
    ],
)
def test_odd_times_are_flagged_against_the_clock(timestamp_us: int, flags: list[str]) -> None:
    found: list[str] = []
    values.flag_odd_time(timestamp_us, 1_771_405_200_000_000, found.append)

    assert found == flags


@pytest.mark.parametrize(
    ("logged", "text"),
    [("abc", "abc"), ("", None), (None, None), (5, None), ("a\x00b", "ab"), ("\ud83d", "?"), ("x" * 2000, "x" * 1024)],
)
def test_text_is_valid_utf8_without_nul_and_bounded(logged: object, text: str | None) -> None:
    assert values.text(logged) == text


@pytest.mark.parametrize(
    ("logged", "nano"),
    [(0.01449, 14_490_000), (1, 1_000_000_000), (0, None), (None, None), (-1, None), (True, None), ("1", None)],
)
def test_a_cost_of_zero_is_no_cost(logged: object, nano: int | None) -> None:
    assert values.cost_nano(logged) == nano


class TestSafeUsage:
    """The usage object is kept as evidence: numbers and enums, never text."""

    def test_a_usual_object_is_kept_byte_for_byte(self) -> None:
        usage = b'{"input_tokens": 4, "service_tier": "standard", "cache_creation": {"ephemeral_1h_input_tokens": 0}}'

        assert values.safe_usage(usage) == usage.decode()

    @pytest.mark.parametrize(
        ("usage", "kept"),
        [
            ({"input_tokens": 4, "note": "ada@example.org"}, {"input_tokens": 4}),
            ({"input_tokens": 4, "key": "sk-ant-api03-AAAA"}, {"input_tokens": 4}),
            ({"input_tokens": 4, "prompts": ["write a poem"]}, {"input_tokens": 4, "prompts": []}),
            ({"input_tokens": 4, "my own words": 1}, {"input_tokens": 4}),
            ({"input_tokens": 4, "deep": {"text": "hello", "n": 1}}, {"input_tokens": 4, "deep": {"n": 1}}),
            ({"speed": "as fast as you can, please"}, {}),
            ({"speed": "fast", "x": "y"}, {"speed": "fast"}),
            ({"input_tokens": 10**30}, {"input_tokens": None}),
        ],
    )
    def test_free_text_and_secrets_are_left_out(self, usage: object, kept: object) -> None:
        found = values.safe_usage(json.dumps(usage).encode())

        assert found is not None
        if found != json.dumps(usage):
            assert json.loads(found) == kept
        else:
            assert usage == kept or list(usage) == ["input_tokens"]  # type: ignore[call-overload]

    def test_numbers_json_does_not_know_become_null(self) -> None:
        assert values.safe_usage(b'{"output_tokens":NaN,"a":"b"}') == '{"output_tokens":null}'

    @pytest.mark.parametrize("usage", [b"", b"{oops", b"{" + b"[" * 5000])
    def test_what_cannot_be_read_is_not_kept(self, usage: bytes) -> None:
        assert values.safe_usage(usage) is None

    def test_an_enormous_object_is_not_kept(self) -> None:
        assert values.safe_usage(json.dumps({f"k{n}": n for n in range(5000)}).encode()) is None
