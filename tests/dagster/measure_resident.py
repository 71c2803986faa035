"""How long the whole job `orchestrate` takes in a warm process, step by step.

Here: a ledger of N made-up events, the job on it until it is built, then the same job again and again on unchanged
logs, then once more with one request more, all timed. Not here: assertions; this is a tool, not a test.

    python tests/dagster/measure_resident.py --events 20000
    python tests/dagster/measure_resident.py --events 1000000 --folder /var/tmp/resident --json figures.json

With `--folder` the logs and the ledger stay there, and a second call with the same number of events reuses them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FIRST = datetime(2026, 1, 5, 8, tzinfo=UTC)
PER_FILE = 2_000
MODELS = ("claude-opus-4-6", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001")
CLAUDE = (
    '{"parentUuid":null,"isSidechain":false,"type":"assistant","timestamp":"%s","sessionId":"%s","cwd":"%s",'
    '"version":"2.1.38","gitBranch":"main","requestId":"req_%s","message":{"id":"msg_%s","type":"message",'
    '"role":"assistant","model":"%s","content":[{"type":"text","text":"done"}],"usage":{"input_tokens":%d,'
    '"cache_creation_input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":%d,"service_tier":"standard"}}}\n'
)
CODEX_META = (
    '{"timestamp":"%s","type":"session_meta","payload":{"id":"%s","timestamp":"%s","cwd":"%s","originator":"codex_cli",'
    '"cli_version":"0.104.0"}}\n{"timestamp":"%s","type":"turn_context","payload":{"cwd":"%s","model":"gpt-5.1-codex"}}\n'
)
CODEX = (
    '{"timestamp":"%s","type":"event_msg","payload":{"type":"token_count","info":{"total_token_usage":{'
    '"input_tokens":%d,"cached_input_tokens":%d,"output_tokens":%d,"reasoning_output_tokens":0,"total_tokens":%d},'
    '"last_token_usage":{"input_tokens":%d,"cached_input_tokens":%d,"output_tokens":%d,"reasoning_output_tokens":0,'
    '"total_tokens":%d},"model_context_window":272000}}}\n'
)


def write_logs(person: Path, events: int) -> None:
    """Logs of `events` requests below a person's home: three Claude Code sessions to one of Codex, always the same."""
    for number, first in enumerate(range(0, events, PER_FILE)):
        count = min(PER_FILE, events - first)
        # a working day per file: as many days as files, a few months at most
        start = FIRST + timedelta(days=number % 180, minutes=number // 180)
        project = f"/home/ada/code/project-{number % 40}"
        if number % 4 == 3:
            session = f"019a0000-0000-7000-8000-{number:012d}"
            path = person / f".codex/sessions/{start:%Y/%m/%d}/rollout-{start:%Y-%m-%dT%H-%M-%S}-{session}.jsonl"
            lines = _codex(session, project, start, count)
        else:
            session = f"5e551000-0000-4000-8000-{number:012d}"
            path = person / f".claude/projects/-home-ada-code-project-{number % 40}/{session}.jsonl"
            lines = _claude(number, session, project, start, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")


def _claude(number: int, session: str, project: str, start: datetime, count: int) -> Iterator[str]:
    for row in range(count):
        name = f"{number:06d}{row:06d}"
        sums = (3 + row % 11, row * 7 % 4_000, row * 131 % 150_000, 20 + row * 17 % 900)
        yield CLAUDE % (_stamp(start, row), session, project, name, name, MODELS[row // 50 % 3], *sums)


def _codex(session: str, project: str, start: datetime, count: int) -> Iterator[str]:
    at = _stamp(start, 0)
    yield CODEX_META % (at, session, at, project, at, project)
    fresh = cached = output = 0
    for row in range(count):
        own = (900 + row * 13 % 5_000, 100 + row * 7 % 700, 30 + row * 19 % 600)
        fresh, cached, output = fresh + own[0], cached + own[1], output + own[2]
        sums = (fresh, cached, output, fresh + output, *own, own[0] + own[2])
        yield CODEX % (_stamp(start, row + 1), *sums)


def _stamp(start: datetime, row: int) -> str:
    return (start + timedelta(seconds=row * 15)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run_job(instance: Any) -> dict[str, Any]:
    """The job once: seconds of it all, and milliseconds by step."""
    from tokenledger_dagster.definitions import defs

    job = defs.resolve_job_def("orchestrate")
    silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    started = time.perf_counter()
    result = job.execute_in_process(instance=instance, run_config=silent, raise_on_error=False)
    seconds = time.perf_counter() - started
    steps = {
        event.step_key: round(event.step_success_data.duration_ms)
        for event in result.all_events
        if event.event_type_value == "STEP_SUCCESS"
    }
    return {"success": result.success, "seconds": round(seconds, 3), "steps": steps}


def measure(folder: Path, events: int, runs: int, storage: str) -> dict[str, Any]:
    """Figures of a ledger of `events` events in `folder`; the first run builds what is not there yet."""
    import dagster as dg

    person = folder / f"logs-{events}"
    if not person.is_dir():
        write_logs(person, events)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "TOKENLEDGER_EXECUTOR"):
        os.environ.pop(name, None)
    os.environ |= {"HOME": str(person), "TOKENLEDGER_HOME": str(folder / f"ledger-{events}"), "TZ": "UTC"}
    time.tzset()
    with tempfile.TemporaryDirectory() as history:
        kept = dg.DagsterInstance.local_temp(history) if storage == "sqlite" else dg.DagsterInstance.ephemeral()
        with kept as instance:
            started = time.perf_counter()
            read_logs()
            read_seconds = time.perf_counter() - started
            built = run_job(instance)
            warm = [run_job(instance) for _ in range(runs)]
            append(person)
            changed = run_job(instance)
    best = min(warm, key=lambda one: one["seconds"])
    return {
        "events": events,
        "storage": storage,
        "machine": {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.platform()},
        "success": all(one["success"] for one in (built, *warm, changed)),
        "read_seconds": round(read_seconds, 3),
        "first_run": built,
        "warm_seconds": [one["seconds"] for one in warm],
        "warm": best,
        "one_request_more": changed,
        "ms_per_step": round(best["seconds"] * 1000 / max(len(best["steps"]), 1), 1),
    }


def append(person: Path) -> None:
    """One more request in the first log."""
    path = min((person / ".claude").rglob("*.jsonl"))
    now = time.time_ns()
    line = CLAUDE % (_stamp(datetime.now(UTC), 0), path.stem, "/home/ada/code", now, now, MODELS[0], 5, 10, 1_000, 20)
    with path.open("a", encoding="utf-8") as log:
        log.write(line)


def read_logs() -> None:
    """What is new in the logs goes into the ledger, so that the first run of the job is the tables' alone."""
    from resources import LedgerHome
    from tokenledger_dagster.ingest.sync import SyncOptions, sync

    home = LedgerHome()
    sync(home.open(), os.environ, SyncOptions(zone=home.zone))


def table(figures: dict[str, Any]) -> str:
    """The figures for people: a line per step, the slowest warm step first."""
    runs = [figures[name] for name in ("first_run", "warm", "one_request_more")]
    warm = figures["warm"]["steps"]
    lines = [f"{'milliseconds by step':<36}{'first':>10}{'unchanged':>10}{'changed':>10}"]
    for name in sorted(warm, key=warm.__getitem__, reverse=True):
        lines.append(f"{name:<36}" + "".join(f"{run['steps'].get(name, 0):>10,}" for run in runs))
    sums = f"{len(warm)} steps, {figures['events']:,} events, {figures['storage']}"
    lines.append(f"{sums:<36}" + "".join(f"{run['seconds']:>9.2f}s" for run in runs))
    lines.append(f"{figures['ms_per_step']} ms a step when nothing changed; logs read in {figures['read_seconds']} s")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="size of the ledger (default: 20000)")
    parser.add_argument("--runs", type=int, default=5, help="warm runs; the fastest counts (default: 5)")
    parser.add_argument("--storage", choices=("sqlite", "memory"), default="sqlite", help="of Dagster's run history")
    parser.add_argument("--folder", type=Path, help="keep logs and ledger there (default: a folder that is removed)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures there")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure((options.folder or Path(temporary)).absolute(), options.events, options.runs, options.storage)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures))
    return 0 if figures["success"] else 1


if __name__ == "__main__":
    sys.exit(main())
