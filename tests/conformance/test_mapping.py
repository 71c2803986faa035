"""Model names labelled by others: how many are mapped rightly, and how few wrongly.

The file stands under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import msgspec
import pytest

from tokenledger_dagster.models.mapping import MappedName, map_name

NAMES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "mapping" / "mapping_eval_dev.csv"
MOST_RIGHT, LEAST_WRONG = 0.97, 0.01

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not NAMES.is_file(), reason="TOKENLEDGER_CONFORMANCE_DIR has no mapping/ below it"),
]


class Labelled(msgspec.Struct, frozen=True):
    """One row, and what it is mapped to."""

    name: str
    maker: str
    model: str
    alternatives: frozenset[str]
    modifiers: dict[str, str]
    found: MappedName

    @property
    def is_right(self) -> bool:
        """Whether the model, or the abstention, is one of those that count as right."""
        return (self.found.model or "") in {self.model, *self.alternatives} or (
            self.found.model is None and "<abstain>" in self.alternatives
        )


@pytest.fixture(scope="module")
def labelled() -> list[Labelled]:
    with NAMES.open(encoding="utf-8", newline="") as handle:
        return [
            Labelled(
                name=row["source_name"],
                maker=row["expected_provider"],
                model=row["expected_canonical_model"],
                alternatives=frozenset(filter(None, row["acceptable_alternatives"].split(";"))),
                modifiers=dict(pair.split("=") for pair in row["expected_modifiers"].split(";") if pair),
                found=map_name(row["source_name"], row["context_provider"]),
            )
            for row in csv.DictReader(handle)
        ]


def test_nearly_all_models_are_right(labelled: list[Labelled]) -> None:
    missed = [one.name for one in labelled if not one.is_right]
    assert len(missed) <= (1 - MOST_RIGHT) * len(labelled), missed


def test_nearly_all_makers_are_right(labelled: list[Labelled]) -> None:
    missed = [(one.name, one.found.maker) for one in labelled if (one.found.maker or "") != one.maker]
    assert len(missed) <= (1 - MOST_RIGHT) * len(labelled), missed


def test_hardly_any_model_is_wrong(labelled: list[Labelled]) -> None:
    wrong = [(one.name, one.found.model) for one in labelled if one.found.model and not one.is_right]
    assert len(wrong) <= LEAST_WRONG * len(labelled), wrong


def test_names_of_no_model_are_not_mapped(labelled: list[Labelled]) -> None:
    told = [(one.name, one.found.model) for one in labelled if not one.model and not one.is_right]
    assert told == []


def test_what_a_name_says_beside_the_model_is_kept(labelled: list[Labelled]) -> None:
    lost = [
        (one.name, one.found.modifiers)
        for one in labelled
        if one.found.model and not one.modifiers.items() <= one.found.modifiers.items()
    ]
    assert lost == []
