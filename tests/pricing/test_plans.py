"""The catalogue of plans, a person's own plans, and how both files say what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.pricing.plan_types import Catalogue, Plans, PlansError, ProviderTerms
from tokenledger_dagster.pricing.plans import book_subscription, load_catalogue, load_plans

EXAMPLE = """
schema_version: 1
subscriptions:
  - name: max
    plan: anthropic/max-20x
    seats: 2
    from: 2026-01-15
    to: 2026-06-15
    account_hash: 0123456789
    weight: tokens
  - name: cursor-team
    provider: cursor
    from: 2026-01-03
    fees:
      - {period: 2026-01-03, amount: 18.40, currency: EUR, usd_per_unit: 1.08, source: invoice 123}
      - {period: 2026-03-03, amount: 20}
providers:
  droid: {cost_source: reported, discount: 0.10}
"""
CATALOGUE = load_catalogue()
SHIPPED = (Path(__file__).parents[2] / "config" / "plans.yaml").read_text(encoding="utf-8")

Load = Callable[[str], Plans]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads plans written as text."""

    def from_text(text: str) -> Plans:
        path = tmp_path / "plans.yaml"
        path.write_text(text, encoding="utf-8")
        return load_plans(path, CATALOGUE)

    return from_text


@pytest.fixture
def refusal(load: Load, tmp_path: Path) -> Callable[[str], str]:
    """The message with which plans are refused, without the file's name, which it begins with."""

    def of_text(text: str) -> str:
        with pytest.raises(PlansError) as caught:
            load(text)
        file, message = str(caught.value).split(": ", 1)
        assert file == str(tmp_path / "plans.yaml")
        return message

    return of_text


def subscriptions(*entries: str) -> str:
    return "schema_version: 1\nsubscriptions:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


# the catalogue


def test_every_plan_of_the_catalogue_has_a_price_or_is_named_as_unpriced() -> None:
    assert len(CATALOGUE.plans) == 27
    assert CATALOGUE.unpriced == ("kimi/allegretto", "openai/business")


@pytest.mark.parametrize(
    ("plan", "provider", "clients", "usd_month", "included_usd"),
    [
        ("anthropic/max-20x", "claude", ("claude-code",), 200, None),
        ("openai/plus", "codex", ("codex",), 20, None),
        ("cursor/ultra", "cursor", ("cursor",), 200, 400),
        ("github/copilot-pro-plus", "copilot", (), 39, 70),
        ("factory/max", "droid", (), 200, None),
        ("opencode/go", "opencode-go", (), 10, 60),
        ("google/ai-pro", "google", ("gemini-cli",), Decimal("19.99"), None),
    ],
)
def test_a_plan_says_what_it_costs_includes_and_carries(
    plan: str, provider: str, clients: tuple[str, ...], usd_month: Decimal, included_usd: Decimal | None
) -> None:
    found = CATALOGUE.plans[plan]
    price = found.price_on(date(2026, 11, 1))
    assert price is not None
    assert (found.provider, found.clients, price.usd_month, found.included_usd) == (
        provider,
        clients,
        usd_month,
        included_usd,
    )


def test_before_the_first_price_none_is_known(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(SHIPPED.replace("{from: null, usd_month: 200}", "{from: 2026-02-01, usd_month: 200}", 1))
    catalogue = load_catalogue(path)
    plan = catalogue.plans["anthropic/max-20x"]
    assert plan.price_on(date(2026, 1, 31)) is None
    assert plan.price_on(date(2026, 2, 1)) is not None


def test_prices_of_a_plan_are_in_order_of_their_days(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    twice = "{from: null, usd_month: 100}\n      - {from: null, usd_month: 110}"
    path.write_text(SHIPPED.replace("{from: null, usd_month: 100}", twice, 1), encoding="utf-8")
    with pytest.raises(PlansError, match=r"plans: anthropic/max-5x: prices or weights are not in order of their days"):
        load_catalogue(path)


def test_a_missing_catalogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlansError, match="does not exist"):
        load_catalogue(tmp_path / "none.yaml")


# a person's plans


def test_no_file_is_no_plans(tmp_path: Path) -> None:
    assert load_plans(None, CATALOGUE) == load_plans(tmp_path / "none.yaml", CATALOGUE) == Plans()
    assert Plans().is_empty


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "schema_version: 1\n", "schema_version: 1\nsubscriptions:\n"])
def test_a_file_that_says_nothing_is_no_plans(load: Load, text: str) -> None:
    assert load(text).is_empty


