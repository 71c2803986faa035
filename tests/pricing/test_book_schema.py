"""The JSON Schema of the pricing book, and that the shipped example is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tokenledger_dagster.contracts.pricing_book import json_schema

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONFIG / "pricing.schema.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONFIG / "pricing.example.json").read_text(encoding="utf-8"))
    return found


def problems(schema: dict[str, Any], document: object) -> list[str]:
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(document)]


def test_the_committed_schema_is_the_contracts() -> None:
    """`json.dumps(json_schema(), indent=2)` writes it."""
    committed = (CONFIG / "pricing.schema.json").read_text(encoding="utf-8")
    assert committed == json.dumps(json_schema(), indent=2) + "\n"


def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


def test_the_example_is_valid(schema: dict[str, Any], example: dict[str, Any]) -> None:
    assert problems(schema, example) == []


def test_the_example_is_text_that_a_person_can_read() -> None:
    lines = (CONFIG / "pricing.example.json").read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 120


def test_an_empty_book_and_a_null_rate_are_valid(schema: dict[str, Any]) -> None:
    models = {"m": {"input_usd_per_mtok": None, "x-note": 1}}
    assert problems(schema, {}) == []
    assert problems(schema, {"providers": {"claude": {"models": models}}}) == []


@pytest.mark.parametrize(
    ("rates", "place"),
    [
        ({"input_usd_per_mtok": -1}, ".input_usd_per_mtok"),
        ({"input_usd_per_mtok": "3"}, ".input_usd_per_mtok"),
        ({"free": "yes"}, ".free"),
        ({"status": "old"}, ".status"),
        ({"tier": {"input_usd_per_mtok": 3}}, ".tier"),
        ({"rates": [3]}, ".rates[0]"),
        ({"contexts": {"speed=fast": {"confidence": 0.5}}}, ".contexts['speed=fast'].confidence"),
    ],
)
def test_what_the_contract_does_not_mean_is_invalid(schema: dict[str, Any], rates: dict[str, Any], place: str) -> None:
    assert problems(schema, {"providers": {"p": {"models": {"m": rates}}}}) == [f"$.providers.p.models.m{place}"]
