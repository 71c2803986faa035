"""A status bar polls all day: what the ledger keeps stays small, and is what one reading of the final logs gives."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.support import World
from tokenledger_dagster.bench.corpus import Corpus, Spec
from tokenledger_dagster.ingest import folding
from tokenledger_dagster.ingest.compaction import compact
from tokenledger_dagster.ingest.manifest import connect

POLLS = 400


def corpus_of(world: World) -> Corpus:
    corpus = Corpus(world.home_dir, Spec(300_000, 7))
    corpus.write()
    return corpus


def row_counts(world: World) -> dict[str, int]:
    """Rows of the tables that a sync adds to, as they are before anything is settled for a look."""
    connection = connect(world.ledger, read_only=True)
    try:
        tables = ("packs", "pack_sessions", "settled_keys", "segments", "retired")
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    finally:
        connection.close()


def cold_copy(world: World, folder: Path) -> World:
    """The same logs, never read before."""
    cold = World(folder)
    cold.environ = world.environ
    return cold


def evidence(world: World) -> list[tuple[object, ...]]:
    """Where each record stands, whatever its number."""
    names = ("source_path", "ordinal", "byte_offset", "byte_length", "record_sha256")
    return sorted(tuple(record[name] for name in names) for record in world.records())


@pytest.mark.slow
def test_a_day_of_polls_leaves_few_files_and_rows_and_exact_figures(tmp_path: Path) -> None:
    world = World(tmp_path / "polled")
    corpus = corpus_of(world)
    world.sync()
    walls: list[float] = []
    most: dict[str, int] = {}
    for _ in range(POLLS):
        corpus.work()
        started = time.process_time()
        world.sync()
        walls.append(time.process_time() - started)
        found = row_counts(world) | {"files": len(world.files())}
        most = {name: max(most.get(name, 0), count) for name, count in found.items()}

    limit = folding.FOLD_ABOVE + folding.JOIN_ABOVE + 3
    assert most["files"] <= limit
    assert most["segments"] <= limit
    assert most["packs"] <= corpus.files + 3 * (folding.FOLD_ABOVE + 2)
    assert most["settled_keys"] <= 10
    assert statistics.median(walls[-100:]) < 2 * statistics.median(walls[:100])
    cold = cold_copy(world, tmp_path / "cold")
    cold.sync()
    assert world.cells() == cold.cells()
    assert world.booked() == cold.booked()


@pytest.mark.slow
def test_polls_folds_joins_rereads_and_compactions_in_any_mix_give_what_one_reading_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "FOLD_ABOVE", 5)
    monkeypatch.setattr(folding, "JOIN_ABOVE", 2)
    monkeypatch.setattr(folding, "FRESH_BYTES", 6_000)
    world = World(tmp_path / "polled")
    corpus = corpus_of(world)
    for number in range(1, 121):
        corpus.work()
        summary = world.sync(no_cache=number % 29 == 0)
        assert summary.cache.invalidate == 0
        if number % 50 == 0:
            compact(world.ledger)

    cold = cold_copy(world, tmp_path / "cold")
    cold.sync()
    assert world.booked() == cold.booked()
    assert evidence(world) == evidence(cold)
