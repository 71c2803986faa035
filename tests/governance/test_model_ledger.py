"""What must hold of the unified ledger is found where it does not, with the rows that break it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.governance.conftest import Audit
from tests.landing.rows import queued
from tests.support import World, claude
from tokenledger_dagster.exports.model_ledger import write_ledger
from tokenledger_dagster.exports.tables import build, table_path
from tokenledger_dagster.governance.invariants import INVARIANTS
from tokenledger_dagster.governance.outcome import SHOWN_ROWS, CheckOutcome
from tokenledger_dagster.models.artifacts import LEDGER_CSV, LEDGER_SEED, PARETO_CSV, PARETO_VIEW
from tokenledger_dagster.pricing.reprice import reprice

LEDGER, PARETO = "unified_model_provider_ledger", "unified_model_provider_pareto"
PRICES, JOINS, FRONTIER, LOADS = (
    "prices_are_their_own",
    "usage_joins_once",
    "frontier_is_undominated",
    "ledger_files_load",
)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


BOOK = {
    "meta": {"source": "a bill", "updated_at": "2026-02-01T00:00:00Z"},
    "providers": {
        "claude": {
            "models": {
                "house-model-7": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8},
                # the book's own spelling of claude-sonnet-4-5
                "Claude Sonnet 4.5": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 9, "tool_input_usd_per_mtok": 1},
                "claude-opus-5-5": {"input_usd_per_mtok": 4, "output_usd_per_mtok": 20},
            },
            # one alias leads to the book's own model, one to a model of the price list
            "model_aliases": {"house-model-8": "house-model-7", "house-model-9": "claude-opus-4-5"},
        },
        "droid": {"models": {}, "model_aliases": {"house-model-6": "gpt-5.4"}},
    },
}
"""A book that prices a model which nobody else knows."""


@pytest.fixture
def audit(good: Audit, tmp_path: Path) -> Audit:
    """A copy of the good ledger, to break; quicker than one of its own."""
    return copied(good, tmp_path)


def copied(whole: Audit, folder: Path) -> Audit:
    unread = shutil.ignore_patterns("*.duckdb", "runs")
    shutil.copytree(whole.world.ledger.root.parent, folder, ignore=unread, dirs_exist_ok=True)
    return Audit(World(folder), whole.con)


@pytest.fixture(scope="module")
def priced(good: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The good ledger with a book, usage through resellers, and usage that only the book names; not to be changed."""
    found = copied(good, tmp_path_factory.mktemp("priced"))
    world, home = found.world, found.world.ledger
    world.claude(
        *(claude(f"msg_{n}", f"req_{n}", input=500, model=f"house-model-{n}", session="s9") for n in (8, 9)),
        name="s9.jsonl",
    )
    log = world.home_dir / "proxy" / "queue.jsonl"
    world.write(
        log,
        queued("r1", 1, provider="bedrock", model="claude-opus-4-5"),
        queued("r2", 2, provider="azure", model="claude-opus-4-5"),
        queued("r3", 3, provider="github-copilot", model="claude-opus-4-7"),
        queued("r4", 4, provider="factory", model="house-model-6"),
    )
    world.sources = (("cliproxyapi", str(log)),)
    world.sync()
    home.pricing_book_path.write_text(json.dumps(BOOK), encoding="utf-8")
    reprice(home, write=True)
    for name in ("events", "prices", "event_costs"):
        build(name, found.con, home, "UTC")
    write_ledger(home, found.con, NOW)
    for name in (LEDGER, PARETO):
        build(name, found.con, home, "UTC")
    return found


@pytest.fixture
def booked(priced: Audit, tmp_path: Path) -> Audit:
    """A copy of it, to break."""
    return copied(priced, tmp_path)


def replace(audit: Audit, table: str, where: str, **columns: str) -> None:
    """Plants other values in some rows of a table."""
    planted = ", ".join(f"if({where}, {value}, {column}) AS {column}" for column, value in columns.items())
    audit.rewrite(table, f"SELECT * REPLACE ({planted}) FROM t")


def counted(audit: Audit, table: str, where: str) -> int:
    path = table_path(audit.world.ledger, table)
    ((found,),) = audit.con.execute(f"SELECT count(*) FROM read_parquet('{path}') WHERE {where}").fetchall()
    return int(found)


