"""Codex: where its rollouts lie.

Here: roots.  Not here: what a row means (``clients.codex_reader``).  Facts and sources: ``docs/clients/codex.md``.
"""

from __future__ import annotations

from tokenledger_dagster.clients import walk
from tokenledger_dagster.clients.logs import Logs, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class CodexLogs(Logs):
    """Rollouts of Codex: every ``*.jsonl`` below a root, not only ``rollout-*``."""

    name = "codex"
    parser_version = 1
    override: str | None = "CODEX_HOME"

    def roots(self, environ: Mapping[str, str]) -> list[Root]:
        """``sessions`` and ``archived_sessions`` of ``CODEX_HOME`` (a comma list), else of ``~/.codex``."""
        home = walk.home_folder(environ)
        override = environ.get("CODEX_HOME", "").strip()
        bases = walk.listed(override, home) if override else [f"{home}/.codex"]
        origin = "CODEX_HOME" if override else "default"
        found = [(f"{base}/{part}", origin) for base in bases for part in ("sessions", "archived_sessions")]
        return [Root(path, where) for path, where in walk.existing(found)]
