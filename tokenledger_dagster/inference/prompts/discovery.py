"""Which files may hold prompts, and what they look like from outside: found as the ledger finds them.

Here: a client's roots (its own variables, defaults, added sources) and the state of each file.  Not here: where a
client logs (`clients.registry`), or opening a file (`reading`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tokenledger_dagster.clients.base import SourceFile
from tokenledger_dagster.clients.logs import Root, agents_environ
from tokenledger_dagster.clients.registry import clients, roots_of
from tokenledger_dagster.home import Home, keep_apart
from tokenledger_dagster.inference.prompts.registry import beside
from tokenledger_dagster.ingest.manifest import ManifestError, connect

__all__ = ["find", "state_of"]


def find(home: Home, environ: Mapping[str, str], client: str, problems: list[str]) -> list[SourceFile]:
    """The client's files, each once, whatever links lead to it.

    Raises:
        HomeKindError: the bundled sample's logs and a user's home, or the other way round.
    """
    roots, wrong = roots_of(client, agents_environ(environ))
    if wrong is not None:
        problems.append(f"the adapter of {client} cannot be used ({wrong}); mend or remove its package")
    roots = [*roots, *_added(home, client)]
    keep_apart(home, [root.path for root in roots], empty=False)
    found: list[SourceFile] = []
    seen: set[tuple[int, int]] = set()
    for root in roots:
        if not os.access(root.path, os.R_OK):
            problems.append(f"{root.path} cannot be read; give this user permission to read it")
        for file in clients()[client].files(root):
            if (file.device, file.inode) not in seen or not file.inode:
                seen.add((file.device, file.inode))
                found.append(file)
    return found


def state_of(file: SourceFile) -> str:
    """What changes whenever the file, or what stands beside it, is written to."""
    told = [file.size, file.mtime_ns, file.ctime_ns, file.inode]
    for path in beside(file):
        try:
            stat = os.stat(path)
        except OSError:
            continue
        told += [stat.st_mtime_ns, stat.st_ctime_ns]
    return " ".join(map(str, told))


def _added(home: Home, client: str) -> list[Root]:
    """Roots that were added with `sync --source`."""
    if not home.manifest_path.exists():
        return []
    try:
        with closing(connect(home, read_only=True)) as manifest:
            query = "SELECT path FROM extra_sources WHERE client = ? ORDER BY path"
            paths = [path for (path,) in manifest.execute(query, (client,))]
    except (ManifestError, sqlite3.Error):  # told by whoever reads the ledger
        return []
    return [Root(path, "--source") for path in paths if Path(path).exists()]
