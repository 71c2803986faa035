"""Walking a root for log files.

Here: one recursive ``scandir`` that survives unreadable folders, symlink loops and odd names, and how paths are spelt.
Not here: where the roots are (``clients.logs`` and each client's).  Text in place of ``pathlib``: every report walks.
"""

from __future__ import annotations

import os
from operator import attrgetter

from tokenledger_dagster.clients import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


class Stat:
    """The part of a ``stat`` that tells files and their states apart."""

    __slots__ = ("st_ctime_ns", "st_dev", "st_ino", "st_mtime_ns", "st_size")

    def __init__(self, size: int, mtime_ns: int, ctime_ns: int, inode: int, device: int) -> None:
        self.st_size = size
        self.st_mtime_ns = mtime_ns
        self.st_ctime_ns = ctime_ns
        self.st_ino = inode
        self.st_dev = device


Entry = tuple[str, str, os.stat_result | Stat]
"""Path, path below the root, ``stat``."""
Seen = tuple[str, int, int, int, int, int]
"""Path, size, modification and change time (ns), inode and device of a log file."""

MAX_DEPTH = 24


def is_log(name: str) -> bool:
    """Whether a file's name ends in ``.jsonl``, perhaps with a rotation's number, ``.gz`` or ``.zst`` behind."""
    if name.endswith(".jsonl"):
        return True
    stem = name.removesuffix(".gz") if name.endswith(".gz") else name.removesuffix(".zst")
    rotated, _, number = stem.rpartition(".")
    return (rotated if number.isdecimal() else stem).endswith(".jsonl")


def log_files(
    root: str, counts: Callable[[str, str], bool] | None = None, leads: Callable[[str, str], bool] | None = None
) -> Iterator[Entry]:
    """Yields ``(path, path below root, stat)`` of every ``*.jsonl`` (rotated, ``.gz`` and ``.zst`` too) below ``root``.

    ``counts``, given a file's name and its folder below the root, chooses other files than these; ``leads``, given a
    folder's name and the folder it lies in, tells whether it is entered.

    Folders reached twice through symlinks are walked once; what cannot be read is passed over, as is a file that
    vanishes meanwhile.  ``root`` may itself be a file.  Sorted, so that runs read alike.
    """
    compiled_walk = seen_below(root) if counts is None and leads is None else None
    if compiled_walk is not None:
        for path, *told in compiled_walk:
            yield path, below(path, root), Stat(*told)
        return
    if os.path.isfile(root):
        yield root, os.path.basename(root), os.stat(root)
        return
    seen: set[tuple[int, int]] = set()
    stack = [(root, "", 0)]
    while stack:
        folder, within, depth = stack.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=attrgetter("name"))
        except OSError:
            continue
        for entry in entries:
            name = entry.name
            shown = name if name.isascii() else escaped(name)
            try:
                if entry.is_file():
                    if counts(name, within) if counts else name.endswith(".jsonl") or is_log(name):
                        yield entry.path, within + shown, entry.stat()
                elif entry.is_dir():
                    if leads and not leads(name, within):
                        continue
                    stat = entry.stat() if entry.is_symlink() else None
                    if stat is not None:
                        if (stat.st_dev, stat.st_ino) in seen:
                            continue
                        seen.add((stat.st_dev, stat.st_ino))
                    if depth < MAX_DEPTH:
                        stack.append((entry.path, f"{within}{shown}/", depth + 1))
            except OSError:
                continue


def seen_below(root: str) -> list[Seen] | None:
    """The files of ``log_files`` below a folder, walked by C; None where only Python can."""
    bulk = compiled.bulk()
    if bulk is None or os.path.isfile(root):
        return None
    found: list[Seen] | None = bulk.log_files(root)
    return found


def escaped(name: str) -> str:
    """A name as it is stored and shown: it may hold bytes that are no UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def below(path: str, root: str) -> str:
    """The path below its root that ``log_files`` gave with ``path``."""
    if path == root:
        return os.path.basename(root)
    return escaped(path.removeprefix(root if root.endswith("/") else f"{root}/"))


def existing(paths: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of ``(path, origin)`` that exist, each real folder once."""
    kept: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    for path, origin in paths:
        try:
            stat = os.stat(path)
        except (OSError, ValueError):
            continue
        if (stat.st_dev, stat.st_ino) not in seen:
            seen.add((stat.st_dev, stat.st_ino))
            kept.append((path, origin))
    return kept


def home_folder(environ: Mapping[str, str]) -> str:
    """The person's home folder, absolute."""
    return absolute(environ.get("HOME") or os.path.expanduser("~"))


def listed(value: str, home: str) -> list[str]:
    """Paths of a comma-separated environment value, ``~`` expanded against ``home``, absolute."""
    parts = [part.strip() for part in value.split(",")]
    return [expanded(part, home) for part in parts if part]


def expanded(path: str, home: str) -> str:
    """An absolute path, ``~`` expanded against ``home``."""
    return absolute(home + path[1:] if path == "~" or path.startswith("~/") else path)


def absolute(path: str) -> str:
    """``path`` as ``pathlib`` spells it absolutely: no empty parts and no dots, but ``..`` stays where links may be."""
    full = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    return "/" + "/".join([part for part in full.split("/") if part not in ("", ".")])
