"""What the documentation shows is run: shell lines marked ``runnable``, every SQL block, the examples."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.docs.conftest import Sample
from tests.docs.generated import ROOT, blocks, pages
from tests.support import plain_environ
from tokenledger_dagster.contracts.tables import TABLES, create_statement
from tokenledger_dagster.pricing.economics import Atom, economics
from tokenledger_dagster.pricing.lint import lint
from tokenledger_dagster.pricing.plan_types import Plans, Subscription
from tokenledger_dagster.pricing.plans import load_catalogue, load_plans
from tokenledger_dagster.pricing.rate_table import rate_table

PLANS_PAGE = ROOT / "docs" / "contracts" / "plans.md"
NEEDS = {
    "snapshot": "tokenledger_dagster.exports.ui_snapshot",
    "events": "tokenledger_dagster.exports.streams",
    "duplicates": "tokenledger_dagster.exports.streams",
}
"""Module without which a command does not run yet."""


# ------------------------------------------------------------------ shell

_LINES = [
    pytest.param(line.removeprefix(".venv/bin/"), id=line.removeprefix(".venv/bin/"))
    for page in pages()
    for block in blocks(page, "sh runnable")
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", _LINES)
def test_shell_line_runs_on_the_sample(sample: Sample, line: str) -> None:
    program, command, *arguments = line.split()
    assert program == "tokenledger"
    if command in NEEDS and importlib.util.find_spec(NEEDS[command]) is None:
        pytest.skip(f"{NEEDS[command]} does not exist yet")
    done = subprocess.run(
        [sys.executable, "-m", "tokenledger_dagster.cli.main", command, *arguments],
        cwd=ROOT,
        env=sample.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    if line.endswith("--format json") or command == "snapshot":
        assert json.loads(done.stdout)["schema_version"] == 1


@pytest.mark.parametrize(("command", "page"), [("events", "event.md"), ("duplicates", "duplicates.md")])
def test_every_field_of_a_json_line_is_documented(sample: Sample, command: str, page: str) -> None:
    arguments = [sys.executable, "-m", "tokenledger_dagster.cli.main", command]
    done = subprocess.run(
        arguments, cwd=ROOT, env=sample.environ, capture_output=True, text=True, timeout=120, check=True
    )
    row = json.loads(done.stdout.splitlines()[0])
    names = {*row, *row["usage"], *row["locator"]}
    text = (ROOT / "docs" / "contracts" / page).read_text("utf-8")
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_event_ids_follow_the_identity_table(published: Path) -> None:
    with duckdb.connect(published, read_only=True) as con:
        events = con.execute(
            "SELECT event_id, client, message_id, request_id FROM events WHERE message_id IS NOT NULL"
        ).fetchall()
    assert len(events) > 40
    for event_id, *identity in events:
        array = json.dumps(identity, separators=(",", ":")).encode()
        assert hashlib.blake2b(array, digest_size=16).hexdigest() == event_id


# ------------------------------------------------------------------ SQL

_COOKBOOK = (ROOT / "docs" / "sql-cookbook.md").read_text("utf-8")
_QUERIES = [
    pytest.param(query, re.findall(r"`([\w-]+)`", listed), id=title)
    for title, query, listed in re.findall(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?^```sql\n(.*?)^```\n\nColumns: ([^.]*)\.", _COOKBOOK, re.DOTALL | re.MULTILINE
    )
]


def test_every_sql_block_names_its_columns() -> None:
    assert len(_QUERIES) == len(re.findall(r"^```sql$", _COOKBOOK, flags=re.MULTILINE)) > 0


@pytest.mark.parametrize(("query", "columns"), _QUERIES)
def test_query_fits_the_tables_of_the_contract(query: str, columns: list[str]) -> None:
    with duckdb.connect() as con:
        for table in TABLES.values():
            con.execute(create_statement(table))
        con.execute(query)
        assert [column[0] for column in con.description or []] == columns


@pytest.mark.parametrize(("query", "columns"), _QUERIES)
def test_query_finds_rows_in_the_published_sample(published: Path, query: str, columns: list[str]) -> None:
    with duckdb.connect(published, read_only=True) as con:
        rows = con.execute(query).fetchall()
        assert [column[0] for column in con.description or []] == columns
    assert rows


# ------------------------------------------------------------------ the committed ledger


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_committed_ledger_loads_and_answers_as_its_readme_says(engine: str) -> None:
    page = ROOT / "ledger" / "README.md"
    (load,), (query,) = blocks(page, "sh load"), blocks(page, "sql")
    files = re.findall(r"\b[\w.]+\.sql\b", load.partition(">")[0])
    script = "".join((ROOT / "ledger" / name).read_text("utf-8") for name in files)
    if engine == "sqlite":
        with closing(sqlite3.connect(":memory:")) as sqlite:
            sqlite.executescript(script)
            found = sqlite.execute(query).fetchall()
    else:
        with duckdb.connect() as con:
            con.execute(script)
            found = con.execute(query).fetchall()
    with (ROOT / "ledger" / "unified_model_provider_pareto.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["is_frontier"] == "true"]
    assert len(found) == len(rows) > 0
    assert {row[1] for row in found} == {row["source_model"] for row in rows}


# ------------------------------------------------------------------ prices and plans


def test_the_example_book_is_one_and_only_announces() -> None:
    (book,) = blocks(ROOT / "docs" / "contracts" / "pricing-book.md", "json book")
    report = lint(book.encode(), "example", today=date(2026, 11, 21), price_list=rate_table())
    assert [(one.rule, one.severity) for one in report.findings] == [("scheduled_in_future", "warning")]


def test_the_example_plans_cost_what_the_page_says(tmp_path: Path) -> None:
    (given,) = blocks(PLANS_PAGE, "yaml plans")
    path = tmp_path / "plans.yaml"
    path.write_text(given)
    catalogue = load_catalogue()
    plans = load_plans(path, catalogue)
    months = economics([], plans, catalogue, date(2026, 10, 31)).months
    fees = {(month.subscription, str(month.segment_start)): f"{month.fee_nano / 10**9:.9f}" for month in months}
    text = PLANS_PAGE.read_text("utf-8")
    assert f"${fees['Claude Max', '2026-08-15']}" in text
    assert f"${fees['Claude Max', '2026-09-01']}" in text
    assert fees["ChatGPT, two seats", "2026-09-01"] == "64.350000000"


@pytest.mark.parametrize(("weight", "column"), [("list_price", 3), ("tokens", 4)])
def test_the_worked_example_of_plans_is_right(weight: Any, column: int) -> None:
    table = PLANS_PAGE.read_text("utf-8").split("| model | tokens | list price |", 1)[1].splitlines()[2:5]
    rows = [[cell.strip(" $").replace(",", "") for cell in line.strip("|").split("|")] for line in table]
    day = date(2026, 9, 10).toordinal() - date(1970, 1, 1).toordinal()
    atoms = [
        Atom(
            slot=day * 96,
            client="claude-code",
            session_id="s",
            model_raw=model,
            upstream="",
            billing_kind="",
            account_hash="",
            is_reported=False,
            is_estimated=False,
            provider="claude",
            model=model,
            event_count=1,
            unpriced_count=0,
            total_tokens=int(tokens),
            unpriced_tokens=0,
            list_nano=int(Decimal(usd).scaleb(9)),
            reported_nano=0,
        )
        for model, tokens, usd, *_ in rows
    ]
    plan = Subscription(
        name="Max", plan="anthropic/max-20x", provider="claude", clients=(), start=date(2026, 9, 1), weight=weight
    )
    found = economics(atoms, Plans((plan,)), load_catalogue(), date(2026, 9, 30))
    assert [Decimal(row[column]) for row in rows] == [Decimal(cost.allocated_nano).scaleb(-9) for cost in found.costs]
    assert found.months[0].leverage == Decimal("1.084")


# ------------------------------------------------------------------ adapter


@pytest.fixture
def acme(tmp_path: Path) -> dict[str, str]:
    """An environment in which the package that CONTRIBUTING shows is installed, and a home with its logs."""
    packages = tmp_path / "site-packages"
    about = packages / "acme_ledger-1.0.dist-info"
    about.mkdir(parents=True)
    (source,) = blocks(ROOT / "CONTRIBUTING.md", "python adapter")
    (packages / "acme_ledger.py").write_text(source)
    (project,) = blocks(ROOT / "CONTRIBUTING.md", "toml adapter")
    points = tomllib.loads(project)["project"]["entry-points"]["tokenledger.clients"]
    named = "".join(f"{name} = {target}\n" for name, target in points.items())
    (about / "entry_points.txt").write_text(f"[console_scripts]\nother = a:b\n\n[tokenledger.clients]\n{named}")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ledger\nVersion: 1.0\n")
    plain = plain_environ(tmp_path / "home", tmp_path / "ledger")
    return {**plain, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}


def _row(**changed: Any) -> str:
    row = {
        "id": "r1",
        "session": "s1",
        "time": "2026-02-18T09:00:00Z",
        "model": "claude-sonnet-4-5",
        "usage": {"in": 100, "out": 5},
    }
    return json.dumps(row | changed) + "\n"


def _tokenledger(environ: dict[str, str], *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tokenledger_dagster.cli.main", *arguments, "--format", "json"],
        cwd=environ["HOME"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_example_adapter_of_another_package_books_each_request_once(acme: dict[str, str]) -> None:
    logs = Path(acme["HOME"]) / ".acme" / "logs"
    logs.mkdir(parents=True)
    written_twice = [_row(), _row(usage={"in": 100, "out": 20})]
    other = _row(id="r2", usage={"in": 7, "out": "3"})
    (logs / "one.jsonl").write_text("".join([*written_twice, "no JSON\n", _row(id="r3", usage=None)]))
    (logs / "two.jsonl").write_text(other)

    first = _tokenledger(acme, "sync")["providers"]["acme"]
    with (logs / "two.jsonl").open("a") as log:
        log.write(_row(id="r4"))
    report = _tokenledger(acme, "report", "client")
    again = _tokenledger(acme, "sync")

    assert (first["scanned"], first["emitted"], first["duplicates"]) == (3, 2, 1)
    assert first["skipped"] == {"invalid_json": 1, "usage_null": 1}
    assert [row["key"] for row in report["rows"]] == ["acme"]
    totals = report["totals"]
    assert (totals["input_tokens"], totals["output_tokens"], totals["event_count"]) == (207, 28, 3)
    assert totals["list_price_usd"] is not None
    assert (again["providers"], again["sources"]["unchanged"]) == ({}, 2)


def test_an_adapter_whose_package_is_gone_leaves_its_events(acme: dict[str, str]) -> None:
    logs = Path(acme["HOME"]) / ".acme" / "logs"
    logs.mkdir(parents=True)
    (logs / "one.jsonl").write_text(_row())
    _tokenledger(acme, "sync")

    without = {**acme, "PYTHONPATH": str(ROOT)}

    assert _tokenledger(without, "report", "client")["totals"]["event_count"] == 1
