"""The ledger of a home: its own models, prices, usage mix and latencies beside the public figures.

The small ledger's tokens: 1,750 in, 400 written, 10,400 read, 370 out, 12,920 together. Its models: claude-sonnet-4-5,
which the benchmark table has, gpt-5.1-codex, which it lacks, and house-model-7, which nobody knows.
"""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.exports.small import rows, small_world
from tests.landing.rows import queued
from tests.support import World, claude, jsonl
from tokenledger_dagster.contracts.ledger import OBJECTIVES
from tokenledger_dagster.exports.model_ledger import (
    RuntimeOptions,
    Written,
    live_view,
    shares,
    usage_of,
    write_ledger,
    write_runtime,
    write_seed,
)
from tokenledger_dagster.exports.pareto_chart import pareto_markdown, pareto_picture
from tokenledger_dagster.exports.tables import build, table_path
from tokenledger_dagster.home import ensure_home
from tokenledger_dagster.models.artifacts import COMMITTED, LEDGER_CSV, PARETO_CSV, SEED_CSV
from tokenledger_dagster.models.comparison import MIX, load_comparison
from tokenledger_dagster.models.unified import InUse
from tokenledger_dagster.models.validation import validate
from tokenledger_dagster.pricing.reprice import reprice

Con = duckdb.DuckDBPyConnection
NOW = datetime(2026, 3, 1, 17, 30, tzinfo=UTC)
LEDGER, PARETO, RUNTIME = "unified_model_provider_ledger", "unified_model_provider_pareto", "runtime_metrics"
OWN_MIX = {
    "input": Decimal("0.135449"),
    "cache_write": Decimal("0.030960"),
    # 0.804954 less the millionth that the rounded shares sum to more than 1
    "cache_read": Decimal("0.804953"),
    "output": Decimal("0.028638"),
}


def write(world: World, con: Con, *, now: datetime = NOW, snapshot: Path | None = None) -> Written:
    """Every step, in order."""
    build("events", con, world.ledger, "UTC")
    write_seed(world.ledger)
    write_runtime(world.ledger, world.environ, con, RuntimeOptions(snapshot))
    return write_ledger(world.ledger, con, now)


def tables(world: World, con: Con) -> None:
    for name in (RUNTIME, LEDGER, PARETO):
        build(name, con, world.ledger, "UTC")


class Made(NamedTuple):
    """The small ledger with its files and tables; not to be changed."""

    world: World
    con: Con
    written: Written