def assert_found(found: CheckOutcome, count: int, *words: str) -> None:
    """A failure says how many, how many there should be, which, and what follows."""
    assert (found.passed, found.actual, found.expected, found.delta) == (False, count, 0, count)
    assert len(found.rows) == min(count, SHOWN_ROWS)
    assert found.severity == "ERROR"
    for word in words:
        assert word in found.description
    assert "Delete TOKENLEDGER_HOME/ledger and run again." in found.description


# ------------------------------------------------------------------ the ledger as it is built


@pytest.mark.parametrize("name", [PRICES, JOINS, FRONTIER, LOADS])
def test_what_is_built_holds(good: Audit, name: str) -> None:
    found = good.inspect(name)
    assert (found.passed, found.delta, found.rows) == (True, 0, [])


def test_files_that_nobody_joins_with_do_not_stop_the_run() -> None:
    assert {name: INVARIANTS[name].blocking for name in (PRICES, JOINS, FRONTIER, LOADS)} == {
        PRICES: True,
        JOINS: True,
        FRONTIER: True,
        LOADS: False,
    }


# ------------------------------------------------------------------ whose prices


def test_a_price_of_another_model_is_named(audit: Audit) -> None:
    # GPT-6.1 Sol reads its cache for 0.1, GPT-6 Sol for 0.2; all else is equal
    replace(
        audit,
        LEDGER,
        "source_model = 'GPT-6 Sol'",
        pricing_model="'gpt-6.1-sol'",
        pricing_cache_read_usd_per_mtok="0.1",
    )

    found = audit.inspect(PRICES)
    assert_found(found, 1, "first GPT-6 Sol", "others' prices")
    assert found.rows[0] == {
        "source_model": "GPT-6 Sol",
        "canonical_model_guess": "gpt-6-sol",
        "pricing_model": "gpt-6.1-sol",
        "pricing_provider": "codex",
        "pricing_channel": "openai",
        "pricing_context": "standard",
        "pricing_input_usd_per_mtok": Decimal("2.000000000"),
        "pricing_output_usd_per_mtok": Decimal("10.000000000"),
    }


@pytest.mark.parametrize(
    "planted",
    [
        {"pricing_input_usd_per_mtok": "4"},
        {"pricing_output_usd_per_mtok": "9.999999999"},
        {"pricing_cache_read_usd_per_mtok": "0"},
        {"pricing_output_usd_per_mtok": "NULL"},
        # the same figures, claimed of another model, channel or context
        {"pricing_model": "'gpt-6-luna'"},
        {"canonical_model_guess": "'gpt-6.1-sol'"},
        {"pricing_channel": "'moonshotai'"},
        {"pricing_context": "'processing=batch'"},
        {"pricing_model": "NULL"},
        # a name that does not say which model it is has no price at all
        {"model_mapping_confidence": "84"},
    ],
)
def test_a_price_that_is_no_rate_of_its_own_model_and_context_is_found(audit: Audit, planted: dict[str, str]) -> None:
    replace(audit, LEDGER, "source_model = 'GPT-6 Sol'", **planted)

    found = audit.inspect(PRICES)
    assert_found(found, 1)
    assert found.rows[0]["source_model"] == "GPT-6 Sol"


def test_a_price_of_days_to_come_is_found(audit: Audit) -> None:
    replace(audit, "prices", "model = 'gpt-6-sol'", valid_from="DATE '2027-01-01'")

    assert [row["source_model"] for row in audit.inspect(PRICES).rows] == ["GPT-6 Sol"]


def test_of_many_wrong_prices_all_are_counted_and_twenty_shown(audit: Audit) -> None:
    replace(audit, LEDGER, "true", pricing_input_usd_per_mtok="pricing_input_usd_per_mtok + 1")

    priced = counted(audit, LEDGER, "pricing_input_usd_per_mtok IS NOT NULL")
    assert priced > SHOWN_ROWS
    assert_found(audit.inspect(PRICES), priced)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # nobody but the book knows these
        ("claude/house-model-7", ("house-model-7", None, 0, "2", "8", None)),
        ("claude/house-model-8", ("house-model-7", None, 0, "2", "8", None)),
        ("Claude Sonnet 4.5", ("claude-sonnet-4-5", None, 92, "2", "9", "1")),
        # an alias that leads to a price list: the provider's own, or the maker's where it has none
        ("claude/house-model-9", ("claude-opus-4-5", "anthropic", 0, "5", "25", None)),
        ("droid/house-model-6", ("gpt-5.4", "openai", 0, "2.5", "15", None)),
        # who bills has a list, and is not the maker
        ("aws/claude-opus-4-5", ("claude-opus-4-5", "aws", 100, "5.5", "27.5", None)),
        ("copilot/claude-opus-4-7", ("claude-opus-4-7", "github-copilot", 100, "5", "25", None)),
        # who bills has a list without the model
        ("azure/claude-opus-4-5", ("claude-opus-4-5", "anthropic", 100, "5", "25", None)),
    ],
)
def test_prices_of_the_own_book_and_of_who_bills_are_own_prices(
    priced: Audit, source: str, expected: tuple[str | int | None, ...]
) -> None:
    columns = (
        "pricing_model, pricing_channel, model_mapping_confidence, pricing_input_usd_per_mtok, "
        "pricing_output_usd_per_mtok, pricing_tool_input_usd_per_mtok"
    )
    path = table_path(priced.world.ledger, LEDGER)
    (found,) = priced.con.execute(
        f"SELECT {columns} FROM read_parquet('{path}') WHERE source_model = ?", [source]
    ).fetchall()
    *words, fresh, output, tool = expected
    assert found == (*words, *(None if one is None else Decimal(str(one)) for one in (fresh, output, tool)))
    assert priced.inspect(PRICES).passed


