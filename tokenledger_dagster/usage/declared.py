"""Whether anything is declared that makes cost differ from list price: plans, a provider's terms, a book's fees.

Here: a look so cheap that every report can afford it. Not here: what plans cost whom (`usage.effective`). Light: see
``cli.warm``.
"""

from __future__ import annotations

import os

from tokenledger_dagster import home_files
from tokenledger_dagster.ingest.meta import get_meta

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

BOOK_FEES = "book_fees"
"""Key of the manifest's meta table: monthly fees of the accepted pricing book, JSON, USD by provider; absent = none."""


def is_declared(connection: sqlite3.Connection, home: str) -> bool:
    """Whether costs have to be worked out from plans; without any, effective cost is the list price."""
    return os.path.lexists(f"{home}/{home_files.PLANS}") or get_meta(connection, BOOK_FEES) is not None
