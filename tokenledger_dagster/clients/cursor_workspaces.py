"""The folder that a chat of Cursor belongs to: each workspace's own database lists its chats.

Here: from a chat's id to its workspace's folder, and folders as Cursor spells them.  Not here: the chats.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from tokenledger_dagster.clients import databases

_LISTS = ("composer.composerData", "composer.composerHeaders")
"""The only keys read: others hold prompts, and ``cursorAuth/*`` secrets."""


def folders(state: str) -> dict[str, str]:
    """Folder by chat, from the workspaces beside the ``state.vscdb`` of all of them."""
    found: dict[str, str] = {}
    for database in _workspaces(state):
        folder = folder_of(os.path.dirname(database))
        if folder is not None:
            found |= dict.fromkeys(_listed(database), folder)
    return found


def folder_of(workspace: str) -> str | None:
    """The folder that a workspace's ``workspace.json`` names."""
    try:
        with open(f"{workspace}/workspace.json", "rb") as handle:
            told = msgspec.json.decode(handle.read())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(told, Mapping):
        return None
    folder = path_of(told.get("folder"))
    if folder is not None:
        return folder
    file = path_of(told.get("workspace"))
    return os.path.dirname(file) or None if file else None


def path_of(place: Any) -> str | None:
    """The path of a folder given as a path or as a URI, also one on another machine."""
    if not isinstance(place, str) or not place or len(place) > 4096:
        return None
    if "://" not in place:
        return place
    try:
        path = unquote(urlsplit(place).path)
    except ValueError:
        return None
    if len(path) > 2 and path[2] == ":":  # /c:/work
        path = path[1:]
    return path if len(path) < 2 else path.rstrip("/")


def _workspaces(state: str) -> Iterator[str]:
    for path in dict.fromkeys((state, os.path.realpath(state))):
        below = os.path.join(os.path.dirname(os.path.dirname(path)), "workspaceStorage")
        try:
            names = sorted(os.listdir(below))
        except OSError:
            continue
        for name in names:
            if os.path.isfile(f"{below}/{name}/state.vscdb"):
                yield f"{below}/{name}/state.vscdb"


def _listed(database: str) -> Iterator[str]:
    try:
        with databases.opened(database) as connection:
            rows = connection.execute(
                f"SELECT value FROM ItemTable WHERE key IN ({', '.join('?' * len(_LISTS))})", _LISTS
            ).fetchall()
    except sqlite3.Error:
        return  # told by the reading of that database itself
    for (value,) in rows:
        try:
            told = msgspec.json.decode(value or b"null")
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError):
            continue
        chats = told.get("allComposers") if isinstance(told, Mapping) else None
        for chat in chats if isinstance(chats, list) else []:
            if isinstance(chat, Mapping) and isinstance(chat.get("composerId"), str):
                yield chat["composerId"]
