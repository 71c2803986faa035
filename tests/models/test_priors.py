"""Figures out of the model seed: numbers, coverage by model, priors by maker."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.models.priors import (
    Coverage,
    MakerPrior,
    coverage_by_model,
    maker_priors,
    number_of,
    priors_csv,
)
from tokenledger_dagster.models.seed import MISSING_TOKENS, SeedRow, normalise

TABLE = """\
| Benchmark | Notes | Alpha 1 | Alpha 2 | Beta |
|---|---|---|---|---|
| Input Price | $/1M tokens | $2.00 / $4.00 (>200k) | — | $0.30 |
| Output Price | $/1M tokens | $12 | — | free |
| Exam | No tools | 10.0% | 20.5% / 99% | 7 |
| Exam | Tools | — | 30% (py) | — |
| Speed | Seconds | soon | 1.5 | — |
"""


def rows() -> list[SeedRow]:
    return normalise(TABLE, name="models.csv")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("$2.00", "2.00"),
        ("77.2%", "77.2"),
        ("1201", "1201"),
        ("$4.00 (>200k)", "4.00"),
        ("86.3% (py)", "86.3"),
        ("59.0", "59.0"),
        ("1,201.5", "1201.5"),
        (" 0 ", "0"),
        ("-3.5", "-3.5"),
        ("81.3% (high)", "81.3"),
    ],
)
def test_a_number_is_read_without_its_unit_and_remark(value: str, number: str) -> None:
    assert number_of(value) == Decimal(number)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "—",
        "soon",
        "n/a",
        "12 of 20",
        "~5%",
        ">90%",
        "1.2.3",
        "12,5%",
        ".5",
        "5.",
        "1e3",
        "NaN",
        "inf",
        "٣",
        "€5",
        "(5)",
    ],
)
def test_anything_else_is_no_number(value: str) -> None:
    assert number_of(value) is None


@given(st.text())
def test_any_text_is_a_finite_number_or_none(value: str) -> None:
    number = number_of(value)
    assert number is None or number.is_finite()


@given(st.decimals(min_value=0, max_value=10**6, places=3), st.sampled_from(["{}", "{}%", "${}", "${} (>200k)"]))
def test_what_is_written_is_read_back(number: Decimal, form: str) -> None:
    assert number_of(form.format(f"{number:f}")) == number


def test_coverage_counts_rows_prices_and_names() -> None:
    assert coverage_by_model(rows()) == {
        "Alpha 1": Coverage(
            benchmark_rows_total=5,
            benchmark_rows_non_missing=4,
            benchmark_rows_missing=1,
            benchmark_prior_rows_total=3,
            benchmark_prior_rows_non_missing=2,
            benchmark_prior_rows_missing=1,
            benchmark_distinct_total=4,
            benchmark_distinct_non_missing=4,
            benchmark_input_usd_per_mtok=Decimal("2.00"),
            benchmark_output_usd_per_mtok=Decimal(12),
            unreadable_values=1,
        ),
        "Alpha 2": Coverage(
            benchmark_rows_total=5,
            benchmark_rows_non_missing=3,
            benchmark_rows_missing=2,
            benchmark_prior_rows_total=3,
            benchmark_prior_rows_non_missing=3,
            benchmark_prior_rows_missing=0,
            benchmark_distinct_total=4,
            benchmark_distinct_non_missing=2,
            benchmark_input_usd_per_mtok=None,
            benchmark_output_usd_per_mtok=None,
            unreadable_values=0,
        ),
        "Beta": Coverage(
            benchmark_rows_total=5,
            benchmark_rows_non_missing=3,
            benchmark_rows_missing=2,
            benchmark_prior_rows_total=3,
            benchmark_prior_rows_non_missing=1,
            benchmark_prior_rows_missing=2,
            benchmark_distinct_total=4,
            benchmark_distinct_non_missing=3,
            benchmark_input_usd_per_mtok=Decimal("0.30"),
            benchmark_output_usd_per_mtok=None,
            unreadable_values=1,
        ),
    }


def test_models_come_in_the_order_of_the_columns() -> None:
    assert list(coverage_by_model(rows())) == ["Alpha 1", "Alpha 2", "Beta"]


def test_priors_by_maker_keep_rows_of_one_benchmark_apart() -> None:
    found = maker_priors(rows(), {"Alpha 1": "zeta", "Alpha 2": "zeta"})
    assert priors_csv(found) == (
        "maker,benchmark,notes_configuration,models,non_missing,unreadable,min,median,max\n"
        "unknown,Exam,No tools,1,1,0,7,7,7\n"
        "unknown,Exam,Tools,1,0,0,,,\n"
        "unknown,Speed,Seconds,1,0,0,,,\n"
        "zeta,Exam,No tools,2,2,0,10.0,15.25,20.5\n"
        "zeta,Exam,Tools,2,1,0,30,30,30\n"
        "zeta,Speed,Seconds,2,2,1,1.5,1.5,1.5\n"
    )


def test_prices_are_no_priors() -> None:
    assert {prior.benchmark for prior in maker_priors(rows(), {})} == {"Exam", "Speed"}


def test_numbers_are_written_without_an_exponent() -> None:
    prior = MakerPrior("a", "b", "", 1, 1, 0, Decimal("1E+2"), Decimal("1E-7"), Decimal(1))
    assert priors_csv([prior]).splitlines()[1] == "a,b,,1,1,0,100,0.0000001,1"


VALUES = st.lists(st.sampled_from([*MISSING_TOKENS, "1", "50.1%", "soon", "2 / 3"]), min_size=2, max_size=2)


@given(st.lists(VALUES, max_size=6))
def test_coverage_adds_up_and_priors_partition_it(lines: list[list[str]]) -> None:
    table = "| Benchmark | Notes | A | B |\n" + "".join(f"| Exam | x | {a} | {b} |\n" for a, b in lines)
    seed = normalise(table, name="models.csv")
    coverage = coverage_by_model(seed).values()
    for one in coverage:
        assert one.benchmark_rows_non_missing + one.benchmark_rows_missing == one.benchmark_rows_total == len(lines)
        assert one.unreadable_values <= one.benchmark_rows_non_missing
    priors = maker_priors(seed, {"A": "one", "B": "two"})
    assert sum(one.non_missing for one in priors) == sum(one.benchmark_prior_rows_non_missing for one in coverage)
    assert all(one.min <= one.median <= one.max for one in priors if one.min is not None)  # type: ignore[operator]