def test_a_row_of_a_reseller_costs_what_its_events_cost(priced: Audit) -> None:
    events, costs, ledger = (table_path(priced.world.ledger, name) for name in ("events", "event_costs", LEDGER))
    # 3,000 in, 9,000 read from a cache, 800 out
    found = priced.con.execute(
        "SELECT event.provider, list_price_usd - (3000 * pricing_input_usd_per_mtok "
        "+ 9000 * pricing_cache_read_usd_per_mtok + 800 * pricing_output_usd_per_mtok) / 1000000, "
        "cost.list_basis = one.pricing_list_basis, "
        "cost.price_confidence = one.pricing_confidence "
        f"FROM read_parquet('{events}') AS event JOIN read_parquet('{costs}') AS cost USING (event_id) "
        f"JOIN read_parquet('{ledger}') AS one ON one.is_canonical AND one.inferred_provider = event.provider "
        "AND one.canonical_model_guess = event.model WHERE event.client = 'cliproxyapi' AND event.maker = 'anthropic' "
        "ORDER BY event.provider"
    ).fetchall()
    assert found == [(provider, 0, True, True) for provider in ("aws", "azure", "copilot")]


@pytest.mark.parametrize(
    ("source", "planted"),
    [
        # the book's price of another model, and of another provider
        (
            "GPT-6 Sol",
            {
                "pricing_model": "'claude-opus-5-5'",
                "pricing_provider": "'claude'",
                "pricing_channel": "NULL",
                "pricing_input_usd_per_mtok": "4",
                "pricing_output_usd_per_mtok": "20",
                "pricing_cache_write_usd_per_mtok": "4",
                "pricing_cache_read_usd_per_mtok": "4",
            },
        ),
        ("Claude Sonnet 4.5", {"pricing_provider": "'codex'"}),
        ("Claude Sonnet 4.5", {"inferred_provider": "'codex'", "pricing_provider": "'codex'"}),
        ("claude/house-model-7", {"canonical_model_guess": "'house-model-5'"}),
        ("claude/house-model-8", {"canonical_model_guess": "'house-model-5'"}),
        ("claude/house-model-9", {"inferred_provider": "'codex'"}),
        # the price of a reseller
        (
            "Claude Opus 4.5",
            {
                "pricing_channel": "'aws'",
                "pricing_input_usd_per_mtok": "5.5",
                "pricing_output_usd_per_mtok": "27.5",
                "pricing_cache_write_usd_per_mtok": "6.875",
                "pricing_cache_read_usd_per_mtok": "0.55",
            },
        ),
        # the maker's in place of who bills, which has one
        (
            "aws/claude-opus-4-5",
            {
                "pricing_channel": "'anthropic'",
                "pricing_list_basis": "'maker'",
                "pricing_input_usd_per_mtok": "5",
                "pricing_output_usd_per_mtok": "25",
                "pricing_cache_write_usd_per_mtok": "6.25",
                "pricing_cache_read_usd_per_mtok": "0.5",
            },
        ),
        ("azure/claude-opus-4-5", {"pricing_list_basis": "'channel'"}),
        # a price in another mode than the name asks for
        ("Claude Opus 4.5", {"modifiers": "'speed=fast'"}),
        # single cells
        ("GPT-6 Sol", {"pricing_cache_write_usd_per_mtok": "9"}),
        ("GPT-6 Sol", {"pricing_tool_input_usd_per_mtok": "9"}),
        ("Claude Sonnet 4.5", {"pricing_tool_input_usd_per_mtok": "NULL"}),
        ("GPT-5.4", {"long_context_from_tokens": "200000"}),
        ("GPT-5.4", {"long_context_input_usd_per_mtok": "9"}),
        ("GPT-5.4", {"long_context_output_usd_per_mtok": "NULL"}),
        ("GPT-6 Sol", {"pricing_input_usd_per_mtok": "NULL", "pricing_output_usd_per_mtok": "99"}),
        # a row without a price that got one
        ("GLM-4.7 Flash", {"pricing_tool_output_usd_per_mtok": "1"}),
    ],
)
def test_a_price_that_is_not_whole_or_somebody_elses_is_found(
    booked: Audit, source: str, planted: dict[str, str]
) -> None:
    assert counted(booked, LEDGER, f"source_model = '{source}'") == 1
    replace(booked, LEDGER, f"source_model = '{source}'", **planted)

    found = booked.inspect(PRICES)
    assert_found(found, 1, f"first {source}")


