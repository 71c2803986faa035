"""Places of clients: each has its own file names, and folders it does not enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.places import Places

PLACES = [
    {"client": "acme", "path": "${ACME_DIR:-${XDG_CONFIG_HOME:-~/.config}/acme}", "files": "*.json !cache"},
    {"client": "acme", "path": "${ACME_DIR:-${XDG_CONFIG_HOME:-~/.config}/acme}/db", "files": "state.db logs/*.txt"},
    {"client": "acme", "path": "~/exports", "files": "*.csv"},
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in (
        ".config/acme/a.json", ".config/acme/state.db", ".config/acme/cache/b.json", ".config/acme/sub/c.json.gz",
        ".config/acme/db/state.db", ".config/acme/db/logs/x.txt", ".config/acme/db/x.txt", "exports/e.csv",
        "exports/e.json",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def acme() -> Places:
    return Places({"client": "acme", "parser_version": "1", "adapter": "acme:Acme"}, PLACES)


def found(places: Places, root: Root) -> list[str]:
    return sorted(below for _, below, _ in places.entries(root))


def test_each_place_has_its_own_names(home: Path) -> None:
    places = acme()
    roots = {Path(root.where).name: found(places, root) for root in places.roots({"HOME": str(home)})}

    assert roots == {
        "acme": ["a.json", "sub/c.json.gz"],
        "db": ["logs/x.txt", "state.db"],
        "exports": ["e.csv"],
    }


def test_a_place_named_by_its_variable_keeps_its_names(home: Path) -> None:
    moved = home / "moved"
    (home / ".config" / "acme").rename(moved)
    places = acme()
    roots = [found(places, root) for root in places.roots({"HOME": str(home), "ACME_DIR": str(moved)})]

    assert roots == [["a.json", "sub/c.json.gz"], ["logs/x.txt", "state.db"], ["e.csv"]]


def test_a_folder_that_a_person_added_has_all_names(home: Path) -> None:
    assert found(acme(), Root(home, "--source")) == [
        ".config/acme/a.json",
        ".config/acme/db/logs/x.txt",
        ".config/acme/db/state.db",
        ".config/acme/state.db",
        ".config/acme/sub/c.json.gz",
        "exports/e.csv",
        "exports/e.json",
    ]


def test_a_databases_log_shows_that_it_was_written_also_through_a_link(home: Path) -> None:
    database = home / ".config" / "acme" / "db" / "state.db"
    database.write_bytes(b"12345")
    Path(f"{database}-wal").write_bytes(b"123")
    link = home / "linked" / "state.db"
    link.parent.mkdir()
    link.symlink_to(database)
    places = acme()

    assert [stat.st_size for _, _, stat in places.entries(Root(link.parent, "--source"))] == [8]
    assert [stat.st_size for _, _, stat in places.entries(Root(database, "--source"))] == [8]