def test_a_plan_brings_its_provider_and_clients(load: Load) -> None:
    cursor, claude = load(EXAMPLE).subscriptions
    assert (claude.name, claude.provider, claude.clients, claude.mode) == (
        "max",
        "claude",
        ("claude-code",),
        "subscription_derived",
    )
    assert (cursor.name, cursor.provider, cursor.clients, cursor.mode) == (
        "cursor-team",
        "cursor",
        (),
        "subscription_manual",
    )


def test_the_persons_own_provider_and_clients_win(load: Load) -> None:
    (one,) = load(
        subscriptions("name: a, plan: anthropic/pro, from: 2026-01-01, provider: aws, clients: []")
    ).subscriptions
    assert (one.provider, one.clients) == ("aws", ())


def test_values_are_the_text_that_was_written(load: Load) -> None:
    cursor, claude = load(EXAMPLE).subscriptions
    assert claude.account_hash == "0123456789"
    assert cursor.fees[0].amount == Decimal("18.40")


def test_terms_of_a_provider(load: Load) -> None:
    assert load(EXAMPLE).providers == {"droid": ProviderTerms("reported", Decimal("0.10"))}


def test_a_derived_fee_is_the_price_of_all_seats(load: Load) -> None:
    _, claude = load(EXAMPLE).subscriptions
    assert claude.period_nano(date(2026, 1, 15), CATALOGUE) == 400_000_000_000


def test_annual_billing_takes_the_months_price_of_a_year(load: Load) -> None:
    (one,) = load(subscriptions("name: a, plan: anthropic/pro, from: 2026-01-01, annual_billing: true")).subscriptions
    assert one.period_nano(date(2026, 1, 1), CATALOGUE) == 17_000_000_000


def test_a_bill_is_converted_exactly(load: Load) -> None:
    cursor, _ = load(EXAMPLE).subscriptions
    assert cursor.period_nano(date(2026, 1, 3), CATALOGUE) == 19_872_000_000


def test_a_fraction_of_a_nano_dollar_rounds_to_even(load: Load) -> None:
    bills = "{period: 2026-01-01, amount: 0.000000005, currency: EUR, usd_per_unit: 0.5}"
    (one,) = load(subscriptions(f"name: a, provider: x, from: 2026-01-01, fees: [{bills}]")).subscriptions
    assert one.fees[0].nano == 2


def test_a_period_without_a_bill_costs_what_the_last_one_did(load: Load) -> None:
    cursor, _ = load(EXAMPLE).subscriptions
    months = [date(2026, 2, 3), date(2026, 3, 3), date(2026, 9, 3)]
    assert [cursor.period_nano(day, CATALOGUE) for day in months] == [19_872_000_000, 20_000_000_000, 20_000_000_000]


def test_before_the_first_bill_the_fee_is_unknown(load: Load) -> None:
    bills = "[{period: 2026-03-31, amount: 20}]"
    (one,) = load(subscriptions(f"name: a, provider: x, from: 2026-01-31, fees: {bills}")).subscriptions
    assert one.period_nano(date(2026, 2, 28), CATALOGUE) is None


def test_bills_count_before_the_catalogues_price(load: Load) -> None:
    bills = "[{period: 2026-01-01, amount: 199, currency: CNY, usd_per_unit: 0.14}]"
    (one,) = load(subscriptions(f"name: a, plan: kimi/allegretto, from: 2026-01-01, fees: {bills}")).subscriptions
    assert (one.mode, one.period_nano(date(2026, 1, 1), CATALOGUE)) == ("subscription_manual", 27_860_000_000)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("to: 2026-03-01", "name: b, plan: anthropic/max-5x, from: 2026-03-01"),
        ("account_hash: x", "name: b, plan: anthropic/max-5x, from: 2026-01-01, account_hash: y"),
        ("seats: 1", "name: b, plan: anthropic/max-5x, from: 2026-01-01, clients: [opencode]"),
        ("seats: 1", "name: b, plan: openai/plus, from: 2026-01-01"),
    ],
)
def test_subscriptions_may_follow_each_other_or_carry_different_requests(load: Load, one: str, other: str) -> None:
    first = f"name: a, plan: anthropic/max-5x, from: 2026-01-01, {one}"
    assert len(load(subscriptions(first, other)).subscriptions) == 2


