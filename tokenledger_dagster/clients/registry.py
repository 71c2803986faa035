"""The clients TokenLedger reads, by name.

Here: the one list of adapters.  Not here: anything about a single client.
"""

from __future__ import annotations

from functools import cache

from tokenledger_dagster.clients.base import Client


@cache
def clients() -> dict[str, Client]:
    """Every adapter by its client name, in the order reports list them."""
    from tokenledger_dagster.clients.claude_code import ClaudeCode
    from tokenledger_dagster.clients.codex import Codex

    found: list[Client] = [ClaudeCode(), Codex()]
    return {client.name: client for client in found}


_SHORT = {"claude": "claude-code", "anthropic": "claude-code", "openai": "codex"}


def client_name(given: str) -> str | None:
    """The client meant by ``given`` (its name or a common short one), or None."""
    name = _SHORT.get(given.lower(), given.lower())
    return name if name in clients() else None
