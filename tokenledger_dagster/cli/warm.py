"""`report` and `snapshot` where nothing has changed since the last sync: the same answer without its imports.

Here: telling that the stored cells are the answer, and handing them to the command's own printing.  Not here: any
figure, any text, any error: whatever is not plain is left to the ordinary way (`cli.main`), which is the reference.
Nothing imported from here on may import `msgspec`, `pathlib`, `re`, `typing` or anything heavier; a test holds it to
that.
"""

from __future__ import annotations

import gc
import os
import sys

from tokenledger_dagster import home_files
from tokenledger_dagster.cli.arguments import selection_of, simple
from tokenledger_dagster.cli.kept import Kept
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.ingest.meta import MANIFEST_VERSION, get_meta
from tokenledger_dagster.ingest.unchanged import Walked, facts_of, is_same, is_unchanged
from tokenledger_dagster.ingest.zone_names import named_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from types import SimpleNamespace

COMMANDS = ("report", "snapshot")


def answer(command: str, given: Sequence[str], environ: Mapping[str, str], walked: Walked | None = None) -> int | None:
    """The exit code of a command that could be answered from the stored cells, else None, with nothing printed.

    ``walked`` keeps what was seen of the logs, for the ordinary way.

    Raises NothingToReport where the cells say so.
    """
    args = simple(command, given)
    home = _home(environ)
    if args is None or home is None or not os.path.exists(f"{home}/{home_files.MANIFEST}"):
        return None
    gc.disable()  # the process ends before a collection would pay
    try:
        return _from_state(args, home, environ, walked or Walked())
    finally:
        gc.enable()


def _from_state(args: SimpleNamespace, home: str, environ: Mapping[str, str], walked: Walked) -> int | None:
    # before the state is read: what is written meanwhile must not be told by an answer that is kept
    kept = (
        Kept(home, args, environ.get("TOKENLEDGER_TIMEZONE") or named_zone(environ))
        if args.command == "report" and args.format == "json"
        else None
    )
    found = kept.find() if kept is not None else None
    if found is not None:
        facts, parts = found
        if not is_same(home, facts, environ, walked):
            return None
        for part in parts:
            sys.stdout.buffer.write(part)
        return 0
    import sqlite3  # a kept answer needs none

    try:
        connection = sqlite3.connect(f"{home}/{home_files.MANIFEST}", isolation_level=None, timeout=30)
        try:
            connection.execute("PRAGMA query_only=1")
            connection.execute("BEGIN")  # fingerprint and cells of one and the same commit
            return _answer(args, connection, home, environ, walked, kept)
        finally:
            connection.close()
    except (sqlite3.Error, UsageError):
        return None


def is_filled(environ: Mapping[str, str]) -> bool:
    """Whether the home holds anything, as far as can be told without the settings."""
    home = _home(environ)
    return home is None or os.path.exists(f"{home}/{home_files.MANIFEST}")


def _answer(
    args: SimpleNamespace,
    connection: sqlite3.Connection,
    home: str,
    environ: Mapping[str, str],
    walked: Walked,
    kept: Kept | None,
) -> int | None:
    zone = environ.get("TOKENLEDGER_TIMEZONE") or named_zone(environ)
    if get_meta(connection, "manifest_version") != MANIFEST_VERSION or get_meta(connection, "zone") != zone:
        return None
    if args.command == "report":
        selection = selection_of(args, args.tz or zone)
        facts = facts_of(connection)
        if facts is None or not is_same(home, facts, environ, walked):
            return None
        if kept is not None:
            kept.facts = facts
        from tokenledger_dagster.cli.report import show_report

        return show_report(connection, args, selection, home, kept)
    top_n = _top_n(environ)
    if top_n is None or not is_unchanged(home, connection, environ, walked):
        return None
    from tokenledger_dagster.cli.snapshot import check_month, show_snapshot

    check_month(args.month)
    return show_snapshot(connection, args, home, top_n)


def _home(environ: Mapping[str, str]) -> str | None:
    """The home as the settings would spell it, None where they have to say."""
    found = environ.get("TOKENLEDGER_HOME") or home_files.default_root()
    return found if found and found.startswith("/") and found == os.path.normpath(found) else None


def _top_n(environ: Mapping[str, str]) -> int | None:
    given = environ.get("TOKENLEDGER_SNAPSHOT_TOP_N")
    if given:
        return int(given) if given.isascii() and given.isdecimal() else None
    from tokenledger_dagster import settings_defaults

    # a default that was edited by hand is read from its file
    return settings_defaults.SNAPSHOT_TOP_N if settings_defaults.are_current() else None
