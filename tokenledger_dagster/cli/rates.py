"""``tokenledger rates``: the committed rate table, built from the pinned price list or compared with it."""

from __future__ import annotations

import argparse
import importlib.util

from tokenledger_dagster.cli import common
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY
from tokenledger_dagster.settings import Settings

EXAMPLES = {
    "rates": """
examples:
  uv run --extra pricing tokenledger rates check
  uv run --extra pricing tokenledger rates build       # writes config/rates.csv and config/rates.meta.json
"""
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Build or check."""
    parser.add_argument("action", choices=("check", "build"), help="compare with, or write, the committed table")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Exits 1 where the committed table is not what the pinned price list gives."""
    if importlib.util.find_spec("genai_prices") is None:
        raise TokenLedgerError("the price list genai-prices is not installed; run this with `uv run --extra pricing`")
    from tokenledger_dagster.pricing.generate import compare_rates, write_rates

    if args.action == "build":
        write_rates(CONFIG_DIRECTORY)
        common.note(f"wrote {CONFIG_DIRECTORY / 'rates.csv'}")
        return 0
    differences = compare_rates(CONFIG_DIRECTORY)
    for line in differences[:20]:
        print(line)
    if len(differences) > 20:
        print(f"and {len(differences) - 20} more")
    if not differences:
        print("config/rates.csv is what the pinned price list gives")
    return 1 if differences else 0
