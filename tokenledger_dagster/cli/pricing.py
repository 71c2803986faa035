"""``tokenledger pricing``: the price book and its sources: whether they are sound, what they miss, mending them.

Here: arguments. Not here: the actions (`cli.pricing_actions`; lint and audit `cli.pricing_quality`, accepting prices
`cli.pricing_reprice`) and their tables (`cli.pricing_text`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.cli.actions import add_action, examples_of
from tokenledger_dagster.settings import Settings

ACTIONS = {
    "lint": "say everything that is wrong with a pricing book",
    "audit": "say whether a pricing book names its sources and whether somebody looked lately",
    "check": "fail where requests of a month have no price",
    "coverage": "show what of a month's requests has no price, and what it might be",
    "apply": "add a patch to the pricing book",
    "reconcile": "make the patch that a month's requests need, and try it",
    "import": "take a public price list as a further source, behind the book and the built-in list",
    "lists": "show the imported price lists",
    "reprice": "show what today's prices change of what is booked, and accept them",
}
_ACTION_EXAMPLES = {
    "lint": ("lint", "lint my-prices.json --format json"),
    "audit": ("audit --max-age-days 14", "audit my-prices.json --allow-missing-source"),
    "check": ("check", "check --month 2026-02 --allow-unpriced --no-sync"),
    "coverage": ("coverage", "coverage --month 2026-02 --write-patch patch.json --write-unpriced-events events.jsonl"),
    "apply": ("apply patch.json", "apply patch.json --write"),
    "reconcile": ("reconcile", "reconcile --month 2026-02 --write --allow-unpriced"),
    "import": ("import litellm", "import models.dev --from ~/Downloads/api.json"),
    "lists": ("lists", "lists --remove litellm"),
    "reprice": ("reprice", "reprice --write"),
}


def _examples(*actions: str) -> str:
    return examples_of("pricing", (example for action in actions for example in _ACTION_EXAMPLES[action]))


EXAMPLES = {"pricing": _examples(*ACTIONS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One group of arguments for each action."""
    from tokenledger_dagster.cli.main import EXIT_CODES
    from tokenledger_dagster.cli.pricing_quality import add_audit, add_lint
    from tokenledger_dagster.cli.pricing_reprice import add_arguments as add_reprice

    add: dict[str, Callable[[argparse.ArgumentParser], None]] = {
        "lint": add_lint,
        "audit": add_audit,
        "check": _add_check,
        "coverage": _add_coverage,
        "apply": _add_apply,
        "reconcile": _add_reconcile,
        "import": _add_import,
        "lists": _add_lists,
        "reprice": add_reprice,
    }
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, about in ACTIONS.items():
        one = add_action(actions, "pricing", name, about, f"{_examples(name)}\n\n{EXIT_CODES}")
        add[name](one)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Runs one action; exits 1 where a book or a month does not pass."""
    from tokenledger_dagster.cli import pricing_actions
    from tokenledger_dagster.cli.pricing_quality import run_audit, run_lint
    from tokenledger_dagster.cli.pricing_reprice import run as run_reprice

    actions: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
        "lint": run_lint,
        "audit": run_audit,
        "check": pricing_actions.run_check,
        "coverage": pricing_actions.run_coverage,
        "apply": pricing_actions.run_apply,
        "reconcile": pricing_actions.run_reconcile,
        "import": pricing_actions.run_import,
        "lists": pricing_actions.run_lists,
        "reprice": run_reprice,
    }
    return actions[args.action](args, settings)


# -------------------------------------------------------------------- arguments


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_month(parser)
    _add_allow_unpriced(parser)
    _add_format(parser)


def _add_coverage(parser: argparse.ArgumentParser) -> None:
    _add_month(parser)
    parser.add_argument("--write-patch", metavar="FILE", help="write the patch that would add what is missing")
    parser.add_argument("--write-unpriced-events", metavar="FILE", help="write the events without a price, JSON lines")
    _add_format(parser)


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patch", metavar="PATCH", help="a patch in the shape of a pricing book")
    _add_write(parser)
    _add_format(parser)


def _add_reconcile(parser: argparse.ArgumentParser) -> None:
    _add_month(parser)
    parser.add_argument("--workdir", metavar="FOLDER", help="write the run's folder here (default: the home)")
    _add_write(parser)
    _add_allow_unpriced(parser)
    parser.add_argument(
        "--accept-suggestions",
        action="store_true",
        help="put suggested aliases, and prices a list has for other channels only, into the patch",
    )
    _add_format(parser)


def _add_lists(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--remove", choices=("litellm", "models.dev"), help="leave this one out from now on")
    _add_format(parser)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", choices=("litellm", "models.dev"), help="whose list it is")
    parser.add_argument("--from", dest="origin", metavar="PATH|URL", help="default: the publisher's address")
    _add_format(parser)


def _add_month(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--month", metavar="YYYY-MM", help="default: the month of the latest event")
    common.add_no_sync(parser)


def _add_allow_unpriced(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow-unpriced", action="store_true", help="exit 0 also where requests have no price")


def _add_write(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="write the pricing book (default: only try)")
    how.add_argument("--dry-run", dest="write", action="store_false", help="the default, said aloud")
    backup = parser.add_mutually_exclusive_group()
    backup.add_argument(
        "--write-backup", dest="backup", action="store_true", default=True, help="keep the book as it was (the default)"
    )
    backup.add_argument("--no-backup", dest="backup", action="store_false", help="keep nothing of it")
    parser.add_argument(
        "--allow-overwrite-model-rates", action="store_true", help="let rates of the patch replace existing ones"
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    output.add_format(parser, ("table", "json"))
