"""The profile: its stages are there, run over the same files, and add up."""

from __future__ import annotations

import importlib

import pytest

from tests.bench.conftest import Written
from tokenledger_dagster.bench import stages
from tokenledger_dagster.bench.corpus import Spec
from tokenledger_dagster.bench.profile import profile


def test_stages_see_every_file(written: Written) -> None:
    corpus = written()
    inputs = stages.discover({"HOME": str(corpus.home)})

    assert len(inputs) == corpus.files
    assert sum(one.file.size for one in inputs) == corpus.bytes


@pytest.mark.parametrize("name", stages.TIMED_IN_SYNC)
def test_functions_timed_within_a_sync_are_called_by_it(written: Written, name: str) -> None:
    corpus = written(3_000_000)  # large enough for a fork: what one file tells alone needs no general booking
    module, function = stages.TIMED_IN_SYNC[name]
    original = getattr(importlib.import_module(module), function)

    seconds = stages.sync_all({"HOME": str(corpus.home)}, corpus.home.parent / "home")

    assert seconds[name] > 0
    assert getattr(importlib.import_module(module), function) is original


def test_profile_names_every_stage_once_and_shares_add_up() -> None:
    found = profile(Spec(300_000), 1, lambda text: None)

    assert [one.name for one in found.stages] == [*stages.READING, *stages.TIMED_IN_SYNC, "persist"]
    assert sum(one.share for one in found.stages) == pytest.approx(1)
    assert 0 <= found.limit_cpu_s <= found.total_cpu_s
