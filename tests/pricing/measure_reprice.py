"""How long pricing the past anew takes: a ledger of N made-up requests, and a book that changes their rates.

Here: the table of costs of all events made anew; accepting a changed rate of one model, and of all; and a run that
changes nothing, each in one warm process. Not here: assertions; this is a tool, not a test.

    python tests/pricing/measure_reprice.py --events 1000000 --folder /var/tmp/reprice --json figures.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import duckdb  # noqa: E402

from tests.dagster.measure_resident import write_logs  # noqa: E402
from tokenledger_dagster.exports.tables import build  # noqa: E402
from tokenledger_dagster.home import ensure_home  # noqa: E402
from tokenledger_dagster.ingest.sync import SyncOptions, sync  # noqa: E402
from tokenledger_dagster.pricing.reprice import reprice  # noqa: E402

ALL = ("claude-opus-4-6", "claude-sonnet-4-5", "claude-haiku-4-5")


def book(models: tuple[str, ...], factor: float) -> str:
    """A pricing book with rates of its own for some of the made-up models."""
    rates = {"input_usd_per_mtok": 7 * factor, "output_usd_per_mtok": 21 * factor, "cache_read_usd_per_mtok": factor}
    claude = {"models": dict.fromkeys(models, rates)}
    codex = {"models": {"gpt-5.1-codex": rates}} if len(models) == len(ALL) else {}
    return json.dumps({"meta": {"source": "measured"}, "providers": {"claude": claude, "codex": codex}})


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True, help="logs and ledger stay there")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    person, home = args.folder / "person", ensure_home(args.folder / "ledger", "test")
    if not person.exists():
        write_logs(person, args.events)
    home.pricing_book_path.unlink(missing_ok=True)
    figures: dict[str, float] = {}

    def timed(name: str, work):  # type: ignore[no-untyped-def]
        started = time.perf_counter()
        found = work()
        figures[name] = round(time.perf_counter() - started, 2)
        print(f"{name:<44} {figures[name]:8.2f} s", flush=True)
        return found

    timed("first sync", lambda: sync(home, {"HOME": str(person)}, SyncOptions()))
    reprice(home, write=True)
    con = duckdb.connect()
    timed("tables up to the costs", lambda: build("event_costs", con, home, "UTC"))
    timed("costs of all events anew", lambda: build("event_costs", con, home, "UTC", force=True))
    timed("costs, nothing changed", lambda: build("event_costs", con, home, "UTC"))
    for number, (name, models) in enumerate((("one model", ALL[:1]), ("every model", ALL)), 1):
        home.pricing_book_path.write_text(book(models, number), encoding="utf-8")
        found = timed(f"reprice of {name}, shown", lambda: reprice(home))
        print(f"  {found.events_looked_at:,} events looked at, {found.totals.events:,} change")
        timed(f"reprice of {name}, accepted", lambda: reprice(home, write=True))
        timed(f"costs after that ({name})", lambda: build("event_costs", con, home, "UTC"))
    timed("reprice, nothing changed", lambda: reprice(home))
    if args.json:
        facts = {"python": platform.python_version(), "cores": os.cpu_count(), "events": args.events}
        args.json.write_text(json.dumps({**facts, "seconds": figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
