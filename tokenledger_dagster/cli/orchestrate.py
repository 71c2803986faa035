"""``tokenledger orchestrate``: the whole Dagster job in this process, with progress, gates and the pipeline summary.

Here: arguments, what is run, progress on stderr, exit codes.  Not here: any asset or check (``assets``, ``checks``).
Dagster is imported by ``run`` alone, so that ``--help`` and every other command do without it.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.clients.registry import client_name, clients
from tokenledger_dagster.errors import TokenLedgerError, UsageError
from tokenledger_dagster.fileio import staged
from tokenledger_dagster.home import Home
from tokenledger_dagster.settings import Settings
from tokenledger_dagster.usage.selection import Selection, day_number

if TYPE_CHECKING:
    import dagster as dg

    from resources import LedgerHome, RunOptions
    from tokenledger_dagster.contracts.summaries import PipelineSummary

JOBS = (
    "orchestrate",
    "orchestrate_ui",
    "refresh",
    "refresh_ledger",
    "reconcile",
    "pricing_ci",
    "quality",
    "goldens",
    "inference",
    "do_all_next",
)
"""Of `automation.JOBS` those that a command line runs."""
_WHOLE = ("orchestrate", "do_all_next")
"""Jobs whose summary is the one that others look at."""
STAGES = ("sources", "events", "pricing", "usage", "reconcile", "ledger", "inference", "exports")
EXAMPLES = {
    "orchestrate": """
examples:
  tokenledger orchestrate
  tokenledger orchestrate --month 2026-02 --snapshot-mode extended --format json
  tokenledger orchestrate --skip events --skip pricing        # publish again what is there
  tokenledger orchestrate --job orchestrate_ui                # the UI snapshot alone
  tokenledger orchestrate --job do_all_next                   # everything, measured, in one file
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Month, stages, strictness, and where the artifacts go besides the home."""
    parser.add_argument("--job", choices=JOBS, default="orchestrate", help="what is run (default: orchestrate)")
    parser.add_argument("--month", metavar="YYYY-MM", help="month of the summaries (default: that of the latest event)")
    parser.add_argument("--snapshot-mode", choices=("compact", "extended"), default="compact", help="default: compact")
    parser.add_argument("--skip", metavar="STAGE", action="append", default=[], help=f"one of {', '.join(STAGES)}")
    parser.add_argument("--on-unpriced", choices=("error", "skip"), help="what usage without a price does to the run")
    parser.add_argument("--no-cache", action="store_true", help="read every log from its start, keep no aggregates")
    parser.add_argument(
        "--reconcile-write", action="store_true", help="let reconciling write its patch into pricing.json"
    )
    parser.add_argument(
        "--providers", metavar="NAMES", action="append", default=[], help="read only these clients' logs"
    )
    parser.add_argument("--ui-snapshot-path", metavar="PATH", help="write the UI snapshot there")
    parser.add_argument("--pipeline-summary-path", metavar="PATH", help="write the pipeline summary there too")
    parser.add_argument("--events-out", metavar="PATH", help="write the booked events there as JSON Lines")
    parser.add_argument("--since", metavar="DATE", help="of --events-out: first day, as 2026-02-01")
    parser.add_argument("--limit", metavar="N", type=int, help="of --events-out: this many events, from the first on")
    output.add_format(parser, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the job; 0 when every step and every check of severity ERROR passed, else 1."""
    if args.month and not re.fullmatch(r"(19|2\d)\d\d-(0[1-9]|1[0-2])", args.month):
        raise UsageError(f"--month {args.month}: write it as 2026-02")
    if (args.since or args.limit) and not args.events_out:
        raise UsageError("--since and --limit are about --events-out; name a file there too")
    for option in ("ui_snapshot_path", "pipeline_summary_path", "events_out"):
        path = getattr(args, option)
        if path and Path(path).is_dir():
            raise UsageError(f"--{option.replace('_', '-')} {path}: is a folder; name a file")
    if args.limit is not None and args.limit < 1:
        raise UsageError(f"--limit {args.limit}: write a number above 0")
    skipped, providers = _stages(args.skip), _clients(args.providers)
    events = Selection(zone=common.zone_name(settings), since=args.since, clients=tuple(sorted(providers)))
    if args.since:
        day_number(args.since, "--since")
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    # what Dagster calls beta is pinned and tested here; its notes would bury the progress
    warnings.filterwarnings("ignore", message=".* is currently in beta")

    from assets.run_facts import write_run_summary
    from resources import LedgerHome, RunOptions

    home = LedgerHome(root=str(settings.home), timezone=common.zone_name(settings))
    options = RunOptions(
        month=args.month or settings.month or "",
        snapshot_mode=args.snapshot_mode,
        on_unpriced=args.on_unpriced or ("error" if args.job == "pricing_ci" else settings.on_unpriced),
        no_cache=args.no_cache,
        reconcile_write=args.reconcile_write,
        events_out=args.events_out or "",
        ui_snapshot_path=args.ui_snapshot_path or "",
        pipeline_summary_path=args.pipeline_summary_path or "",
    )
    home.open()  # a home that cannot be used is said in one line, before anything starts
    with _instance() as instance:
        run_id = str(uuid.uuid4())
        progress = _Progress(sys.stderr)
        instance.add_event_listener(run_id, progress)
        result = _execute(instance, args.job, run_id, skipped, providers, home, options)
        progress.close()
        if args.events_out and result.success:
            _write_events(home.open(), events, args.limit, Path(args.events_out))
        summary, path = write_run_summary(instance, run_id, home, options, is_latest=args.job in _WHOLE)
    if args.job == "do_all_next":
        _write_bundle(home.open())
    if args.format == "json":
        output.print_json(summary)
    else:
        sys.stdout.write(_text(summary, path, home))
    return _verdict(summary, progress, succeeded=result.success)


