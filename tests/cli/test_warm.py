"""The answer on unchanged logs: the bytes of the ordinary way, and only where a sync would find nothing."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.support import World, claude
from tokenledger_dagster.cli import arguments, warm
from tokenledger_dagster.fileio import encode_json
from tokenledger_dagster.home import ensure_home
from tokenledger_dagster.ingest.manifest import connect
from tokenledger_dagster.ingest.meta import get_meta
from tokenledger_dagster.ingest.unchanged import KEY, is_unchanged
from tokenledger_dagster.plainjson import encode_plain, nano_number
from tokenledger_dagster.usage.report import KINDS, make_report, report_document, usd
from tokenledger_dagster.usage.selection import Selection

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = (
    "msgspec",
    "yaml",
    "duckdb",
    "pyarrow",
    "dagster",
    "platformdirs",
    "argparse",
    "typing",
    "pathlib",
    "re",
    "json",
)


def unchanged(world: World) -> bool:
    connection = connect(world.ledger, read_only=True)
    try:
        return is_unchanged(str(world.ledger.root), connection, os.environ)
    finally:
        connection.close()


def timeless(text: str) -> str:
    return re.sub(r'"generated_at": "[^"]*"', "", text)


@pytest.fixture
def filled(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> World:
    """Logs that the command line has read once, in a known zone."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("TOKENLEDGER_TIMEZONE", raising=False)
    assert run("sync").code == 0
    assert unchanged(world)
    return world


# ------------------------------------------------------------------ the same bytes