@pytest.fixture(scope="module")
def read_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small ledger with its events; to be copied, not to be changed."""
    world = small_world(tmp_path_factory.mktemp("read"))
    with duckdb.connect() as con:
        build("events", con, world.ledger, "UTC")
    return world


@pytest.fixture
def world(read_world: World, tmp_path: Path) -> World:
    """A copy of it: quicker than reading all logs for every test."""
    return copy_of(read_world, tmp_path)


def copy_of(world: World, folder: Path) -> World:
    shutil.copytree(world.ledger.root.parent, folder, dirs_exist_ok=True)
    return World(folder)


@pytest.fixture(scope="module")
def made(read_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    world = copy_of(read_world, tmp_path_factory.mktemp("made"))
    with duckdb.connect() as con:
        written = write(world, con)
        tables(world, con)
        yield Made(world, con, written)


def row(world: World, source: str, *columns: str) -> tuple[Any, ...]:
    (found,) = [values[1:] for values in rows(world, LEDGER, "source_model", *columns) if values[0] == source]
    return found


def add_requests(world: World, model: str, latencies: list[int], provider: str = "codex") -> None:
    """Requests through the proxy, one a second, read into the ledger."""
    log = world.home_dir / "proxy" / "queue.jsonl"
    records = [
        queued(f"r{number}", number, model=model, latency_ms=latency, provider=provider)
        for number, latency in enumerate(latencies)
    ]
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(jsonl(*records))
    world.sources = (("cliproxyapi", str(log)),)
    world.sync()


# ------------------------------------------------------------------ own usage


def test_the_usage_mix_and_models_are_the_ledgers_own(made: Made) -> None:
    found = usage_of(made.con, table_path(made.world.ledger, "events"))
    assert found.mix == OWN_MIX
    assert found.in_use == [
        InUse("claude", "claude-sonnet-4-5"),
        InUse("claude", "house-model-7"),
        InUse("codex", "gpt-5.1-codex"),
    ]


@given(st.fixed_dictionaries({name: st.integers(0, 10**15) for name in MIX}))
def test_shares_sum_to_exactly_one(sums: dict[str, int]) -> None:
    found = shares(sums)
    if not sum(sums.values()):
        assert found is None
        return
    assert found is not None
    assert sum(found.values()) == 1
    assert all(
        share >= 0 and abs(share - Decimal(sums[name]) / sum(sums.values())) < Decimal("0.000003")
        for name, share in found.items()
    )


def test_own_models_stand_beside_those_of_the_table(made: Made) -> None:
    columns = ("inferred_provider", "canonical_model_guess", "is_canonical", "pricing_input_usd_per_mtok")
    assert row(made.world, "Claude Sonnet 4.5", *columns) == ("claude", "claude-sonnet-4-5", True, 3)
    assert row(made.world, "codex/gpt-5.1-codex", *columns) == ("codex", "gpt-5.1-codex", True, Decimal("1.25"))
    assert row(made.world, "claude/house-model-7", *columns) == ("claude", "house-model-7", True, None)
    used = [source for source, in_use in rows(made.world, LEDGER, "source_model", "is_in_use") if in_use]
    assert used == ["claude/house-model-7", "Claude Sonnet 4.5", "codex/gpt-5.1-codex"]


def joined(world: World, con: Con) -> tuple[int, int, int]:
    """Rows of usage joined to the ledger, different requests among them, and their tokens."""
    events, ledger = table_path(world.ledger, "events"), table_path(world.ledger, LEDGER)
    (found,) = con.execute(
        f"SELECT count(*), count(DISTINCT event_id), sum(total_tokens) FROM read_parquet('{events}') AS used "
        f"JOIN read_parquet('{ledger}') AS one ON one.is_canonical AND one.inferred_provider = used.provider "
        "AND one.canonical_model_guess = used.model"
    ).fetchall()
    return found  # type: ignore[no-any-return]


def test_all_usage_joins_to_one_row_and_keeps_its_sum(made: Made) -> None:
    assert joined(made.world, made.con) == (5, 5, 12_920)


HOSTILE = (
    *("\r", "\n", "\r\n", "\t", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"),
    *('"', "'", ",", ";", "\x00"),
)


def test_names_that_other_readers_take_for_line_ends_stay_names(world: World, con: Con) -> None:
    world.claude(
        *(
            claude(f"msg_h{place}", f"req_h{place}", input=100, output=0, model=f"house{one}model", session="s9")
            for place, one in enumerate(HOSTILE)
        ),
        name="s9.jsonl",
    )
    world.sync()
    write(world, con)
    tables(world, con)

    named = {name for (name,) in rows(world, LEDGER, "canonical_model_guess") if name and name.startswith("house")}
    # no text of a log has a NUL
    assert named == {f"house{one}model" for one in HOSTILE if one != "\x00"} | {"housemodel", "house-model-7"}
    # sixteen requests more of a hundred tokens
    assert joined(world, con) == (21, 21, 14_520)
    found = validate(world.ledger.ledger)
    assert found[LEDGER] == len(rows(world, LEDGER)) == 102
    assert {one.source_model for one in live_view(world.ledger, con)[1]} >= {f"claude/{name}" for name in named}


def test_costs_are_blended_by_the_own_mix(made: Made) -> None:
    columns = ("objectives", "source_model", "blended_cost_usd_per_mtok")
    found = {
        source: cost for objectives, source, cost in rows(made.world, PARETO, *columns) if objectives == OBJECTIVES[0]
    }
    # 3 x 0.135449 + 3.75 x 0.03096 + 0.3 x 0.804953 + 15 x 0.028638
    assert found["Claude Sonnet 4.5"] == Decimal("1.193502900")
    assert found["claude/house-model-7"] is None
    assert live_view(made.world.ledger, made.con)[0] == OWN_MIX


def test_prices_are_those_of_noon_of_the_day(made: Made) -> None:
    assert set(rows(made.world, LEDGER, "pricing_as_of")) == {("2026-03-01T12:00:00Z",)}


def test_an_accepted_book_comes_first(world: World, con: Con) -> None:
    write(world, con)
    book = {
        "meta": {"source": "a bill", "updated_at": "2026-02-01T00:00:00Z"},
        "providers": {
            "claude": {
                "subscription_usd_month": 100,
                "models": {"claude-sonnet-4-5": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 9}},
            }
        },
    }
    world.ledger.pricing_book_path.write_text(json.dumps(book), encoding="utf-8")
    # a book that nobody accepted prices nothing yet
    assert not write_ledger(world.ledger, con, NOW).is_new
    reprice(world.ledger, write=True)
    assert write_ledger(world.ledger, con, NOW).is_new
    tables(world, con)

    columns = ("pricing_input_usd_per_mtok", "pricing_subscription_usd_month", "pricing_source")
    assert row(world, "Claude Sonnet 4.5", *columns) == (2, 100, "a bill")
    assert row(world, "codex/gpt-5.1-codex", *columns)[:2] == (Decimal("1.25"), None)


def test_a_home_without_events_has_the_public_figures_and_the_typical_mix(tmp_path: Path, con: Con) -> None:
    home = ensure_home(tmp_path / "ledger", "test")
    write_seed(home)
    write_runtime(home, {}, con)
    assert write_ledger(home, con, NOW).counts["cost+quality frontier"] > 0
    mix, found = live_view(home, con)
    assert mix == load_comparison().usage_mix
    assert {one.objectives for one in found} == set(OBJECTIVES)
    assert not any(one.runtime_requests for one in found)


# ------------------------------------------------------------------ own latencies


def test_own_latencies_rank_the_models_that_were_measured_often_enough(world: World, con: Con) -> None:
    add_requests(world, "gpt-5.4", [*range(1_000, 4_000, 100)])
    write(world, con)
    tables(world, con)
    found = {one.source_model: one for one in live_view(world.ledger, con)[1] if one.objectives == OBJECTIVES[1]}
    one = found["GPT-5.4"]
    assert (one.eligibility, one.latency, one.latency_basis) == ("eligible", Decimal(2_400), "ms_per_request")
    assert one.runtime_requests == 30
    assert (one.is_frontier, one.runtime_latency_ms) == (True, 2_400)
    assert [name for name, other in found.items() if other.eligibility == "eligible"] == ["GPT-5.4"]
    assert rows(world, RUNTIME, "provider", "model", "requests", "latency_p50_ms", "latency_p95_ms") == [
        ("codex", "gpt-5.4", 30, 2_400, 3_800)
    ]


def test_a_named_snapshot_is_compared_in_place_of_the_logs(world: World, con: Con, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("provider,model,requests,latency_p50_ms,quality_score\ncodex,gpt-5.4,30,900,80\n")
    write(world, con, snapshot=path)
    found = {(one.objectives, one.source_model): one for one in live_view(world.ledger, con)[1]}
    one = found[OBJECTIVES[1], "GPT-5.4"]
    # 30 requests weigh as much as the benchmark: 59.1 and 80 meet at 69.55
    assert [one.latency, one.quality, one.benchmark_quality_score] == [900, Decimal("69.55"), Decimal("59.1")]
    assert (one.runtime_quality_score, one.runtime_source_path) == (Decimal(80), str(path))


# ------------------------------------------------------------------ what is made anew


def test_nothing_is_made_again_on_a_day_on_which_nothing_changed(world: World, con: Con) -> None:
    first = write(world, con)
    before = {path.name: path.stat().st_mtime_ns for path in world.ledger.ledger.iterdir()}
    again = write(world, con, now=NOW.replace(hour=23))
    assert (first.is_new, again.is_new) == (True, False)
    assert (again.digest, again.counts) == (first.digest, first.counts)
    assert {path.name: path.stat().st_mtime_ns for path in world.ledger.ledger.iterdir()} == before
    # another day may have other prices
    assert write(world, con, now=NOW.replace(day=2)).is_new


def test_a_file_that_was_edited_or_removed_is_made_again(world: World, con: Con) -> None:
    first = write(world, con)
    edited, removed, seed = (world.ledger.ledger / name for name in (LEDGER_CSV, PARETO_CSV, SEED_CSV))
    before = {path: path.read_bytes() for path in (edited, removed, seed)}
    edited.write_bytes(before[edited] + b"x")
    removed.unlink()
    seed.write_bytes(b"")
    assert write(world, con).digest == first.digest
    assert {path: path.read_bytes() for path in before} == before


def test_new_usage_of_a_new_model_is_seen(world: World, con: Con) -> None:
    before = write(world, con).counts["ledger_rows"]
    add_requests(world, "house-model-8", [100])
    assert write(world, con).counts["ledger_rows"] == before + 1


def test_two_homes_of_the_same_logs_have_the_same_files(made: Made, tmp_path: Path, con: Con) -> None:
    assert write(small_world(tmp_path), con).digest == made.written.digest


def test_the_files_are_those_of_the_committed_folder(made: Made) -> None:
    assert {path.name for path in made.world.ledger.ledger.iterdir()} == {
        path.name for path in COMMITTED.iterdir() if path.suffix in (".csv", ".sql")
    }


def test_tables_of_a_home_without_these_files_are_empty(world: World, con: Con) -> None:
    tables(world, con)
    assert [rows(world, name) for name in (RUNTIME, LEDGER, PARETO)] == [[], [], []]


def test_tables_say_what_the_files_say(made: Made) -> None:
    counts = made.written.counts
    assert len(rows(made.world, LEDGER)) == counts["ledger_rows"]
    found = {(one.objectives, one.ledger_row_id): one for one in live_view(made.world.ledger, made.con)[1]}
    columns = ("objectives", "ledger_row_id", "is_frontier", "eligibility", "quality", "cost_usd", "pareto_score")
    for objectives, number, *figures in rows(made.world, PARETO, *columns):
        one = found[objectives, number]
        assert figures == [one.is_frontier, one.eligibility, one.quality, one.cost_usd, one.pareto_score]
    # an empty text is a text, and nothing is nothing
    assert row(made.world, "Claude Sonnet 4.5", "modifiers", "pricing_note", "pricing_subscription_usd_month") == (
        "",
        "",
        None,
    )


# ------------------------------------------------------------------ the picture


def test_the_picture_of_a_home_is_plain_svg_with_a_title_and_every_eligible_model(made: Made) -> None:
    found = live_view(made.world.ledger, made.con)[1]
    svg = pareto_picture(found, OBJECTIVES)
    assert svg is not None
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    titles = [one.text or "" for one in root.iter(f"{space}title")]
    assert titles
    assert all("SWE-Bench Pro" in title for title in titles)
    tags = {one.tag.removeprefix(space) for one in root.iter()}
    assert not tags & {"script", "foreignObject", "image", "a", "use"}
    assert not any(name.lower().startswith("on") or "href" in name for one in root.iter() for name in one.attrib)
    words = {one.text for one in root.iter(f"{space}text")}
    assert {one.source_model for one in found if one.eligibility == "eligible"} <= words
    assert pareto_picture(found, OBJECTIVES) == svg


def test_the_words_beside_the_picture_name_the_frontier(made: Made, world: World) -> None:
    assert pareto_markdown(world.ledger) == "The ledger was not built yet."
    text = pareto_markdown(made.world.ledger)
    assert "5 of 10 eligible models are beaten by none" in text
    assert "GPT-5.4 (" in text
    # nobody's latency was measured
    assert "**cost+quality+latency**: no model has a figure for every objective." in text
