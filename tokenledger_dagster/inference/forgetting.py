"""Removes all that was made of what a person typed: vectors, guesses and estimates, and what is remembered of prompts.

Here: which files these are, and removing them. Not here: the ledger itself, in which no word is, and the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.estimates import table as token_estimates
from tokenledger_dagster.inference.session_activity import table_path as activity_path
from tokenledger_dagster.inference.vector_files import folder_of, lock_path, writing
from tokenledger_dagster.inference.vector_index import cache_folder

__all__ = ["Removed", "forget"]


class Removed(NamedTuple):
    """Files that were there."""

    what: str
    path: Path
    """The file, or the folder they were in."""
    files: int
    bytes: int


def forget(home: Home) -> list[Removed]:
    """Remove it all, whether inference is on or not; what was there.

    Raises:
        TokenLedgerError: another process is embedding; nothing was removed.
        OSError: a file cannot be removed; those before it are.
    """
    vectors = folder_of(home)
    if not vectors.is_dir():
        return list(_all_removed(home))
    with writing(vectors) as held:
        if not held:
            raise TokenLedgerError(f"{vectors}: another process is embedding sessions; stop it, and try again")
        return list(_all_removed(home))


def _all_removed(home: Home) -> Iterator[Removed]:
    activity, estimates = activity_path(home), token_estimates.table_path(home)
    # vectors before their copy: a search that runs now would make it again of what is still there
    for what, place, names in (
        ("vectors of sessions", folder_of(home), None),
        ("the copy that searches read", cache_folder(home), None),
        ("guessed activities", activity.parent, {activity.name, activity.with_suffix(".json").name}),
        ("estimated tokens", estimates.parent, {estimates.name, token_estimates.about_path(home).name}),
        ("what is remembered of prompts", home.prompts, None),
    ):
        # without the lock: who waits for it would hold another one than who comes later
        paths = [path for path in _files(place) if path != lock_path(home) and (names is None or path.name in names)]
        size = sum(path.lstat().st_size for path in paths)
        for path in paths:
            path.unlink(missing_ok=True)
        if paths:
            yield Removed(what, place if names is None else paths[0], len(paths), size)


def _files(folder: Path) -> list[Path]:
    """Files of a folder, no folder in it; none where there is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_symlink() or not path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
