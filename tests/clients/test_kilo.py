"""Kilo Code: the CLI's database and the extension's tasks are one client."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.clients.test_cline import KILO, request, task
from tests.clients.test_opencode import answer, tokens
from tests.support import World


def kilo_database(world: World, name: str = "kilo.db", **messages: object) -> Path:
    path = world.home_dir / ".local/share/kilo" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE message (id TEXT, session_id TEXT, data TEXT)")
        rows = [(row, "ses_1", json.dumps(message)) for row, message in messages.items()]
        connection.executemany("INSERT INTO message VALUES (?, ?, ?)", rows)
    return path


def test_the_database_is_read_as_opencodes_with_reasoning_added(tmp_path: Path) -> None:
    world = World(tmp_path)
    kilo_database(world, row_1=answer(id="msg_1", tokens=tokens(100, 50, read=10, write=20, reasoning=5)))
    kilo_database(
        world, "kilo-next.db", row_1=answer(id="msg_1", tokens=tokens(100, 50, read=10, write=20, reasoning=5))
    )
    world.sync()

    (event,) = world.events()
    assert (event.client, event.session, event.buckets, event.reasoning) == ("kilo", "ses_1", (100, 20, 10, 55), 5)
    assert world.rules() == {"kilo.copied_request": 1}


def test_the_message_names_itself_before_its_row_does(tmp_path: Path) -> None:
    world = World(tmp_path)
    kilo_database(world, row_1=answer(id="msg_1"), row_2=answer(1))
    world.sync()

    assert sorted(record["message_id"] for record in world.records()) == ["msg_1", "row_2"]


def test_cli_and_extension_add_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    kilo_database(world, row_1=answer())
    task(world, request(), below=KILO)
    world.sync()
    world.sync(no_cache=True)

    assert [event.client for event in world.events()] == ["kilo", "kilo"]
    assert len(world.records()) == 2
