"""Every row of the committed ledger against what a person looked up: maker, model, mode, channel and all four prices.

In the labels an empty cache price says that the maker prices it as input, and four empty prices that there is none.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.models.rules import maker_channels
from tokenledger_dagster.pricing.context import provider_for

ROOT = Path(__file__).parents[2]
BARE = ("codex/gpt-5", "deepseek/deepseek-v3.2-exp")
"""Models of which the benchmark table has efforts or modes alone: the ledger adds a row that says neither."""

Row = dict[str, str]


def records(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle, strict=True))


LEDGER = records(ROOT / "ledger" / "unified_model_provider_ledger.csv")
TRUTH = records(ROOT / "tests" / "models" / "ledger_truth.csv")
ROWS = {row["source_model"]: row for row in LEDGER}
LABELS = {row["source_model"]: row for row in TRUTH}
BOTH = [pytest.param(ROWS[name], LABELS[name], id=name) for name in LABELS if name in ROWS]


def labelled_prices(label: Row) -> list[str]:
    """Input, output, cache write, cache read; what is not priced apart as input."""
    fresh = label["input_usd_per_mtok"]
    return [
        fresh,
        label["output_usd_per_mtok"],
        label["cache_write_usd_per_mtok"] or fresh,
        label["cache_read_usd_per_mtok"] or fresh,
    ]


def prices(row: Row) -> list[str]:
    return [row[f"pricing_{unit}_usd_per_mtok"] for unit in ("input", "output", "cache_write", "cache_read")]


def provider_of(maker: str) -> str:
    return provider_for("", ModelName(model="", maker=maker, modifiers={}, rule="", confidence=100))


# ------------------------------------------------------------------ every row and every label


def test_no_row_is_without_a_label_and_no_label_without_a_row() -> None:
    assert sorted(ROWS) == sorted(LABELS)
    assert len(ROWS) == len(LEDGER) == len(LABELS) == len(TRUTH) == 84


@pytest.mark.parametrize(("row", "label"), BOTH)
def test_maker_and_model_are_the_labelled(row: Row, label: Row) -> None:
    assert (row["maker"], row["canonical_model_guess"]) == (label["maker"], label["canonical_model"]), label["reason"]
    assert row["inferred_provider"] == provider_of(label["maker"])


@pytest.mark.parametrize(("row", "label"), BOTH)
def test_prices_are_the_labelled(row: Row, label: Row) -> None:
    assert prices(row) == labelled_prices(label), label["reason"]


@pytest.mark.parametrize(("row", "label"), BOTH)
def test_modes_are_the_labelled(row: Row, label: Row) -> None:
    assert row["modifiers"] == label["modifiers"], label["reason"]


@pytest.mark.parametrize(("row", "label"), BOTH)
def test_the_price_is_the_makers_own_or_there_is_a_reason_for_none(row: Row, label: Row) -> None:
    found = (row["pricing_provider"], row["pricing_model"], row["pricing_context"], row["pricing_list_basis"])
    if not label["input_usd_per_mtok"]:
        assert found == ("", "", "", "")
        assert row["pricing_note"] == f"no list price of {label['canonical_model']} on channel {label['maker']}"
        return
    assert found == (provider_of(label["maker"]), label["canonical_model"], "standard", "channel")
    # rates of the book name no channel
    assert row["pricing_channel"] in ("", maker_channels().get(label["maker"], label["maker"]))
    assert (row["pricing_note"], row["pricing_as_of"]) == ("", "2026-11-21T12:00:00Z")
    assert int(row["pricing_confidence"]) >= 85
    assert row["pricing_source"]


@pytest.mark.parametrize(("row", "label"), BOTH)
def test_the_benchmark_table_states_the_same_price(row: Row, label: Row) -> None:
    shown = (row["pricing_vs_benchmark_input_delta"], row["pricing_vs_benchmark_output_delta"])
    is_stated = label["input_usd_per_mtok"] and label["source_model"] not in BARE
    assert shown == (("0", "0") if is_stated else ("", "")), label["reason"]


# ------------------------------------------------------------------ whose price it is


def test_every_priced_row_is_priced_as_its_own_model() -> None:
    foreign = [
        row["source_model"]
        for row in LEDGER
        if row["pricing_input_usd_per_mtok"] and row["pricing_model"] != row["canonical_model_guess"]
    ]
    assert foreign == []
    assert sum(bool(row["pricing_input_usd_per_mtok"]) for row in LEDGER) == 77


def test_rows_of_one_model_are_priced_alike() -> None:
    by_model: dict[str, set[tuple[str, ...]]] = {}
    for row in LEDGER:
        by_model.setdefault(row["canonical_model_guess"], set()).add(tuple(prices(row)))
    assert {model for model, found in by_model.items() if len(found) > 1} == set()
    assert len(by_model) == 79


def test_a_row_without_effort_or_mode_is_priced_as_those_with_them() -> None:
    for bare in BARE:
        model = ROWS[bare]["canonical_model_guess"]
        modes = [row for row in LEDGER if row["canonical_model_guess"] == model and row["source_model"] != bare]
        assert len(modes) >= 2
        assert {tuple(prices(row)) for row in modes} == {tuple(prices(ROWS[bare]))}
        assert [row["source_model"] for row in [ROWS[bare], *modes] if row["is_canonical"] == "true"] == [bare]


@pytest.mark.parametrize(
    ("model", "relative"),
    [
        ("GPT-6.1 Sol", "GPT-6 Sol"),
        ("Claude Opus 5.5", "Claude Opus 5"),
        ("Claude Fable 5.2", "Claude Fable 5.1"),
        ("GPT-5.1 Codex Mini", "GPT-5.1 Codex Max"),
        ("GPT-5.1 Codex Mini", "Codex Mini"),
        ("GPT-5.4 Mini", "GPT-5.4"),
        ("GPT-5 Mini", "GPT-5 (high)"),
        ("GPT-5.3 Codex", "GPT-5.1 Codex Max"),
        ("Grok 4.7", "Grok 4.5"),
        ("Kimi K2.7 Code", "Kimi K2.6"),
        ("GLM-4.7 Flash", "GLM-4.7"),
        ("GPT-5.3 Codex Spark", "GPT-5.3 Codex"),
        ("o3-pro", "o3"),
    ],
)
def test_models_that_are_easily_taken_for_each_other_are_priced_apart(model: str, relative: str) -> None:
    assert prices(ROWS[model]) != prices(ROWS[relative])
    assert ROWS[model]["canonical_model_guess"] != ROWS[relative]["canonical_model_guess"]