def test_a_ledger_without_rows_carries_nobodys_price(booked: Audit) -> None:
    booked.rewrite(LEDGER, "SELECT * FROM t WHERE false")
    assert booked.inspect(PRICES).passed


def test_a_rate_that_ended_or_is_only_announced_is_found(booked: Audit) -> None:
    replace(booked, "prices", "model = 'gpt-6-sol' AND channel = 'openai'", valid_to="DATE '2026-03-01'")
    assert [row["source_model"] for row in booked.inspect(PRICES).rows] == ["GPT-6 Sol"]
    replace(booked, "prices", "model = 'gpt-6-sol' AND channel = 'openai'", valid_to="NULL", status="'scheduled'")
    assert [row["source_model"] for row in booked.inspect(PRICES).rows] == ["GPT-6 Sol"]


# ------------------------------------------------------------------ what usage joins to


def test_usage_without_a_row_is_named(audit: Audit) -> None:
    audit.rewrite(LEDGER, "SELECT * FROM t WHERE canonical_model_guess IS DISTINCT FROM 'house-model-7'")

    found = audit.inspect(JOINS)
    assert_found(found, 1, "first house-model-7", "lost or counted twice")
    assert found.rows == [{"provider": "claude", "model": "house-model-7", "row_count": 0, "events": 1}]


@pytest.mark.parametrize(
    ("planted", "row_count"),
    [("SELECT * REPLACE (false AS is_canonical) FROM t", 0), ("SELECT * FROM t UNION ALL SELECT * FROM t", 2)],
)
def test_usage_with_no_canonical_row_or_two_is_named(audit: Audit, planted: str, row_count: int) -> None:
    audit.rewrite(LEDGER, planted)

    found = audit.inspect(JOINS)
    assert_found(found, 3)
    assert [(row["model"], row["row_count"]) for row in found.rows] == [
        ("claude-sonnet-4-5", row_count),
        ("house-model-7", row_count),
        ("gpt-5.1-codex", row_count),
    ]


def test_usage_of_a_model_that_came_after_the_ledger_is_named(audit: Audit) -> None:
    audit.world.claude(claude("msg_9", "req_9", input=500, model="claude-opus-4-5", session="s9"), name="s9.jsonl")
    audit.world.claude(claude("msg_8", "req_8", input=500, model="house-model-8", session="s9"), name="s8.jsonl")
    audit.world.sync()
    build("events", audit.con, audit.world.ledger, "UTC")

    # the benchmark table has claude-opus-4-5 whether it is used or not
    assert [row["model"] for row in audit.inspect(JOINS).rows] == ["house-model-8"]

    write_ledger(audit.world.ledger, audit.con, NOW)
    build(LEDGER, audit.con, audit.world.ledger, "UTC")
    assert audit.inspect(JOINS).passed


def test_usage_of_the_same_model_elsewhere_is_other_usage(audit: Audit) -> None:
    replace(audit, "events", "model = 'claude-sonnet-4-5'", provider="'openrouter'")

    assert [(row["provider"], row["model"]) for row in audit.inspect(JOINS).rows] == [
        ("openrouter", "claude-sonnet-4-5")
    ]


def test_events_without_tokens_or_a_model_join_to_nothing(audit: Audit) -> None:
    replace(audit, "events", "model = 'house-model-7'", model="'unknown'")
    assert audit.inspect(JOINS).passed
    replace(audit, "events", "model = 'gpt-5.1-codex'", model="'house-model-9'", total_tokens="0")
    assert audit.inspect(JOINS).passed


