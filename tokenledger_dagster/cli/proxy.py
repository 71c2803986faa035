"""``tokenledger proxy``: land what a CLIProxyAPI tells of its requests."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.contracts.landing import LandingSummary
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.landing.cliproxyapi import Lander, Options
from tokenledger_dagster.landing.management import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE, Management, management_key
from tokenledger_dagster.landing.signals import stopped_by_signals
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "proxy": """
examples:
  tokenledger proxy land --once
  tokenledger proxy land --url http://127.0.0.1:8317 --every 20
  tokenledger proxy land --export --key-file ~/.config/proxy.key     # before version 7
"""
}
MOST = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One action so far."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    about = "Take records from a CLIProxyAPI's usage queue and write them down before anything else."
    land = actions.add_parser("land", help=about[0].lower() + about[1:], description=about)
    land.add_argument("--url", help=f"address of the proxy (default: {URL_VARIABLE}, else {DEFAULT_URL})")
    keys = land.add_mutually_exclusive_group()
    keys.add_argument(
        "--key-env", metavar="NAME", help=f"variable that holds the management key (default: {KEY_VARIABLE})"
    )
    keys.add_argument("--key-file", metavar="FILE", help="file that holds the management key and nothing else")
    often = land.add_mutually_exclusive_group()
    often.add_argument("--once", action="store_true", help="until the queue is empty, then end (the default)")
    often.add_argument("--every", metavar="SECONDS", type=float, help="again and again; the queue forgets after 60 s")
    land.add_argument("--count", metavar="N", type=int, default=100, help="records a question (default: 100)")
    land.add_argument("--max-batches", metavar="N", type=int, help="end after this many answers")
    land.add_argument("--timeout", metavar="SECONDS", type=float, default=30, help="for one answer (default: 30)")
    land.add_argument("--export", action="store_true", help="land the usage export of a proxy before version 7")
    output.add_format(land, ("table", "json"))


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Lands and prints the summary, also of a run that ends badly."""
    options = _options(args)
    url = args.url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    file = Path(args.key_file) if args.key_file else None
    if file is not None and file.expanduser().is_file() and file.expanduser().stat().st_mode & 0o077:
        common.note(f"{file}: others of this machine can read the management key; run `chmod 600` on it")
    proxy = Management(url, management_key(os.environ, args.key_env, file), args.timeout)
    if proxy.is_exposed:
        common.note(f"{proxy.shown}: the management key goes there unencrypted; use https, or a tunnel")
    with stopped_by_signals(common.note) as stop:
        lander = Lander(common.open_home(settings), proxy, options, stop=stop, note=common.note)
        try:
            lander.run()
        finally:
            _show(lander.summary, args.format)
    if stop.by_keyboard:
        raise KeyboardInterrupt
    return 0


def _options(args: argparse.Namespace) -> Options:
    if not 1 <= args.count <= MOST:
        raise UsageError(f"--count {args.count}: use 1 to {MOST:,}")
    if args.every is not None and not 0 < args.every < float("inf"):
        raise UsageError(f"--every {args.every:g}: use a number of seconds above 0")
    if args.max_batches is not None and args.max_batches < 1:
        raise UsageError(f"--max-batches {args.max_batches}: use 1 or more")
    if not 0 < args.timeout <= 3600:
        raise UsageError(f"--timeout {args.timeout:g}: use seconds above 0, 3600 at most")
    return Options(count=args.count, every=args.every, max_batches=args.max_batches, export=args.export)


def _show(summary: LandingSummary, form: str) -> None:
    if form == "json":
        output.print_json(summary)
        return
    told = f"landed {summary.landed:,} records of {summary.url} in {summary.folder}\n"
    odd = {
        "details landed before": summary.known,
        "objects nobody understands": summary.unknown,
        "control messages": summary.control_messages,
        "unreadable elements": summary.unreadable,
        "answers broken off": summary.cut_answers,
        "tries that failed": summary.retries,
    }
    sys.stdout.write(told + "".join(f"  {name}: {count:,}\n" for name, count in odd.items() if count))
