"""``tokenledger ledger``: the unified ledger of models and providers, and which models nobody beats.

Here: actions, their arguments and what they print.  Not here: rows and files (``models``), what a home adds
(``exports.model_ledger``).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.cli.actions import add_action, examples_of
from tokenledger_dagster.errors import NothingToReport, TokenLedgerError, UsageError
from tokenledger_dagster.home import Home
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    from tokenledger_dagster.contracts.ledger import ParetoRow
    from tokenledger_dagster.exports.model_ledger import RuntimeOptions, Written
    from tokenledger_dagster.models.artifacts import Build

OBJECTIVES = ("cost+quality", "cost+quality+latency")
ACTIONS = {
    "build": "make the committed files from config/ alone",
    "refresh": "make the ledger of your home: own prices, models, usage mix and latencies",
    "validate": "load the SQL in SQLite and DuckDB and hold every cell against the CSV files",
    "diff": "build from config/ in memory and compare; exits 1 where a file differs",
    "pareto": "the frontier, with what is compared and how it is weighed",
    "map": "say which model each name of a CSV file means",
    "review": "names in your logs that no rule explains, what they may mean, and the entry that would say so",
    "frontier": "quality, cost and latency of the runs of Aider's polyglot leaderboard",
}
_ACTION_EXAMPLES = {
    "build": ("build", "build --output ledger-of-today --format json"),
    "refresh": ("refresh --allow-missing-snapshot", "refresh --cliproxyapi-snapshot usage-export.json --no-sync"),
    "validate": ("validate", "validate --home", "validate --folder ledger-of-today --format json"),
    "diff": ("diff", "diff --folder ledger-of-today --format json"),
    "pareto": ("pareto", "pareto --committed --svg pareto.svg", "pareto --objectives cost+quality --all --format csv"),
    "map": ("map --input names.csv --output mapped.csv", "map --input names.csv --output - --overrides overrides.yaml"),
    "review": ("review", "review --format json"),
    "frontier": ("frontier polyglot_leaderboard.yml", "frontier polyglot_leaderboard.yml --all --format csv"),
}


def _examples(*actions: str) -> str:
    return examples_of("ledger", (example for action in actions for example in _ACTION_EXAMPLES[action]))


EXAMPLES = {"ledger": _examples(*ACTIONS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One parser an action."""
    from tokenledger_dagster.cli.main import EXIT_CODES

    add: dict[str, Callable[[argparse.ArgumentParser], None]] = {
        "build": _add_build,
        "refresh": _add_refresh,
        "validate": _add_validate,
        "diff": _add_diff,
        "pareto": _add_pareto,
        "map": _add_map,
        "review": _add_review,
        "frontier": _add_frontier,
    }
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, about in ACTIONS.items():
        one = add_action(actions, "ledger", name, about, f"{_examples(name)}\n\n{EXIT_CODES}")
        add[name](one)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Runs one action."""
    return int(globals()[f"run_{args.action}"](args, settings))


def run_build(args: argparse.Namespace, settings: Settings) -> int:
    """Writes the committed files; says which of them changed."""
    from tokenledger_dagster.models.artifacts import COMMITTED, committed_build, write_build

    folder = Path(args.output) if args.output else COMMITTED
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: is a file; name a folder")
    made = committed_build()
    written = write_build(made, folder)
    if args.format == "json":
        output.print_json(_document(made.counts, folder=str(folder), written=[path.name for path in written]))
        return 0
    sys.stdout.write(_counts_text(made.counts) + _files_text(folder, [path.name for path in written]))
    return 0


def run_refresh(args: argparse.Namespace, settings: Settings) -> int:
    """Syncs, and makes the files of the home."""
    from tokenledger_dagster.exports.model_ledger import RuntimeOptions

    snapshot = Path(args.cliproxyapi_snapshot) if args.cliproxyapi_snapshot else None
    options = RuntimeOptions(snapshot, not args.skip_runtime_discovery, args.allow_missing_snapshot)
    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    runtime, ledger = refresh(home, settings, options)
    counts = {**ledger.counts, **{f"runtime_{name}": count for name, count in runtime.counts.items()}}
    if args.format == "json":
        output.print_json(_document(counts, folder=str(home.ledger), is_new=ledger.is_new or runtime.is_new))
        return 0
    changed = "made" if ledger.is_new or runtime.is_new else "nothing changed"
    sys.stdout.write(_counts_text(counts) + f"{home.ledger}: {changed}\n")
    return 0


def refresh(home: Home, settings: Settings, options: RuntimeOptions) -> tuple[Written, Written]:
    """Brings the files below the home's ``ledger/`` up to date: runtime metrics, then ledger and Pareto view."""
    import duckdb

    from tokenledger_dagster.exports.model_ledger import write_ledger, write_runtime, write_seed
    from tokenledger_dagster.exports.tables import build

    with duckdb.connect() as con:
        if home.manifest_path.exists():
            build("events", con, home, common.zone_name(settings))
        write_seed(home)
        runtime = write_runtime(home, os.environ, con, options)
        return runtime, write_ledger(home, con)


