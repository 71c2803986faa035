"""The few errors that a person may see, each with the exit code of its command.

Belongs here: errors that cross a module's border. Does not belong here: how they are printed (`cli/`), and errors that
one module raises and catches itself.

A message is one line: the file or place first, what is wrong, then the remedy. It never quotes a log's content.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs a report more than all of its own modules
if TYPE_CHECKING:
    from typing import ClassVar

__all__ = ["TokenLedgerError", "UsageError", "NothingToReport", "SettingsError", "HomeKindError"]


class TokenLedgerError(Exception):
    """Bad input: a file or value that cannot be used as it is. Base of all errors below."""

    exit_code: ClassVar[int] = 4


class UsageError(TokenLedgerError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code: ClassVar[int] = 2


class NothingToReport(TokenLedgerError):  # noqa: N818 - an outcome with an exit code of its own, not a fault
    """The command worked and the selection is empty."""

    exit_code: ClassVar[int] = 3


class SettingsError(TokenLedgerError):
    """A setting has a value that it cannot have."""


class HomeKindError(TokenLedgerError):
    """A home of one kind was opened as another; a sample's events never enter a user's ledger."""