# ------------------------------------------------------------------ who is on the frontier


@pytest.mark.parametrize(
    ("source", "planted", "expected"),
    [
        # GPT-5.4 beats Claude Opus 4.6
        ("Claude Opus 4.6", {"is_frontier": "true"}, 1),
        ("Claude Opus 4.6", {"n_dominated_by": "2"}, 1),
        ("Claude Opus 4.6", {"n_dominated_by": "0"}, 1),
        ("GPT-5.4", {"is_frontier": "false"}, 1),
        ("GPT-5.4", {"n_dominated_by": "1"}, 1),
        ("GPT-5.4", {"n_dominated_by": "NULL"}, 1),
        # what lacks a figure has no standing
        ("o3", {"is_frontier": "true"}, 1),
        ("o3", {"n_dominated_by": "0"}, 1),
        ("o3", {"pareto_score": "99"}, 1),
    ],
)
def test_a_row_that_stands_where_dominance_does_not_put_it_is_named(
    audit: Audit, source: str, planted: dict[str, str], expected: int
) -> None:
    replace(audit, PARETO, f"source_model = '{source}' AND objectives = 'cost+quality'", **planted)

    found = audit.inspect(FRONTIER)
    assert_found(found, expected, f"first {source}")
    (row,) = found.rows
    assert (row["objectives"], row["source_model"]) == ("cost+quality", source)
    assert row["dominators"] == (1 if source == "Claude Opus 4.6" else 0)


def test_a_figure_that_was_changed_puts_rows_elsewhere(audit: Audit) -> None:
    replace(
        audit,
        PARETO,
        "source_model = 'Claude Opus 4.6' AND objectives = 'cost+quality'",
        cost_usd="0.000000001",
        quality="100",
    )

    found = audit.inspect(FRONTIER)
    # as good as free and without a fault it beats all ten but itself, one of which it beat before
    assert_found(found, 9)
    dominators = {row["source_model"]: row["dominators"] for row in found.rows}
    assert (dominators["Claude Opus 4.6"], dominators["GPT-5.4"]) == (0, 1)
    assert "Claude Opus 4.5" not in dominators


def test_sets_are_not_compared_with_each_other(audit: Audit) -> None:
    audit.rewrite(PARETO, "SELECT * FROM t WHERE objectives = 'cost+quality'")
    assert audit.inspect(FRONTIER).passed


def test_latency_counts_where_it_is_compared(audit: Audit) -> None:
    both = "objectives = 'cost+quality+latency' AND source_model IN ('GPT-5.4', 'Claude Opus 4.6')"
    replace(
        audit,
        PARETO,
        both,
        eligibility="'eligible'",
        pareto_score="1",
        is_frontier="true",
        n_dominated_by="0",
        latency="if(source_model = 'GPT-5.4', 900, 800)",
    )
    assert audit.inspect(FRONTIER).passed
    replace(audit, PARETO, both, latency="800")
    assert [row["source_model"] for row in audit.inspect(FRONTIER).rows] == ["Claude Opus 4.6"]


# ------------------------------------------------------------------ the files


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        (LEDGER_SEED, b"COMMIT", b"COMIT", "SQLite cannot load it"),
        (LEDGER_CSV, b"\n12,", b"\n12,x\n12,", "line 13: has 2 cells in place of 47"),
        (PARETO_CSV, b"ledger_row_id", b"row_id", "has other columns"),
        (PARETO_VIEW, b"CREATE VIEW", b"CREATE VEIW", "SQLite cannot load it"),
        (PARETO_CSV, b",cost+quality,true,1,0", b",cost+quality,false,1,0", "is_frontier is 'false' there and 'true'"),
        (LEDGER_CSV, None, None, "No such file or directory"),
        (LEDGER_SEED, b"BEGIN", b"\xff", "is no UTF-8"),
    ],
)
def test_files_that_do_not_load_are_named(
    audit: Audit, name: str, old: bytes | None, new: bytes | None, problem: str
) -> None:
    path = audit.world.ledger.ledger / name
    if old is None or new is None:
        path.unlink()
    else:
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    found = audit.inspect(LOADS)
    assert (found.passed, found.blocking, found.severity) == (False, False, "ERROR")
    assert (found.actual, found.expected, found.delta) == ("not loadable", "loadable", None)
    assert found.description.startswith(str(path))
    assert problem in found.description
    assert found.description.endswith("; run `tokenledger ledger refresh`.")
