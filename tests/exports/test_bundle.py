"""Everything that a home publishes in one file: what is in it, what is only named, and that it comes out the same."""

from __future__ import annotations

import hashlib
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tokenledger_dagster.exports import bundle
from tokenledger_dagster.exports.bundle import write_bundle
from tokenledger_dagster.home import Home, ensure_home

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = ensure_home(tmp_path / "ledger")
    for name, text in {
        "ui-snapshot.json": '{"schema_version": 1}\n',
        "ledger/models_normalized.csv": "a,b\n",
        "quality/docs/index.html": "<html></html>\n",
        "pricing.json": '{"private": true}\n',
        "lake/records/segment.parquet": "segment",
        "tables/events.parquet": "table",
        "tokenledger.duckdb": "database",
    }.items():
        path = made.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


def test_artifacts_are_in_it_and_tables_are_named(home: Home) -> None:
    made = write_bundle(home, NOW)

    digest = hashlib.sha256(b'{"schema_version": 1}\n').hexdigest()
    assert [(one.path, one.is_included) for one in made.index.artifacts] == [
        ("ledger/models_normalized.csv", True),
        ("quality/docs/index.html", True),
        ("ui-snapshot.json", True),
        ("tables/events.parquet", False),
        ("tokenledger.duckdb", False),
    ]
    assert (made.index.artifacts[2].bytes, made.index.artifacts[2].sha256) == (22, digest)
    with zipfile.ZipFile(made.path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [*(one.path for one in made.index.artifacts if one.is_included), "index.json"]
        assert archive.read("ledger/models_normalized.csv") == b"a,b\n"
        index = json.loads(archive.read("index.json"))
    assert index == json.loads((home.root / "bundle" / "index.json").read_text())
    assert (index["schema_version"], index["generated_at"]) == (1, "2026-11-21T12:00:00Z")


def test_the_same_artifacts_make_the_same_bytes(home: Home) -> None:
    first = write_bundle(home, NOW).path.read_bytes()
    (home.root / "ui-snapshot.json").touch()

    assert write_bundle(home, NOW).path.read_bytes() == first


def test_a_link_out_of_the_home_is_not_followed(home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("secret")
    (home.root / "ledger" / "stolen.json").symlink_to(tmp_path / "secret.json")
    (home.root / "golden").symlink_to(tmp_path)

    assert not any("stolen" in one.path or "secret" in one.path for one in write_bundle(home, NOW).index.artifacts)


def test_what_is_too_large_is_only_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LARGEST", 10)
    (found,) = (one for one in write_bundle(home, NOW).index.artifacts if one.path == "ui-snapshot.json")

    assert (found.bytes, found.sha256, found.is_included) == (22, None, False)


def test_what_cannot_be_read_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "ui-snapshot.json":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    made = write_bundle(home, NOW)

    assert made.index.problems == [f"{home.root / 'ui-snapshot.json'}: Permission denied; left out"]
    assert len(made.index.artifacts) == 4


def test_an_empty_home_makes_an_empty_one(tmp_path: Path) -> None:
    assert write_bundle(ensure_home(tmp_path / "none"), NOW).index.artifacts == []