def test_the_digest_is_of_the_content_and_not_of_its_order(load: Load) -> None:
    first, second = "name: a, plan: openai/plus, from: 2026-01-01", "name: b, plan: cursor/pro, from: 2026-01-01"
    assert load(subscriptions(first, second)).digest == load(subscriptions(second, first)).digest
    assert load(subscriptions(first)).digest != load(subscriptions(second)).digest


def test_a_corrected_price_in_the_catalogue_changes_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "plans.yaml"
    path.write_text(subscriptions("name: a, plan: anthropic/max-20x, from: 2026-01-01"), encoding="utf-8")
    dearer = tmp_path / "catalogue.yaml"
    dearer.write_text(SHIPPED.replace("usd_month: 200}", "usd_month: 210}"))
    assert load_plans(path, CATALOGUE).digest != load_plans(path, load_catalogue(dearer)).digest


# the pricing book's monthly fee


def test_the_books_fee_is_a_subscription_from_the_first_of_the_month_on() -> None:
    one = book_subscription("claude", Decimal("99.50"), date(2026, 3, 17))
    assert (one.name, one.provider, one.start, one.mode) == (
        "claude (pricing.json)",
        "claude",
        date(2026, 3, 1),
        "subscription_manual",
    )
    assert one.period_nano(date(2026, 8, 1), CATALOGUE) == 99_500_000_000


def test_the_books_fee_stands_up_to_a_log_with_a_broken_clock() -> None:
    assert book_subscription("claude", Decimal(1), date(1970, 1, 1)).start == date(2000, 1, 1)
    assert book_subscription("claude", Decimal(1), date(9999, 12, 31)).start == date(2199, 12, 1)


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "sNaN", "1e999999", "1e-30"])
def test_the_books_fee_must_be_an_amount(amount: str) -> None:
    with pytest.raises(PlansError, match=r"^pricing\.json: claude: subscription_usd_month: amount is not from 0 to"):
        book_subscription("claude", Decimal(amount), date(2026, 3, 17))


# what is refused

REFUSED = [
    (
        "name: a, plan: anthropic/max-20, from: 2026-01-01",
        "subscriptions: a: plan: anthropic/max-20 is not in the catalogue; did you mean anthropic/max-20x?",
    ),
    (
        "name: a, plan: zzz, from: 2026-01-01",
        "subscriptions: a: plan: zzz is not in the catalogue; see config/plans.yaml for the ids",
    ),
    (
        "name: a, plan: openai/business, from: 2026-01-01",
        "subscriptions: a: plan: no USD price of openai/business is known; list what was billed under fees",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-01-01, annual_billing: true",
        "subscriptions: a: annual_billing: no yearly price of openai/plus is known; remove it or use fees",
    ),
    (
        "name: a, provider: claude, from: 2026-01-01",
        "subscriptions: a: has neither plan nor fees; name a plan of config/plans.yaml or list what was billed",
    ),
    (
        "name: a, from: 2026-01-01, fees: [{period: 2026-01-01, amount: 1}]",
        "subscriptions: a: provider is missing; add the pricing book's key, such as claude or codex",
    ),
    ("plan: openai/plus, from: 2026-01-01", "subscriptions[0]: name is missing; add it"),
    ("name: a, plan: openai/plus", "subscriptions: a: from is missing; add it"),
    (
        "name: a, plan: openai/plus, from: 2026-01-01, color: red",
        "subscriptions: a: unknown key color; use one of name, provider, plan, seats, from, to, clients, account_hash, "
        "weight, annual_billing, fees",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-1-1",
        "subscriptions: a: from: is no day; write it as 2026-01-31",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-02-30",
        "subscriptions: a: from: is no day; write it as 2026-01-31",
    ),
    (
        "name: a, plan: openai/plus, from: 9999-12-31",
        "subscriptions: a: the days must lie between 2000 and 2199; mend from or to",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-02-01, to: 2026-02-01",
        "subscriptions: a: to, the first day no longer paid for, is not after from; mend one of them",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-02-01, seats: two",
        "subscriptions: a: seats: is no whole number; write one",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-02-01, seats: 0",
        "subscriptions: a: seats: is too small; write a larger number",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-02-01, annual_billing: yes",
        "subscriptions: a: annual_billing: is neither true nor false; write one of them",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-02-01, clients: codex",
        "subscriptions: a: clients: is no list; write `- ` before each entry",
    ),
    (
        "name: a, plan: openai/plus, from: 2026-02-01, weight: price",
        "subscriptions: a: weight: is none of list_price, tokens, requests; use one of them",
    ),
    (
        "name: a, plan: [openai/plus], from: 2026-02-01",
        "subscriptions: a: plan: is no text; write one",
    ),
]