def _stages(given: list[str]) -> set[str]:
    for stage in given:
        if stage not in STAGES:
            raise UsageError(f"--skip {stage}: no such stage; use one of {', '.join(STAGES)}")
    return set(given)


def _clients(given: list[str]) -> set[str]:
    """Clients whose logs are read; empty = all."""
    found = set()
    for name in (name for names in given for name in names.split(",")):
        client = client_name(name.strip())
        if client is None:
            raise UsageError(f"--providers {name}: no such client; known are {', '.join(clients())}")
        found.add(client)
    return found


def _instance() -> dg.DagsterInstance:
    """Where the run is recorded: DAGSTER_HOME, else the checkout's own history, else nowhere."""
    import dagster as dg

    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    here = Path.cwd()
    if (here / "dagster.yaml").is_file() and (here / "tokenledger_dagster").is_dir():
        return dg.DagsterInstance.from_config(str(here))
    return dg.DagsterInstance.ephemeral()


def _execute(
    instance: dg.DagsterInstance,
    job_name: str,
    run_id: str,
    skipped: set[str],
    providers: set[str],
    home: LedgerHome,
    options: RunOptions,
) -> dg.ExecuteInProcessResult:
    import dagster as dg

    from tokenledger_dagster.definitions import defs

    job = defs.resolve_job_def(job_name)
    config = dg.RunConfig(
        resources={"home": home, "options": options},
        # what a person needs is told by the progress; the rest is in the run's own log
        loggers={"console": {"config": {"log_level": "CRITICAL"}}},
    )
    selection = None if not skipped and not providers else list(_selected(job, skipped, providers))
    return job.execute_in_process(
        instance=instance, run_id=run_id, run_config=config, asset_selection=selection, raise_on_error=False
    )


def _selected(job: dg.JobDefinition, skipped: set[str], providers: set[str]) -> Iterator[dg.AssetKey]:
    """Keys of the job's assets without the skipped stages and the clients that were not asked for."""
    for node in job.asset_layer.asset_graph.asset_nodes:
        client = str(node.metadata.get("client", ""))
        if node.group_name not in skipped and not (client and providers and client not in providers):
            yield node.key


def _write_bundle(home: Home) -> None:
    """The bundle once more, now that the run's summary is complete."""
    from tokenledger_dagster.exports.bundle import write_bundle

    made = write_bundle(home)
    for problem in made.index.problems:
        common.note(f"tokenledger orchestrate: {problem}")
    common.note(f"wrote {made.path}")


def _write_events(home: Home, wanted: Selection, limit: int | None, path: Path) -> None:
    """Booked events as JSON Lines, all of the file or nothing."""
    import duckdb
    import msgspec

    from tokenledger_dagster.exports.streams import stream

    with duckdb.connect() as connection, staged(path) as temporary, temporary.open("wb") as handle:
        rows = stream(connection, home, "events", wanted)
        if limit is not None:
            rows = msgspec.structs.replace(rows, statement=f"{rows.statement}\nLIMIT {limit}")
        rows.write("jsonl", handle)