@pytest.mark.parametrize("form", ["json", "table", "csv", "markdown"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_report_is_that_of_the_ordinary_way(
    filled: World, run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, form: str
) -> None:
    given = (kind, "--format", form, "--tz", "UTC")
    assert warm.answer("report", given, os.environ) == 0
    fast = run("report", *given)
    monkeypatch.setattr(warm, "answer", lambda *_: None)
    full = run("report", *given)

    assert (fast.code, timeless(fast.out), fast.err) == (full.code, timeless(full.out), full.err)


@pytest.mark.parametrize(
    "given",
    [
        ["report", "--json"],
        ["report", "daily", "--since", "2026-02-19", "--client", "codex", "--order", "desc"],
        ["report", "session", "--project", "kelp", "--no-estimates", "--json"],
        ["report", "daily", "--tz", "Asia/Kathmandu", "--json"],
        ["report", "daily", "--since", "2030-01-01"],
        ["report", "daily", "--since", "2026-03-01", "--until", "2026-02-01"],
        ["report", "daily", "--client", "emacs"],
        ["report", "daily", "--tz", "Mars/Olympus"],
        ["report", "daily", "--since", "yesterday"],
        ["snapshot"],
        ["snapshot", "--mode", "extended", "--month", "2026-02"],
        ["snapshot", "--month", "2031-01"],
        ["snapshot", "--month", "February"],
    ],
    ids=" ".join,
)
def test_filters_errors_and_snapshots_too(
    filled: World, run: Run, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    written = filled.ledger.ui_snapshot_path
    fast = run(*given)
    left = timeless(written.read_text()) if written.exists() else None
    written.unlink(missing_ok=True)
    monkeypatch.setattr(warm, "answer", lambda *_: None)
    full = run(*given)

    assert (fast.code, timeless(fast.out), fast.err) == (full.code, timeless(full.out), full.err)
    assert left == (timeless(written.read_text()) if written.exists() else None)


def test_a_snapshot_names_the_reconcile_summary(filled: World, run: Run, tmp_path: Path) -> None:
    filled.ledger.reconcile_summary_path.write_text("{}")
    elsewhere = tmp_path / "elsewhere.json"
    run("snapshot", "--output", str(elsewhere))

    assert f'"reconcile_latest_summary_path": "{filled.ledger.reconcile_summary_path}"' in elsewhere.read_text()
    assert elsewhere.read_bytes() == filled.ledger.ui_snapshot_path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_document_is_the_contract(filled: World, kind: str) -> None:
    connection = connect(filled.ledger, read_only=True)
    now = datetime(2026, 3, 9, tzinfo=UTC)
    plain = report_document(connection, kind, Selection(), now, money=nano_number)
    typed = make_report(connection, kind, Selection(), now)
    connection.close()

    assert encode_plain(plain) == encode_json(typed)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": {}, "b": [], "100%": ["%s", {"c": None}]},
        [True, False, None, 0, -1, 2**63],
        [chr(code) for code in range(0x20)],
        ['"', "\\", "/", "\x7f", "é", "\u2028", "\U0001f980", "<&>"],
        ("a", ("b",)),
        [usd(nano) for nano in (0, 1, 10**9, 1_500_000_000, -2_000_000_001)],
    ],
)
def test_plain_json_is_the_json_of_all_files(value: Any) -> None:
    assert encode_plain(value) == encode_json(value)


@pytest.mark.parametrize("nano", [0, 1, 10, 999_999_999, 10**9, 1_500_000_000, -1, -2_000_000_001, 10**27 + 1])
def test_money_has_the_same_text_with_and_without_a_decimal(nano: int) -> None:
    assert encode_plain([nano_number(nano)]) == encode_json([usd(nano)])


# ------------------------------------------------------------------ what is a change


def _same_size_and_time(world: World) -> None:
    path = world.claude_path()
    stat, data = path.stat(), path.read_bytes()
    path.rename(path.with_suffix(".old"))
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _new_root(world: World) -> None:
    (world.home_dir / ".codex" / "archived_sessions").mkdir()


def _segment(world: World) -> Path:
    return next(path for path in world.ledger.journal.rglob("*") if path.is_file())


CHANGES: dict[str, Callable[[World], object]] = {
    "appended": lambda world: world.append(world.claude_path(), claude("m9", "r9")),
    "half a line appended": lambda world: world.claude_path().write_bytes(world.claude_path().read_bytes() + b"{"),
    "touched": lambda world: os.utime(world.claude_path()),
    "other inode, same size and time": _same_size_and_time,
    "new file": lambda world: world.claude(claude("m9", "r9"), name="s9.jsonl"),
    "removed file": lambda world: world.claude_path().unlink(),
    "new root": _new_root,
    "deleted segment": lambda world: _segment(world).unlink(),
    "cut segment": lambda world: os.truncate(_segment(world), 3),
    "unknown segment": lambda world: (world.ledger.journal / "x.journal").write_bytes(b"x"),
    "other kind of home": lambda world: world.ledger.home_json.write_text('{"schema_version": 1, "kind": "bench"}'),
    "no ingest summary": lambda world: world.ledger.ingest_summary_path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(filled: World, change: str) -> None:
    CHANGES[change](filled)

    assert not unchanged(filled)
    assert warm.answer("report", ["daily"], os.environ) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLAUDE_CONFIG_DIR", "/nowhere"),
        ("CODEX_HOME", "/nowhere"),
        ("HOME", "/nowhere"),
        ("TZ", "Asia/Kathmandu"),
        ("TOKENLEDGER_TIMEZONE", "Asia/Kathmandu"),
        ("TOKENLEDGER_EXECUTOR", "threads"),
        ("TOKENLEDGER_HOST", "other"),
        ("TOKENLEDGER_HOME", "relative"),
    ],
)
def test_another_environment_is_a_change(filled: World, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)

    assert warm.answer("report", ["daily"], os.environ) is None
    assert warm.answer("snapshot", [], os.environ) is None


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("tokenledger_dagster.ingest.unchanged", "__version__", "0.0.0"),
        ("tokenledger_dagster.ingest.unchanged", "BOOKING_VERSION", "0"),
        ("tokenledger_dagster.ingest.unchanged", "CONFIG", "/nowhere"),
        ("tokenledger_dagster.clients.claude_code_logs", "ClaudeCodeLogs.parser_version", 99),
    ],
)
def test_another_program_is_a_change(
    filled: World, monkeypatch: pytest.MonkeyPatch, place: str, name: str, value: object
) -> None:
    monkeypatch.setattr(f"{place}.{name}", value)

    assert not unchanged(filled)


