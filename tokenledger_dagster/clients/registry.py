"""The clients TokenLedger reads, by name.

Here: the one list of adapters, and of the light halves that find their logs.  Not here: anything about a single client.
"""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenledger_dagster.clients.base import Client
    from tokenledger_dagster.clients.logs import Logs


@cache
def clients() -> dict[str, Client]:
    """Every adapter by its client name, in the order reports list them."""
    from tokenledger_dagster.clients.claude_code import ClaudeCode
    from tokenledger_dagster.clients.codex import Codex

    found: list[Client] = [ClaudeCode(), Codex()]
    return {client.name: client for client in found}


@cache
def logs() -> dict[str, Logs]:
    """Where each client's logs lie, in the same order; asking costs none of the readers' imports."""
    from tokenledger_dagster.clients.claude_code_logs import ClaudeCodeLogs
    from tokenledger_dagster.clients.codex_logs import CodexLogs

    found: list[Logs] = [ClaudeCodeLogs(), CodexLogs()]
    return {one.name: one for one in found}


_SHORT = {"claude": "claude-code", "anthropic": "claude-code", "openai": "codex"}


def client_name(given: str) -> str | None:
    """The client meant by ``given`` (its name or a common short one), or None."""
    name = _SHORT.get(given.lower(), given.lower())
    return name if name in logs() else None
