"""Claude Code: where its transcripts lie.

Here: roots and which files below them count.  Not here: what a row means (``clients.claude_code``).  Facts and sources:
``docs/clients/claude-code.md``.
"""

from __future__ import annotations

import os

from tokenledger_dagster.clients import walk
from tokenledger_dagster.clients.logs import Logs, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DESKTOP_STORES = (
    "Library/Application Support/Claude/local-agent-mode-sessions",
    "Library/Application Support/Claude/claude-code-sessions",
    ".config/Claude/local-agent-mode-sessions",
)


class ClaudeCodeLogs(Logs):
    """Transcripts of Claude Code."""

    name = "claude-code"
    parser_version = 1
    override: str | None = "CLAUDE_CONFIG_DIR"

    def roots(self, environ: Mapping[str, str]) -> list[Root]:
        """Folders of ``CLAUDE_CONFIG_DIR``, else the two defaults and the Desktop app's embedded stores.

        The variable is a comma list of config folders or of their ``projects``.
        """
        home = walk.home_folder(environ)
        override = environ.get("CLAUDE_CONFIG_DIR", "").strip()
        if override:
            found = [(_projects(path), "CLAUDE_CONFIG_DIR") for path in walk.listed(override, home)]
        else:
            config = walk.absolute(environ.get("XDG_CONFIG_HOME") or f"{home}/.config")
            found = [(f"{home}/.claude/projects", "default"), (f"{config}/claude/projects", "default")]
            found += [(f"{home}/{store}", "desktop") for store in _DESKTOP_STORES]
        return [Root(path, origin) for path, origin in walk.existing(found)]

    def walk(self, root: Root) -> Iterable[walk.Entry]:
        """Every ``*.jsonl`` below the root; what a file holds, not where it lies, tells whether it counts."""
        found = walk.log_files(root.where)
        if root.origin == "desktop":
            return (entry for entry in found if "/.claude/projects/" in entry[0])
        return found

    def takes_all(self, root: Root) -> bool:
        """All but the Desktop app's stores, which hold other files too."""
        return root.origin != "desktop"


def _projects(path: str) -> str:
    below = f"{path}/projects"
    return path if os.path.basename(path) == "projects" or not os.path.isdir(below) else below
