"""The common forms of the arguments of `report` and `snapshot`, without argparse.

Here: exact long options, each value an argument of its own, the kind first; and the selection they name.  Not here:
everything else: what this module does not know goes to argparse (`add_arguments` of the command), which also owns help
and errors.  Light: see `cli.warm`.
"""

from __future__ import annotations

from types import SimpleNamespace

from tokenledger_dagster.clients.registry import client_name, logs
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.usage.kinds import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from tokenledger_dagster.usage.selection import Selection

    Arguments = argparse.Namespace | SimpleNamespace

_REPEATED = ("client", "model", "project", "session")


def simple(command: str, given: Sequence[str]) -> SimpleNamespace | None:
    """What argparse would make of ``given``; None where only argparse can say."""
    return _SIMPLE[command](list(given)) if command in _SIMPLE else None


def _report(given: list[str]) -> SimpleNamespace | None:
    found: dict[str, Any] = dict.fromkeys(("since", "until", "tz", "order"))
    found |= {name: [] for name in _REPEATED}
    found |= {"kind": "daily", "format": "table", "no_estimates": False, "no_sync": False}
    if given and given[0] in KINDS:
        found["kind"] = given.pop(0)
    choices = {"order": ("asc", "desc"), "format": ("table", "json", "csv", "markdown")}
    named = ("since", "until", "tz", *choices, *_REPEATED)
    return _options("report", given, found, named, choices)


def _snapshot(given: list[str]) -> SimpleNamespace | None:
    found: dict[str, Any] = {"mode": "compact", "month": None, "output": None, "no_write": False, "no_sync": False}
    choices = {"mode": ("compact", "extended")}
    return _options("snapshot", given, found, ("month", "output", *choices), choices)


_SIMPLE: dict[str, Callable[[list[str]], SimpleNamespace | None]] = {"report": _report, "snapshot": _snapshot}


def _options(
    command: str, given: list[str], found: dict[str, Any], named: Sequence[str], choices: Mapping[str, tuple[str, ...]]
) -> SimpleNamespace | None:
    left = iter(given)
    for option in left:
        name = option.removeprefix("--").replace("-", "_")
        if option == "--json" and "format" in found:
            found["format"] = "json"
        elif option == f"--{name.replace('_', '-')}" and isinstance(found.get(name), bool):
            found[name] = True
        elif option == f"--{name}" and name in named:
            value = next(left, "-")
            if value.startswith("-") or value not in choices.get(name, (value,)):
                return None
            if name in _REPEATED:
                found[name].append(value)
            else:
                found[name] = value
        else:
            return None
    return SimpleNamespace(command=command, **found)


def selection_of(args: Arguments, zone: str) -> Selection:
    """The selection the arguments ask for, days cut in ``zone``.  Raises UsageError for unknown clients and dates."""
    from tokenledger_dagster.usage.selection import Selection, day_number

    names = []
    for given in args.client:
        name = client_name(given)
        if name is None:
            raise UsageError(f"--client {given}: no such client; known are {', '.join(logs())}")
        names.append(name)
    since = day_number(args.since, "--since") if args.since else None
    until = day_number(args.until, "--until") if args.until else None
    if since is not None and until is not None and since > until:
        raise UsageError(f"--since {args.since} is after --until {args.until}")
    return Selection(
        zone=zone,
        since=args.since,
        until=args.until,
        clients=tuple(names),
        models=tuple(args.model),
        projects=tuple(args.project),
        sessions=tuple(args.session),
        estimates=not args.no_estimates,
    )
