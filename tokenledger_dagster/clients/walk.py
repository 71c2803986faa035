"""Walking a root for log files.

Here: one recursive ``scandir`` that survives unreadable folders, symlink loops and odd names.  Not here: where the
roots are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

LOG_NAME = re.compile(r"\.jsonl(\.\d+)?(\.gz|\.zst)?$")
MAX_DEPTH = 24


def log_files(root: Path) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yields ``(path, path below root, stat)`` of every ``*.jsonl`` (rotated, ``.gz`` and ``.zst`` too) below ``root``.

    Folders reached twice through symlinks are walked once; what cannot be read is passed over, as is a file that
    vanishes meanwhile.  ``root`` may itself be a file.  Sorted, so that runs read alike.
    """
    if root.is_file():
        yield str(root), root.name, root.stat()
        return
    seen: set[tuple[int, int]] = set()
    stack = [(str(root), "", 0)]
    while stack:
        folder, below, depth = stack.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            # names may hold bytes that are no UTF-8; what is stored and shown escapes them
            name = below + entry.name.encode("utf-8", "backslashreplace").decode("utf-8")
            try:
                if entry.is_dir():
                    stat = entry.stat() if entry.is_symlink() else None
                    if stat is not None:
                        if (stat.st_dev, stat.st_ino) in seen:
                            continue
                        seen.add((stat.st_dev, stat.st_ino))
                    if depth < MAX_DEPTH:
                        stack.append((entry.path, f"{name}/", depth + 1))
                elif LOG_NAME.search(entry.name) and entry.is_file():
                    yield entry.path, name, entry.stat()
            except OSError:
                continue


def existing(paths: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Those of ``(path, origin)`` that exist, each real folder once."""
    kept: list[tuple[Path, str]] = []
    seen: set[tuple[int, int]] = set()
    for path, origin in paths:
        try:
            stat = path.stat()
        except (OSError, ValueError):
            continue
        if (stat.st_dev, stat.st_ino) not in seen:
            seen.add((stat.st_dev, stat.st_ino))
            kept.append((path, origin))
    return kept


def listed(value: str, home: Path) -> list[Path]:
    """Paths of a comma-separated environment value, ``~`` expanded against ``home``."""
    parts = [part.strip() for part in value.split(",")]
    expanded = (home / part[2:] if part == "~" or part.startswith("~/") else Path(part) for part in parts if part)
    return [path.absolute() for path in expanded]