@pytest.mark.parametrize(("entry", "message"), REFUSED)
def test_a_subscription_that_cannot_be_meant_is_refused(
    refusal: Callable[[str], str], entry: str, message: str
) -> None:
    assert refusal(subscriptions(entry)) == message


REFUSED_BILLS = [
    (
        "period: 2026-01-03, amount: 18.40, currency: EUR",
        "subscriptions: a: fees[0]: EUR needs a rate above 0; add usd_per_unit",
    ),
    (
        "period: 2026-01-03, amount: 18.40, usd_per_unit: 1.1",
        "subscriptions: a: fees[0]: an amount in USD has no rate; remove usd_per_unit",
    ),
    (
        "period: 2026-01-03, amount: 18.40, currency: euro",
        "subscriptions: a: fees[0]: currency: is empty or not spelt as it must be; use plain letters and digits",
    ),
    (
        "period: 2026-01-03, amount: -1",
        "subscriptions: a: fees[0]: amount is not from 0 to 1,000,000,000,000 with at most nine decimal places; "
        "mend it",
    ),
    (
        "period: 2026-01-03, amount: NaN",
        "subscriptions: a: fees[0]: amount is not from 0 to 1,000,000,000,000 with at most nine decimal places; "
        "mend it",
    ),
    ("period: 2026-01-03, amount: .inf", "subscriptions: a: fees[0]: amount: is no number; write it as 18.40"),
    ("period: 2026-01-03, amount: 1.5.2", "subscriptions: a: fees[0]: amount: is no number; write it as 18.40"),
    (
        "period: 2026-01-03, amount: 99999999",
        "subscriptions: a: fees[0]: the fee is above 10,000,000 USD; mend amount or usd_per_unit",
    ),
    (
        "period: 2026-01-03, amount: 1, tax: 2",
        "subscriptions: a: fees[0]: unknown key tax; use one of period, amount, currency, usd_per_unit, source",
    ),
    (
        "period: 2026-02-05, amount: 1",
        "subscriptions: a: fees: no billing period begins on 2026-02-05; that month's begins on 2026-02-03",
    ),
    ("period: 2025-12-03, amount: 1", "subscriptions: a: fees: 2025-12-03 is not within from and to; mend period"),
    (
        "period: 2026-02-03, amount: 1}, {period: 2026-02-03, amount: 2",
        "subscriptions: a: fees: two entries have the same period; keep one of them",
    ),
]


@pytest.mark.parametrize(("bill", "message"), REFUSED_BILLS)
def test_a_bill_that_cannot_be_meant_is_refused(refusal: Callable[[str], str], bill: str, message: str) -> None:
    text = subscriptions(f"name: a, provider: cursor, from: 2026-01-03, fees: [{{{bill}}}]")
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "claude: {discount: 1}",
            "providers: claude: discount must be less than 1; write ten per cent as 0.10",
        ),
        (
            "claude: {discount: 10}",
            "providers: claude: discount is not from 0 to 1 with at most nine decimal places; mend it",
        ),
        (
            "claude: {cost_source: guess}",
            "providers: claude: cost_source: is none of list, reported; use one of them",
        ),
        ("claude: {rebate: 1}", "providers: claude: unknown key rebate; use one of cost_source, discount"),
        ("claude: 0.1", "providers: claude: is no mapping; write `name: value` lines"),
    ],
)
def test_terms_that_cannot_be_meant_are_refused(refusal: Callable[[str], str], entry: str, message: str) -> None:
    assert refusal(f"schema_version: 1\nproviders: {{{entry}}}\n") == message


@pytest.mark.parametrize(
    "other",
    [
        "name: b, plan: anthropic/pro, from: 2026-02-01",
        "name: b, plan: anthropic/pro, from: 2025-01-01, clients: []",
        "name: b, plan: anthropic/pro, from: 2025-01-01, account_hash: abc",
        "name: b, plan: anthropic/pro, from: 2025-01-01, to: 2026-01-02",
    ],
)
def test_two_plans_for_the_same_requests_are_refused(refusal: Callable[[str], str], other: str) -> None:
    assert refusal(subscriptions("name: a, plan: anthropic/max-5x, from: 2026-01-01, to: 2026-03-01", other)) == (
        "subscriptions: b: carries the same requests as a at the same time; tell them apart by clients, account_hash "
        "or days, or count them as seats of one"
    )


