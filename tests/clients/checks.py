"""What holds of every client's logs: growth, any order, reading again, and nothing kept of what was said.

Here: the checks that the clients' own tests call with their files.  Not here: any client's rows.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import Row, World

Files = Mapping[str, bytes]
"""Content by path below the home."""
ODD_COUNTS: list[tuple[Any, int, str | None]] = [
    (7, 7, None),
    ("7", 7, None),
    (7.0, 7, None),
    (None, 0, None),
    (-7, 0, "counter_negative"),
    (True, 0, "counter_not_a_count"),
    (7.5, 0, "counter_not_a_count"),
    (float("nan"), 0, "counter_not_a_count"),
    (float("inf"), 0, "counter_not_a_count"),
    (10**30, 0, "counter_overflow"),
    ([7], 0, "counter_not_a_count"),
    ({"n": 7}, 0, "counter_not_a_count"),
    ("seven", 0, "counter_not_a_count"),
]
"""A counter as a log may hold it, what it counts, and the flag of the row."""
ODD_LINES: list[bytes] = [
    b"",
    b"   ",
    b"\x00\x00\x00",
    b"null",
    b"17",
    b"[]",
    b'"text"',
    b"{",
    b'{"type":',
    b"{} trailing",
    b"\xff\xfe\xff",
    b'{"type":{},"message":[],"id":[],"$set":7,"usage":"x","payload":1,"event":3,"tokens":[],"stats":1}',
    b'{"$set":{"messages":{"id":1},"directories":[7],"sessionId":[]}}',
    b'{"$set":{"messages":[null,7,"x",[],{"type":"gemini","tokens":7}]}}',
    b"[" * 5_000,
]
"""Lines as crashes, editors and other programs leave them."""


def put(world: World, files: Files) -> None:
    """Writes files below the home."""
    for name, content in files.items():
        path = world.home_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def check_growth(folder: Path, name: str, content: bytes) -> None:
    """A log that is read line by line as it grows gives what reading it once gives."""
    once, often = World(folder / "once"), World(folder / "often")
    put(once, {name: content})
    once.sync()
    written = b""
    for line in content.splitlines(keepends=True):
        for half in (line[: len(line) // 2], line[len(line) // 2 :]):
            written += half
            put(often, {name: written})
            often.sync()
    assert once.events() != []
    assert often.booked() == once.booked()
    assert often.skipped() == once.skipped()


def check_any_order(folder: Path, files: Files) -> None:
    """Whatever order files appear in, with a sync after each, the same is booked; reading all again adds nothing."""
    wanted = None
    for number, order in enumerate(itertools.permutations(files)):
        world = World(folder / str(number))
        for name in order:
            put(world, {name: files[name]})
            world.sync()
        found = world.booked()
        world.sync(no_cache=True)
        assert world.booked() == found
        wanted = wanted or found
        assert found == wanted


def check_nothing_is_kept(world: World, *secrets: str) -> None:
    """No byte of the ledger's folder tells what was said or configured."""
    world.query("SELECT 1")  # settles everything
    shown = repr([world.records(), world.events()])  # segments are packed
    assert [secret for secret in secrets if secret in shown] == []
    for path in world.ledger.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for secret in secrets:
                assert secret.encode() not in data, (path, secret)


def pretty(document: Row) -> bytes:
    """A document as its program writes it."""
    return json.dumps(document, indent=2).encode()


def flags(world: World) -> set[str]:
    """Every flag of every record."""
    return {flag for record in world.records() for flag in record["flags"]}
