"""The mapping of model names as one asks for it: one name, or a file of them.

Here: a name and where it was seen, answered with maker, model, channel, modifiers, and the rules that decided.
Not here: how a name is taken apart (`names.py`), the data it is compared with (`rules.py`), its price (`pricing/`).
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.models import rules
from tokenledger_dagster.models.names import SYNTHETIC, Resolution, resolve
from tokenledger_dagster.models.overrides import Overrides

MIN_MODEL_CONFIDENCE = 60
"""Below this a model is not told: an abstention costs less than a wrong answer."""

COLUMNS = (
    "source_name",
    "context_provider",
    "maker",
    "canonical_model",
    "channel",
    "modifiers",
    "rule",
    "confidence",
)
"""Columns of a mapped file, in order."""

_NAME = "source_name"
_CONTEXT = "context_provider"


class MappedName(msgspec.Struct, frozen=True):
    """What a name stands for, and how sure that is. Confidences are 0 to 100; see `docs/contracts/mapping.md`."""

    maker: str | None
    """Who made the model, None where the name does not tell."""
    maker_rule: str
    """The row of `model_makers.csv` that told the maker, `catalogue`, `reserved.<kind>`, or empty."""
    maker_confidence: int
    model: str | None
    """Canonical id, None for an abstention."""
    model_rule: str
    """The least certain rule on the way to the model, or why there is none."""
    model_confidence: int
    channel: str | None
    """Who bills, as the price list's provider id; None where neither name nor context nor maker tells."""
    modifiers: dict[str, str]
    """What the name said beyond the identity; empty for an abstention. Read-only."""
    confidence: int
    """The lesser of the two confidences, 0 for an abstention."""


class FileCounts(msgspec.Struct, frozen=True):
    """How the rows of a file were answered; `rows` is the sum of the others."""

    rows: int
    mapped: int
    """Maker and model told."""
    maker_only: int
    abstained: int


def map_name(
    source_name: str, context: str = "", day: str | None = None, overrides: Overrides | None = None
) -> MappedName:
    """Return what a model name stands for.

    Args:
        source_name: the name in any spelling, as a log, price list or table writes it.
        context: the client or tool it was seen in (`claude_code`, `Cursor`, `bedrock`, ...), if known.
        day: UTC day of the event, `YYYY-MM-DD`. Without it names that move with time are not resolved.
        overrides: what a person says names stand for; they go before everything else.
    """
    place = rules.context(context)
    found = _overridden(source_name, place.client, day, overrides) or resolve(source_name, place.client, day)
    name = found.name
    if name.confidence < MIN_MODEL_CONFIDENCE or name.model == SYNTHETIC:
        model, confidence, modifiers = None, 0, {}
    else:
        model, confidence = name.model, name.confidence
        modifiers = {key: value for key, value in name.modifiers.items() if key != "channel"}
    return MappedName(
        maker=name.maker,
        maker_rule=found.maker_rule,
        maker_confidence=found.maker_confidence,
        model=model,
        model_rule=name.rule,
        model_confidence=confidence,
        channel=found.channel or place.channel or _own_channel(name.maker),
        modifiers=modifiers,
        confidence=min(confidence, found.maker_confidence),
    )


def map_file(source: str | Path, target: str | Path, overrides: Overrides | None = None) -> FileCounts:
    """Map every row of a CSV file and return the counts.

    Args:
        source: UTF-8 with a column `source_name` and, if known, `context_provider`; other columns are ignored.
        target: written at once or not at all, columns `COLUMNS`, one row per row of the source in its order; `-` is
            standard output.
        overrides: see `map_name`.

    Raises:
        TokenLedgerError: the source cannot be read or is no such file, or the target cannot be written.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    mapped = maker_only = abstained = 0
    for source_name, context in _rows(source):
        found = map_name(source_name, context, overrides=overrides)
        mapped += found.model is not None
        maker_only += found.model is None and found.maker is not None
        abstained += found.maker is None and found.model is None
        writer.writerow(_cells(source_name, context, found))
    _write(target, buffer.getvalue().encode("utf-8"))
    return FileCounts(rows=mapped + maker_only + abstained, mapped=mapped, maker_only=maker_only, abstained=abstained)


def _overridden(source_name: str, client: str, day: str | None, overrides: Overrides | None) -> Resolution | None:
    name = overrides.named(source_name, client, day) if overrides else None
    if name is None:
        return None
    return Resolution(name, name.modifiers.get("channel"), name.rule, name.confidence)


def _own_channel(maker: str | None) -> str | None:
    return maker and rules.maker_channels().get(maker, maker)


def _cells(source_name: str, context: str, found: MappedName) -> list[str]:
    return [
        source_name,
        context,
        found.maker or "",
        found.model or "",
        found.channel or "",
        ";".join(f"{key}={value}" for key, value in sorted(found.modifiers.items())),
        found.model_rule,
        str(found.confidence),
    ]


def _rows(source: str | Path) -> Iterator[tuple[str, str]]:
    """Yield name and context of every row that is not blank."""
    lines = csv.reader(io.StringIO(_text(source), newline=""))
    try:
        header = [cell.strip() for cell in next(lines, [])]
        if _NAME not in header:
            raise TokenLedgerError(
                f"{source}: has no column {_NAME}; name the column of the model names {_NAME} in the first line"
            )
        name_at = header.index(_NAME)
        context_at = header.index(_CONTEXT) if _CONTEXT in header else None
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield _cell(cells, name_at), _cell(cells, context_at)
    except csv.Error as error:
        raise TokenLedgerError(f"{source}: line {lines.line_num}: {error}; write it as plain CSV") from error


def _cell(cells: list[str], index: int | None) -> str:
    return cells[index].strip() if index is not None and index < len(cells) else ""


def _text(source: str | Path) -> str:
    try:
        return Path(source).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenLedgerError(f"{source}: byte {error.start} is no UTF-8; save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TokenLedgerError(f"{source}: {reason}; name a readable CSV file") from error


def _write(target: str | Path, content: bytes) -> None:
    if str(target) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        write_atomic(target, content)
    except OSError as error:
        raise TokenLedgerError(f"{target}: {error.strerror or error}; name a file that can be written") from error
