"""Golden baselines, schema version 1: figures that were right once, locked, and what differs from them today.

Here: the shapes of both golden files and of what a comparison says. Not here: how figures are made
(`governance.golden_sample`, `governance.golden_months`), and how they are compared (`governance.golden`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

GOLDEN_SCHEMA_VERSION = 1

Value = int | Decimal | None
"""Tokens and counts are integers; a figure whose name ends in ``_usd`` is money; null = not known."""
Figures = dict[str, Value]
Scenario = dict[str, Figures]
"""Rows by key."""
DifferenceKind = Literal[
    "changed", "missing_scenario", "new_scenario", "missing_row", "new_row", "missing_figure", "new_figure"
]
Month = Annotated[str, msgspec.Meta(pattern=r"^(?!0000|9999)\d{4}-(0[1-9]|1[0-2])$")]
"""UTC month, YYYY-MM."""
Moment = Annotated[str, msgspec.Meta(pattern=r"^(?!0000)\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ$")]
"""RFC 3339, UTC, whole seconds."""
UNLOCKED: tuple[DifferenceKind, ...] = ("new_scenario", "new_figure")
"""What nobody has locked yet; everything else is a figure that is not the locked one."""


class SampleGolden(msgspec.Struct, frozen=True, kw_only=True):
    """``fixtures/golden/sample.json``: what the bundled sample gives."""

    schema_version: int = GOLDEN_SCHEMA_VERSION
    generated_at: str
    kind: Literal["sample"] = "sample"
    seal: str
    """Stands for ``scenarios``; a file that was edited by hand has another one."""
    scenarios: dict[str, Scenario]


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures of a month stood on besides its records when they were locked."""

    booking: str
    """Key of booking's rules and of the committed names."""
    overrides: str
    """Key of ``overrides.yaml``; empty = none."""
    prices: str
    """Price snapshot of the month."""
    plans: str
    """Key of the declared plans and of the book's fees; empty = none."""
    program: str
    """Version of the program."""
    last_record: int
    """Number of the last record of the lake."""


class EventsFile(msgspec.Struct, frozen=True, kw_only=True):
    """The locked events of one month, beside the lock: one row an event."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f-]+\.parquet$")]
    """File name below ``golden/closed``."""
    bytes: int
    sha256: str


class LockedMonth(msgspec.Struct, frozen=True, kw_only=True):
    """One closed month as it was locked."""

    locked_at: Moment
    event_count: int
    digest: str
    """Stands for every event with its time, names, counters and list price, in any order."""
    rows: Scenario
    """Sums by ``client/provider/model``."""
    basis: Basis
    events: EventsFile


class ClosedMonths(msgspec.Struct, frozen=True, kw_only=True):
    """``golden/closed-months.json`` of a home."""

    schema_version: int = GOLDEN_SCHEMA_VERSION
    generated_at: str
    kind: Literal["closed_months"] = "closed_months"
    closes_after_days: Annotated[int, msgspec.Meta(ge=0, le=366)]
    """Days after its end from which a month counted as closed."""
    seal: str
    """Stands for ``months``."""
    months: dict[Month, LockedMonth]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that is not the locked one."""

    kind: DifferenceKind
    scenario: str
    """Of the sample: the scenario's name; of a ledger: the month."""
    key: str = ""
    """Key of the row; empty where all of a scenario is meant."""
    figure: str = ""
    expected: Value = None
    actual: Value = None
    delta: Value = None
    """Actual minus expected, where both are numbers."""


class EventChange(msgspec.Struct, frozen=True, kw_only=True):
    """One event that is not what it was."""

    event_id: str
    change: Literal["came", "changed", "went"]
    client: str
    model: str
    tokens_before: int | None
    tokens_after: int | None
    list_price_usd_before: Decimal | None
    list_price_usd_after: Decimal | None
    place: str
    """The log, or the rule and the event that it became a duplicate of; empty where nobody knows."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why some events of a month are not what they were."""

    cause: str
    message: str
    """What happened, in one sentence."""
    change: Literal["came", "changed", "went"]
    event_count: int
    total_tokens_delta: int
    list_price_usd_delta: Decimal
    events: list[EventChange]
    """The first ones, at most twenty."""


class ChangedMonth(msgspec.Struct, frozen=True, kw_only=True):
    """A locked month that is not what it was."""

    month: str
    locked_at: str
    basis_changed: list[str]
    """What it stands on that is another one today, one sentence each."""
    causes: list[Cause]
    """Empty where single events cannot be told, or none changed."""


class GoldenReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``tokenledger bench golden verify`` says, and ``lock`` before it writes."""

    schema_version: int = GOLDEN_SCHEMA_VERSION
    generated_at: str
    kind: Literal["sample", "closed_months"]
    golden: str
    """Path of the golden file."""
    passed: bool
    epsilon_usd: Decimal
    compared: int
    """Figures that were compared."""
    problems: list[str]
    """What is wrong with the golden file itself, one sentence each."""
    differences: list[Difference]
    months: list[ChangedMonth] = []
    unlocked_months: list[str] = []
    """Closed months that nobody has locked: told, no failure."""
    locked: list[str] = []
    """Scenarios or months that this call wrote into the golden file; empty where it wrote nothing."""
