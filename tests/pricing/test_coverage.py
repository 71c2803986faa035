"""What of booked usage a rate table prices, what might be meant, and the patch that is made of it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tokenledger_dagster.contracts.reconcile import MissingModel, ModelSuggestion, UsageTotals
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.ingest.booked_usage import Usage
from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.book import parse_book
from tokenledger_dagster.pricing.context import booked_provider, channel_for, provider_for
from tokenledger_dagster.pricing.coverage import check_of, coverage, reported_costs
from tokenledger_dagster.pricing.patch import catalogue_rates, patch_of
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import COLUMNS

NOW = datetime(2026, 3, 9, 8, 30, tzinfo=UTC)
MONTH = "2026-03"
DAY = (date(2026, 3, 8) - date(1970, 1, 1)).days


def used(model: str | None, client: str = "claude-code", upstream: str | None = None, **more: Any) -> Usage:
    """One request of 330 tokens on 8 March 2026, and whatever is said otherwise."""
    name = resolve_model(model, client, "2026-03-08")
    channel = channel_for(client, name, None, upstream)
    found = {
        "model_no": 1,
        "client": client,
        "provider": provider_for(client, name, upstream),
        "biller": booked_provider(client, name, upstream, channel),
        "channel": channel,
        "model_raw": model,
        "name": name,
        "upstream": upstream,
        "requested_context": "standard",
        "day": DAY,
        "event_count": 1,
        "priceable_count": 1,
        "tokens": 330,
        "unpriced_count": 0,
        "unpriced_tokens": 0,
        "list_nano": 0,
        "reported_nano": 0,
        "reported_list_nano": 0,
        "reported_count": 0,
        "unpriced_reason": None,
    }
    return Usage(**{**found, **more})


def row(channel: str, model: str, usd: int = 3, context: str = "standard", **more: str) -> list[str]:
    """A rate row: input at so many USD per million tokens, output at five times as much."""
    units = dict.fromkeys(("input", "cache_read", "cache_write_5m", "cache_write_1h"), str(usd * 10**9))
    units["output"] = str(5 * usd * 10**9)
    about = {"source": "list", "source_version": "1", "status": "active", "confidence": "100"}
    cells = {**dict.fromkeys(COLUMNS, ""), "channel": channel, "model": model, "context": context, **units, **about}
    return list({**cells, **more}.values())


SONNET = row("anthropic", "claude-sonnet-4-5", own_channel="yes")
OPUS = row("anthropic", "claude-opus-4-5", 5, own_channel="yes")
LISTED = row("stepfun", "step-3", 1, source="litellm", source_version="0123456789ab@2026-03-01", confidence="80")


def table(*rows: list[str], book: dict[str, Any] | None = None, **lists: list[list[str]]) -> RateTable:
    document = None if book is None else parse_book(json.dumps(book).encode(), "pricing.json")
    return RateTable(rows, "snapshot", book=document, lists=lists)


def written(patch: dict[str, Any]) -> dict[str, Any]:
    """A patch as it stands in its file."""
    found: dict[str, Any] = json.loads(encode_json(patch))
    return found


# -------------------------------------------------------------------- what is missing


def test_usage_is_judged_by_the_given_table_and_not_by_stored_prices() -> None:
    usage = [used("claude-sonnet-4-5", unpriced_count=1), used("claude-opus-4-5", list_nano=7)]

    report = coverage(usage, table(SONNET), MONTH, zone="Europe/Berlin", pricing="/home/pricing.json", now=NOW)

    assert (report.priced_count, report.unpriced_count, report.unpriced_tokens) == (1, 1, 330)
    assert report.totals == UsageTotals(events=2, tokens=660)
    assert (report.generated_at, report.month, report.timezone) == ("2026-03-09T08:30:00Z", MONTH, "Europe/Berlin")
    assert report.pricing == "/home/pricing.json"


def test_missing_models_are_told_by_provider_with_every_name_and_day() -> None:
    usage = [
        used("acme-coder-9", priceable_count=2, event_count=3),
        used("Acme-Coder-9", day=DAY - 2, tokens=70),
        used("claude-sonnet-4-5"),
        used("auto"),
        used(None),
    ]

    report = coverage(usage, table(SONNET), MONTH, now=NOW)

    rows = report.missing_models_by_provider["claude"]
    assert [(one.model, one.reason, one.count, one.tokens) for one in rows] == [
        ("acme-coder-9", "unknown_model", 2, 330),
        ("auto", "low_confidence", 1, 330),
        ("unknown", "unknown_model", 1, 330),
        ("Acme-Coder-9", "unknown_model", 1, 70),
    ]
    assert rows[3].model_raw == ["Acme-Coder-9"]
    assert (rows[3].first_day, rows[3].last_day) == ("2026-03-06", "2026-03-06")
    assert rows[2].model_raw == []


def test_a_model_without_a_rate_is_one_row_over_all_its_days() -> None:
    usage = [used("claude-opus-4-5"), used("claude-opus-4-5-20251101", day=DAY - 7)]

    report = coverage(usage, table(SONNET), MONTH, now=NOW)

    assert report.missing_models_by_provider == {
        "claude": [
            MissingModel(
                model="claude-opus-4-5",
                model_raw=["claude-opus-4-5", "claude-opus-4-5-20251101"],
                count=2,
                tokens=660,
                reason="no_rate",
                first_day="2026-03-01",
                last_day="2026-03-08",
                context="standard",
                channel="anthropic",
            )
        ]
    }


def test_made_up_messages_and_requests_without_tokens_need_no_price() -> None:
    usage = [used("<synthetic>"), used("acme-coder-9", tokens=0, priceable_count=0)]

    report = coverage(usage, table(SONNET), MONTH, now=NOW)

    assert report.totals == UsageTotals(events=0, tokens=0)
    assert check_of(report).passed


def test_a_provider_is_missing_where_neither_book_nor_list_knows_it() -> None:
    usage = [used("step-3", "opencode", "stepfun"), used("acme-coder-9"), used("claude-sonnet-4-5", "droid")]

    assert coverage(usage, table(SONNET), MONTH, now=NOW).missing_providers == ["stepfun"]
    booked = table(SONNET, book={"providers": {"stepfun": {}}})
    assert coverage(usage, booked, MONTH, now=NOW).missing_providers == []
    aliased = table(SONNET, book={"providers": {"step": {}}, "provider_aliases": {"stepfun": "step"}})
    assert coverage(usage, aliased, MONTH, now=NOW).missing_providers == []


def test_a_free_variant_is_missing_although_the_paid_one_has_a_price() -> None:
    usage = [used("claude-sonnet-4-5", requested_context="variant=free"), used("claude-sonnet-4-5")]

    report = coverage(usage, table(SONNET), MONTH, now=NOW)

    assert check_of(report).details == ["claude:claude-sonnet-4-5 variant=free (events=1)"]
    assert written(patch_of(report, now=NOW))["providers"]["claude"]["models"]["claude-sonnet-4-5"] == {
        "contexts": {
            "variant=free": {
                **dict.fromkeys(UNITS),
                "source": None,
                "reason": "booked from 2026-03-08 to 2026-03-08 without a known rate",
            }
        }
    }


def test_an_entry_of_nulls_or_of_unmarked_zeros_prices_nothing() -> None:
    for rate in (None, 0, 0.0):
        entry = {"input_usd_per_mtok": rate, "output_usd_per_mtok": rate}
        tried = table(SONNET, book={"providers": {"claude": {"models": {"acme-coder-9": entry}}}})

        check = check_of(coverage([used("acme-coder-9")], tried, MONTH, now=NOW))

        assert (check.passed, check.unpriced_count) == (False, 1)
        assert check.details == ["claude:acme-coder-9 (events=1)"]


def test_a_book_prices_requests_of_a_provider_that_it_knows_by_another_name() -> None:
    models = {"acme-coder-9": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}}
    book = {"providers": {"anthropic": {"models": models}}, "provider_aliases": {"claude": "anthropic"}}

    assert coverage([used("acme-coder-9")], table(SONNET, book=book), MONTH, now=NOW).priced_count == 1


def test_a_zero_that_is_meant_is_a_price() -> None:
    entry = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0, "free": True}
    tried = table(SONNET, book={"providers": {"claude": {"models": {"acme-coder-9": entry}}}})

    assert check_of(coverage([used("acme-coder-9")], tried, MONTH, now=NOW)).passed


# -------------------------------------------------------------------- suggestions


@pytest.mark.parametrize(
    ("logged", "meant", "confidence", "why"),
    [
        ("claude-sonet-4-5", "claude-sonnet-4-5", 52, "spelled alike (96%), numbers agree"),
        (
            "claude-sonnet-4-5-turbo",
            "claude-sonnet-4-5",
            35,
            "begins with it; leaves out 'turbo', which may be another model at another price",
        ),
        ("my-claude-sonnet-4-5", "claude-sonnet-4-5", 40, "ends with it; leaves out 'my', which may be another price"),
    ],
)
def test_a_name_that_is_near_a_priced_one_is_suggested(logged: str, meant: str, confidence: int, why: str) -> None:
    report = coverage([used(logged)], table(SONNET, OPUS), MONTH, now=NOW)

    assert report.suggested_model_aliases_by_provider == {
        "claude": [ModelSuggestion(model=logged, alias_of=meant, confidence=confidence, why=why)]
    }


@pytest.mark.parametrize(
    "logged",
    [
        "acme-coder-9",
        "claude-sonnet-4-6-x",  # another number is another model
        "claude-sonnet-4-5-5-x",
        "claude-sonnet",  # never shortened
        "gpt-5-mini-x",  # of another maker
        "auto",
        "claude",
        "unknown",
    ],
)
def test_nothing_is_suggested_for_other_versions_routers_and_strangers(logged: str) -> None:
    report = coverage([used(logged)], table(SONNET, OPUS), MONTH, now=NOW)

    assert report.suggested_model_aliases_by_provider == {}


def test_a_known_model_without_a_rate_is_nothing_else() -> None:
    report = coverage([used("claude-opus-4-1")], table(SONNET, OPUS), MONTH, now=NOW)

    assert report.unpriced_count == 1
    assert report.suggested_model_aliases_by_provider == {}


def test_a_family_is_suggested_its_only_member_and_otherwise_nothing() -> None:
    newer = row("anthropic", "claude-opus-4-6", 6, own_channel="yes")

    def suggested(*models: str) -> list[tuple[str, int]]:
        usage = [used(model) for model in ("opus", *models)]
        report = coverage(usage, table(SONNET, OPUS, newer), MONTH, now=NOW)
        found = report.suggested_model_aliases_by_provider.get("claude", [])
        return [(one.alias_of, one.confidence) for one in found]

    assert suggested() == []
    assert suggested("claude-opus-4-5") == [("claude-opus-4-5", 35)]
    assert suggested("claude-opus-4-5", "claude-opus-4-6") == []


def test_two_names_that_are_equally_near_are_no_suggestion() -> None:
    usage = [used("claude-sonet-4-5")]
    other = row("anthropic", "claude-sonett-4-5")

    assert coverage(usage, table(SONNET, other), MONTH, now=NOW).suggested_model_aliases_by_provider == {}


def test_suggestions_price_nothing() -> None:
    report = coverage([used("claude-sonet-4-5")], table(SONNET), MONTH, now=NOW)

    assert (report.priced_count, report.unpriced_count) == (0, 1)
    assert all(one.confidence < 60 for one in report.suggested_model_aliases_by_provider["claude"])


@pytest.mark.parametrize(
    ("usage", "providers", "expected"),
    [
        (used("claude-opus-4-5"), ["anthropic"], {"claude": ("anthropic", 55)}),
        (used("gpt-5.4", "codex"), ["openai", "claude"], {"codex": ("openai", 55)}),
        (used("claude-opus-4-5"), ["claude", "anthropic"], {}),
        (used("acme-9", "opencode", "mistral-eu"), ["mistraleu"], {"mistral-eu": ("mistraleu", 47)}),
        (used("claude-opus-4-5", "opencode", "gateway"), ["claude"], {"gateway": ("claude", 20)}),
        (used("claude-opus-4-5", "droid"), ["claude"], {}),  # who serves a model is not who made it
        (used("acme-9", "opencode"), ["claude"], {}),
    ],
)
def test_a_provider_of_the_book_is_suggested_for_another_name_of_it(
    usage: Usage, providers: list[str], expected: dict[str, tuple[str, int]]
) -> None:
    tried = table(SONNET, book={"providers": {name: {} for name in providers}})

    found = coverage([usage], tried, MONTH, now=NOW).suggested_provider_aliases

    assert {name: (one.alias_of, one.confidence) for name, one in found.items()} == expected


# -------------------------------------------------------------------- the patch

UNITS = [
    f"{name}_usd_per_mtok" for name in ("input", "output", "cache_write", "cache_read", "tool_input", "tool_output")
]


def test_unknown_rates_are_null_in_the_shape_of_the_book() -> None:
    report = coverage([used("acme-coder-9"), used("claude-sonet-4-5")], table(SONNET), MONTH, now=NOW)

    patch = written(patch_of(report, now=NOW))

    nothing = {
        **dict.fromkeys(UNITS),
        "source": None,
        "reason": "booked from 2026-03-08 to 2026-03-08 without a known rate",
    }
    models = {"acme-coder-9": nothing, "claude-sonet-4-5": nothing}
    assert patch["providers"] == {"claude": {"model_aliases": {}, "models": models}}
    assert patch["provider_aliases"] == {}
    assert patch["meta"] == {"source": "tokenledger pricing reconcile", "updated_at": "2026-03-09T08:30:00Z"}
    assert [one["alias_of"] for one in patch["suggestions"]["model_aliases"]["claude"]] == ["claude-sonnet-4-5"]
    parse_book(encode_json(patch), "patch")


def test_spellings_that_a_book_does_not_tell_apart_are_one_entry_of_the_patch() -> None:
    usage = [used("acme-coder.9", day=DAY - 2), used("Acme-Coder-9")]

    patch = written(patch_of(coverage(usage, table(SONNET), MONTH, now=NOW), now=NOW))

    ((name, entry),) = patch["providers"]["claude"]["models"].items()
    assert name == "Acme-Coder-9"
    assert entry["reason"] == "booked from 2026-03-06 to 2026-03-08 without a known rate"


def test_accepted_suggestions_are_aliases_and_leave_no_entry_behind() -> None:
    tried = table(SONNET, book={"providers": {"anthropic": {}}})
    report = coverage([used("acme-coder-9"), used("claude-sonet-4-5")], tried, MONTH, now=NOW)

    patch = written(patch_of(report, accept_suggestions=True, now=NOW))

    assert patch["providers"]["claude"]["model_aliases"] == {"claude-sonet-4-5": "claude-sonnet-4-5"}
    assert list(patch["providers"]["claude"]["models"]) == ["acme-coder-9"]
    assert patch["provider_aliases"] == {"claude": "anthropic"}
    assert "suggestions" not in patch


def test_rates_of_an_imported_list_come_with_source_day_and_doubt() -> None:
    report = coverage([used("step-3", "opencode", "stepfun")], table(SONNET), MONTH, now=NOW)
    tiered = [*LISTED]
    tiered[COLUMNS.index("tier_from_tokens") : COLUMNS.index("own_channel")] = ["200000", "false", *["2500000000"] * 10]

    (supplied,) = catalogue_rates(report, table(SONNET, litellm=[tiered]))
    patch = written(patch_of(report, [supplied], now=NOW))

    assert patch["providers"]["stepfun"]["models"]["step-3"] == {
        "input_usd_per_mtok": 2.5,
        "output_usd_per_mtok": 2.5,
        "cache_write_usd_per_mtok": 2.5,
        "cache_write_1h_usd_per_mtok": 2.5,
        "cache_read_usd_per_mtok": 2.5,
        "tier": {
            "above_tokens": 200000,
            "input_usd_per_mtok": 2.5,
            "output_usd_per_mtok": 2.5,
            "cache_write_usd_per_mtok": 2.5,
            "cache_write_1h_usd_per_mtok": 2.5,
            "cache_read_usd_per_mtok": 2.5,
        },
        "source": "litellm 0123456789ab@2026-03-01",
        "checked": "2026-03-01",
        "observed_at": "2026-03-01",
        "confidence": 80,
        "reason": "the list's price on stepfun; the list has no dates, so its history is unknown",
    }


def test_the_price_of_another_channel_is_only_suggested() -> None:
    elsewhere = [[*LISTED], [*LISTED]]
    elsewhere[0][0], elsewhere[1][0] = "openrouter", "azure"
    tried = table(SONNET, litellm=elsewhere)
    report = coverage([used("step-3", "opencode", "stepfun")], tried, MONTH, now=NOW)

    supplied = catalogue_rates(report, tried)
    patch, accepted = (
        written(patch_of(report, supplied, accept_suggestions=accept, now=NOW)) for accept in (False, True)
    )

    assert patch["providers"]["stepfun"]["models"]["step-3"]["input_usd_per_mtok"] is None
    assert [one["input_usd_per_mtok"] for one in patch["suggestions"]["rates"]] == [1]
    assert accepted["providers"]["stepfun"]["models"]["step-3"]["input_usd_per_mtok"] == 1


def test_channels_that_do_not_agree_suggest_no_price() -> None:
    elsewhere = [[*LISTED], row("azure", "step-3", 2)]
    elsewhere[0][0] = "openrouter"
    tried = table(SONNET, litellm=elsewhere)
    report = coverage([used("step-3", "opencode", "stepfun")], tried, MONTH, now=NOW)

    assert catalogue_rates(report, tried) == []


# -------------------------------------------------------------------- reported costs


def test_reported_and_booked_cost_are_compared_where_both_are_known() -> None:
    costs = {"reported_nano": 2_000_000_000, "reported_list_nano": 2_100_000_000, "reported_count": 4}
    usage = [
        used("claude-sonnet-4-5", "opencode", **costs),
        used("claude-opus-4-5", "opencode", **{**costs, "reported_list_nano": 1_000_000_000}),
        used("claude-opus-4-5", "opencode", **costs, unpriced_count=1),
        used("claude-opus-4-5"),
    ]

    rows = reported_costs(usage)

    assert [(one.model, str(one.difference_percent), one.event_count) for one in rows] == [
        ("claude-opus-4-5", "-50.00", 4),
        ("claude-sonnet-4-5", "5.00", 4),
    ]
    assert (rows[1].client, str(rows[1].reported_usd), str(rows[1].computed_usd)) == (
        "opencode",
        "2.000000000",
        "2.100000000",
    )