def test_a_changed_default_of_the_settings_is_read(
    filled: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "default.yaml"
    own.write_text("snapshot_top_n: 1\n")
    monkeypatch.setattr("tokenledger_dagster.settings_defaults._CONFIG", str(own))

    assert warm.answer("snapshot", [], os.environ) is None


def test_an_added_source_is_a_change_for_as_long_as_it_is_there(filled: World, run: Run, tmp_path: Path) -> None:
    extra = filled.write(tmp_path / "extra" / "x.jsonl", claude("e1", "e1"))
    run("sync", "--source", f"claude-code={extra.parent}")
    assert unchanged(filled)
    filled.append(extra, claude("e2", "e2"))
    assert not unchanged(filled)
    run("sync")
    assert unchanged(filled)

    extra.unlink()
    extra.parent.rmdir()
    assert not unchanged(filled)
    assert "is not there" in run("report", "daily").err
    assert "is not there" in run("report", "daily").err


def test_what_has_to_be_told_is_told_every_time(filled: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", "/nowhere")

    assert ["names no folder" in run("report", "daily").err for _ in range(3)] == [True] * 3


def test_a_missing_segment_is_told_every_time(filled: World, run: Run) -> None:
    _segment(filled).unlink()

    assert ["is missing or cut" in run("report", "daily").err for _ in range(3)] == [True] * 3


def test_another_writer_in_between_is_a_change(filled: World) -> None:
    from tokenledger_dagster.ingest.compaction import compact

    compact(filled.ledger)

    assert not unchanged(filled)


def test_a_sync_of_some_clients_remembers_nothing(world: World, run: Run) -> None:
    run("sync", "--client", "codex")

    assert world.query("SELECT 1 FROM meta WHERE key = ?", KEY) == []


@pytest.mark.parametrize("option", ["--no-cache", "--full"])
def test_a_thorough_sync_reads_all_the_same(filled: World, run: Run, option: str) -> None:
    assert run("sync", option, "--format", "json").json["sources"]["changed"] == 2


def test_a_state_of_another_version_is_left_to_the_ordinary_way(filled: World, run: Run) -> None:
    connection = connect(filled.ledger)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'manifest_version'")
    connection.close()

    assert run("report", "daily").code == 4


def test_an_empty_or_missing_home_is_left_to_the_ordinary_way(
    filled: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKENLEDGER_HOME", str(tmp_path / "none"))
    assert warm.answer("report", ["daily"], os.environ) is None
    ensure_home(tmp_path / "none", "test").lake.mkdir()
    (tmp_path / "none" / "lake" / "manifest.sqlite").write_bytes(b"no database" * 100)

    assert warm.answer("report", ["daily"], os.environ) is None


def test_nothing_is_written_by_a_second_sync(filled: World, run: Run) -> None:
    connection = connect(filled.ledger, read_only=True)
    before = get_meta(connection, KEY), filled.ledger.manifest_path.stat().st_mtime_ns
    run("sync")

    assert (get_meta(connection, KEY), filled.ledger.manifest_path.stat().st_mtime_ns) == before
    connection.close()


# ------------------------------------------------------------------ arguments and imports


@pytest.mark.parametrize(
    "given",
    [
        "report",
        "report weekly",
        "report --json",
        "report daily --format csv --json",
        "report daily --since 2026-01-01 --until 2026-02-01 --tz UTC --order asc --no-sync --no-estimates",
        "report model --client a --client b --model c --project d --session e",
        "snapshot",
        "snapshot --mode extended --month 2026-02 --output x --no-write --no-sync",
    ],
)
def test_common_arguments_mean_what_argparse_says(given: str) -> None:
    command, *rest = given.split()
    parser = argparse.ArgumentParser()
    importlib.import_module(f"tokenledger_dagster.cli.{command}").add_arguments(parser)
    found = arguments.simple(command, rest)

    assert found is not None
    assert vars(found) == {"command": command, **vars(parser.parse_args(rest))}


@pytest.mark.parametrize(
    "given",
    [
        "report hourly",
        "report --json daily",
        "report --format=json",
        "report --form json",
        "report --format xml",
        "report --since",
        "report --since -1",
        "report --help",
        "report daily weekly",
        "report --kind daily",
        "snapshot --mode all",
        "snapshot --no_write",
        "snapshot --json",
        "sync",
    ],
)
def test_all_other_arguments_are_argparses(given: str) -> None:
    command, *rest = given.split()

    assert arguments.simple(command, rest) is None


@pytest.mark.parametrize("given", [["report", "daily", "--format", "json"], ["report"], ["snapshot", "--no-write"]])
def test_nothing_heavy_is_imported(filled: World, given: list[str]) -> None:
    light = [name for name in HEAVY if name not in ("re", "typing")] if given == ["report"] else HEAVY
    code = (
        "import sys; before = set(sys.modules); from tokenledger_dagster.cli.main import main\n"
        f"code = main({given!r})\n"
        f"print([name for name in {light!r} if name in set(sys.modules) - before], code, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=60)

    assert found.stderr.strip().splitlines()[-1] == "[] 0"


def test_a_sync_imports_no_yaml_and_nothing_heavier(world: World) -> None:
    unwanted = ("yaml", "duckdb", "pyarrow", "dagster", "platformdirs", "argparse", "typing_extensions")
    code = (
        "import sys; from tokenledger_dagster.cli.main import main\n"
        "code = main(['report', 'daily'])\n"
        f"print([name for name in {unwanted!r} if name in sys.modules], code, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=60)

    assert found.stderr.strip().splitlines()[-1] == "[] 0"
