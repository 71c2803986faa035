"""The clients TokenLedger reads, by name.

Here: the one list of adapters, and of the light halves that find their logs: this package's own and those that other
packages bring (entry points of the group ``tokenledger.clients``).  Not here: anything about a single client.
"""

from __future__ import annotations

import os
import sys

from tokenledger_dagster.clients.logs import Root
from tokenledger_dagster.clients.places import client_places
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.once import once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tokenledger_dagster.clients.base import Client
    from tokenledger_dagster.clients.logs import Logs

GROUP = "tokenledger.clients"
"""Entry-point group under which another package names its adapters: ``name = "module:Class"``."""
_OWN = {
    "claude-code": "tokenledger_dagster.clients.claude_code:ClaudeCode",
    "codex": "tokenledger_dagster.clients.codex:Codex",
}


class UnknownClientError(TokenLedgerError):
    """A ledger holds events of a client whose adapter is not installed; the message names it."""


class Clients:
    """Adapters by client name, each imported when it is first asked for.

    Other packages are looked for only where this package's own names do not answer: a helper process needs none.
    """

    def __init__(self) -> None:
        self._own = {**_OWN, **{name: one.adapter for name, one in client_places().items()}}
        self._made: dict[str, Client] = {}

    def __getitem__(self, name: str) -> Client:
        found = self._made.get(name)
        if found is None and name in self._own:
            found = self._made[name] = _load(name, self._own[name])
        if found is None:
            found = _loaded_plugins()[0].get(name)
        if found is None:
            raise UnknownClientError(
                f"no adapter of the client {name} is installed; install its package again to go on with its events"
            )
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in _loaded_plugins()[0]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from _loaded_plugins()[0]

    def get(self, name: str) -> Client | None:
        """The adapter of that name, or None."""
        return self[name] if name in self else None  # noqa: SIM401 - this is the method itself

    def values(self) -> Iterator[Client]:
        """Every adapter, in the order reports list them."""
        return (self[name] for name in self)


@once
def clients() -> Clients:
    """Every adapter by its client name, in the order reports list them."""
    return Clients()


def broken_plugins() -> dict[str, str]:
    """Adapters of other packages that cannot be used, by client name, with the reason."""
    return _loaded_plugins()[1]


@once
def _loaded_plugins() -> tuple[dict[str, Client], dict[str, str]]:
    working: dict[str, Client] = {}
    broken: dict[str, str] = {}
    for name, target in plugins().items():
        try:
            client = _load(name, target)
            missing = [part for part in _INTERFACE if not hasattr(client, part)]
        except (Exception, SystemExit) as problem:  # another package's fault must not stop the reading of all else
            broken[name] = f"{target}: {type(problem).__name__}"
            continue
        if missing:
            broken[name] = f"{target} has no {', '.join(missing)}"
        else:
            working[name] = client
    return working, broken


_INTERFACE = (
    *("name", "parser_version", "roots", "entries", "files", "reader", "context", "pack_format", "group", "claims"),
    *("duplicate_rule", "links"),
)


@once
def logs() -> dict[str, Logs]:
    """Where this package's own clients log, in the same order; asking costs none of the readers' imports."""
    from tokenledger_dagster.clients.claude_code_logs import ClaudeCodeLogs
    from tokenledger_dagster.clients.codex_logs import CodexLogs

    found: list[Logs] = [ClaudeCodeLogs(), CodexLogs(), *client_places().values()]
    return {one.name: one for one in found}


def finder(name: str) -> Logs | Client:
    """What finds a client's logs: the light half of this package's own, else the adapter itself."""
    return logs().get(name) or clients()[name]


def roots_of(name: str, environ: Mapping[str, str]) -> tuple[list[Root], str | None]:
    """A client's roots, and what is wrong with the adapter of another package that cannot tell them."""
    if name in logs():
        return logs()[name].roots(environ), None
    try:
        found: list[Any] = list(clients()[name].roots(environ))
    except (Exception, SystemExit) as problem:
        return [], type(problem).__name__
    roots = [root for root in found if isinstance(root, Root)]
    return roots, None if len(roots) == len(found) else "its roots are of another type"


def parser_version(name: str) -> int:
    """Which version of a client's reader this is."""
    return finder(name).parser_version


@once
def plugins() -> dict[str, str]:
    """Adapters of other packages as ``module:Class`` by client name; this package's own names cannot be taken."""
    found: dict[str, str] = {}
    for folder, _ in package_folders():
        try:
            entries = [one.path for one in os.scandir(folder) if one.name.endswith(".dist-info")]
        except OSError:
            continue
        for path in sorted(entries):
            found |= dict(_entry_points(f"{path}/entry_points.txt"))
    return {name: target for name, target in found.items() if name not in _OWN and name not in client_places()}


def package_folders() -> list[tuple[str, int]]:
    """Folders that packages are installed in, with their modification times: a new package changes one of them."""
    found = []
    for folder in sys.path:
        if folder.endswith(("site-packages", "dist-packages")):
            try:
                found.append((folder, os.stat(folder).st_mtime_ns))
            except OSError:
                continue
    return found


def _entry_points(path: str) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as handle:
            lines = handle.read().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    inside = False
    for line in lines:
        text = line.strip()
        if text.startswith("["):
            inside = text == f"[{GROUP}]"
        elif inside and "=" in text and not text.startswith(("#", ";")):
            name, _, target = text.partition("=")
            yield name.strip(), target.strip()


def _load(name: str, target: str) -> Client:
    from importlib import import_module

    module, _, attribute = target.partition(":")
    client: Client = getattr(import_module(module), attribute)()
    if client.name != name:
        raise TypeError(f"the adapter {target} is registered as {name} but calls itself {client.name}")
    return client


_SHORT = {
    "claude": "claude-code",
    "anthropic": "claude-code",
    "openai": "codex",
    "factory": "droid",
    "proxyapi": "cliproxyapi",
    "cli-proxy-api": "cliproxyapi",
    "otel": "opentelemetry",
    "gemini": "gemini-cli",
    "copilot": "copilot-cli",
    "qwen": "qwen-code",
    "roo-code": "roo",
    "kilo-code": "kilo",
}


def client_name(given: str) -> str | None:
    """The client meant by ``given`` (its name or a common short one), or None."""
    name = _SHORT.get(given.lower(), given.lower())
    return name if name in clients() else None
