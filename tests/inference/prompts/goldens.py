"""Goldens of the prompts' readers: what ``fixtures/prompts/<client>/home`` must give, session by session.

``python -m tests.inference.prompts.goldens write CLIENT`` writes ``expected.json`` anew, to be read by a person before
it is committed; the test compares.  Databases are made as ``tests.clients.goldens`` does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.clients.goldens import main, world_of
from tests.support import World
from tokenledger_dagster.inference.prompts import PromptReport, SessionPrompts, session_prompts
from tokenledger_dagster.inference.switch import Standing

FIXTURES = Path(__file__).parents[3] / "fixtures" / "prompts"
READING = Standing(on=True, prompts=True, store_prompts=False, model=None, why="", remedy="")
"""As the switch says where prompts may be read and not kept."""
KEEPING = READING._replace(store_prompts=True)


def prompt_world(client: str, folder: Path) -> World:
    """The fixture's home, and an empty ledger beside it."""
    return world_of(client, folder, FIXTURES)


def read(
    world: World, standing: Standing = READING, environ: Mapping[str, str] | None = None, **options: Any
) -> tuple[list[SessionPrompts], PromptReport]:
    """All sessions of a world, and what the reading came to."""
    report = PromptReport()
    given = session_prompts(world.ledger, environ or world.environ, standing=standing, report=report, **options)
    return list(given), report


def texts(world: World, **options: Any) -> dict[str, list[str] | None]:
    """Words by session."""
    return {one.session_id: one.texts for one in read(world, **options)[0]}


def found_in(world: World) -> dict[str, Any]:
    """What a reading of the world gives, in the shape of ``expected.json``."""
    sessions, report = read(world)
    home = str(world.home_dir)
    return {
        "sessions": [
            {
                "client": one.client,
                "session": one.session_id,
                "started_at": one.started_at.isoformat().replace("+00:00", "Z"),
                "last_at": one.last_at.isoformat().replace("+00:00", "Z"),
                "prompt_count": one.prompt_count,
                "texts": one.texts,
                "files": len(one.paths),
            }
            for one in sessions
        ],
        "masked": report.masked,
        "skipped": dict(sorted(report.skipped.items())),
        "problems": [problem.replace(home, "~") for problem in report.problems],
    }


if __name__ == "__main__":
    main(sys.argv[1:], FIXTURES, lambda client, folder: found_in(prompt_world(client, folder)))
