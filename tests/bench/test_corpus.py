"""Made-up logs: the same bytes for the same seed, laid out as the clients write, and a truth that a sync confirms."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import Written
from tests.support import World
from tokenledger_dagster.bench.corpus import Corpus
from tokenledger_dagster.bench.truth import compare
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.home import SAMPLE_HOME
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.usage.report import make_report
from tokenledger_dagster.usage.selection import Selection


def digests(corpus: Corpus) -> dict[str, str]:
    files = sorted(path for path in corpus.home.rglob("*") if path.is_file())
    return {str(path.relative_to(corpus.home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def size_on_disk(corpus: Corpus) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in corpus.home.rglob("*.jsonl")]
    return len(sizes), sum(sizes)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.read_bytes().splitlines()]


def ledger_of(corpus: Corpus) -> World:
    """A ledger beside the corpus; it reads the corpus alone."""
    world = World(corpus.home.parent)
    world.environ = {"HOME": str(corpus.home)}
    return world


def report(world: World) -> Any:
    world.sync()
    connection = connect(world.ledger, read_only=True)
    try:
        found = make_report(connection, "daily", Selection(zone="UTC"), datetime(2026, 4, 1, tzinfo=UTC))
    finally:
        connection.close()
    return json.loads(encode_json(found))


def test_equal_seeds_make_equal_bytes_and_other_seeds_others(written: Written) -> None:
    first, again, other = written(name="a"), written(name="b"), written(name="c", seed=2)

    assert digests(first) == digests(again)
    assert first.facts == again.facts
    assert digests(first).values() != digests(other).values()


def test_growth_is_as_repeatable_as_the_beginning(written: Written) -> None:
    first, again = written(name="a"), written(name="b")
    for corpus in (first, again):
        corpus.grow(30_000)
        corpus.touch()

    assert digests(first) == digests(again)


@pytest.mark.parametrize("shape", ["default", "single-file", "many-files"])
def test_sync_finds_exactly_what_was_written_and_what_was_appended(written: Written, shape: str) -> None:
    corpus = written(shape=shape)
    world = ledger_of(corpus)

    checked = [compare(report(world), corpus.truth)]
    for size in (5_000, 90_000):
        corpus.grow(size)
        checked.append(compare(report(world), corpus.truth))
    corpus.touch()
    checked.append(compare(report(world), corpus.truth))

    assert [one.first_differences for one in checked] == [[], [], [], []]
    assert all(one.passed and one.compared > 20 for one in checked)
    assert world.query("SELECT count(*) FROM records") == [(corpus.truth.usage_rows,)]
    assert world.skipped().keys() <= {"usage_null"}


def test_every_way_of_copying_a_request_is_there(written: Written) -> None:
    world = ledger_of(written(size=2_000_000, seed=3))
    world.sync()

    assert world.rules().keys() == {
        "claude.stream_copy",
        "claude.resume_copy",
        "claude.progress_copy",
        "codex.repeated_total",
        "codex.fork_prefix",
    }


def test_facts_are_those_of_the_files(written: Written) -> None:
    corpus = written()

    assert size_on_disk(corpus) == (corpus.facts.files, corpus.facts.bytes)
    corpus.grow(200_000)
    assert size_on_disk(corpus) == (corpus.facts.files, corpus.facts.bytes)
    assert corpus.facts.bytes >= 600_000


@pytest.mark.parametrize(("shape", "files"), [("single-file", (1, 1)), ("many-files", (50, 150))])
def test_shapes(written: Written, shape: str, files: tuple[int, int]) -> None:
    least, most = files
    assert least <= written(shape=shape).files <= most


def test_most_bytes_are_passed_over_without_decoding(written: Written) -> None:
    corpus = written(size=2_000_000)
    kinds = {"needed": 0, "other": 0}
    for path in corpus.home.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            needed = b'"type":"assistant"' in line[:500] or b'"type":"token_count"' in line[:90]
            kinds["needed" if needed else "other"] += len(line)

    assert 0.1 < kinds["needed"] / sum(kinds.values()) < 0.3


def test_rows_have_the_keys_of_the_sample_in_the_same_order(written: Written) -> None:
    projects = SAMPLE_HOME / ".claude" / "projects" / "-home-ada-code-tidepool"
    sample, made = rows(projects), rows(written(size=1_500_000).home / ".claude")

    def layouts(found: list[dict[str, Any]], kind: str) -> set[tuple[str, ...]]:
        return {tuple(row) for row in found if row["type"] == kind}

    def nested(found: list[dict[str, Any]]) -> set[tuple[str, ...]]:
        progress = (row["data"] for row in found if row["type"] == "progress" and "message" in row["data"])
        return {(*data, *data["message"], *data["message"]["message"]) for data in progress}

    assert nested(made) == nested(sample)
    for kind in ("assistant", "user", "progress", "summary", "file-history-snapshot"):
        assert layouts(made, kind) <= layouts(sample, kind), kind
        assert layouts(made, kind), kind


def test_payloads_have_the_keys_of_the_sample_in_the_same_order(written: Written) -> None:
    sample = rows(SAMPLE_HOME / ".codex" / "sessions" / "2026" / "08")
    made = rows(written(size=1_500_000).home / ".codex")

    def layouts(found: list[dict[str, Any]], kind: str) -> set[tuple[str, ...]]:
        kinds = ((row["payload"].get("type"), row) for row in found)
        return {(*row, *row["payload"]) for inner, row in kinds if kind in (row["type"], inner)}

    for kind in ("session_meta", "turn_context", "token_count", "user_message", "function_call_output", "reasoning"):
        assert layouts(made, kind) <= layouts(sample, kind), kind
        assert layouts(made, kind), kind
