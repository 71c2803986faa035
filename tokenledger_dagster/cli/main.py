"""Entry point: finds the command, loads only its module, turns errors into one line and an exit code.

Here: dispatch.  Not here: any command's own arguments (each module's ``add_arguments``).
"""

from __future__ import annotations

import os
import sys

from tokenledger_dagster.printable import printable

TYPE_CHECKING = False  # typing, argparse and the rest wait until a command needs them
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

    from tokenledger_dagster.cli.arguments import Arguments
    from tokenledger_dagster.ingest.unchanged import Walked

COMMANDS: dict[str, tuple[str, str]] = {
    "report": ("report", "usage and cost by day, week, month, session, project, model, client or 5-hour block"),
    "sync": ("sync", "read what is new in the agents' logs"),
    "events": ("events", "booked events, one line each"),
    "duplicates": ("events", "usage records that were not booked, each with its rule and owner"),
    "costs": ("costs", "what a period cost, with plans: variable, allocated, idle, by provider and model"),
    "suggestions": ("suggestions", "what a month's figures suggest, each with its evidence and saving"),
    "activity": ("activity", "what sessions were about, guessed from their first words, with tokens and list price"),
    "explain": ("explain", "the events, prices and bytes behind a figure"),
    "orchestrate": ("orchestrate", "run the whole Dagster job: tables, checks, published files"),
    "snapshot": ("snapshot", "the UI snapshot, for status bars and extensions"),
    "doctor": ("doctor", "what was found, what is at risk, versions"),
    "pricing": (
        "pricing",
        "lint, audit, check, coverage, apply, reconcile and reprice: the price book and its sources",
    ),
    "ledger": ("ledger", "models and providers with prices and benchmarks, and which models nobody beats"),
    "models": ("models", "fetch, build and verify the embedding model that search and estimates use"),
    "search": ("search", "sessions by meaning, with what they cost"),
    "quality": ("quality", "published totals recomputed in pandas, and what the tables are expected to look like"),
    "proxy": ("proxy", "land the usage queue of a CLIProxyAPI"),
    "feeder": ("feeder", "hold files of a feeder against its contract"),
    "bench": ("bench", "speed, memory and exactness on made-up logs"),
    "retention": ("retention", "what the home no longer needs: old runs, reconciliations, results, kept answers"),
    "rates": ("rates", "build or compare the committed rate table"),
    "completion": ("completion", "a script for bash, zsh or fish that completes commands and options"),
    "quickstart": ("quickstart", "the main job on your own logs, or on the bundled sample"),
}
EXIT_CODES = "exit codes: 0 ok, 1 a check or gate failed, 2 usage error, 3 nothing to report, 4 bad input"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "tokenledger"
    if argv is None:
        _take_any_text()
    try:
        return _dispatch(arguments, whole_process=argv is None)
    except KeyboardInterrupt:
        print(f"tokenledger {name}: stopped; what was committed is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of a pipe went away, as `head` does: no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        text, code = told
        print(printable(f"tokenledger {name}: {text}"), file=sys.stderr)
        return code


def _take_any_text() -> None:
    """Makes both streams take whatever is written: what an encoding lacks is escaped, a closed one leads nowhere.

    The file that stands in for a closed stream takes its number, which nothing else may be given.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
        elif stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="backslashreplace")


def _told(error: Exception) -> tuple[str, int] | None:
    """One line and the exit code of an error a person can act on; None for a bug of ours, whose trace is wanted."""
    import errno
    import sqlite3

    from tokenledger_dagster.errors import TokenLedgerError

    if isinstance(error, TokenLedgerError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        remedy = "free some space" if error.errno == errno.ENOSPC else "check the path and its permissions"
        return f"{error.filename or 'output'}: {error.strerror or error}; {remedy}", 4
    if isinstance(error, sqlite3.Error):
        return f"the manifest of this home: {error}; see `tokenledger doctor`", 4
    if type(error).__module__.split(".")[0] in ("duckdb", "_duckdb"):
        first = str(error).strip().splitlines()[0]
        return f"the lake of this home: {first}; see `tokenledger doctor`", 4
    return None


def _dispatch(arguments: list[str], *, whole_process: bool) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview(), flush=True)
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version", "version"):
        from tokenledger_dagster import __version__

        print(f"tokenledger {__version__}", flush=True)
        return 0
    if arguments[0] not in COMMANDS:
        print(printable(f"tokenledger: no command {arguments[0]!r}; `tokenledger --help` lists them"), file=sys.stderr)
        return 2
    if arguments[0] in ("report", "snapshot"):
        import gc

        from tokenledger_dagster.cli import warm
        from tokenledger_dagster.ingest.unchanged import Walked

        walked = Walked()
        code = warm.answer(arguments[0], arguments[1:], os.environ, walked)
        if code is None:
            if whole_process:
                gc.disable()  # the process ends before a collection would pay
                _start_helpers()
            code = _run(arguments[0], arguments[1:], walked)
        if whole_process:
            sys.stdout.flush()
            sys.stderr.flush()
            # nothing is left to close, and taking the interpreter apart would cost as much as grouping the rows
            os._exit(code)
        return code
    return _run(arguments[0], arguments[1:])


def _start_helpers() -> None:
    """Starts helpers for the first reading of a home: they get ready while this process imports what it needs."""
    from tokenledger_dagster.cli.warm import is_filled

    if not is_filled(os.environ):
        from tokenledger_dagster.ingest.spawning import start_early

        start_early()


def _run(name: str, arguments: list[str], walked: Walked | None = None) -> int:
    from tokenledger_dagster.cli.arguments import simple

    _import_msgspec()
    module = _module(name)
    parsed: Arguments | None = simple(name, arguments)
    if parsed is None:
        parsed = command_parser(name).parse_args(arguments)
        parsed.command = name
    parsed.walked = walked
    from tokenledger_dagster.settings import load_settings

    code = int(module.run(parsed, load_settings()))
    sys.stdout.flush()
    return code


def _module(name: str) -> ModuleType:
    import importlib

    return importlib.import_module(f"tokenledger_dagster.cli.{COMMANDS[name][0]}")


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    import argparse

    module = _module(name)
    parser = argparse.ArgumentParser(
        prog=f"tokenledger {name}",
        description=COMMANDS[name][1][0].upper() + COMMANDS[name][1][1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"{getattr(module, 'EXAMPLES', {}).get(name, '').strip()}\n\n{EXIT_CODES}".strip(),
    )
    module.add_arguments(parser)
    return parser


def _import_msgspec() -> None:
    """Imports msgspec and pathlib without what they never use of others, which is half of their cost.

    msgspec (0.19 to 0.22) asks typing_extensions for names that ``typing`` has too since Python 3.11, and takes those
    where it is missing; uuid asks platform for the system's name; pathlib wants one function of urllib.parse for
    ``as_uri``.  Whoever imports these three later gets them.  To go when Python itself is as lazy.
    """
    from types import ModuleType

    platform, parse = ModuleType("platform"), ModuleType("urllib.parse")
    platform.system = _system  # type: ignore[attr-defined]
    parse.quote_from_bytes = _quote_from_bytes  # type: ignore[attr-defined]
    stand_ins = {"typing_extensions": None, "platform": platform, "urllib.parse": parse}
    known = "msgspec" in sys.modules or "pathlib" in sys.modules
    absent = {} if known else {name: one for name, one in stand_ins.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        import pathlib

        import msgspec
    except (ImportError, AttributeError):
        if not absent:
            raise
    finally:
        for name in absent:
            sys.modules.pop(name, None)
    import pathlib  # noqa: F401

    import msgspec  # noqa: F401


def _system() -> str:
    return os.uname().sysname if hasattr(os, "uname") else sys.platform


def _quote_from_bytes(*given: Any, **named: Any) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(*given, **named)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items() if name != "quickstart")
    return (
        "usage: tokenledger <command> [options]\n\n"
        "The ledger of record for AI coding-agent usage: reads the logs agents leave, exactly, once, for good.\n\n"
        f"commands:\n{listed}\n\n"
        "`tokenledger <command> --help` shows options and examples.\n"
        "State lives under TOKENLEDGER_HOME (default: your user data folder).\n"
        f"{EXIT_CODES}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
