"""What must hold of published files.

Here: the analyst database and the UI snapshot as a reader finds them.  Not here: the rows in them.
"""

from __future__ import annotations

import json
from typing import Any

from tokenledger_dagster.contracts.snapshot import validate_snapshot
from tokenledger_dagster.contracts.tables import TABLES
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.tables import stored
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement

_OLDER = ("runs",)
"""Tables that the published file may hold an older state of (see ``exports.warehouse``)."""


def tables_present(look: Inspection) -> Finding:
    """Whether the published database opens read-only and holds every table, with its rows and all comments."""
    path = look.home.duckdb_path
    if not path.exists():
        message = f"{path} is not there: analysts have nothing to read. Run `tokenledger orchestrate`."
        return Finding(passed=False, message=message, actual=0, expected=len(TABLES))
    rows = _published_problems(look)
    if path.with_name(path.name + ".wal").exists():
        rows.append({"table": "", "problem": f"{path.name}.wal lies beside it; the file was not checkpointed"})
    if not rows:
        message = f"All {len(TABLES)} tables are published, whole and commented."
        return Finding(passed=True, message=message, actual=len(TABLES), expected=len(TABLES))
    message = (
        f"{path}: {rows[0]['table']} {rows[0]['problem']}: analysts would read old or no data. "
        "Delete the file and run `tokenledger orchestrate`."
    )
    good = len(TABLES) - len({row["table"] for row in rows if row["table"]})
    return Finding(passed=False, message=message, actual=good, expected=len(TABLES), rows=rows)


def _published_problems(look: Inspection) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as con:
        try:
            con.execute(f"ATTACH {literal(look.home.duckdb_path)} AS published (READ_ONLY)")
        except duckdb.Error as error:
            return [{"table": "", "problem": f"cannot be opened ({str(error).splitlines()[0]})"}]
        found = dict(con.execute(statement("published")).fetchall())
        rows = []
        for name in TABLES:
            if name not in found:
                rows.append({"table": name, "problem": "is missing"})
                continue
            if found[name]:
                rows.append({"table": name, "problem": f"lacks {found[name]} comments"})
            (count,) = con.execute(f'SELECT count(*) FROM published."{name}"').fetchone() or (0,)
            built = stored(look.home, name)
            if built is not None and name not in _OLDER and built.row_count != count:
                rows.append({"table": name, "problem": f"has {count} rows instead of {built.row_count}"})
    return rows


def ui_snapshot_schema(look: Inspection) -> Finding:
    """Whether the UI snapshot is a document of contract version 1."""
    path = look.home.ui_snapshot_path
    try:
        problems = validate_snapshot(json.loads(path.read_bytes()))
    except FileNotFoundError:
        problems = ["there is no such file"]
    except ValueError as error:
        problems = [f"it is no JSON ({error})"]
    if not problems:
        message = "The UI snapshot has the shape of contract version 1."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"{path}: {problems[0]}: status bars and extensions would show nothing or wrong figures. "
        "Run `tokenledger snapshot`."
    )
    rows = [{"problem": problem} for problem in problems]
    return Finding(passed=False, message=message, actual=len(problems), expected=0, rows=rows)
