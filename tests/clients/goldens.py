"""Goldens of the clients: what a sync of ``fixtures/clients/<client>/home`` must give, event by event.

``python -m tests.clients.goldens write CLIENT`` writes ``expected.json`` anew, to be read by a person before it is
committed; the test compares.  A file ``<name>.sql`` stands for the SQLite database ``<name>`` its statements make.
Beside ``home``, ``run.json`` may hold ``environ`` (values may begin with ``$HOME``) and ``sources``
(``[client, path below home]``).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support import World
from tokenledger_dagster.contracts.record import Counters

FIXTURES = Path(__file__).parents[2] / "fixtures" / "clients"
MTIME = 1_771_500_000
"""Modification time of every file of a fixture: 2026-02-19 11:20 UTC."""


def world_of(client: str, folder: Path, fixtures: Path = FIXTURES) -> World:
    """The fixture's home below ``folder``, its databases made, every file of one time."""
    fixture = fixtures / client
    told = fixture / "run.json"
    run = json.loads(told.read_text("utf-8")) if told.exists() else {}
    world = World(folder)
    shutil.rmtree(world.home_dir)
    shutil.copytree(fixture / "home", world.home_dir)
    for script in sorted(world.home_dir.rglob("*.sql")):
        with closing(sqlite3.connect(script.with_suffix(""))) as connection:
            connection.executescript(script.read_text("utf-8"))
        script.unlink()
    for path in world.home_dir.rglob("*"):
        os.utime(path, (MTIME, MTIME))
    home = str(world.home_dir)
    world.environ |= {name: value.replace("$HOME", home) for name, value in run.get("environ", {}).items()}
    world.sources = tuple((name, f"{home}/{path}") for name, path in run.get("sources", []))
    return world


def found_in(world: World, **options: Any) -> dict[str, Any]:
    """What a sync of the world gives, in the shape of ``expected.json``."""
    summary = world.sync(**options)
    skipped: Counter[str] = Counter()
    for counts in summary.providers.values():
        skipped.update(counts.skipped)
    home = str(world.home_dir)
    return {
        "events": booked(world),
        "duplicates": world.rules(),
        "skipped": dict(sorted(skipped.items())),
        "problems": [problem.replace(home, "~") for problem in summary.problems],
    }


_BOOKED = f"""
SELECT e.event_id, e.timestamp_us, s.client, s.session_id, s.project, m.provider, m.model, m.model_raw, e.rid,
  e.is_estimated, e.booking_flags, {", ".join(f"e.{name}" for name in Counters.__struct_fields__)}
FROM events e JOIN sessions s USING (session_no) JOIN models m USING (model_no) ORDER BY e.timestamp_us, e.event_id
"""


def booked(world: World) -> list[dict[str, Any]]:
    """Booked events in order of time; what a record does not have is left out."""
    rows = world.query(_BOOKED)
    records = {record["rid"]: record for record in world.records()}
    times = {event.event_id: event.time for event in world.events()}
    home = str(world.home_dir)
    found = []
    for event_id, _, client, session, project, provider, model, raw, rid, estimated, booking_flags, *counters in rows:
        record = records[rid]
        usage = {
            name.removesuffix("_tokens"): count
            for name, count in zip(Counters.__struct_fields__, counters, strict=True)
            if count
        }
        cost = record["reported_cost_usd"]
        told = {
            "event_id": event_id,
            "timestamp": times[event_id],
            "client": client,
            "session": session,
            "project": None if project is None else project.replace(home, "~"),
            "provider": provider,
            "model": model,
            "model_raw": raw if raw != model else None,
            "usage": usage,
            "is_estimated": bool(estimated) or None,
            "flags": [*record["flags"], *(booking_flags.split(",") if booking_flags else [])] or None,
            "reported_cost_usd": None if cost is None else str(cost.normalize()),
            **{name: record[name] for name in _CONTEXT},
        }
        found.append({name: value for name, value in told.items() if value is not None})
    return found


_CONTEXT = (
    "message_id", "request_id", "parent_session_id", "agent_id", "git_branch", "client_version", "service_tier",
    "speed", "upstream", "latency_ms", "ttft_ms", "status", "account_hash", "billing_kind",
)  # fmt: skip


def main(arguments: list[str], fixtures: Path, find: Callable[[str, Path], Any]) -> None:
    """``write CLIENT``, or ``show CLIENT``: what ``find`` makes of the client's logs in an empty folder."""
    action, client = arguments
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(find(client, Path(folder)), indent=1, ensure_ascii=False) + "\n"
    if action == "write":
        (fixtures / client / "expected.json").write_text(text, "utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:], FIXTURES, lambda client, folder: found_in(world_of(client, folder)))