def run_validate(args: argparse.Namespace, settings: Settings) -> int:
    """Loads the files of a folder; an error where that fails."""
    from tokenledger_dagster.models.validation import validate

    folder = _folder(args, settings)
    rows = validate(folder)
    if args.format == "json":
        output.print_json(_document(rows, folder=str(folder)))
        return 0
    told = [[name, f"{count:,}"] for name, count in rows.items()]
    sys.stdout.write(output.render(["Table", "Rows"], told, "table"))
    sys.stdout.write(f"{folder}: SQLite and DuckDB load its SQL and find what the CSV files say\n")
    return 0


def run_diff(args: argparse.Namespace, settings: Settings) -> int:
    """Compares a folder with a build; 1 where they differ."""
    from tokenledger_dagster.models.artifacts import COMMITTED, committed_build, differences

    folder = Path(args.folder) if args.folder else COMMITTED
    found = differences(committed_build(), folder)
    if args.format == "json":
        document = {"schema_version": 1, "generated_at": common.now(), "folder": str(folder), "differences": found}
        output.print_json(document)
        return 1 if found else 0
    for name, lines in found.items():
        sys.stdout.write(f"{folder / name}\n" + "".join(f"  {line}\n" for line in lines))
    if not found:
        sys.stdout.write(f"{folder}: is what config/ gives\n")
        return 0
    common.note(f"{len(found)} files are not what config/ gives; `tokenledger ledger build` makes them")
    return 1


def run_pareto(args: argparse.Namespace, settings: Settings) -> int:
    """Prints or draws the frontier of the home's ledger, or of the committed inputs."""
    from tokenledger_dagster.cli.ledger_text import pareto_document, pareto_table
    from tokenledger_dagster.models.artifacts import committed_build
    from tokenledger_dagster.models.comparison import load_comparison

    sets = (args.objectives,) if args.objectives else OBJECTIVES
    comparison = load_comparison()
    if args.committed:
        build: Build = committed_build()
        mix, rows = comparison.usage_mix, build.pareto
    else:
        home = common.open_home(settings)
        mix, rows = _live(home, settings)
    if args.svg:
        _draw(rows, sets, Path(args.svg))
        return 0
    shown = [row for row in rows if row.objectives in sets and (args.everything or row.is_frontier)]
    if args.format == "json":
        output.print_json(pareto_document(shown, comparison, mix, common.now()))
        return 0
    sys.stdout.write(pareto_table(rows, shown, sets, comparison, mix, args.format))
    return 0


def run_map(args: argparse.Namespace, settings: Settings) -> int:
    """Maps a file of names."""
    from tokenledger_dagster.models.mapping import map_file
    from tokenledger_dagster.models.overrides import load_overrides

    if args.overrides and not Path(args.overrides).exists():
        raise UsageError(f"--overrides {args.overrides}: is not there; name a file")
    overrides = load_overrides(Path(args.overrides)) if args.overrides else None
    found = map_file(args.input, args.output, overrides)
    common.note(
        f"{found.rows:,} names: {found.mapped:,} mapped, {found.maker_only:,} with a maker only, "
        f"{found.abstained:,} unknown"
    )
    return 0


def run_review(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the queue of names; 0 with or without any."""
    import duckdb

    from tokenledger_dagster.cli.ledger_text import review_text
    from tokenledger_dagster.exports.tables import build
    from tokenledger_dagster.inference.embedder import open_embedder
    from tokenledger_dagster.inference.mapping_suggestions import asked_of, review
    from tokenledger_dagster.inference.switch import standing

    home = common.open_home(settings)
    if not args.no_sync:
        common.synced(home, settings)
    common.ledger(home).close()
    asked = asked_of(standing(home, settings), lambda: open_embedder(home, settings))
    with duckdb.connect() as con:
        events = build("events", con, home, common.zone_name(settings))
        found = review(home, con, events.path, asked, now=common.now())
    if args.format == "json":
        output.print_json(found)
    else:
        sys.stdout.write(review_text(found, args.format, has_file=home.overrides_path.exists()))
    return 0


def run_frontier(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the frontier of a leaderboard file."""
    from tokenledger_dagster.cli.ledger_text import leaderboard_document, leaderboard_table
    from tokenledger_dagster.models.leaderboard import placed, read_leaderboard

    found = placed(read_leaderboard(Path(args.leaderboard)))
    shown = [one for one in found if args.everything or (one.standing is not None and one.standing.is_frontier)]
    if args.format == "json":
        output.print_json(leaderboard_document(found, shown, args.leaderboard, common.now()))
    else:
        sys.stdout.write(leaderboard_table(found, shown, args.format))
    return 0


# -------------------------------------------------------------------- arguments


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="DIR", help="folder for the files (default: ledger/ of the checkout)")
    output.add_format(parser, ("table", "json"))


