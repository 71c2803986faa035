"""Our list price of the compared models is the price list's own, in every context it knows, to the nano-USD."""

from __future__ import annotations

import csv
import os
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.events import Pricing, look_up, price_event
from tokenledger_dagster.pricing.rate_table import rate_table

_SHARED = os.environ.get("TOKENLEDGER_CONFORMANCE_DIR")
pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(_SHARED is None, reason="TOKENLEDGER_CONFORMANCE_DIR names no folder with the comparison"),
]
TABLE = Path(_SHARED or ".") / "pricing" / "price_compare_2026-11-20.csv"
CONTEXTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # what the price list calls it, what a log says
    "standard": ({}, {}),
    "batch": ({"processing": "batch"}, {"service_tier": "batch"}),
    "flex": ({"service_tier": "flex"}, {"service_tier": "flex"}),
    "priority": ({"service_tier": "priority"}, {"service_tier": "priority"}),
    "fast": ({"service_tier": "fast"}, {"service_tier": "fast"}),
}
SPEED_FAST = ({"speed": "fast"}, {"speed": "fast"})
SECONDS = (1_751_328_000, 1_795_219_199)
"""2025-07-01 to 2026-11-20; what was announced for later is not charged before its day."""
Counts = tuple[int, int, int, int, int]


def compared() -> list[dict[str, str]]:
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


PRICED = [(row["model"], row["genai_provider"]) for row in compared() if row["genai_input"]]
UNPRICED = [row["model"] for row in compared() if not row["genai_input"]]
VARIANTS = [
    (row["model"], row["genai_provider"], name)
    for row in compared()
    if row["genai_input"]
    for name in ("standard", *filter(None, row["genai_variants"].split("|")))
]


def context(provider: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
    # only OpenAI sells speed as a service tier
    return SPEED_FAST if name == "fast" and provider != "openai" else CONTEXTS[name]


def listed(model: str, provider: str, when: datetime, counts: Counts, asked: dict[str, str]) -> int:
    fresh, read, five, hour, output = counts
    usage = Usage(
        input_tokens=fresh + read + five + hour,
        cache_read_tokens=read,
        cache_write_tokens=five + hour,
        cache_write_1h_tokens=hour,
        output_tokens=output,
    )
    price = calc_price(
        usage, model, provider_id=provider, genai_request_timestamp=when, price_context=asked or None
    ).total_price
    return int((price * 10**9).to_integral_value(ROUND_HALF_EVEN))


def ours(model: str, when: datetime, counts: Counts, logged: dict[str, str]) -> Pricing:
    fresh, read, five, hour, output = counts
    return price_event(
        rate_table(),
        client="opencode",
        name=resolve_model(model, "opencode", f"{when:%Y-%m-%d}"),
        ts_us=int(when.timestamp()) * 1_000_000,
        message_id=None,
        speed=logged.get("speed"),
        service_tier=logged.get("service_tier"),
        input=fresh,
        cache_read=read,
        cache_write_5m=five,
        cache_write_1h=hour,
        output=output,
    )


def is_own_row(model: str, when: datetime, logged: dict[str, str]) -> bool:
    """Whether a fast mode is priced by a row of ours, with its own source, because the list has none on that day."""
    name = resolve_model(model, "opencode", f"{when:%Y-%m-%d}")
    found = look_up(rate_table(), client="opencode", name=name, message_id=None, **logged)  # type: ignore[arg-type]
    rate = found.rate(rate_table(), int(when.timestamp()) * 1_000_000)
    return rate is not None and rate.source != "genai-prices"


def check(model: str, provider: str, when: datetime, counts: Counts, name: str) -> None:
    asked, logged = context(provider, name)
    if is_own_row(model, when, logged):
        return
    found = ours(model, when, counts, logged)
    # Cursor lists its fast mode as a model of its own, we as a context of the model
    reference, asked = (f"{model}-fast", {}) if (provider, name) == ("cursor", "fast") else (model, asked)
    assert found.list_price_nano == listed(reference, provider, when, counts, asked)


def test_fifty_models_are_compared() -> None:
    assert (len(PRICED), UNPRICED) == (47, ["gpt-5.3-codex-spark", "qwen3.8-max", "swe-1.7"])


@pytest.mark.parametrize(("model", "provider", "name"), VARIANTS)
def test_every_variant_of_every_model_costs_what_the_list_says(model: str, provider: str, name: str) -> None:
    random = Random(f"{model} {name}")
    for _ in range(25):
        when = datetime.fromtimestamp(random.randint(*SECONDS), UTC)
        size = random.choice([0, 10, 5_000, 300_000])
        counts = tuple(random.randint(0, size) for _ in range(5))
        check(model, provider, when, counts, name)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(PRICED or [("", "")]),
    st.integers(*SECONDS),
    st.sampled_from(sorted(CONTEXTS)),
    st.tuples(*[st.one_of(st.just(0), st.integers(0, 600_000))] * 5),
)
def test_any_request_in_any_context_costs_what_the_list_says(
    model: tuple[str, str], second: int, name: str, counts: Any
) -> None:
    check(*model, datetime.fromtimestamp(second, UTC), counts, name)


@pytest.mark.parametrize("model", UNPRICED)
def test_what_the_list_does_not_know_has_no_price(model: str) -> None:
    found = ours(model, datetime(2026, 11, 20, 12, tzinfo=UTC), (100, 0, 0, 0, 10), {})
    assert (found.list_price_nano, found.reason) == (None, "no_rate")


@pytest.mark.parametrize(("model", "provider", "name"), [one for one in VARIANTS if one[2] == "standard"])
def test_the_table_of_that_day_is_ours(model: str, provider: str, name: str) -> None:
    row = next(row for row in compared() if row["model"] == model)
    when = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rate = look_up(
        rate_table(), client="opencode", name=resolve_model(model, "opencode", "2026-11-20"), message_id=None
    ).rate(rate_table(), int(when.timestamp()) * 1_000_000)
    assert rate is not None
    columns = ("genai_input", "genai_cache_read", "genai_cache_write_5m", "genai_cache_write_1h", "genai_output")
    for column, nano in zip(columns, rate.units(high=False), strict=True):
        if row[column]:
            assert Decimal(row[column]) * 10**9 == nano, column
