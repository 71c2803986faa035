"""What is true of a corpus: exact sums by day and model as the generator knows them, never as a parser read them.

Here: adding up while rows are made, and comparing a report with it.  Not here: the rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.contracts.bench import BENCH_SCHEMA_VERSION, Correctness, Difference

FIRST_DIFFERENCES = 20


class Cell(msgspec.Struct):
    """One model on one day, UTC."""

    event_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """The four disjoint counters."""
        return self.input_tokens + self.output_tokens + self.cache_write_tokens + self.cache_read_tokens

    def add(self, other: Cell) -> None:
        """Adds every figure of ``other``."""
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


FIGURES = Cell.__struct_fields__
_BY_MODEL = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens", "total_tokens")
_BY_DAY = (*FIGURES, "total_tokens")


class Truth:
    """Exact sums of all requests made so far."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], Cell] = {}
        """By day and the model as logged."""
        self.usage_rows = 0
        """Rows that carry usage, copies among them."""

    @property
    def events(self) -> int:
        """Requests."""
        return sum(cell.event_count for cell in self.cells.values())

    def add(self, day: str, model: str, request: Cell) -> None:
        """One more request."""
        self.cells.setdefault((day, model), Cell()).add(request)

    def totals(self, period: str = "") -> Cell:
        """Sums of the days that begin with ``period``."""
        found = Cell()
        for (day, _), cell in self.cells.items():
            if day.startswith(period):
                found.add(cell)
        return found

    def write(self, path: Path, about: Mapping[str, object]) -> None:
        """Writes all of it as JSON, cells sorted by day and model."""
        cells = [
            {"day": day, "model_raw": model, **msgspec.structs.asdict(cell), "total_tokens": cell.total_tokens}
            for (day, model), cell in sorted(self.cells.items())
        ]
        totals = self.totals()
        sums = {**msgspec.structs.asdict(totals), "total_tokens": totals.total_tokens}
        document = {"schema_version": BENCH_SCHEMA_VERSION, **about, "usage_rows": self.usage_rows, "totals": sums}
        path.write_text(json.dumps({**document, "cells": cells}, indent=1) + "\n", encoding="utf-8")


def compare(report: Mapping[str, Any], truth: Truth) -> Correctness:
    """The daily report's totals, days and day x model cells against the truth; every figure must be equal."""
    found = _Differences()
    found.check("totals", "", report["totals"], truth.totals(), _BY_DAY)
    rows = {row["key"]: row for row in report["rows"]}
    for day in sorted(rows.keys() | {day for day, _ in truth.cells}):
        row = rows.get(day, {})
        found.check(day, "", row, truth.totals(day), _BY_DAY)
        left = {model: cell for (one, model), cell in truth.cells.items() if one == day}
        for model in row.get("models", []):
            wanted = Cell()
            for raw in model["model_raw"]:
                wanted.add(left.pop(raw, Cell()))
            found.check(day, model["model"], model, wanted, _BY_MODEL)
        for raw, cell in sorted(left.items()):
            found.check(day, raw, {}, cell, _BY_MODEL)
    return Correctness(
        passed=not found.count, compared=found.compared, different=found.count, first_differences=found.first
    )


class _Differences:
    """Counts figures that differ and keeps the first ones."""

    def __init__(self) -> None:
        self.compared = 0
        self.count = 0
        self.first: list[Difference] = []

    def check(self, day: str, model: str, row: Mapping[str, Any], wanted: Cell, figures: tuple[str, ...]) -> None:
        """Compares some figures of one cell and notes those that differ."""
        for name in figures:
            actual, expected = int(row.get(name, 0)), int(getattr(wanted, name))
            self.compared += 1
            if actual != expected:
                self.count += 1
                if len(self.first) < FIRST_DIFFERENCES:
                    self.first.append(Difference(day=day, model=model, figure=name, actual=actual, expected=expected))
