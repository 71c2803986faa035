"""``tokenledger quickstart``: what ``make run`` runs, on the user's own logs or else on the bundled sample."""

from __future__ import annotations

import argparse
import os
import shlex

from tokenledger_dagster.cli import report
from tokenledger_dagster.clients.logs import LOGS_HOME, agents_environ
from tokenledger_dagster.clients.registry import clients, finder
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import SAMPLE_HOME, Home, ensure_home, kind_of
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "quickstart": """
examples:
  tokenledger quickstart
  tokenledger quickstart --sample
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether to insist on the sample."""
    parser.add_argument("--sample", action="store_true", help="use the bundled sample even where there are own logs")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Runs the whole job, prints a report table and where everything is."""
    from tokenledger_dagster.cli import orchestrate

    own = _own_logs()
    if own and not args.sample:
        home = ensure_home(settings.home, "user")
        print(f"Reading your own logs: {', '.join(own)}. The ledger is kept in {home.root}.\n")
    else:
        home, settings = _use_sample(settings)
        why = "as asked" if args.sample else "no agent logs were found on this machine"
        print(f"Using the bundled sample ({why}), in a home of its own: {home.root}.\n")
    code = orchestrate.run(_parsed(orchestrate, []), settings)
    print()
    monthly = report.run(_parsed(report, ["monthly", "--no-sync"]), settings)
    print(_where(home))
    return code or monthly


def _own_logs() -> list[str]:
    found = []
    for client in clients():
        finding = finder(client)
        roots = finding.roots(agents_environ(os.environ))
        if any(next(iter(finding.entries(root)), None) is not None for root in roots):
            found.append(client)
    return found


def _use_sample(settings: Settings) -> tuple[Home, Settings]:
    """A home beside the user's, fed from the sample alone."""
    import msgspec

    if not SAMPLE_HOME.is_dir():
        raise TokenLedgerError(f"{SAMPLE_HOME} is missing; run this from a clone of the repository")
    root = settings.home
    if kind_of(root) != "sample":  # a home of the user's own, or the place for one, stays as it is
        root = root.with_name(f"{root.name}-sample")
    home = ensure_home(root, "sample")
    # assets and commands find logs as they always do; HOME stays as it is, since other programs write there
    os.environ[LOGS_HOME] = str(SAMPLE_HOME)
    os.environ["TOKENLEDGER_HOME"] = str(root)
    return home, msgspec.structs.replace(settings, home=root)


def _parsed(module: object, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)  # type: ignore[attr-defined]
    return parser.parse_args(arguments)


def _where(home: Home) -> str:
    made = (
        ("Database", home.duckdb_path, "query it with DuckDB 1.4 or later, even while the pipeline runs"),
        ("UI snapshot", home.ui_snapshot_path, "for status bars and extensions"),
        ("Run summary", home.pipeline_summary_path, "what the run did, for machines"),
        ("Lake", home.lake, "every usage record with its evidence; kept when agents delete their logs"),
    )
    lines = [f"  {name:<13}{path}\n  {'':<13}{about}" for name, path, about in made if path.exists()]
    given = ("TOKENLEDGER_HOME", LOGS_HOME, "CLAUDE_CONFIG_DIR", "CODEX_HOME")
    prefix = "".join(f"{name}={shlex.quote(os.environ[name])} " for name in given if name in os.environ)
    return "\n".join(["", "Made:", *lines, "", "Open the Dagster UI (http://localhost:3000):", f"  {prefix}make dev"])
