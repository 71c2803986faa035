"""The SQL files of this package as text.

Here: reading them and putting names into them.  Not here: the statements.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def _text(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text("utf-8")


def statement(name: str, **values: str) -> str:
    """Text of ``sql/<name>.sql``, its ``{placeholders}`` filled in; the values are SQL themselves."""
    return _text(name).format(**values) if values else _text(name)