def test_a_name_is_given_once(refusal: Callable[[str], str]) -> None:
    text = subscriptions("name: a, plan: openai/plus, from: 2026-01-01", "name: a, plan: cursor/pro, from: 2026-01-01")
    assert refusal(text) == "subscriptions: a: another subscription has this name; choose one that is not in use"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plans: []", "unknown key plans; use one of schema_version, subscriptions, providers"),
        ("providers: {}", "schema_version is not 1; write `schema_version: 1` or use a newer TokenLedger"),
        ("schema_version: 2", "schema_version is not 1; write `schema_version: 1` or use a newer TokenLedger"),
        ("- schema_version: 1", "is no mapping; begin with `schema_version: 1`"),
        ("just words", "is no mapping; begin with `schema_version: 1`"),
        ("schema_version: 1\nsubscriptions: {}", "subscriptions: is no list; write `- ` before each entry"),
        ("schema_version: 1\nproviders: []", "providers: is no mapping; write `name: value` lines"),
        (
            "schema_version: 1\nsubscriptions: [text]",
            "subscriptions[0]: is no mapping; write `name: value` lines",
        ),
        ("1: x", "unknown key 1; use one of schema_version, subscriptions, providers"),
    ],
)
def test_a_file_of_another_shape_is_refused(refusal: Callable[[str], str], text: str, message: str) -> None:
    assert refusal(text) == message


UNREADABLE = [
    ("a: [1", "while parsing a flow sequence"),
    ("a: 1\na: 2", "line 2: a is given twice"),
    ("schema_version: 1\nproviders: {x: {}, x: {}}", "line 2: x is given twice"),
    ("a: &x 1\nb: *x", "line 2: aliases and tags are not read, write the value out"),
    ("a: &x [b, *x]", "line 1: aliases and tags are not read, write the value out"),
    ("a: !!python/object/apply:os.system [id]", "line 1: aliases and tags are not read, write the value out"),
    ("? [a]\n: 1", "line 1: a key is no name"),
    ("null: 1", "line 1: a key is no name"),
    ("? {a: 1}\n: 1", "line 1: a key is no name"),
    ("a: 1\n---\na: 2", "it holds more than one document"),
    ("- " * 5000, "line 1: nested too deep"),
    ("x: " + "y" * 20_000, "line 1: a value is longer than 10,000 characters"),
    ("x" * 1_100_000, "it is larger than 1 MB"),
    ("\x00", "unacceptable character"),
]


@pytest.mark.parametrize(("text", "reason"), UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize("has_libyaml", [True, False])
def test_what_is_no_plain_yaml_is_refused_in_one_line(
    refusal: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, text: str, reason: str, has_libyaml: bool
) -> None:
    if not has_libyaml:
        monkeypatch.delattr(yaml, "CSafeLoader")
    message = refusal(text)
    assert reason in message
    assert message.startswith("cannot be read as plans (")
    assert message.endswith("; mend it or take it away")
    assert len(message.splitlines()) == 1


def test_a_folder_is_no_file_of_plans(tmp_path: Path) -> None:
    with pytest.raises(PlansError, match="cannot be read as plans"):
        load_plans(tmp_path, CATALOGUE)


def loaded_or_refused_in_one_line(path: Path, content: bytes, catalogue: Catalogue) -> None:
    path.write_bytes(content)
    try:
        load_plans(path, catalogue)
    except PlansError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        assert len(message) < 700 + len(str(path))
        assert all(character.isprintable() for character in message)


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=60), st.text(alphabet="ab:-[]{}&*!|>'\"?#%, \n\t0", max_size=60).map(str.encode)))
def test_garbage_never_makes_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    loaded_or_refused_in_one_line(tmp_path_factory.getbasetemp() / "garbage.yaml", content, CATALOGUE)


HOSTILE = [
    "",
    "~",
    "[]",
    "{}",
    "[[]]",
    "{a: 1}",
    "NaN",
    "-1",
    "1e999",
    "0e999999999",
    "-0",
    "9" * 5000,
    '"\\e\\n"',
    "on",
]


@settings(max_examples=200)
@given(st.sampled_from(list(re.finditer(r"(?<=: )[^,{}\n]+", EXAMPLE))), st.sampled_from(HOSTILE))
def test_no_value_in_any_place_makes_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, place: re.Match[str], value: str
) -> None:
    content = EXAMPLE[: place.start()] + value + EXAMPLE[place.end() :]
    loaded_or_refused_in_one_line(tmp_path_factory.getbasetemp() / "hostile.yaml", content.encode(), CATALOGUE)
