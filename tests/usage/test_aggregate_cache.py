"""Kept aggregates: warm equals cold whatever happens in between, and each month stands on its own."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.small import small_world
from tests.support import World, claude
from tokenledger_dagster.contracts.costs import CostBreakdown
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import RecordingMetrics
from tokenledger_dagster.pricing.reprice import reprice
from tokenledger_dagster.usage import aggregate_cache
from tokenledger_dagster.usage.aggregates import FilledCache, costs_of_month, fill, open_aggregates
from tokenledger_dagster.usage.selection import Selection

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
MARCH = 24 * 60 * 20
"""Minutes from the small ledger's start to 10 March."""
MAX = "schema_version: 1\nsubscriptions:\n  - {name: max, plan: anthropic/max-20x, from: 2026-02-15, to: 2026-03-20}\n"
PLUS = "schema_version: 1\nsubscriptions:\n  - {name: plus, plan: openai/plus, from: 2026-03-01}\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Requests in February, and one in March.  Not to be changed."""
    folder = tmp_path_factory.mktemp("template")
    add(small_world(folder), "march", MARCH)
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path) -> World:
    """A copy of it."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return World(tmp_path)


def add(world: World, name: str, minutes: float, tokens: int = 10) -> None:
    """One more request in a session of its own."""
    world.claude(
        claude(f"msg_{name}", f"req_{name}", minutes=minutes, session=name, input=tokens), name=f"{name}.jsonl"
    )
    world.sync()


def filled(world: World, zone: str = "UTC", **given: object) -> FilledCache:
    return fill(world.ledger, zone, now=NOW, **given)  # type: ignore[arg-type]


def counts(world: World, zone: str = "UTC") -> tuple[int, int, int]:
    """Hits, misses, and how many of these threw something away."""
    found = filled(world, zone)
    assert found.problem == ""
    return found.hit_count, found.miss_count, found.invalidate_count


def documents(world: World, zone: str, *, enabled: bool) -> list[bytes]:
    """Everything that is kept, as it is published."""
    with open_aggregates(world.ledger, zone, enabled=enabled, now=NOW) as found:
        made = [encode_json(found.costs(month)) for month in found.months]
        made += [encode_json(found.costs(month, Selection(clients=("codex",)))) for month in found.months]
        made += [encode_json(found.snapshot(month, "extended", 5)) for month in (None, *found.months)]
        return [*made, encode_json(found.snapshot(None, "compact", 1))]


def entries(world: World) -> list[Path]:
    return sorted(world.ledger.aggregate_cache.glob("costs-*.json"))


# ------------------------------------------------------------------ hits and misses


def test_a_second_look_computes_nothing(world: World) -> None:
    assert counts(world) == (0, 2, 0)
    assert counts(world) == (2, 0, 0)


def test_a_closed_month_is_kept_when_the_log_grows(world: World) -> None:
    counts(world)
    add(world, "later", MARCH + 60)

    assert counts(world) == (1, 1, 1)
    assert counts(world) == (2, 0, 0)


def test_a_late_request_opens_its_month_again(world: World) -> None:
    counts(world)
    add(world, "late", 5)

    assert counts(world) == (1, 1, 1)


def test_a_plan_concerns_every_month_and_a_day_only_those_that_are_not_over(world: World) -> None:
    counts(world)
    world.ledger.plans_path.write_text(MAX, "utf-8")
    # the snapshot of the latest month is kept from now on too
    assert counts(world) == (0, 3, 2)
    assert counts(world) == (3, 0, 0)

    add(world, "april", 24 * 60 * 50)
    assert counts(world) == (2, 2, 0)
    tomorrow = fill(world.ledger, "UTC", now=datetime(2026, 4, 11, tzinfo=UTC))
    assert (tomorrow.hit_count, tomorrow.miss_count, tomorrow.invalidate_count) == (2, 2, 2)


def test_edited_plans_and_names_of_sessions_are_noticed(world: World) -> None:
    world.ledger.plans_path.write_text(MAX, "utf-8")
    counts(world)
    world.ledger.plans_path.write_text(MAX.replace("max-20x", "max-5x"), "utf-8")
    assert counts(world) == (0, 3, 3)

    world.query("SELECT 1")  # settled
    with sqlite3.connect(world.ledger.manifest_path) as manifest:
        manifest.execute("UPDATE sessions SET project = '/elsewhere' WHERE session_id = 'march'")
    manifest.close()
    assert counts(world) == (1, 2, 2)


def test_with_plans_a_closed_month_is_kept_too(world: World) -> None:
    world.ledger.plans_path.write_text(MAX, "utf-8")
    counts(world)
    add(world, "later", MARCH + 60)

    assert counts(world) == (1, 2, 2)


def test_another_price_concerns_the_months_that_it_changes(world: World) -> None:
    counts(world)
    rates = {"input_usd_per_mtok": 9, "output_usd_per_mtok": 9, "cache_write_usd_per_mtok": 9}
    model = {"gpt-5.1-codex": {**rates, "cache_read_usd_per_mtok": 9}}
    book = {"meta": {"updated_at": "2026-02-01", "source": "own"}, "providers": {"codex": {"models": model}}}
    world.ledger.pricing_book_path.write_text(json.dumps(book), "utf-8")
    reprice(world.ledger, write=True)

    # codex was used in February alone
    assert counts(world) == (1, 1, 1)


def test_every_question_has_an_entry_of_its_own(world: World) -> None:
    asked = [
        Selection(),
        Selection(clients=("codex",)),
        Selection(models=("gpt-5.1-codex",)),
        Selection(estimates=False),
    ]
    with open_aggregates(world.ledger, "UTC", now=NOW) as found:
        totals = [found.costs("2026-02", one).total_tokens for one in asked]
    assert counts(world, "Asia/Tokyo") == (0, 3, 0)

    assert totals == [12_920, 1_050, 1_050, 12_920]
    assert len(entries(world)) == 4 + 2


def test_the_order_of_filters_asks_nothing_new(world: World) -> None:
    pair = ("claude-code", "codex")
    with open_aggregates(world.ledger, "UTC", now=NOW) as found:
        first = found.costs("2026-02", Selection(clients=pair))
        second = found.costs("2026-02", Selection(clients=pair[::-1]))
        assert (found.cache.hits, found.cache.misses) == (1, 1)
    assert (first.total_tokens, second.filters["clients"]) == (second.total_tokens, pair[::-1])


def test_bypassed_nothing_is_read_or_written(world: World) -> None:
    assert filled(world, enabled=False).enabled is False
    assert not world.ledger.aggregate_cache.exists()

    counts(world)
    before = {path: path.read_bytes() for path in world.ledger.aggregate_cache.iterdir()}
    add(world, "later", MARCH + 60)
    bypassed = filled(world, enabled=False)
    assert (bypassed.hit_count, bypassed.miss_count, bypassed.invalidate_count) == (0, 0, 0)
    assert {path: path.read_bytes() for path in world.ledger.aggregate_cache.iterdir()} == before


def test_counts_are_metrics(world: World) -> None:
    metrics = RecordingMetrics()
    filled(world, metrics=metrics)
    filled(world, metrics=metrics)

    outcomes = ("hit", "miss", "invalidate")
    assert [metrics.value(names.AGGREGATE_CACHE, outcome=one) for one in outcomes] == [2, 2, 0]


def test_an_empty_ledger_has_no_months(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.sync()

    assert counts(world) == (0, 0, 0)
    assert costs_of_month(world.ledger, None, "UTC") is None


# ------------------------------------------------------------------ what is not as it was written


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def _other(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}), "utf-8")


def _figure(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"total_tokens":12920', b'"total_tokens":12921'))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "zeros": lambda path: path.write_bytes(b"\0" * 4096),
    "no text": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "deep": lambda path: path.write_bytes(b"[" * 100_000),
    "list": lambda path: path.write_bytes(b"[]"),
    "other schema": lambda path: _other(path, schema_version=2),
    "other program": lambda path: _other(path, program="0.0.1 0123"),
    "other question": lambda path: _other(path, question={"kind": "costs", "month": "2026-03", "zone": "UTC"}),
    "other figure": _figure,
    "huge": lambda path: os.truncate(path, 1 << 33),
    "pipe": _pipe,
    "folder": _folder,
    "link": _link,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_computed_again(world: World, damage: str) -> None:
    cold = documents(world, "UTC", enabled=False)
    counts(world)
    DAMAGES[damage](entries(world)[0])

    found = filled(world)
    assert (found.hit_count, found.miss_count, found.invalidate_count) == (1, 1, 1)
    # a folder in its place cannot be replaced, which is told
    assert bool(found.problem) is (damage == "folder")
    assert documents(world, "UTC", enabled=True) == cold


@pytest.mark.parametrize("content", [b"", b"{}", b'{"schema_version":1}', b"\0\0", b"[[["])
def test_damaged_keys_are_worked_out_again(world: World, content: bytes) -> None:
    counts(world)
    keys = world.ledger.aggregate_cache / "_keys.json"
    kept = keys.read_bytes()
    keys.write_bytes(content)

    assert counts(world) == (2, 0, 0)
    assert json.loads(keys.read_bytes())["keys"] == json.loads(kept)["keys"]


def test_entries_of_other_code_are_computed_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    counts(world)
    monkeypatch.setattr(aggregate_cache, "program", lambda: "another")

    assert counts(world) == (0, 2, 2)


@pytest.mark.parametrize("name", ["cache", "cache/aggregates"])
def test_nothing_is_written_through_a_link(world: World, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = world.ledger.root / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")

    found = filled(world)
    assert (found.miss_count, list((tmp_path / "elsewhere").iterdir())) == (2, [])
    assert found.problem == f"{world.ledger.aggregate_cache}: is a link; nothing is written through it; nothing is kept"


def test_a_file_in_the_folders_place_is_told(world: World) -> None:
    (world.ledger.root / "cache").write_text("mine")

    found = filled(world)
    assert (found.hit_count, found.miss_count) == (0, 2)
    assert found.problem.endswith("nothing is kept")
    assert (world.ledger.root / "cache").read_text() == "mine"


def test_the_oldest_entries_make_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate_cache, "MOST_ENTRIES", 3)
    counts(world)
    for path in entries(world):
        os.utime(path, (0, 0))
    foreign = world.ledger.aggregate_cache / "notes.json"
    foreign.write_text("mine")
    with open_aggregates(world.ledger, "UTC", now=NOW) as found:
        for client in ("codex", "claude-code", "droid"):
            found.costs("2026-02", Selection(clients=(client,)))

    assert len(entries(world)) == 3
    assert all(path.stat().st_mtime > 0 for path in entries(world))
    assert foreign.read_text() == "mine"


# ------------------------------------------------------------------ warm equals cold

Step = tuple[str, object, object]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 60 * 24 * 45), st.integers(1, 10**6)),
        st.tuples(st.just("plans"), st.sampled_from(["", MAX, PLUS]), st.none()),
        st.tuples(st.just("price"), st.integers(1, 50), st.sampled_from(["claude", "codex"])),
        st.tuples(st.just("fee"), st.sampled_from([0, 20]), st.none()),
        st.tuples(st.just("run"), st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles"]), st.none()),
    ),
    min_size=1,
    max_size=8,
)
MODELS = {"claude": "claude-sonnet-4-5", "codex": "gpt-5.1-codex"}


@settings(max_examples=8)
@given(steps=STEPS)
def test_with_and_without_the_cache_every_document_is_the_same(template: Path, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        world = World(Path(folder))
        fees: dict[str, object] = {}
        prices: dict[str, object] = {}
        for number, (step, what, more) in enumerate([*steps, ("run", "UTC", None)]):
            if step == "append":
                add(world, f"n{number}", int(str(what)), int(str(more)))
            elif step == "plans":
                world.ledger.plans_path.write_text(str(what) or "schema_version: 1\n", "utf-8")
            elif step == "run":
                assert documents(world, str(what), enabled=True) == documents(world, str(what), enabled=False)
                assert filled(world, str(what)).miss_count == 0
            else:
                fees = {"subscription_usd_month": what} if step == "fee" else fees
                prices = {**prices, str(more): what} if step == "price" else prices
                _accept(world, fees, prices)


def _accept(world: World, fees: dict[str, object], prices: dict[str, object]) -> None:
    providers: dict[str, object] = {}
    for name, model in MODELS.items():
        rates = {f"{kind}_usd_per_mtok": prices.get(name) for kind in ("input", "output", "cache_write", "cache_read")}
        own = {"models": {model: rates}} if name in prices else {"models": {}}
        providers[name] = {**own, **(fees if name == "claude" else {})}
    book = {"meta": {"updated_at": "2026-02-01", "source": "own"}, "providers": providers}
    world.ledger.pricing_book_path.write_text(json.dumps(book), "utf-8")
    reprice(world.ledger, write=True)


def test_a_kept_document_is_of_now(world: World) -> None:
    counts(world)
    later = datetime(2026, 5, 1, tzinfo=UTC)
    with open_aggregates(world.ledger, "UTC", now=later) as found:
        made: CostBreakdown = found.costs("2026-02")
        assert found.cache.hits == 1
    assert made.generated_at == "2026-05-01T00:00:00Z"