def _add_refresh(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cliproxyapi-snapshot", metavar="FILE", help="runtime metrics from this file and no other")
    parser.add_argument("--allow-missing-snapshot", action="store_true", help="go on where no records are found")
    parser.add_argument("--skip-runtime-discovery", action="store_true", help="look for no records of CLIProxyAPI")
    common.add_no_sync(parser)
    output.add_format(parser, ("table", "json"))


def _add_validate(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    parser.add_argument("--home", action="store_true", help="those of your home")
    output.add_format(parser, ("table", "json"))


def _add_diff(parser: argparse.ArgumentParser) -> None:
    _add_folder(parser)
    output.add_format(parser, ("table", "json"))


def _add_pareto(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--objectives", choices=OBJECTIVES, help="one set (default: all)")
    parser.add_argument("--committed", action="store_true", help="of the committed inputs instead of your home")
    _add_all(parser, "models")
    parser.add_argument("--svg", metavar="FILE", help="draw cost and quality into this file instead of printing")
    output.add_format(parser)


def _add_map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--input", required=True, metavar="FILE", help="CSV with source_name and context_provider")
    parser.add_argument("--output", required=True, metavar="FILE", help="CSV to write; - is standard output")
    parser.add_argument("--overrides", metavar="FILE", help="names you gave, such as overrides.yaml of your home")


def _add_review(parser: argparse.ArgumentParser) -> None:
    common.add_no_sync(parser)
    output.add_format(parser)


def _add_frontier(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("leaderboard", metavar="FILE", help="polyglot_leaderboard.yml of the Aider project")
    _add_all(parser, "runs")
    output.add_format(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", metavar="DIR", help="folder with the files (default: ledger/ of the checkout)")


def _add_all(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--all", action="store_true", dest="everything", help=f"also {what} that are beaten or lack a figure"
    )


# -------------------------------------------------------------------- shared


def _folder(args: argparse.Namespace, settings: Settings) -> Path:
    from tokenledger_dagster.models.artifacts import COMMITTED

    if args.folder and args.home:
        raise UsageError("--folder and --home name two folders; give one of them")
    if args.home:
        return common.open_home(settings).ledger
    return Path(args.folder) if args.folder else COMMITTED


def _live(home: Home, settings: Settings) -> tuple[dict[str, Decimal], list[ParetoRow]]:
    """The home's Pareto rows, made anew where something changed, and the usage mix behind them."""
    import duckdb

    from tokenledger_dagster.exports.model_ledger import RuntimeOptions, live_view

    if not home.manifest_path.exists():
        raise NothingToReport(
            f"no events yet in {home.root}; run `tokenledger sync`, or look at the committed figures with --committed"
        )
    refresh(home, settings, RuntimeOptions())
    with duckdb.connect() as con:
        return live_view(home, con)


def _draw(rows: Sequence[ParetoRow], sets: Sequence[str], path: Path) -> None:
    from tokenledger_dagster.exports.pareto_chart import pareto_picture
    from tokenledger_dagster.fileio import write_atomic

    picture = pareto_picture(rows, sets)
    if picture is None:
        raise NothingToReport("no model has a figure for every objective: nothing to draw; see `--all`")
    try:
        write_atomic(path, picture.encode())
    except OSError as error:
        raise TokenLedgerError(f"{path}: {error.strerror or error}; name a file that can be written") from error
    common.note(f"wrote {path}")


def _document(counts: dict[str, int], **more: object) -> dict[str, object]:
    return {"schema_version": 1, "generated_at": common.now(), **more, "counts": counts}


def _counts_text(counts: dict[str, int]) -> str:
    return output.render(
        ["", "Count"], [[name.replace("_", " "), f"{count:,}"] for name, count in counts.items()], "table"
    )


def _files_text(folder: Path, written: Sequence[str]) -> str:
    if not written:
        return f"{folder}: nothing changed\n"
    return f"{folder}: wrote {', '.join(written)}\n"
