"""Where the clients beyond Claude Code and Codex log, as rows of two data files.

Here: reading `clients.csv` and `places.csv`, environment variables in a path, and which names below a root count.  Not
here: what a file holds (each adapter).  Light: see ``clients.logs``.

A path is a folder or a single file; ``${NAME:-default}`` is an environment variable or its default, and a variable may
hold a comma list; ``${TOKENLEDGER_HOME}`` is the ledger's home, wherever that is.  ``/{A|B}`` stands for several
folders, looked for only where the one above them exists.  Names are separated by blanks; ``*`` stands for anything, and
a pattern with a slash is compared with as many of the last parts of the path below the root; one that begins with a
slash with all of them, and where a place has only such patterns, no folder is entered that none of them leads to.
``.gz`` and ``.zst`` behind a name change nothing.  A name after ``!`` is that of folders not to enter.  Each place has
its own names; a folder given with ``--source`` has all of them, at any depth.
"""

from __future__ import annotations

import os

from tokenledger_dagster import home_files
from tokenledger_dagster.clients import walk
from tokenledger_dagster.clients.logs import Logs, Root
from tokenledger_dagster.once import once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_HERE = os.path.dirname(os.path.abspath(__file__))
_DATABASES = (".db", ".vscdb", ".sqlite", ".sqlite3")
_PACKED = (".gz", ".zst")
ADDED = "--source"
"""Origin of a root that a person added."""
_GENERAL = ("XDG_", "HOME", "APPDATA", home_files.ROOT)
"""Variables that are no client's own: that they lead nowhere is nothing to tell."""


def rows(name: str) -> list[dict[str, str]]:
    """Rows of a data file beside this module; no field of these holds a comma or a quote."""
    with open(f"{_HERE}/{name}", encoding="utf-8") as handle:
        head, *lines = handle.read().splitlines()
    names = head.split(",")
    return [dict(zip(names, line.split(","), strict=True)) for line in lines if line]


class Places(Logs):
    """A client whose roots and file names stand in the data files."""

    def __init__(self, about: Mapping[str, str], places: Iterable[Mapping[str, str]]) -> None:
        self.name = about["client"]
        self.parser_version = int(about["parser_version"])
        self.adapter = about["adapter"]
        """Where the rest of the adapter is: ``module:Class``."""
        self._paths = [place["path"] for place in places]
        self._names: dict[str, set[str]] = {}
        for place in places:
            self._names.setdefault(_fixed_end(place["path"]), set()).update(place["files"].split())
        own = [name for path in self._paths for name in _variables(path) if not name.startswith(_GENERAL)]
        self.override = own[0] if own else None
        self.watched = tuple(dict.fromkeys(own))
        """The client's own variables."""

    def roots(self, environ: Mapping[str, str]) -> list[Root]:
        """The places that exist, each once."""
        home = walk.home_folder(environ)
        found: list[tuple[str, str]] = []
        for path in self._paths:
            origin = next((name for name in _variables(path) if name in self.watched and environ.get(name)), "default")
            above, _, several = path.partition("/{")
            names, _, rest = several.partition("}")
            for one in _values(above, environ):
                where = walk.expanded(one, home)
                if not several:
                    found.append((where, origin))
                elif os.path.isdir(where):
                    found += [(f"{where}/{name}{rest}", origin) for name in names.split("|")]
        return [Root(path, origin) for path, origin in walk.existing(found)]

    def walk(self, root: Root) -> Iterable[walk.Entry]:
        """Files below the root whose names count; a database's ``stat`` tells of its write-ahead log too."""
        names = Names(self._names_at(root), anywhere=root.origin == ADDED)
        for path, below, stat in walk.log_files(root.where, names.counts, names.leads):
            yield path, below, _with_log(path, stat) if path.endswith(_DATABASES) else stat

    def _names_at(self, root: Root) -> set[str]:
        """What a place calls its files: the place is the one whose path ends most like the root's."""
        ends = [end for end in self._names if root.where.endswith(end)] if root.origin != ADDED else []
        return self._names[max(ends, key=len)] if ends else set().union(*self._names.values())


class Names:
    """What a place calls its files, and which folders can hold them."""

    def __init__(self, names: Iterable[str], *, anywhere: bool = False) -> None:
        """``anywhere``: patterns that begin with a slash hold at any depth."""
        wanted = sorted(name for name in names if not name.startswith("!"))
        self._barred = {name[1:] for name in names if name.startswith("!")}
        self._loose = [name.lstrip("/").split("/") for name in wanted if anywhere or not name.startswith("/")]
        self._anchored = [name.split("/")[1:] for name in wanted if not anywhere and name.startswith("/")]

    def counts(self, name: str, below: str) -> bool:
        """Whether a file of this name, in this folder below the root (ending in a slash, or empty), is a log."""
        for ending in _PACKED:
            name = name.removesuffix(ending)
        parts = [*below.split("/")[:-1], name]
        if any(len(one) <= len(parts) and all(map(_fits, one, parts[-len(one) :])) for one in self._loose):
            return True
        return any(len(one) == len(parts) and all(map(_fits, one, parts)) for one in self._anchored)

    def leads(self, name: str, below: str) -> bool:
        """Whether a log may lie somewhere in this folder."""
        if name in self._barred:
            return False
        if self._loose:
            return True
        parts = [*below.split("/")[:-1], name]
        return any(len(one) > len(parts) and all(map(_fits, one, parts)) for one in self._anchored)


@once
def client_places() -> dict[str, Places]:
    """Every client of the data files by name, in their order."""
    places: dict[str, list[dict[str, str]]] = {}
    for row in rows("places.csv"):
        places.setdefault(row["client"], []).append(row)
    return {about["client"]: Places(about, places.get(about["client"], [])) for about in rows("clients.csv")}


def _with_log(path: str, stat: os.stat_result | walk.Stat) -> os.stat_result | walk.Stat:
    try:
        log = os.stat(f"{os.path.realpath(path) if os.path.islink(path) else path}-wal")
    except OSError:
        return stat
    return walk.Stat(
        stat.st_size + log.st_size,
        max(stat.st_mtime_ns, log.st_mtime_ns),
        max(stat.st_ctime_ns, log.st_ctime_ns),
        stat.st_ino,
        stat.st_dev,
    )


def _fits(pattern: str, name: str) -> bool:
    if "*" not in pattern:
        return pattern == name
    first, *middle, last = pattern.split("*")
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _fixed_end(path: str) -> str:
    """What follows the last variable, or the home folder, in a path."""
    return path[path.rfind("}") + 1 :].removeprefix("~")


def _variables(path: str) -> Iterator[str]:
    for part in path.split("${")[1:]:
        yield part.split(":-", 1)[0].split("}", 1)[0]


def _values(path: str, environ: Mapping[str, str]) -> list[str]:
    """The path with its variables replaced; several where one of them is a list."""
    start = path.find("${")
    if start < 0:
        return [path]
    depth, end = 0, start
    while True:
        if path.startswith("${", end):
            depth, end = depth + 1, end + 2
        elif path[end] == "}":
            depth, end = depth - 1, end + 1
            if not depth:
                break
        else:
            end += 1
    name, _, default = path[start + 2 : end - 1].partition(":-")
    if name == home_files.ROOT:
        given = [home_files.root_of(environ)]
    else:
        given = [part.strip() for part in environ.get(name, "").split(",") if part.strip()]
    chosen = given or (_values(default, environ) if default else [])
    rest = _values(path[end:], environ)
    return [path[:start] + one + tail for one in chosen for tail in rest]
