"""Suggestions of a month as they were last worked out, for whoever only shows them.

Here: where they are kept, and their texts. Not here: working them out (`exports.suggestions`). Light: see `cli.warm`;
SQLite reads the JSON, since it is there already and a JSON library is not.
"""

from __future__ import annotations

import os
import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = "suggestions"
"""Below the home; one file a month."""
COMPACT = 3
"""How many a compact snapshot shows."""
_TEXTS = """
SELECT one.value ->> 'text' FROM json_each(?, '$.suggestions') AS one
WHERE typeof(one.value ->> 'text') = 'text' ORDER BY one.key LIMIT ?
"""
_HEAD = """
SELECT ? ->> '$.schema_version' = 1 AND ? ->> '$.month' = ? AND ? ->> '$.timezone' = ?
"""


def kept_path(home: str, month: str) -> str:
    """Where the suggestions of a month, YYYY-MM, are kept."""
    return f"{home}/{FOLDER}/{month}.json"


def kept_texts(home: str, month: str, zone: str, limit: int = -1) -> list[str] | None:
    """The texts of a month, the largest saving first; None where none are kept, or not of this zone's month.

    A file that cannot be read is as good as none: the next `orchestrate` makes it anew.
    """
    try:
        with open(kept_path(home, month), encoding="utf-8") as handle:
            content = handle.read()
        connection = sqlite3.connect(":memory:")
        try:
            (fits,) = connection.execute(_HEAD, (content, content, month, content, zone)).fetchone()
            if not fits:
                return None
            return [text for (text,) in connection.execute(_TEXTS, (content, limit))]
        finally:
            connection.close()
    except (OSError, ValueError, sqlite3.Error):
        return None


def add_to_snapshot(document: dict[str, Any], home: str) -> dict[str, Any]:
    """A snapshot as plain values with the texts of its month, and where the whole of them lies."""
    limit = COMPACT if document["mode"] == "compact" else -1
    found = kept_texts(home, document["month"], document["timezone"], limit)
    if found is None:
        return document
    return {**document, "suggestions": found, "suggestions_path": kept_path(os.fspath(home), document["month"])}
