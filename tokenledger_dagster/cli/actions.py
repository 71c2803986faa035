"""Commands that are several: `tokenledger ledger build`, `tokenledger pricing lint`.

Here: the parser of one action and the examples of its help. Not here: what any action takes or does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def examples_of(command: str, examples: Iterable[str]) -> str:
    """Return the examples of a help text, each written without the command that it is an action of."""
    return "\n".join(["examples:", *(f"  tokenledger {command} {one}" for one in examples)])


def add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], command: str, name: str, about: str, epilog: str
) -> argparse.ArgumentParser:
    """Return the parser of one action; `about` begins in small letters and has no full stop."""
    return actions.add_parser(
        name,
        prog=f"tokenledger {command} {name}",
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
