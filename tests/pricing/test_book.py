"""The user's pricing book: its names, its rows, and what requests cost with it. Prices can be checked on paper."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.models.names import resolve_model
from tokenledger_dagster.pricing.book import (
    Book,
    BookError,
    parse_book,
    parse_document,
    read_bytes,
)
from tokenledger_dagster.pricing.book_problems import alias_cycle
from tokenledger_dagster.pricing.book_rows import book_rows, canonical
from tokenledger_dagster.pricing.events import Pricing, price_event
from tokenledger_dagster.pricing.rate_table import RateTable
from tokenledger_dagster.pricing.rates import BOOK_COLUMNS, COLUMNS

EXAMPLE = Path(__file__).parents[2] / "config" / "pricing.example.json"
RATES: dict[str, Any] = {"input_usd_per_mtok": 3, "output_usd_per_mtok": 15}
MTOK = 1_000_000
USD = 1_000_000_000


def listed(channel: str, model: str, context: str = "standard", usd: float = 100, own: str = "yes") -> list[str]:
    """A row of a price list where every unit costs the same."""
    row = dict.fromkeys(COLUMNS, "") | {"channel": channel, "model": model, "context": context, "own_channel": own}
    row |= dict.fromkeys(("input", "output", "cache_read", "cache_write_5m", "cache_write_1h"), str(int(usd * USD)))
    return list((row | {"source": "a list", "status": "active", "confidence": "100"}).values())


PRICE_LIST = [
    listed("anthropic", "claude-opus-5"),
    listed("anthropic", "claude-opus-5", "speed=fast", 200),
    listed("anthropic", "claude-haiku-4-5", usd=50),
]


def book(models: object = (), provider: str = "claude", **members: Any) -> Book:
    document = {"providers": {provider: {"models": dict(models)}}} | members  # type: ignore[call-overload]
    return parse_book(json.dumps(document).encode(), "pricing.json")


def row(**members: Any) -> Book:
    """A book of one model, at 3 and 15 USD but for what is given."""
    return book({"claude-opus-5": RATES | members})


def aliases(**names: str) -> Book:
    entry = {"models": {"claude-opus-5": RATES}, "model_aliases": {key.replace("_", "-"): names[key] for key in names}}
    return book(providers={"claude": entry})


def refusal(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(BookError) as caught:
        parse_book(raw, "pricing.json")
    message = str(caught.value)
    assert message.startswith("pricing.json: ")
    return message.removeprefix("pricing.json: ")


def priced(
    found: Book | None,
    model: str = "claude-opus-5",
    *,
    at: str = "2026-11-20T12:00:00+00:00",
    client: str = "claude-code",
    upstream: str | None = None,
    speed: str | None = None,
    service_tier: str | None = None,
    is_sum: bool = False,
    **counters: int,
) -> Pricing:
    counts = dict.fromkeys(("input", "cache_read", "cache_write_5m", "cache_write_1h", "output"), 0) | counters
    return price_event(
        RateTable(PRICE_LIST, "x", book=found),
        client=client,
        name=resolve_model(model, client, at[:10]),
        ts_us=int(datetime.fromisoformat(at).timestamp()) * MTOK,
        message_id=None,
        speed=speed,
        service_tier=service_tier,
        upstream=upstream,
        is_sum=is_sum,
        **counts,
    )


def usd(found: Book | None, model: str = "claude-opus-5", **rest: Any) -> float | None:
    """Price of a million input tokens, in USD."""
    nano = priced(found, model, **({"input": MTOK} | rest)).list_price_nano
    return None if nano is None else nano / USD


# reading


def test_no_file_is_no_book(tmp_path: Path) -> None:
    assert read_bytes(tmp_path / "pricing.json") is None


def test_the_shipped_example_is_a_book() -> None:
    example = parse_book(EXAMPLE.read_bytes(), "p")
    assert example.as_of == date(2026, 11, 21)
    assert example.subscriptions() == {}
    assert all(len(cells) == len(BOOK_COLUMNS) for cells in example.rows)


@pytest.mark.parametrize(
    ("providers", "aliases", "fees"),
    [
        ({"codex": 200}, {}, {"codex": 200}),
        # as a person calls it, with or without the alias that leads requests there
        ({"openai": 200}, {}, {"codex": 200}),
        ({"openai": 200}, {"codex": "openai"}, {"codex": 200}),
        ({"at-work": 200}, {"claude": "at-work"}, {"claude": 200}),
        ({"anthropic": 100, "claude": 20}, {}, {"claude": 120}),
        ({"mine": 5, "cursor": 0}, {}, {"mine": 5}),
    ],
)
def test_a_fee_belongs_to_the_provider_that_requests_are_booked_under(
    providers: dict[str, int], aliases: dict[str, str], fees: dict[str, int]
) -> None:
    entries = {name: {"subscription_usd_month": fee, "models": {}} for name, fee in providers.items()}
    content = json.dumps({"providers": entries, "provider_aliases": aliases}).encode()
    assert parse_book(content, "p").subscriptions() == fees


def test_a_byte_order_mark_is_no_fault() -> None:
    assert parse_book(b'\xef\xbb\xbf{"schema_version": 1}', "p").rows == []


def test_unknown_keys_are_passed_over() -> None:
    assert usd(book({"claude-opus-5": RATES | {"x-note": [1]}}, owner="me")) == 3


def test_a_folder_and_a_file_beyond_all_size_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BookError, match="make it a readable file or remove it"):
        read_bytes(tmp_path)
    monkeypatch.setattr("tokenledger_dagster.pricing.book.MOST_BYTES", 1)
    path = tmp_path / "pricing.json"
    path.write_text("{}")
    with pytest.raises(BookError, match="a pricing book is a few kilobytes"):
        read_bytes(path)


def one(**members: Any) -> dict[str, Any]:
    return {"providers": {"claude": {"models": {"claude-opus-5": RATES | members}}}}


AT = "providers.claude.models.claude-opus-5"
REFUSED = [
    (b"{", "is no pricing book ("),
    (b"\xff", "is no pricing book ("),
    (b"[" * 100_000, "is no pricing book ("),
    (b'{"a": NaN}', "is no pricing book ("),
    ({"schema_version": 2}, "schema_version 2 is newer than this program; update it"),
    (one(input_usd_per_mtok=-1), f"{AT}.input_usd_per_mtok: -1 is no rate"),
    (one(input_usd_per_mtok="NaN"), f"{AT}.input_usd_per_mtok: NaN is no rate"),
    (one(output_usd_per_mtok=1e7), f"{AT}.output_usd_per_mtok: 10000000.0 is no rate"),
    (one(tier={"above_tokens": 9, "input_usd_per_mtok": -1}), f"{AT}.tier.input_usd_per_mtok: -1 is no rate"),
    (one(tier={"above_tokens": 0}), f"{AT}.tier.above_tokens: 0 is no prompt size"),
    (one(valid_from="2026-02-30"), f"{AT}.valid_from: '2026-02-30' is no day"),
    (one(valid_to="20260201"), f"{AT}.valid_to: '20260201' is no day"),
    (one(valid_from="2026-02-02", valid_to="2026-02-02"), f"{AT}: ends on 2026-02-02 before it begins"),
    (one(tod_from="13:30"), f"{AT}: tod_from and tod_to are UTC times"),
    (one(tod_from="13:15", tod_to="24:00"), f"{AT}: tod_from and tod_to are UTC times"),
    (one(confidence=101), f"{AT}.confidence: 101; write a whole number"),
    (one(rates=[RATES]), f"{AT}.rates[0]: holds at the same time as {AT} in context standard"),
    (one(rates=[RATES | {"context": ""}]), f"{AT}.rates[0]: holds at the same time as {AT} in context"),
    (
        {"providers": {"claude": {"models": {"claude-opus-5": RATES, "Claude Opus 5": RATES}}}},
        f"providers.claude.models.Claude Opus 5: holds at the same time as {AT}",
    ),
    (
        {"providers": {"claude": {"subscription_usd_month": -1}}},
        "providers.claude.subscription_usd_month: -1 is no monthly fee",
    ),
    ({"provider_aliases": {"a": "b", "b": "claude"}}, "provider_aliases.a: leads to another alias, b"),
    (
        {"providers": {"claude": {"model_aliases": {"a": "b", "b": "a"}}}},
        "providers.claude.model_aliases: a -> b -> a is a circle",
    ),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_meant_is_refused_with_its_place(content: object, message: str) -> None:
    assert message in refusal(content)


@pytest.mark.parametrize(
    ("names", "circle"),
    [
        ({}, []),
        ({"a": "b", "b": "c"}, []),
        ({"a": "a"}, ["a", "a"]),
        ({"a": "b", "b": "c", "c": "b"}, ["b", "c", "b"]),
        ({"A.1": "b", "B": "a-1"}, ["A.1", "b", "A.1"]),
        ({"claude-opus-5.5": "claude-opus-5-5"}, []),
    ],
)
def test_aliases_in_a_circle_are_found_as_they_are_looked_up(names: dict[str, str], circle: list[str]) -> None:
    assert alias_cycle(names) == circle


# names


def test_a_model_of_the_book_is_meant_by_every_spelling_of_it() -> None:
    found = book({"Claude Opus 4.5": RATES})
    for name in ("claude-opus-4-5", "claude-opus-4-5-20251101", "anthropic/claude-opus-4.5"):
        assert usd(found, name) == 3


def test_a_name_that_nobody_knows_is_priced_when_the_book_spells_it_out() -> None:
    found = priced(book({"house-model": RATES}), "House.Model", input=MTOK)
    assert (found.list_price_nano, found.list_basis, found.price_confidence) == (3 * USD, "channel", 100)
    assert priced(None, "House.Model", input=MTOK).reason == "unknown_model"


def test_an_alias_leads_to_a_model_of_the_book_or_of_the_price_list_at_85() -> None:
    found = aliases(our_opus="claude-opus-5", our_haiku="claude-haiku-4-5", chain="our-haiku")
    assert (usd(found, "our-opus"), usd(found, "Our Haiku"), usd(found, "chain")) == (3, 50, 50)
    price = priced(found, "our-haiku", input=1)
    assert (price.price_confidence, price.list_basis) == (85, "channel")


def test_an_alias_to_nowhere_prices_nothing() -> None:
    assert priced(aliases(our_opus="nowhere"), "our-opus", input=1).reason == "no_rate"


def test_an_alias_is_only_the_providers_own() -> None:
    assert priced(aliases(our_opus="claude-opus-5"), "our-opus", client="codex", input=1).reason == "unknown_model"


def test_a_model_wins_over_an_alias_of_its_name() -> None:
    assert usd(aliases(claude_opus_5="claude-haiku-4-5")) == 3


def test_aliases_made_in_memory_do_not_hang() -> None:
    document = parse_document(b'{"providers": {"claude": {"model_aliases": {"a": "b", "b": "a"}}}}', "p")
    name = resolve_model("a", "claude-code", "")
    assert Book(document, "p").named("claude", name) is name


@pytest.mark.parametrize("upstream", ["anthropic", "claude"])
def test_a_provider_may_be_called_as_the_price_list_does(upstream: str) -> None:
    found = book({"claude-opus-5": RATES}, provider="anthropic", provider_aliases={"claude": "anthropic"})
    assert usd(found, client="opencode", upstream=upstream) == 3
    assert (found.provider("claude"), found.provider("anthropic"), found.provider("codex")) == (
        "anthropic",
        "anthropic",
        None,
    )


def test_another_provider_pays_the_price_list() -> None:
    assert usd(row(), client="droid") == 100


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("Claude Opus 5", "claude-opus-5"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-opus-5-fast", "claude-opus-5-fast"),
        ("house-model", "house-model"),
        ("<synthetic>", "<synthetic>"),
    ],
)
def test_a_variant_is_not_the_model_itself(spelling: str, model: str) -> None:
    assert canonical(spelling) == model


# precedence


def test_the_book_is_asked_before_the_price_list() -> None:
    assert (usd(None), usd(row())) == (100, 3)
    assert usd(row(), "claude-haiku-4-5") == 50


def test_the_context_that_was_asked_for_beats_the_books_standard() -> None:
    assert usd(row(), speed="fast") == 200
    assert priced(row(), speed="fast", input=1).priced_context == "speed=fast"
    assert usd(row(contexts={"speed=fast": {"input_usd_per_mtok": 6, "output_usd_per_mtok": 30}}), speed="fast") == 6


def test_a_context_that_nobody_lists_pays_the_books_standard() -> None:
    price = priced(row(), service_tier="flex", input=MTOK)
    assert (price.list_price_nano, price.priced_context, price.requested_context) == (
        3 * USD,
        "standard",
        "service_tier=flex",
    )


def test_a_day_before_the_books_row_falls_back_to_the_list() -> None:
    found = row(valid_from="2026-11-20", valid_to="2026-11-21")
    days = ("2026-11-19T23:59:59+00:00", "2026-11-20T00:00:00+00:00", "2026-11-21T00:00:00+00:00")
    assert [usd(found, at=day) for day in days] == [100, 3, 100]


def test_a_time_of_day_without_a_row_falls_back_to_the_list() -> None:
    found = row(tod_from="08:30", tod_to="24:00")
    assert [usd(found, at=f"2026-11-20T{time}:00+00:00") for time in ("08:29", "08:30", "23:59")] == [100, 3, 3]


def test_confidence_below_85_is_the_makers_price() -> None:
    price = priced(row(confidence=84), input=1)
    assert (price.list_basis, price.price_confidence) == ("maker", 84)


# history


def test_rates_follow_each_other() -> None:
    found = row(
        valid_from="2026-06-01", rates=[{"input_usd_per_mtok": 5, "output_usd_per_mtok": 25, "valid_to": "2026-06-01"}]
    )
    assert [usd(found, at=f"{day}T00:00:00+00:00") for day in ("2020-01-01", "2026-05-31", "2026-06-01")] == [5, 5, 3]


def test_a_superseded_row_prices_nothing() -> None:
    wrong = {"input_usd_per_mtok": 30, "output_usd_per_mtok": 15, "id": "slip"}
    assert usd(row(rates=[wrong], supersedes="slip", reason="a slip")) == 3


def test_a_row_may_be_superseded_in_parts() -> None:
    rates = [
        {"input_usd_per_mtok": 30, "output_usd_per_mtok": 15, "id": "slip"},
        {"input_usd_per_mtok": 4, "output_usd_per_mtok": 15, "valid_to": "2026-06-01", "supersedes": "slip"},
    ]
    found = row(valid_from="2026-06-01", rates=rates)
    assert [usd(found, at=f"{day}T00:00:00+00:00") for day in ("2026-05-31", "2026-06-01")] == [4, 3]


def announced(**members: Any) -> Book:
    later = {"input_usd_per_mtok": 6, "output_usd_per_mtok": 30, "valid_from": "2026-12-01"} | members
    return book(
        {"claude-opus-5": RATES | {"valid_to": "2026-12-01", "rates": [later]}},
        meta={"updated_at": members.pop("updated_at", "2026-11-21T00:00:00Z")},
    )


def test_an_announced_rate_prices_nothing_and_the_last_one_stays() -> None:
    at = "2026-12-24T00:00:00+00:00"
    assert usd(announced(status="scheduled"), at=at) == 3
    assert usd(announced(), at=at) == 3
    rate = RateTable([], "x", book=announced()).resolve(
        "", "claude-opus-5", "standard", 1_798_070_400_000_000, "claude"
    )
    assert rate is not None
    assert (rate.status, rate.layer) == ("scheduled", "book")


def test_it_counts_from_its_day_once_the_book_is_renewed() -> None:
    renewed = announced(updated_at="2026-12-02T00:00:00Z")
    assert [usd(renewed, at=f"{day}T00:00:00+00:00") for day in ("2026-11-30", "2026-12-24")] == [3, 6]
    assert usd(announced(updated_at="2026-12-02T00:00:00Z", status="scheduled"), at="2026-12-24T00:00:00+00:00") == 3


# units


def test_a_unit_without_a_rate_pays_its_parents() -> None:
    counters = ("cache_write_5m", "cache_write_1h", "cache_read", "tool_input", "tool_output")
    assert [usd(row(), input=0, **{unit: MTOK}) for unit in counters] == [3, 3, 3, 3, 15]
    with_write = row(cache_write_usd_per_mtok=3.75)
    assert [usd(with_write, input=0, **{unit: MTOK}) for unit in counters] == [3.75, 3.75, 3, 3, 15]


def test_every_unit_has_a_rate_of_its_own() -> None:
    found = row(
        cache_write_usd_per_mtok=4,
        cache_write_1h_usd_per_mtok=5,
        cache_read_usd_per_mtok=0.5,
        tool_input_usd_per_mtok=1,
        tool_output_usd_per_mtok=2,
    )
    counters = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read", "tool_input", "tool_output")
    assert [usd(found, **({"input": 0} | {unit: MTOK})) for unit in counters] == [3, 15, 4, 5, 0.5, 1, 2]
    everything = dict.fromkeys(counters, 100_000)
    assert usd(found, **everything) == pytest.approx(3.05)


def test_a_price_list_charges_tool_tokens_as_input_and_output() -> None:
    assert usd(None, input=0, tool_input=MTOK, tool_output=MTOK) == 200


@pytest.mark.parametrize("missing", ["input_usd_per_mtok", "output_usd_per_mtok"])
def test_without_both_rates_the_book_prices_nothing(missing: str) -> None:
    assert usd(book({"house-model": RATES | {missing: None}}), "house-model") is None
    assert usd(row(**{missing: None})) == 100


def test_a_zero_prices_nothing_unless_it_is_free() -> None:
    zeros = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
    assert usd(book({"house-model": zeros}), "house-model") is None
    assert usd(book({"house-model": zeros | {"free": True}}), "house-model") == 0
    assert usd(row(cache_read_usd_per_mtok=0), input=0, cache_read=MTOK) == 3
    assert usd(row(cache_read_usd_per_mtok=0, free=True), input=0, cache_read=MTOK) == 0


def test_a_tier_is_a_step_on_the_whole_request() -> None:
    tier = {"above_tokens": 200_000, "input_usd_per_mtok": 6, "output_usd_per_mtok": 22.5}
    found = row(tier=tier)
    assert usd(found, input=200_000, output=100_000) == pytest.approx(0.6 + 1.5)
    assert usd(found, input=200_001, output=100_000) == pytest.approx(1.200006 + 2.25)
    assert usd(found, input=100_000, cache_read=100_001) == pytest.approx(0.6 + 0.600006)
    assert usd(found, input=200_001, is_sum=True) == pytest.approx(0.600003)
    assert usd(row(tier=tier | {"inclusive": True}), input=200_000) == pytest.approx(1.2)


def test_a_unit_that_the_tier_leaves_out_keeps_its_rate() -> None:
    found = row(cache_read_usd_per_mtok=0.3, tier={"above_tokens": 200_000, "input_usd_per_mtok": 6})
    assert usd(found, input=200_001, output=MTOK) == pytest.approx(1.200006 + 15)
    assert usd(found, input=0, cache_read=MTOK) == pytest.approx(0.3)
    assert usd(found, input=0, cache_write_5m=MTOK) == 6


def test_a_rate_is_exact_to_the_nano_dollar() -> None:
    assert priced(row(input_usd_per_mtok=0.1), input=3).list_price_nano == 300
    assert priced(row(input_usd_per_mtok=0.123456789), input=MTOK).list_price_nano == 123_456_789


# other


def test_a_monthly_fee_above_zero_is_a_subscription() -> None:
    providers = {"claude": {"subscription_usd_month": 99.5}, "codex": {"subscription_usd_month": 0}}
    assert book(providers=providers).subscriptions() == {"claude": Decimal("99.5")}


def test_a_rate_names_its_source_or_the_books() -> None:
    sources = []
    for found in (row(source="a page"), book({"claude-opus-5": RATES}, meta={"source": "mine", "version": "7"}), row()):
        rate = RateTable([], "x", book=found).resolve("", "claude-opus-5", "standard", 0, "claude")
        assert rate is not None
        sources.append((rate.source, rate.source_version))
    assert sources == [("a page", ""), ("mine", "7"), ("pricing.json", "")]


def test_an_entry_of_contexts_and_rates_alone_has_no_row_of_its_own() -> None:
    found = book(
        {"claude-opus-5": {"contexts": {"speed=fast": RATES}, "rates": [RATES | {"valid_from": "2026-01-01"}]}}
    )
    assert [one.place for one in book_rows(found.document)] == [f"{AT}.contexts.speed=fast", f"{AT}.rates[0]"]


@given(
    st.dictionaries(st.text("ab.-A", max_size=3), st.text("ab.-A", max_size=3), max_size=6),
    st.text("ab.-A", max_size=3),
)
def test_naming_ends_whatever_the_aliases(names: dict[str, str], logged: str) -> None:
    document = parse_document(json.dumps({"providers": {"claude": {"model_aliases": names}}}).encode(), "p")
    Book(document, "p").named("claude", resolve_model(logged, "claude-code", ""))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"providers": {"claude": {"subscription_usd_month": 18.1234567891}}}', "subscription_usd_month"),
        ('{"providers": {"claude": {"models": {"x": {"input_usd_per_mtok": 1e-10}}}}}', "input_usd_per_mtok"),
    ],
)
def test_what_would_be_rounded_to_nothing_is_refused(text: str, place: str) -> None:
    with pytest.raises(BookError, match=place):
        parse_book(text.encode(), "pricing.json")
