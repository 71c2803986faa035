"""``tokenledger bench cache``: three runs, what each counts, and that a cache that does otherwise fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tokenledger_dagster.bench.cache import measure_cache
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import SAMPLE_HOME
from tokenledger_dagster.usage.aggregate_cache import AggregateCache


def test_the_sample_is_missed_then_hit_then_one_month_is_thrown_away(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_HOME", str(tmp_path / "own"))
    sample = sorted(SAMPLE_HOME.rglob("*"))

    assert main(["bench", "cache", "--format", "json"]) == 0

    found = json.loads(capfd.readouterr().out)
    counts = [tuple(run["actual"].values()) for run in found["runs"]]
    assert [run["name"] for run in found["runs"]] == ["first", "again", "grown"]
    assert counts == [(0, 3, 0), (3, 0, 0), (2, 1, 1)]
    assert all(run["equals_uncached"] and run["passed"] for run in found["runs"])
    assert (found["months"], found["passed"]) == (["2026-08", "2026-09", "2026-10"], True)
    # neither the sample nor a home of the user's own is touched
    assert sorted(SAMPLE_HOME.rglob("*")) == sample
    assert not (tmp_path / "own").exists()


def test_a_cache_that_keeps_nothing_fails(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AggregateCache, "_keep", lambda *_: None)

    assert main(["bench", "cache"]) == 1
    out, err = capfd.readouterr()
    assert "WRONG" in out
    assert "WRONG: run again: counted hit 0, miss 3, invalidate 0, should be hit 3, miss 0, invalidate 0" in err


def test_a_cache_that_keeps_another_figure_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = AggregateCache.get

    def wrong(cache: AggregateCache, *asked: Any) -> Any:
        found = honest(cache, *asked)
        return msgspec.structs.replace(found, session_count=found.session_count + 1) if cache.enabled else found

    monkeypatch.setattr(AggregateCache, "get", wrong)
    found = measure_cache()

    assert [run.equals_uncached for run in found.runs] == [False, False, False]
    assert not found.passed


def test_a_sample_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TokenLedgerError, match="is missing"):
        measure_cache(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenLedgerError, match="holds no request"):
        measure_cache(tmp_path / "empty")
