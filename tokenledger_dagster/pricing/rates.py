"""Rate rows: their columns, the rate of one request, and the multiplication.

Money is integer nano-USD (1 USD = 1,000,000,000), rates are nano-USD per million tokens. Standard library and msgspec
only: every command that shows a price pays for this import. Here: what a row is and what it costs. Not here: finding
the row of a request (`rate_table.py`), or where rows come from (`generate.py`, `book.py`, `lists/`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Units = tuple[int, int, int, int, int]
"""Input, cache read, 5-minute cache write, 1-hour cache write, output."""

ListBasis = Literal["channel", "maker"]

UNIT_COLUMNS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
HIGH_COLUMNS = tuple(f"{unit}_high" for unit in UNIT_COLUMNS)
COLUMNS = (
    "channel",
    "model",
    "context",
    "valid_from_utc",
    "valid_to_utc",
    "tod_from",
    "tod_to",
    "tier_from_tokens",
    "tier_inclusive",
    *UNIT_COLUMNS,
    *HIGH_COLUMNS,
    "own_channel",
    "price_list_model",
    "source",
    "source_version",
    "status",
    "confidence",
)
"""Columns of `config/rates.csv` and of imported price lists, in order."""

TOOL_COLUMNS = ("tool_input", "tool_output", "tool_input_high", "tool_output_high")
BOOK_COLUMNS = (*COLUMNS, *TOOL_COLUMNS, "provider")
"""Rows of the pricing book say two things more; in a price list tool tokens cost what input and output do."""

STANDARD = "standard"
MAKER_CONFIDENCE_CAP = 84
MIN_CONFIDENCE = 60
"""Below this a name or rate is a guess and prices nothing; from here to 84 only as the maker's list price."""
STRICT_CONTEXT = "variant=free"
"""A free variant is free only where a row says so; the paid rate would be a made-up price."""
BUILT_IN, BOOK = "price_list", "book"
"""Names of layers; imported lists are layers by their own names."""

_MTOK = 1_000_000


class Rate(msgspec.Struct, frozen=True):
    """One resolved row. All rates in nano-USD per million tokens; the `_high` ones apply above the tier."""

    channel: str
    """Channel the rate was found under: with `list_basis` maker, the maker's own."""
    model: str
    priced_context: str
    valid_from_us: int | None
    valid_to_us: int | None
    tier_from_tokens: int | None
    tier_inclusive: bool
    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    input_high: int
    cache_read_high: int
    cache_write_5m_high: int
    cache_write_1h_high: int
    output_high: int
    tool_input: int
    tool_output: int
    tool_input_high: int
    tool_output_high: int
    list_basis: ListBasis
    confidence: int
    source: str
    source_version: str
    status: str
    """`active`, or `scheduled` when the price list announced another rate from before this event's day on."""
    layer: str
    """`book`, `price_list` (built in), or the name of an imported list."""

    def units(self, *, high: bool) -> Units:
        """Return the five unit rates below (`high=False`) or above the tier threshold."""
        if high:
            return (
                self.input_high,
                self.cache_read_high,
                self.cache_write_5m_high,
                self.cache_write_1h_high,
                self.output_high,
            )
        return self.input, self.cache_read, self.cache_write_5m, self.cache_write_1h, self.output

    def tool_units(self, *, high: bool) -> tuple[int, int]:
        """Return the rates of tool input and tool output, below or above the tier threshold."""
        return (self.tool_input_high, self.tool_output_high) if high else (self.tool_input, self.tool_output)


def price_nano(
    rate: Rate,
    input_tokens: int,
    cache_read: int,
    cache_write_5m: int,
    cache_write_1h: int,
    output: int,
    *,
    tool_input: int = 0,
    tool_output: int = 0,
    is_sum: bool = False,
) -> int:
    """Return the price of one request in nano-USD, rounded half-even once.

    The tier is a step on the whole request: when input plus cache reads plus cache writes cross the threshold, every
    token of the request, output included, pays the high rate.  Of several requests that are known only together
    (`is_sum`) each is taken to lie below it.
    """
    prompt = input_tokens + tool_input + cache_read + cache_write_5m + cache_write_1h
    high = (
        not is_sum
        and rate.tier_from_tokens is not None
        and (prompt > rate.tier_from_tokens or (rate.tier_inclusive and prompt == rate.tier_from_tokens))
    )
    units = (*rate.units(high=high), *rate.tool_units(high=high))
    counts = (input_tokens, cache_read, cache_write_5m, cache_write_1h, output, tool_input, tool_output)
    whole, rest = divmod(sum(count * unit for count, unit in zip(counts, units, strict=True)), _MTOK)
    if 2 * rest > _MTOK or (2 * rest == _MTOK and whole % 2):
        whole += 1
    return whole
