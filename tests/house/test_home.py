"""The home: where things live, and that a sample's events never enter a user's ledger."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tokenledger_dagster.errors import HomeKindError, TokenLedgerError
from tokenledger_dagster.home import Home, HomeKind, ensure_home


def test_paths_are_those_of_the_contract() -> None:
    home = Home(Path("/h"))
    paths = {name: str(getattr(home, name)) for name in dir(home) if isinstance(getattr(Home, name, None), property)}

    assert paths == {
        "home_json": "/h/home.json",
        "lock_path": "/h/.lock",
        "pricing_book_path": "/h/pricing.json",
        "plans_path": "/h/plans.yaml",
        "overrides_path": "/h/overrides.yaml",
        "price_lists": "/h/price-lists",
        "prices": "/h/prices",
        "lake": "/h/lake",
        "manifest_path": "/h/lake/manifest.sqlite",
        "journal": "/h/lake/journal",
        "records": "/h/lake/records",
        "landing": "/h/landing",
        "tables": "/h/tables",
        "aggregate_cache": "/h/cache/aggregates",
        "duckdb_path": "/h/tokenledger.duckdb",
        "ui_snapshot_path": "/h/ui-snapshot.json",
        "ingest_summary_path": "/h/ingest-summary.json",
        "pipeline_summary_path": "/h/orchestrate-latest-summary.json",
        "reconcile_summary_path": "/h/reconcile-latest-summary.json",
        "bench_summary_path": "/h/latest-summary.json",
        "gate_summary_path": "/h/bench/latest-gate.json",
        "runs": "/h/runs",
        "quality": "/h/quality",
        "reports": "/h/reports",
        "bench": "/h/bench",
        "golden": "/h/golden",
        "ledger": "/h/ledger",
        "models": "/h/models",
        "prompts": "/h/inference/prompts",
    }


@pytest.mark.parametrize("kind", ["user", "sample", "test", "bench"])
def test_new_home_says_its_kind_and_opens_again(tmp_path: Path, kind: HomeKind) -> None:
    root = tmp_path / "deep" / "home"

    home = ensure_home(root, kind)

    assert json.loads(home.home_json.read_bytes()) == {"schema_version": 1, "kind": kind}
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert ensure_home(root, kind) == home
    assert ensure_home(root) == home


def test_home_without_a_wish_is_a_users(tmp_path: Path) -> None:
    ensure_home(tmp_path)

    ensure_home(tmp_path, "user")


@pytest.mark.parametrize(("made_as", "opened_as"), [("user", "sample"), ("sample", "user"), ("user", "bench")])
def test_home_of_another_kind_is_refused_and_unchanged(tmp_path: Path, made_as: HomeKind, opened_as: HomeKind) -> None:
    home = ensure_home(tmp_path, made_as)
    before = home.home_json.read_bytes()

    with pytest.raises(HomeKindError) as caught:
        ensure_home(tmp_path, opened_as)

    assert str(caught.value) == (
        f"{tmp_path}: holds a {made_as} ledger, not a {opened_as} one; set TOKENLEDGER_HOME to another folder"
    )
    assert home.home_json.read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1, "kind": "other"}', '{"kind": "user"}'])
def test_unreadable_kind_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "home.json").write_text(text)

    with pytest.raises(TokenLedgerError, match=r"home\.json: does not say what kind"):
        ensure_home(tmp_path)


def test_home_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text('{"schema_version": 2, "kind": "user", "more": 1}')

    with pytest.raises(TokenLedgerError, match="update tokenledger"):
        ensure_home(tmp_path)


def test_file_in_the_place_of_a_home_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")

    with pytest.raises(TokenLedgerError, match="is not a folder"):
        ensure_home(tmp_path / "home")
    with pytest.raises(TokenLedgerError, match="is not a folder"):
        ensure_home(tmp_path / "home" / "deeper")