class _Progress:
    """Tells a run while it goes: one line per asset when it is done, and every check that failed at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._done: dict[str, str] = {}
        self._said: set[str] = set()
        self.errors: list[tuple[str, str, str]] = []
        """Step, kind of error and message of every step that failed by an exception."""
        self.held_back: list[str] = []
        """Steps that were not run because something before them failed."""

    def __call__(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            self._log(entry)
            return
        told = getattr(self, f"_{event.event_type_value.lower()}", None)
        if told is not None:
            told(event)

    def close(self) -> None:
        """Take the status line away."""
        self._status("")

    def _log(self, entry: dg.EventLogEntry) -> None:
        """What an asset says itself; of the engine's own lines only which steps it held back."""
        if held := re.match(r"Dependencies for step (\S+) ", entry.user_message):
            self.held_back.append(_step_name(held[1]))
        elif entry.step_key and int(entry.level) >= logging.INFO and entry.user_message not in self._said:
            # what every client's sync says needs to be read once
            self._said.add(entry.user_message)
            self._line(f"  {entry.user_message}")

    def _step_start(self, event: dg.DagsterEvent) -> None:
        self._status(f"... {_step_name(event.step_key)}")

    def _asset_materialization(self, event: Any) -> None:
        found = {name: value.value for name, value in event.materialization.metadata.items()}
        rows = found.get("dagster/row_count")
        counted = "" if rows is None else f"{rows:>12,} rows"
        self._done[event.step_key] = f"{event.asset_key.to_user_string():<28}{counted:>17}"

    def _asset_observation(self, event: Any) -> None:
        found = {name: value.value for name, value in event.asset_observation_data.asset_observation.metadata.items()}
        self._done[event.step_key] = f"{event.asset_key.to_user_string():<28}{found.get('files', 0):>11,} files"

    def _step_success(self, event: Any) -> None:
        if event.step_key in self._done:
            self._line(f"{self._done[event.step_key]}{event.step_success_data.duration_ms:>9,.0f} ms")

    def _asset_check_evaluation(self, event: Any) -> None:
        check = event.event_specific_data
        if not check.passed:
            found = {name: value.value for name, value in check.metadata.items()}
            figures = ", ".join(f"{name} {found[name]}" for name in ("actual", "expected", "delta") if name in found)
            word = "FAILED" if check.severity.value == "ERROR" else "warning"
            where = f"{check.asset_key.to_user_string()}: {check.check_name}"
            self._line(f"{word}: {where}: {check.description or ''}{f' ({figures})' if figures else ''}")

    def _step_failure(self, event: Any) -> None:
        error = _meant(event.step_failure_data.error)
        if error.cls_name != "DagsterAssetCheckFailedError":  # said already, check by check
            message = re.sub(rf"^(\S+\.)?{error.cls_name}: ", "", error.message.strip())
            self.errors.append((_step_name(event.step_key), error.cls_name or "", message))
            if error.cls_name not in {*_exit_codes(), "Failure"} and error.stack:
                # not one of ours: where it happened is the first thing to know
                self._line("".join(error.stack[-1:]).rstrip())

    def _line(self, text: str) -> None:
        self._status("")
        print(text, file=self._stream, flush=True)

    def _status(self, text: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()


def _text(summary: PipelineSummary, path: Path, home: LedgerHome) -> str:
    """The run in a few lines; stages that did not run are not spoken of."""
    place, checks = home.open(), summary.checks
    snapshot = Path(summary.ui_snapshot_path or place.ui_snapshot_path)
    # a job may make only some of them
    files = (("database", place.duckdb_path), ("UI snapshot", snapshot), ("summary", path))
    rows = [
        ["checks", f"{checks.passed} passed, {checks.warned} warned, {checks.failed} failed"],
        ["time", f"{summary.duration_ms:,} ms"],
        *([name, str(one)] for name, one in files if one.exists()),
    ]
    if not summary.daily.skipped:
        sums = summary.daily.details
        rows.insert(0, ["usage", f"{sums['total_tokens']:,} tokens, ${sums['list_price_usd']:,.2f} at list price"])
    if not summary.ingest.skipped:
        counts = summary.ingest.ledger
        rows.insert(0, ["ledger", f"{counts.get('events', 0):,} events, {counts.get('duplicates', 0):,} duplicates"])
    return output.render(["Run", summary.run_id], rows, "table", numeric_from=2)


def _verdict(summary: PipelineSummary, progress: _Progress, *, succeeded: bool) -> int:
    """The exit code; what went wrong is said on stderr."""
    for name in summary.checks.failed_names:
        common.note(f"tokenledger orchestrate: check failed: {name}")
    for step, _, message in progress.errors:
        common.note(f"tokenledger orchestrate: {step}: {message}")
    if held := [step for step in progress.held_back if "/" in step]:
        common.note(f"tokenledger orchestrate: not run because of that: {', '.join(held)}")
    if summary.checks.failed:
        return 1
    codes = _exit_codes()
    return 0 if succeeded else next((codes[kind] for _, kind, _ in progress.errors if kind in codes), 1)


def _step_name(step: str | None) -> str:
    """An asset's step by its key, any other by its own name."""
    return (step or "").replace("__", "/")


def _meant(error: Any) -> Any:
    """Of an exception and its causes the one that says what a person can do: the first of ours, else the last."""
    while error.cls_name not in _exit_codes() and error.cause is not None:
        error = error.cause
    return error


def _exit_codes() -> dict[str, int]:
    """Exit code by the name of an error class: Dagster keeps no more of an exception."""
    return {kind.__name__: kind.exit_code for kind in _kinds_of(TokenLedgerError)}


def _kinds_of(kind: type[TokenLedgerError]) -> Iterator[type[TokenLedgerError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _kinds_of(one)
