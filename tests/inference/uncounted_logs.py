"""Logs as today's builds write them: texts, and no counts beside them.

Here: builders of rows and of Cursor's database. Not here: any expectation.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support import Row, World, at, us

PROMPT = "please mend the flaky test in the parser"
ANSWER = "The fixture shares one file between tests; each gets its own now."


def said(role: str, text: str, minutes: float = 0) -> Row:
    """A message in a rollout."""
    kind = "output_text" if role == "assistant" else "input_text"
    payload = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return {"timestamp": at(minutes), "type": "response_item", "payload": payload}


def bubble(kind: int, text: str, counts: Any = None, minutes: float = 0, **more: Any) -> dict[str, Any]:
    """A message of a chat in Cursor; the builds of today write zeros."""
    zeros = {"inputTokens": 0, "outputTokens": 0}
    return {"type": kind, "text": text, "createdAt": at(minutes), "tokenCount": counts or zeros, **more}


def cursor_chat(world: World, chat: str, *bubbles: dict[str, Any], model: str = "claude-4.5-sonnet") -> Path:
    """A chat in `state.vscdb`."""
    path = world.home_dir / ".config/Cursor/User/globalStorage/state.vscdb"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS cursorDiskKV (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        about = {"composerId": chat, "createdAt": us(at()) // 1000, "modelConfig": {"modelName": model}}
        entries = [(f"composerData:{chat}", about)]
        entries += [(f"bubbleId:{chat}:{chat}-{number}", one) for number, one in enumerate(bubbles)]
        connection.executemany(
            "INSERT INTO cursorDiskKV VALUES (?, ?)", [(key, json.dumps(value)) for key, value in entries]
        )
    return path


def cursor_export(world: World, *minutes: float) -> Path:
    """A usage export with a row at each of these times."""
    head = (
        "Date,Kind,Model,Max Mode,Input (w/ Cache Write),Input (w/o Cache Write),Cache Read,Output Tokens,Total Tokens"
    )
    lines = [f'"{at(one)}","Included","gpt-5","No","0","10","0","5","15"' for one in minutes]
    path = world.home_dir / ".config/tokscale/cursor-cache/usage.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([head, *lines]) + "\n")
    return path
