"""What the logs hold beside counters is nowhere in the ledger: every prompt, answer, address and key of the fixtures.

The fixtures of all clients make one home.  What must not be kept is taken from them: every longer text under a key that
holds content, a person or a secret.  Then everything a run leaves behind is searched, packed tables unpacked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.clients.goldens import FIXTURES
from tests.support import plain_environ

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SECRET_KEYS = re.compile(
    r"(^|[._])(text|content|prompt|input_prompt|message_text|body|email|e_mail|api_key|apikey|token_secret|source|"
    r"client_ip|x_forwarded_for|user_agent|headers|authorization|password|title|thinking|arguments|result|stdout)$",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}|sk-[\w-]{8,}|\b(?:203\.0\.113|198\.51\.100|192\.0\.2)\.\d{1,3}\b")
SHORTEST = 12
"""Shorter texts are words that a model's or a branch's name may hold too."""


def texts(value: Any, key: str = "") -> Iterator[str]:
    """Texts under a key that holds content or a secret, also inside JSON that is written as text."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from texts(item, f"{key}.{name}" if SECRET_KEYS.search(key) else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, key)
    elif isinstance(value, str):
        if value[:1] in "{[" and (inner := decoded(value)) is not None:
            yield from texts(inner, key)
        elif SECRET_KEYS.search(key.split(".", 1)[0]) and len(value) >= SHORTEST and " " in value.strip():
            yield value


def decoded(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def forbidden() -> set[str]:
    found: set[str] = set()
    for path in FIXTURES.rglob("*"):
        if not path.is_file() or "home" not in path.parts:
            continue
        content = path.read_bytes().decode("utf-8", "replace")
        found.update(ADDRESS.findall(content))
        for part in (content, *content.splitlines()):
            if (value := decoded(part)) is not None:
                found.update(texts(value))
        found.update(one for quoted in re.findall(r"'(\{.*?\})'", content) for one in texts(decoded(quoted)))
    return found


def the_home(folder: Path) -> tuple[dict[str, str], list[str]]:
    """All fixtures in one home; the environment, and the sources to add."""
    home, added, variables = folder / "home", [], {}
    for fixture in sorted(path.parent for path in FIXTURES.glob("*/expected.json")):
        shutil.copytree(fixture / "home", home, dirs_exist_ok=True)
        if (fixture / "run.json").exists():
            run = json.loads((fixture / "run.json").read_text())
            variables |= {name: value.replace("$HOME", str(home)) for name, value in run.get("environ", {}).items()}
            added += [f"--source={name}={home}/{path}" for name, path in run.get("sources", [])]
    for script in sorted(home.rglob("*.sql")):
        with closing(sqlite3.connect(script.with_suffix(""))) as connection:
            connection.executescript(script.read_text("utf-8"))
        script.unlink()
    dagster = folder / "dagster"
    dagster.mkdir()
    plain = plain_environ(home, folder / "ledger")
    more = {"DAGSTER_HOME": str(dagster), "DAGSTER_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}
    return {**plain, **more, **variables}, added


def everything_left(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every file a run left, with the rows of those that are packed."""
    for path in sorted((*(folder / "ledger").rglob("*"), *(folder / "dagster").rglob("*"))):
        if not path.is_file() or os.path.islink(path):
            continue
        yield str(path), path.read_bytes().decode("utf-8", "replace")
        if path.suffix in (".parquet", ".duckdb"):
            yield f"{path} (rows)", rows_of(path)


def rows_of(path: Path) -> str:
    with closing(duckdb.connect()) as connection:
        if path.suffix == ".parquet":
            return str(connection.execute(f"SELECT * FROM read_parquet('{path}')").fetchall())
        connection.execute(f"ATTACH '{path}' AS published (READ_ONLY)")
        query = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'published'"
        names = [name for (name,) in connection.execute(query).fetchall()]
        return str([connection.execute(f'SELECT * FROM published."{name}"').fetchall() for name in names])


def test_nothing_secret_of_any_client_is_kept_printed_or_told_to_dagster(tmp_path: Path) -> None:
    environ, added = the_home(tmp_path)
    said = ""
    for arguments in (["sync", *added], ["orchestrate"], ["events"], ["duplicates"], ["report", "session"], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-m", "tokenledger_dagster.cli.main", *arguments],
            cwd=ROOT, env=environ, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (arguments, done.stderr[-2000:])
        said += done.stdout + done.stderr
    wanted = forbidden()
    assert len(wanted) > 15, "the fixtures hold prompts, addresses and keys"

    left = [("printed", said), *everything_left(tmp_path)]

    assert {(name, secret) for name, text in left for secret in wanted if secret in text} == set()
