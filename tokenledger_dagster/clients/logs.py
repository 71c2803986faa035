"""Where a client's logs lie: the part of an adapter that every report runs, also where nothing has changed.

Here: what roots and discovery have in common.  Not here: what a log holds (the adapter itself, ``clients.base``).
Standard library only, and little of it: a report on unchanged logs has a few milliseconds for its imports, so neither
this module nor a client's ``*_logs`` module may import ``msgspec``, ``pathlib``, ``re`` or ``typing``.
"""

from __future__ import annotations

import os

from tokenledger_dagster import home_files
from tokenledger_dagster.clients import walk

TYPE_CHECKING = False  # typing itself costs more than this module
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tokenledger_dagster.clients.walk import Seen


LOGS_HOME = "TOKENLEDGER_LOGS_HOME"
"""A folder in which logs are looked for as if it were the person's home: the sample's, a bench's, a backup's."""


def agents_environ(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment by which logs are found: the agents' own variables say nothing about another home's logs."""
    if LOGS_HOME not in environ:
        return environ
    kept = {name: value for name, value in environ.items() if name.startswith("TOKENLEDGER_")}
    # what was landed lies in the ledger's own home, not in one below that folder
    return {home_files.ROOT: home_files.root_of(environ), **kept, "HOME": environ[LOGS_HOME]}


class Root:
    """A folder (or single file) a client may log to."""

    __slots__ = ("found", "origin", "where")

    def __init__(self, path: str | os.PathLike[str], origin: str) -> None:
        self.where = os.fspath(path)
        """The path as text."""
        self.origin = origin
        """How it was found: an environment variable's name, ``default``, ``desktop`` or ``--source``."""
        self.found: Sequence[walk.Entry] | None = None
        """What a walk a moment ago found below it, which then is not walked again."""

    @property
    def path(self) -> Path:
        """The path."""
        from pathlib import Path

        return Path(self.where)


class Logs:
    """Base of every adapter: its name, and how its logs are found."""

    name: str
    parser_version: int
    """Raised when rows are read differently: files are then read anew."""
    override: str | None = None
    """The agent's own variable that names its folders, so that one that leads nowhere can be told."""

    def roots(self, environ: Mapping[str, str]) -> list[Root]:
        """The folders that exist on this machine, from environment overrides or defaults."""
        raise NotImplementedError

    def entries(self, root: Root) -> Iterator[walk.Entry]:
        """The log files below a root: path, path below the root, ``stat``."""
        return iter(self.walk(root) if root.found is None else root.found)

    def walk(self, root: Root) -> Iterable[walk.Entry]:
        """The same, always by a walk."""
        return walk.log_files(root.where)

    def takes_all(self, root: Root) -> bool:
        """Whether ``walk`` leaves nothing out of ``walk.log_files``."""
        return type(self).walk is Logs.walk

    def seen(self, root: Root) -> list[Seen]:
        """What a walk sees of each log file, as numbers."""
        found = walk.seen_below(root.where) if self.takes_all(root) else None
        if found is not None:
            return found
        return [
            (path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
            for path, _, stat in self.walk(root)
        ]
