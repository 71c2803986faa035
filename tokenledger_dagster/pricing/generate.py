"""Build the committed rate table from the price list, write it, and say how the two differ.

The price list package is imported inside the functions only: it costs half a second and tens of megabytes, and nothing
that scans, prices or reports needs it. Reading the table at run time is `rates.py`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from tokenledger_dagster.pricing.context import channels
from tokenledger_dagster.pricing.generate_match import Match, matches
from tokenledger_dagster.pricing.generate_rows import Period, SteppedTwiceError, periods
from tokenledger_dagster.pricing.rates import COLUMNS

SOURCE = "genai-prices"
RATES_FILE = "rates.csv"
META_FILE = "rates.meta.json"


def build_rates(as_of: str) -> bytes:
    """Return the rate table as CSV: sorted, LF, no comments, the same bytes for the same price list and `as_of`.

    Args:
        as_of: `YYYY-MM-DD`; rates that start later are written with status `scheduled`.
    """
    return _build(as_of)[0]


def write_rates(directory: Path, as_of: str | None = None) -> None:
    """Write `rates.csv` and `rates.meta.json` into `directory`.

    Args:
        directory: usually `config/`.
        as_of: `YYYY-MM-DD`; None keeps the one in the existing meta file.

    Raises:
        FileNotFoundError: `as_of` is None and there is no meta file yet.
    """
    day = as_of or _read_meta(directory)["as_of"]
    content, skipped = _build(day)
    meta = {
        "schema_version": 1,
        "source": SOURCE,
        "source_version": source_version(),
        "as_of": day,
        "unit": "nano-USD per million tokens; dates UTC, half-open; time of day UTC",
        "columns": list(COLUMNS),
        "rows": content.count(b"\n") - 1,
        "sha256": hashlib.sha256(content).hexdigest(),
        "skipped": skipped,
    }
    (directory / RATES_FILE).write_bytes(content)
    text = json.dumps(meta, indent=2, ensure_ascii=False) + "\n"
    (directory / META_FILE).write_text(text, encoding="utf-8", newline="\n")


def compare_rates(directory: Path) -> list[str]:
    """Return how the committed table differs from a regeneration, one readable line each; empty when it does not."""
    meta = _read_meta(directory)
    committed = (directory / RATES_FILE).read_bytes()
    differences = []
    if meta["source_version"] != source_version():
        differences.append(f"built with {SOURCE} {meta['source_version']}, installed is {source_version()}")
    if meta["sha256"] != hashlib.sha256(committed).hexdigest():
        differences.append(f"{RATES_FILE} does not have the sha256 that {META_FILE} states")
    rebuilt = build_rates(meta["as_of"])
    if rebuilt != committed:
        before, after = (set(text.decode("utf-8").splitlines()) for text in (committed, rebuilt))
        differences += [f"only committed: {line}" for line in sorted(before - after)]
        differences += [f"only regenerated: {line}" for line in sorted(after - before)]
        if before == after:
            differences.append(f"{RATES_FILE} has the right lines in another order or with other line ends")
    return differences


def source_version() -> str:
    """Return the installed version of the price list package.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed; install the `pricing` extra.
    """
    from importlib.metadata import version

    return version(SOURCE)


def _build(as_of: str) -> tuple[bytes, list[str]]:
    from genai_prices import data_snapshot

    found = matches(data_snapshot.get_snapshot().providers, as_of)
    version = source_version()
    rows: list[list[str]] = []
    skipped: list[str] = []
    for match in found:
        try:
            rows += [_row(match, period, as_of, version) for period in periods(match)]
        except SteppedTwiceError as error:
            skipped.append(f"more than one tier: {error}")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(rows))
    return buffer.getvalue().encode("utf-8"), sorted(set(skipped))


def _row(match: Match, period: Period, as_of: str, version: str) -> list[str]:
    cells = period.cells
    start = period.valid_from.isoformat() if period.valid_from else ""
    tod_from, tod_to = _clock(period)
    return [
        match.channel,
        match.model,
        period.context,
        start,
        period.valid_to.isoformat() if period.valid_to else "",
        tod_from,
        tod_to,
        _text(cells.tier_from_tokens),
        _text(cells.tier_inclusive) if cells.tier_from_tokens is not None else "",
        *map(str, cells.units),
        *(map(str, cells.high) if cells.high is not None else [""] * len(cells.units)),
        "yes" if channels("maker").get(match.maker) == match.channel else "",
        match.entry.id,
        cells.source or SOURCE,
        "" if cells.source else version,
        "scheduled" if start > as_of else "active",
        str(cells.confidence),
    ]


def _clock(period: Period) -> tuple[str, str]:
    if period.slot is None:
        return "", ""
    start, end = period.slot
    return f"{start:%H:%M}", f"{end:%H:%M}" if end else "24:00"


def _text(value: int | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _read_meta(directory: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((directory / META_FILE).read_text(encoding="utf-8"))
    return meta
