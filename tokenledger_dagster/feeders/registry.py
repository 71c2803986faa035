"""The feeders whose files can be validated, by name.

Here: names and where each one's ``validate`` stands.  Not here: any feeder's contract.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tokenledger_dagster.contracts.feeder import FeederReport
from tokenledger_dagster.errors import UsageError

FEEDERS = {
    "cliproxyapi": "tokenledger_dagster.feeders.cliproxyapi",
    "otel": "tokenledger_dagster.feeders.opentelemetry",
}
"""Module by feeder name; each has ``validate(path: Path) -> FeederReport``."""


def validator(name: str) -> Callable[[Path], FeederReport]:
    """The function that holds a file against a feeder's contract; it raises OSError where the file cannot be read.

    Raises UsageError for an unknown feeder.
    """
    if name not in FEEDERS:
        raise UsageError(f"{name}: no such feeder; known are {', '.join(FEEDERS)}")
    validate: Callable[[Path], FeederReport] = import_module(FEEDERS[name]).validate
    return validate
