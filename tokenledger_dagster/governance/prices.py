"""What must hold of prices.

Here: that two computations of every price agree, how much has none, and whether the rate table is today's.  Not here:
how a price is found (``pricing``).
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from tokenledger_dagster import pricing
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.exports.recipes import attach_once
from tokenledger_dagster.exports.state import booked_state
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.ingest.overridden import key_in
from tokenledger_dagster.models.rules import CONFIG_DIRECTORY

UNPRICED_LIMIT = 0.01
"""Share of tokens without a list price above which a person should look."""


def booked_prices_state(look: Inspection) -> str:
    """Stands for booking's prices."""
    return f"{key_in(look.home)} {booked_state(look.home)}"


def costs_agree(look: Inspection) -> Finding:
    """Whether booking's price of every event is that of the table ``event_costs``, to the nano-USD."""
    attach_once(look.con, look.home)
    costs = literal(look.path("event_costs"))
    rows = look.query(statement("cost_differences", costs=costs))
    (counted,) = look.query(f"SELECT count(*) AS n FROM read_parquet({costs})")
    if not rows:
        message = f"Both computations price all {counted['n']} events alike."
        return Finding(passed=True, message=message, actual=0, expected=0)
    first = rows[0]
    message = (
        f"{len(rows)} of {counted['n']} events are priced differently, first {first['event_id']}: booking says "
        f"{first['booked_nano']} nano-USD, the table {first['table_nano']}. One of them states wrong costs. "
        "Run `tokenledger sync --full`, then run again; if it stays, pricing/price_events.sql and price_event disagree."
    )
    return Finding(passed=False, message=message, actual=len(rows), expected=0, rows=rows)


def unpriced_share(look: Inspection) -> Finding:
    """Whether at most one percent of all tokens have no list price."""
    query = statement("unpriced_share", events=literal(look.path("events")), unpriced=literal(look.path("unpriced")))
    rows = look.query(query)
    tokens = sum(row["unpriced_tokens"] for row in rows)
    everything = rows[0]["all_tokens"] if rows else 0
    share = round(float(tokens / everything), 6) if everything else 0.0
    for row in rows:
        del row["all_tokens"]
    if share <= UNPRICED_LIMIT:
        message = f"{share:.2%} of all tokens have no list price ({tokens})."
        return Finding(passed=True, message=message, actual=share, expected=UNPRICED_LIMIT, rows=rows)
    message = (
        f"{share:.2%} of all tokens have no list price ({tokens}), most of them of {rows[0]['model']}: costs come out "
        "too low by what they cost. See the table `unpriced` for models and reasons."
    )
    return Finding(passed=False, message=message, actual=share, expected=UNPRICED_LIMIT, rows=rows)


def rate_table_state(look: Inspection) -> str:
    """Stands for the committed configuration, the installed price list and the code that compares them."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        digest.update(version("genai-prices").encode())
    except PackageNotFoundError:
        digest.update(b"not installed")
    for folder in (CONFIG_DIRECTORY, Path(pricing.__path__[0])):
        for path in sorted(folder.iterdir()):
            if path.is_file():
                digest.update(path.name.encode() + hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def rate_table_current(look: Inspection) -> Finding:
    """Whether regenerating the committed rate table from the installed price list changes nothing."""
    if find_spec("genai_prices") is None:
        message = "The price list (genai-prices, extra `pricing`) is not installed: nothing to compare with."
        return Finding(passed=True, skipped=True, message=message)
    from tokenledger_dagster.pricing.generate import compare_rates

    differences = compare_rates(CONFIG_DIRECTORY)
    if not differences:
        message = "config/rates.csv is what the installed price list gives."
        return Finding(passed=True, message=message, actual=0, expected=0)
    message = (
        f"config/rates.csv differs from the installed price list in {len(differences)} points, first: "
        f"{differences[0]}. Prices may be out of date. Regenerate the rate table."
    )
    rows = [{"difference": line} for line in differences]
    return Finding(passed=False, message=message, actual=len(differences), expected=0, rows=rows)
