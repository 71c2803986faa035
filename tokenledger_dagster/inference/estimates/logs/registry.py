"""Which clients' logs hold texts with counts, or without, and who reads them.

Here: the one list of readers, and what in the ledger's own bookkeeping shows that a file holds something uncounted. Not
here: anything about a single client.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.inference.estimates.logs.piece import Emit
from tokenledger_dagster.inference.prompts.reading import PromptReader

__all__ = ["VERSION", "Texts", "reader_of", "texts_of"]

VERSION = 1
"""Raised when a reader, or what becomes of its findings, changes: all is then read anew."""
_PACKAGE = "tokenledger_dagster.inference.estimates.logs"


class Texts(NamedTuple):
    """What the logs of one client hold."""

    module: str
    reasons: tuple[str, ...]
    """Reasons for which the ledger passes rows over that may be requests without counts. A file with usage and none of
    these is read for its counted answers alone."""
    by_request: bool
    """Whether the log tells request by request what has counts. If not, a session with any booked request has all."""


_CLIENTS = {
    # counted answers alone
    "claude-code": Texts("claude_code", (), True),
    "codex": Texts("codex", (), False),
    "cursor": Texts("cursor", ("zero_usage", "usage_null"), True),
    "gemini-cli": Texts("gemini_cli", ("zero_usage", "usage_null"), True),
    "copilot-cli": Texts("copilot_cli", ("zero_usage", "usage_null"), False),
    "droid": Texts("roles", (), False),
}


def texts_of(client: str) -> Texts | None:
    """What a client's logs hold; None where they have counts of everything, or no texts."""
    return _CLIENTS.get(client)


def reader_of(file: SourceFile, emit: Emit) -> PromptReader | None:
    """The reader of a file; None where files of its kind hold no texts."""
    make: Callable[[SourceFile, Emit], PromptReader | None]
    make = import_module(f"{_PACKAGE}.{_CLIENTS[file.client].module}").reader
    return make(file, emit)
