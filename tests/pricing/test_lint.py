"""What lint says of a pricing book: the smallest book that has each fault, what a clean one is, and hostile bytes."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.contracts.pricing_lint import LintReport
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.pricing.book import BookError, parse_book
from tokenledger_dagster.pricing.lint import lint
from tokenledger_dagster.pricing.lint_rows import CONTEXTS
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import COLUMNS, UNIT_COLUMNS

TODAY = date(2026, 11, 21)
EXAMPLE = Path(__file__).parents[2] / "config" / "pricing.example.json"


def listed(channel: str, model: str, context: str = "standard", **cells: str) -> list[str]:
    """A row of a price list: 4 USD input, 20 output, 5 and 8 for cache writes, 0.2 for reads."""
    usd = {"input": 4, "output": 20, "cache_write_5m": 5, "cache_write_1h": 8, "cache_read": 0.2}
    row = dict.fromkeys(COLUMNS, "") | {unit: str(int(rate * 10**9)) for unit, rate in usd.items()}
    row |= {"channel": channel, "model": model, "context": context, "own_channel": "yes", "source": "a list"}
    return list((row | {"source_version": "7", "status": "active", "confidence": "100"} | cells).values())


HIGH = {f"{unit}_high": "8000000000" for unit in UNIT_COLUMNS}
PRICE_LIST = RateTable(
    [
        listed("anthropic", "claude-opus-5-5"),
        listed("anthropic", "claude-opus-5-5", "speed=fast", input="8000000000"),
        listed("anthropic", "claude-sonnet-4-5", tier_from_tokens="200000", tier_inclusive="false", **HIGH),
        listed("deepseek", "deepseek-v4-pro", tod_from="00:00", tod_to="12:00"),
        listed("deepseek", "deepseek-v4-pro", tod_from="12:00", tod_to="24:00", input="2000000000"),
    ],
    "x",
)
RATES: dict[str, Any] = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 15}
META = {"source": "a page", "updated_at": "2026-11-21T00:00:00Z"}


def book(*, models: object = ..., provider: str = "claude", **members: Any) -> dict[str, Any]:
    """A clean book of one model, but for what is given."""
    entry = {"models": {"claude-opus-5": RATES} if models is ... else models}
    return {"meta": META, "providers": {provider: entry}} | members


def model(**members: Any) -> dict[str, Any]:
    return book(models={"claude-opus-5": RATES | members})


def entry(**members: Any) -> dict[str, Any]:
    return book(providers={"claude": {"models": {"claude-opus-5": RATES}} | members})


def reported(content: bytes | dict[str, Any], today: date = TODAY) -> LintReport:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lint(raw, "pricing.json", today=today, price_list=PRICE_LIST)


def told(content: bytes | dict[str, Any], today: date = TODAY) -> list[tuple[str, str, str]]:
    """Rule, severity and place of every finding, the place below the one model without the way there."""
    at = re.compile(r"^providers\.claude\.models\.claude-opus-5(?=\.|$)")
    return [(one.rule, one.severity, at.sub("@", one.place)) for one in reported(content, today).findings]


# a clean book


def test_a_clean_book_has_no_finding() -> None:
    report = lint(json.dumps(book()).encode(), "pricing.json", today=TODAY, price_list=PRICE_LIST)
    assert (report.passed, report.error_count, report.warning_count, report.findings) == (True, 0, 0, [])


def test_a_book_that_says_everything_it_can_has_no_finding() -> None:
    everything = {
        "$schema": "pricing.schema.json",
        "_note": "mine",
        "x-owner": {"anything": [1, 2]},
        "currency": "USD",
        "schema_version": 1,
        "meta": META | {"version": "7"},
        "provider_aliases": {"anthropic": "claude"},
        "providers": {
            "claude": {
                "subscription_usd_month": 0,
                "model_aliases": {"our-opus": "claude-opus-5-5", "our-other-opus": "our-opus"},
                "models": {
                    "claude-opus-5-5": {
                        "input_usd_per_mtok": 4,
                        "output_usd_per_mtok": 20,
                        "cache_write_usd_per_mtok": 5,
                        "cache_write_1h_usd_per_mtok": 8,
                        "cache_read_usd_per_mtok": 0.2,
                        "tool_input_usd_per_mtok": 4,
                        "tool_output_usd_per_mtok": None,
                        "valid_from": "2026-06-01",
                        "tier": {"above_tokens": 200_000, "inclusive": True, "input_usd_per_mtok": 4},
                        "source": "a page",
                        "checked": "2026-11-20",
                        "observed_at": "2026-11-20",
                        "confidence": 90,
                        "status": "active",
                        "contexts": {"speed=fast": RATES, "service_tier=flex;endpoint=global;variant=free": RATES},
                        "rates": [
                            RATES | {"id": "a", "valid_to": "2026-06-01"},
                            RATES | {"id": "b", "valid_to": "2026-06-01", "supersedes": "a", "reason": "a slip"},
                        ],
                    },
                    "free-model": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0, "free": True},
                    "<synthetic>": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0},
                    "by-the-hour": {
                        "rates": [
                            RATES | {"tod_from": "00:00", "tod_to": "08:30"},
                            RATES | {"tod_from": "08:30", "tod_to": "24:00"},
                        ]
                    },
                },
            }
        },
    }
    assert told(everything) == []


def test_the_shipped_example_passes_and_only_announces() -> None:
    table = RateTable.load(EXAMPLE.parent / "rates.csv")
    report = lint(EXAMPLE.read_bytes(), "example", today=TODAY, price_list=table)
    assert report.passed
    assert {one.rule for one in report.findings} == {"scheduled_in_future", "differs_from_price_list"}
    # a book is there to correct a list: these two rates are a reseller's
    differing = {
        ".".join(one.place.split(".")[1:4]) for one in report.findings if one.rule == "differs_from_price_list"
    }
    assert differing == {"deepseek.models.deepseek-v3", "moonshotai.models.kimi-k2"}


# one fault each

FAULTS: list[tuple[str, dict[str, Any], str, str, str]] = [
    # rule, book, severity, place, words of the message
    ("wrong_type", book(providers=[]), "error", "providers", "is a list, not an object"),
    ("wrong_type", model(confidence=True), "error", "@.confidence", "is true or false, not a whole number"),
    ("wrong_type", model(confidence=90.0), "error", "@.confidence", "is a number, not a whole number"),
    ("wrong_type", model(status="old"), "error", "@.status", "is old, not active or scheduled"),
    ("wrong_type", model(rates=[7]), "error", "@.rates[0]", "is a number, not an object"),
    ("wrong_type", model(input_usd_per_mtok={}), "error", "@.input_usd_per_mtok", "not a number of USD"),
    ("wrong_type", model(free="yes"), "error", "@.free", "is text, not true or false"),
    ("wrong_type", model(context=None), "error", "@.context", "is null, not text"),
    ("wrong_type", book(schema_version=0), "error", "schema_version", "write 1"),
    ("schema_version_newer", book(schema_version=2), "error", "schema_version", "update TokenLedger"),
    ("missing_rate", model(output_usd_per_mtok=None), "warning", "@.output_usd_per_mtok", "does not price it"),
    ("missing_rate", model(tier={"above_tokens": 9}), "warning", "@.tier", "changes nothing"),
    ("negative_rate", model(input_usd_per_mtok=-3), "error", "@.input_usd_per_mtok", "-3 is below 0"),
    ("nan_rate", model(input_usd_per_mtok="three"), "error", "@.input_usd_per_mtok", "three is no number"),
    ("nan_rate", model(output_usd_per_mtok="Infinity"), "error", "@.output_usd_per_mtok", "no number"),
    ("number_as_text", model(input_usd_per_mtok="3"), "warning", "@.input_usd_per_mtok", "without quotation marks"),
    ("zero_rate_without_free", model(cache_read_usd_per_mtok=0), "error", "@.cache_read_usd_per_mtok", "free: true"),
    (
        "zero_rate_without_free",
        model(tier={"above_tokens": 9, "input_usd_per_mtok": 4, "tool_input_usd_per_mtok": 0.0}),
        "error",
        "@.tier.tool_input_usd_per_mtok",
        "null where",
    ),
    ("placeholder", model(input_usd_per_mtok="TODO"), "error", "@.input_usd_per_mtok", "TODO is a placeholder"),
    ("placeholder", model(source="<where>"), "error", "@.source", "<where> is a placeholder"),
    ("placeholder", model(source="x"), "error", "@.source", "placeholder"),
    (
        "placeholder",
        entry(model_aliases={"our-opus": "changeme"}),
        "error",
        "providers.claude.model_aliases.our-opus",
        "placeholder",
    ),
    ("placeholder", book(provider_aliases={"tbd": "claude"}), "error", "provider_aliases.tbd", "placeholder"),
    (
        "alias_cycle",
        entry(model_aliases={"a": "b", "b": "c", "c": "b"}),
        "error",
        "providers.claude.model_aliases.b",
        "b -> c -> b is a circle",
    ),
    (
        "alias_cycle",
        entry(model_aliases={"My.One": "other", "Other": "my-one"}),
        "error",
        "providers.claude.model_aliases.My.One",
        "My.One -> other -> My.One is a circle",
    ),
    ("alias_cycle", book(provider_aliases={"a": "a"}), "error", "provider_aliases.a", "leads back to itself"),
    (
        "provider_alias_chain",
        book(provider_aliases={"anthropic": "claude", "other": "anthropic"}),
        "error",
        "provider_aliases.other",
        "leads to another alias, anthropic",
    ),
    (
        "alias_unknown_target",
        entry(model_aliases={"our-opus": "claude-opus-99"}),
        "error",
        "providers.claude.model_aliases.our-opus",
        "claude-opus-99 is no model",
    ),
    (
        "alias_unknown_target",
        entry(model_aliases={"Our.Opus": "our-opus"}),
        "error",
        "providers.claude.model_aliases.Our.Opus",
        "our-opus is no model",
    ),
    ("provider_alias_unknown_target", book(provider_aliases={"a": "b"}), "error", "provider_aliases.a", "no provider"),
    (
        "overlapping_interval",
        model(rates=[RATES | {"valid_from": "2026-01-01"}]),
        "error",
        "@.rates[0]",
        "holds at the same time as providers.claude.models.claude-opus-5;",
    ),
    (
        "interval_reversed",
        model(valid_from="2026-02-01", valid_to="2026-02-01"),
        "error",
        "@.valid_to",
        "the end is the first day without it",
    ),
    ("bad_date", model(valid_from="2026-02-30"), "error", "@.valid_from", "2026-02-30 is no day"),
    ("bad_date", model(checked="20260201"), "error", "@.checked", "write it as 2026-02-18"),
    ("bad_date", book(meta=META | {"updated_at": "2026-11-21"}), "error", "meta.updated_at", "is no time in UTC"),
    ("bad_time_of_day", model(tod_from="13:15", tod_to="24:00"), "error", "@.tod_from", "on the half hour"),
    ("bad_time_of_day", model(tod_from="13:30"), "error", "@.tod_to", "both or none"),
    ("bad_time_of_day", model(tod_from="22:00", tod_to="06:00"), "error", "@.tod_to", "write two rows"),
    (
        "tier_not_above_base",
        model(tier={"above_tokens": 9, "input_usd_per_mtok": 6, "output_usd_per_mtok": 14}),
        "error",
        "@.tier.output_usd_per_mtok",
        "14 above the threshold is less than 15 below it",
    ),
    (
        "tier_bad_threshold",
        model(tier={"above_tokens": 0, "input_usd_per_mtok": 6}),
        "error",
        "@.tier.above_tokens",
        "0 is no prompt size",
    ),
    (
        "unknown_context",
        model(contexts={"service_tier=Priority": RATES}),
        "error",
        "@.contexts.service_tier=Priority",
        "did you mean service_tier=priority?",
    ),
    ("unknown_context", model(context="speed=fats"), "error", "@.context", "did you mean speed=fast?"),
    (
        "unknown_context",
        model(contexts={"variant=free;speed=fast": RATES}),
        "error",
        "@.contexts.variant=free;speed=fast",
        "no request has",
    ),
    ("supersedes_unknown", model(supersedes="gone"), "error", "@.supersedes", "no row has the id gone"),
    (
        "supersedes_circle",
        model(id="a", supersedes="a"),
        "error",
        "@.supersedes",
        "rows that supersede each other price nothing",
    ),
    (
        "supersedes_other_model",
        book(models={"claude-opus-5": RATES | {"id": "a"}, "claude-opus-4-8": RATES | {"supersedes": "a"}}),
        "error",
        "providers.claude.models.claude-opus-4-8.supersedes",
        "another model or context",
    ),
    (
        "duplicate_id",
        model(id="a", contexts={"speed=fast": RATES | {"id": "a"}}),
        "error",
        "@.contexts.speed=fast.id",
        "a is the id of providers.claude.models.claude-opus-5 too",
    ),
    ("confidence_out_of_range", model(confidence=101), "error", "@.confidence", "from 0 to 100"),
    ("currency_not_usd", model(input_eur_per_mtok=3), "error", "@.input_eur_per_mtok", "is in USD"),
    ("currency_not_usd", book(currency="EUR"), "error", "currency", "is in USD"),
    (
        "currency_not_usd",
        entry(subscription_gbp_month=3),
        "error",
        "providers.claude.subscription_gbp_month",
        "is in USD",
    ),
    (
        "negative_subscription",
        entry(subscription_usd_month=-20),
        "error",
        "providers.claude.subscription_usd_month",
        "no monthly fee",
    ),
    (
        "unit_slip",
        entry(subscription_usd_month=20_000_000),
        "error",
        "providers.claude.subscription_usd_month",
        "cannot be USD a month",
    ),
    ("unit_slip", model(output_usd_per_mtok=3_000_000), "error", "@.output_usd_per_mtok", "cannot be USD per million"),
    ("unit_slip", model(output_usd_per_mtok=1000.5), "warning", "@.output_usd_per_mtok", "is unusual"),
    ("unit_slip", model(cache_read_usd_per_mtok=0.0009), "warning", "@.cache_read_usd_per_mtok", "is unusual"),
    ("unknown_key", model(imput_usd_per_mtok=3), "warning", "@.imput_usd_per_mtok", "did you mean input_usd_per_mtok?"),
    ("unknown_key", book(owner="me"), "warning", "owner", "begin it with x-"),
    ("output_below_input", model(output_usd_per_mtok=2), "warning", "@.output_usd_per_mtok", "(2 against 3)"),
    ("read_above_input", model(cache_read_usd_per_mtok=4), "warning", "@.cache_read_usd_per_mtok", "(4 against 3)"),
    (
        "hour_write_below_five_minute_write",
        model(cache_write_usd_per_mtok=6, cache_write_1h_usd_per_mtok=3.75),
        "warning",
        "@.cache_write_1h_usd_per_mtok",
        "(3.75 against 6)",
    ),
    (
        "alias_shadows_model",
        entry(model_aliases={"claude-opus-5": "claude-opus-5-5"}),
        "warning",
        "providers.claude.model_aliases.claude-opus-5",
        "which the alias does not change; remove it",
    ),
    (
        "alias_shadows_model",
        entry(model_aliases={"claude-opus-5-5": "claude-opus-5"}),
        "warning",
        "providers.claude.model_aliases.claude-opus-5-5",
        "which the alias replaces; remove it unless that is meant",
    ),
    (
        "gap_in_intervals",
        model(valid_from="2026-03-01", rates=[RATES | {"valid_to": "2026-02-01"}]),
        "warning",
        "@.valid_from",
        "from 2026-02-01 until 2026-03-01 no row holds",
    ),
    (
        "gap_in_intervals",
        model(tod_from="00:00", tod_to="12:00", rates=[RATES | {"tod_from": "13:00", "tod_to": "24:00"}]),
        "warning",
        "@.tod_from",
        "from 12:00 until 13:00 UTC no row holds",
    ),
    (
        "gap_in_intervals",
        model(valid_from="2026-02-01", supersedes="a", rates=[RATES | {"id": "a"}]),
        "warning",
        "@.valid_from",
        "from the beginning until 2026-02-01 no row holds",
    ),
    (
        "gap_in_intervals",
        model(valid_to="2026-02-01", supersedes="a", rates=[RATES | {"id": "a"}]),
        "warning",
        "@.valid_to",
        "from 2026-02-01 on no row holds",
    ),
    (
        "scheduled_past_its_date",
        model(status="scheduled", valid_from="2026-11-21"),
        "warning",
        "@.valid_from",
        "check whether it came true, then make it active",
    ),
    (
        "scheduled_past_its_date",
        model(valid_from="2026-11-21") | {"meta": META | {"updated_at": "2026-11-20T00:00:00Z"}},
        "warning",
        "@.valid_from",
        "then renew meta.updated_at",
    ),
    ("scheduled_in_future", model(valid_from="2026-12-01"), "warning", "@.valid_from", "prices nothing yet"),
    ("scheduled_without_date", model(status="scheduled"), "warning", "@.status", "add valid_from"),
    (
        "duplicate_model",
        book(models={"claude-opus-5": {"rates": []} | RATES, "Claude Opus 5": {"contexts": {"speed=fast": RATES}}}),
        "warning",
        "providers.claude.models.Claude Opus 5",
        "is another spelling of claude-opus-5",
    ),
    (
        "model_never_asked",
        book(models={"claude-opus-5-fast": RATES}),
        "warning",
        "providers.claude.models.claude-opus-5-fast",
        "looked up as claude-opus-5, so nothing is priced by this entry; write the rates there, under contexts.speed",
    ),
    (
        "provider_never_asked",
        book(provider="anthropic"),
        "warning",
        "providers.anthropic",
        "books these requests under claude",
    ),
    (
        "provider_alias_shadows_provider",
        book(
            provider_aliases={"codex": "claude"},
            providers={"claude": {"models": {"claude-opus-5": RATES}}, "codex": {}},
        ),
        "warning",
        "provider_aliases.codex",
        "remove one of them",
    ),
    (
        "missing_meta_source",
        book(meta={"updated_at": "2026-11-21T00:00:00Z"}),
        "warning",
        "meta.source",
        "name the page",
    ),
    ("missing_meta_updated_at", book(meta={"source": "a page"}), "warning", "meta.updated_at", "somebody last looked"),
    ("no_models", book(models={}), "warning", "providers", "prices nothing"),
]


@pytest.mark.parametrize(("rule", "content", "severity", "place", "words"), FAULTS)
def test_a_fault_is_one_finding(rule: str, content: dict[str, Any], severity: str, place: str, words: str) -> None:
    assert told(content) == [(rule, severity, place)]
    (finding,) = reported(content).findings
    assert words in finding.message


def test_a_name_that_the_list_prices_is_known_and_so_is_one_of_the_catalogue() -> None:
    assert told(entry(model_aliases={"a": "deepseek-v4-pro", "b": "gpt-5-mini", "c": "<synthetic>"})) == []


def test_another_spelling_of_the_alias_target_shadows_nothing() -> None:
    assert told(entry(model_aliases={"Claude Opus 5": "claude-opus-5", "claude-opus-5.5": "claude-opus-5-5"})) == []


def test_what_a_row_costs_that_nobody_uses_any_more_is_not_judged() -> None:
    slip = {"input_usd_per_mtok": 3000, "output_usd_per_mtok": 0, "id": "a", "valid_from": "2026-01-01"}
    assert told(model(rates=[slip], supersedes="a")) == []
    assert told(model(rates=[slip | {"valid_to": "2025-01-01"}], supersedes="a")) == [
        ("interval_reversed", "error", "@.rates[0].valid_to")
    ]


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_context_that_a_request_can_have_is_known(context: str) -> None:
    assert told(book(models={"claude-opus-5": {"contexts": {context: RATES}}})) == []


# beside the price list


def opus(**rates: Any) -> dict[str, Any]:
    units = {"input_usd_per_mtok": 4, "output_usd_per_mtok": 20} | rates
    return book(models={"claude-opus-5-5": units})


OPUS = "providers.claude.models.claude-opus-5-5"


@pytest.mark.parametrize("rate", [4000, 4700, 0.004, 0.0000039])
def test_a_rate_that_is_off_by_thousands_is_an_error(rate: float) -> None:
    (finding,) = [one for one in reported(opus(input_usd_per_mtok=rate)).findings if one.severity == "error"]
    assert (finding.rule, finding.place) == ("unit_slip", f"{OPUS}.input_usd_per_mtok")
    assert finding.expected == "4"


def test_a_slip_is_said_in_words() -> None:
    (finding,) = reported(opus(cache_read_usd_per_mtok=0.0002)).findings
    assert finding.message == (
        "0.0002 is about 1/1,000 of the price list's 0.2 (claude-opus-5-5 on anthropic, a list 7); write USD per "
        "million tokens"
    )


def test_a_slip_is_seen_in_other_contexts_and_in_tiers_and_where_the_provider_has_no_list() -> None:
    fast = {"input_usd_per_mtok": 0.008, "output_usd_per_mtok": 40}
    assert told(opus(contexts={"speed=fast": fast})) == [
        ("unit_slip", "error", f"{OPUS}.contexts.speed=fast.input_usd_per_mtok")
    ]
    tier = {"above_tokens": 200_000, "input_usd_per_mtok": 8000}
    sonnet = {"claude-sonnet-4-5": {"input_usd_per_mtok": 4, "output_usd_per_mtok": 20, "tier": tier}}
    assert told(book(models=sonnet)) == [
        ("unit_slip", "error", "providers.claude.models.claude-sonnet-4-5.tier.input_usd_per_mtok")
    ]
    rates = {"input_usd_per_mtok": 0.004, "output_usd_per_mtok": 9}
    assert told(book(models={"claude-opus-5-5": rates}, provider="droid")) == [
        ("unit_slip", "error", "providers.droid.models.claude-opus-5-5.input_usd_per_mtok")
    ]


def test_a_rate_that_differs_by_more_than_a_percent_is_named_with_the_lists() -> None:
    (finding,) = reported(opus(input_usd_per_mtok=5, output_usd_per_mtok=20.2)).findings
    assert (finding.rule, finding.severity, finding.place) == (
        "differs_from_price_list",
        "warning",
        f"{OPUS}.input_usd_per_mtok",
    )
    assert (finding.actual, finding.expected) == ("5", "4")


@pytest.mark.parametrize(
    "row",
    [
        {"valid_to": "2026-11-21"},
        {"valid_from": "2026-11-22", "status": "active"},
        {"context": "processing=batch"},
    ],
)
def test_only_todays_standard_rate_is_compared(row: dict[str, Any]) -> None:
    assert "differs_from_price_list" not in [one[0] for one in told(opus(input_usd_per_mtok=5, **row))]


def test_a_provider_without_a_list_of_its_own_may_ask_what_it_likes() -> None:
    assert told(book(models={"claude-opus-5-5": RATES}, provider="droid")) == []


def test_a_rate_that_the_list_has_at_some_time_of_day_does_not_differ() -> None:
    rates = {"input_usd_per_mtok": 2, "output_usd_per_mtok": 20}
    assert told(book(models={"deepseek-v4-pro": rates}, provider="deepseek")) == []
    assert [one[0] for one in told(book(models={"deepseek-v4-pro": RATES}, provider="deepseek"))] == [
        "differs_from_price_list",
        "differs_from_price_list",
    ]


def test_a_provider_by_another_name_is_compared_with_its_list() -> None:
    content = book(models={"claude-opus-5-5": RATES}, provider="own", provider_aliases={"claude": "own"})
    assert [one[0] for one in told(content)] == ["differs_from_price_list", "differs_from_price_list"]


# the report


def test_findings_are_in_order_and_counted() -> None:
    content = model(input_usd_per_mtok=-1, confidence=200, checked="no") | {"owner": 1}
    report = lint(
        json.dumps(content).encode(), "p", today=TODAY, price_list=PRICE_LIST, now=datetime(2026, 11, 21, 9, tzinfo=UTC)
    )
    at = "providers.claude.models.claude-opus-5"
    assert [one.place for one in report.findings] == [
        "owner",
        f"{at}.checked",
        f"{at}.confidence",
        f"{at}.input_usd_per_mtok",
    ]
    assert (report.passed, report.error_count, report.warning_count) == (False, 3, 1)
    assert (report.pricing, report.generated_at, report.schema_version) == ("p", "2026-11-21T09:00:00Z", 1)


def test_everything_is_said_at_once() -> None:
    content = {
        "providers": {"claude": {"models": {"claude-opus-5": {"rates": [3, RATES | {"valid_to": "x"}]}, "m": 5}}}
    }
    assert told(content) == [
        ("missing_meta_source", "warning", "meta.source"),
        ("missing_meta_updated_at", "warning", "meta.updated_at"),
        ("wrong_type", "error", "@.rates[0]"),
        ("bad_date", "error", "@.rates[1].valid_to"),
        ("wrong_type", "error", "providers.claude.models.m"),
    ]


# hostile bytes

ONE_FINDING = [
    (b"", "not_json", "is no JSON"),
    (b"{", "not_json", "line 1 column 2"),
    (b"\xff\xfe{\x00}\x00", "not_json", "is not UTF-8 at byte 0"),
    (b'{"meta": "\xc3"}', "not_json", "is not UTF-8 at byte 10"),
    (b'{"a": 1} {}', "not_json", "Extra data"),
    (b"[]", "wrong_type", "is a list, not an object"),
    (b"NaN", "wrong_type", "is a number, not an object"),
    (b"null", "wrong_type", "is null, not an object"),
    (b"[" * 200_000, "not_json", "nested too deep"),
    (b'{"a":' * 100_000, "not_json", "nested too deep"),
]


@pytest.mark.parametrize(("content", "rule", "words"), ONE_FINDING, ids=range(len(ONE_FINDING)))
def test_what_is_no_book_at_all_is_one_finding(content: bytes, rule: str, words: str) -> None:
    (finding,) = reported(content).findings
    assert (finding.rule, finding.severity, finding.place) == (rule, "error", "document")
    assert words in finding.message


def raw(text: str) -> bytes:
    """The clean book with its input rate in other words."""
    return json.dumps(book()).replace('"input_usd_per_mtok": 3', text).encode()


@pytest.mark.parametrize(
    ("content", "findings"),
    [
        (raw('"input_usd_per_mtok": NaN'), [("nan_rate", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": -Infinity'), [("nan_rate", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": 1e99999999999999999999'), [("nan_rate", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": 1e400'), [("unit_slip", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": -1e999999'), [("negative_rate", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": ' + "9" * 5000), [("unit_slip", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": 3e-999999'), [("unit_slip", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": 3, "input_usd_per_mtok": 3'), [("duplicate_key", "error", "@.input_usd_per_mtok")]),
        (raw('"input_usd_per_mtok": 3, "x-note": [NaN]'), [("nan_rate", "error", "@.x-note[0]")]),
        (raw('"input_usd_per_mtok": 3, "x-note": {"a": 1, "a": 2}'), [("duplicate_key", "error", "@.x-note.a")]),
        (raw('"input_usd_per_mtok": 3, "source": "\\ud800"'), [("not_json", "error", "@.source")]),
        (raw('"input_usd_per_mtok": 3, "x-\\udfff": 1'), [("not_json", "error", "@.x-\ufffd")]),
        (b"\xef\xbb\xbf" + raw('"input_usd_per_mtok": 3.0'), []),
    ],
)
def test_what_json_can_hide(content: bytes, findings: list[tuple[str, str, str]]) -> None:
    assert told(content) == findings


def test_a_report_never_steers_a_terminal_and_fits_a_line() -> None:
    content = model(source="<\x1b[31m" + "y" * 5000 + ">") | {"\x1b]0;\n": 1}
    report = reported(content)
    assert {one.rule for one in report.findings} == {"placeholder", "unknown_key"}
    assert all(one.message.isprintable() and len(one.message) < 300 for one in report.findings)
    assert all(one.place.isprintable() for one in report.findings)


# properties

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["2026-01-01", "2026-11-22", "13:30", "a", "b", "claude", "speed=fast", "NaN", "scheduled", "-1"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
RICH: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
RICH["providers"] = {name: RICH["providers"][name] for name in ("claude", "google")}


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, item in inner for path in paths(item, (*at, key)))]


PLACES = paths(RICH)
KEYS = sorted({key for path in PLACES for key in path if isinstance(key, str)})


def judged(content: bytes) -> None:
    """Lint never raises; what it lets pass is loaded, and what cannot be loaded it has an error for."""
    report = lint(content, "p", today=TODAY, price_list=PRICE_LIST)
    encode_json(report)
    assert report.passed == (report.error_count == 0)
    assert all(one.message.isprintable() and one.place for one in report.findings)
    assert "refused" not in [one.rule for one in report.findings], report.findings
    try:
        parse_book(content, "p")
    except BookError:
        assert report.error_count
    else:
        assert [one.rule for one in report.findings] == [one.rule for one in reported(content).findings]


@settings(max_examples=150)
@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_a_traceback(content: bytes) -> None:
    judged(content)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_value_in_any_place_makes_a_traceback_and_whatever_passes_is_loaded(data: st.DataObject) -> None:
    document = copy.deepcopy(RICH)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(PLACES[1:]))
        parent: Any = document
        try:
            for key in path[:-1]:
                parent = parent[key]
            if data.draw(st.booleans()):
                parent[path[-1]] = copy.deepcopy(data.draw(VALUES | st.sampled_from([[RATES], {"a": RATES}, RATES])))
            else:
                parent[data.draw(st.sampled_from(KEYS))] = data.draw(VALUES)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    judged(json.dumps(document).encode())
