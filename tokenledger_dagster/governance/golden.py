"""Comparing figures with locked ones, and the golden files themselves.

Here: differences between two sets of scenarios, the seal that tells a file edited by hand, reading and writing both
kinds of golden file. Not here: where figures come from (`golden_sample`, `golden_months`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tokenledger_dagster.contracts.golden import (
    GOLDEN_SCHEMA_VERSION,
    UNLOCKED,
    ClosedMonths,
    Difference,
    DifferenceKind,
    Figures,
    SampleGolden,
    Scenario,
    Value,
)
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import encode_json, write_atomic
from tokenledger_dagster.home import SAMPLE_HOME, Home

_Golden = TypeVar("_Golden", SampleGolden, ClosedMonths)

EDITED = "was edited by hand: its seal is not that of its figures"
NOTHING = Decimal(0)
LOCK_SAMPLE = "tokenledger bench golden lock"
LOCK_CLOSED = "tokenledger bench golden lock --closed"
GOLDEN_SAMPLE = SAMPLE_HOME.parents[1] / "golden" / "sample.json"
"""The committed figures of the bundled sample; what it is priced with lies beside it."""
_LARGEST = 64 << 20
"""Bytes above which a file is no golden file."""


class GoldenError(TokenLedgerError):
    """A golden file cannot be used; the message names it and the remedy."""


def compare(
    expected: Mapping[str, Scenario], actual: Mapping[str, Scenario], epsilon: Decimal = NOTHING
) -> list[Difference]:
    """Return every figure that differs, in order of scenario, row and figure.

    Args:
        expected: what was locked.
        actual: what there is.
        epsilon: USD by which money may differ; tokens and counts never may.
    """
    found = list[Difference]()
    for name in sorted(expected.keys() | actual.keys()):
        if name not in actual:
            found.append(Difference(kind="missing_scenario", scenario=name))
        elif name not in expected:
            found.append(Difference(kind="new_scenario", scenario=name))
        else:
            found += _rows(name, expected[name], actual[name], epsilon)
    return found


def is_new(difference: Difference) -> bool:
    """Whether nobody has locked this yet, so that nothing that was locked is another one."""
    return difference.kind in UNLOCKED


def count_figures(scenarios: Mapping[str, Scenario]) -> int:
    """Return how many figures there are."""
    return sum(len(figures) for rows in scenarios.values() for figures in rows.values())


def _rows(name: str, expected: Scenario, actual: Scenario, epsilon: Decimal) -> Iterator[Difference]:
    for key in sorted(expected.keys() | actual.keys()):
        if key not in actual or key not in expected:
            kind: DifferenceKind = "missing_row" if key not in actual else "new_row"
            yield from _whole_row(kind, name, key, expected.get(key, {}), actual.get(key, {}))
        else:
            yield from _figures(name, key, expected[key], actual[key], epsilon)


def _whole_row(kind: DifferenceKind, name: str, key: str, expected: Figures, actual: Figures) -> Iterator[Difference]:
    """One row is one difference, told by the figure that says most of it."""
    figures = expected or actual
    figure = next((one for one in ("total_tokens", "event_count", *figures) if one in figures), "")
    was, now = expected.get(figure), actual.get(figure)
    yield Difference(
        kind=kind, scenario=name, key=key, figure=figure, expected=was, actual=now, delta=_delta(was or 0, now or 0)
    )


def _figures(name: str, key: str, expected: Figures, actual: Figures, epsilon: Decimal) -> Iterator[Difference]:
    for figure in [*expected, *(one for one in actual if one not in expected)]:
        was, now = expected.get(figure), actual.get(figure)
        if figure not in actual:
            yield Difference(kind="missing_figure", scenario=name, key=key, figure=figure, expected=was)
        elif figure not in expected:
            yield Difference(kind="new_figure", scenario=name, key=key, figure=figure, actual=now)
        elif not _equal(figure, was, now, epsilon):
            yield Difference(
                kind="changed",
                scenario=name,
                key=key,
                figure=figure,
                expected=was,
                actual=now,
                delta=_delta(was, now),
            )


def _equal(figure: str, was: Value, now: Value, epsilon: Decimal) -> bool:
    if was is None or now is None or not figure.endswith("_usd"):
        return was == now
    return abs(Decimal(now) - Decimal(was)) <= epsilon


def _delta(was: Value, now: Value) -> Value:
    return None if was is None or now is None else now - was


# -------------------------------------------------------------------- files


def seal_of(content: Any) -> str:
    """Return what stands for the figures of a golden file: a digest of their JSON, keys in order."""
    plain = msgspec.to_builtins(content, builtin_types=(Decimal,), order="sorted")
    return hashlib.blake2b(encode_json(plain, indent=0), digest_size=16).hexdigest()


def lock_path(home: Home) -> Path:
    """Where the locked months of a home lie."""
    return home.golden / "closed-months.json"


def lock_state(home: Home) -> str:
    """Stands for the locked months and their records, by the stamps of their files."""
    files = sorted(path for path in home.golden.rglob("*") if path.is_file())
    stamps = ((path, path.stat()) for path in files)
    return " ".join(
        f"{path.name} {one.st_size} {one.st_mtime_ns} {one.st_ctime_ns} {one.st_ino}" for path, one in stamps
    )


def sample_state(path: Path) -> str:
    """Stands for everything the sample's figures are made of: the logs, the program, its data, the golden file."""
    digest = hashlib.blake2b(digest_size=16)
    program = Path(__file__).parents[1]
    for folder in (program, program.parent / "config", SAMPLE_HOME, path.parent):
        for one in sorted(folder.rglob("*")):
            if one.is_file() and "__pycache__" not in one.parts:
                digest.update(f"{one.relative_to(folder)}".encode() + hashlib.blake2b(one.read_bytes()).digest())
    return digest.hexdigest()


def read_sample(path: Path) -> SampleGolden | None:
    """Return the golden of the sample, None where nothing was locked yet.  Raises GoldenError."""
    return _read(path, SampleGolden, LOCK_SAMPLE)


def read_closed(path: Path) -> ClosedMonths | None:
    """Return the locked months of a home, None where nothing was locked yet.  Raises GoldenError."""
    return _read(path, ClosedMonths, LOCK_CLOSED)


def _read(path: Path, shape: type[_Golden], command: str) -> _Golden | None:
    again = f"restore it from a backup, or move it aside and run `{command}`"
    try:
        if path.stat().st_size > _LARGEST:
            raise GoldenError(f"{path}: is too large for a golden file; {again}")
        found = msgspec.json.decode(path.read_bytes(), type=shape)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GoldenError(f"{path}: cannot be read ({error.strerror}); {again}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GoldenError(f"{path}: is no golden file ({error}); {again}") from error
    if found.schema_version != GOLDEN_SCHEMA_VERSION:
        newer = found.schema_version > GOLDEN_SCHEMA_VERSION
        remedy = "use the newer program" if newer else again
        raise GoldenError(f"{path}: has schema_version {found.schema_version}, not {GOLDEN_SCHEMA_VERSION}; {remedy}")
    return found


def is_sealed(golden: SampleGolden | ClosedMonths) -> bool:
    """Whether the figures of a file are those that were written."""
    content = golden.scenarios if isinstance(golden, SampleGolden) else golden.months
    return golden.seal == seal_of(content)


def write_lines(path: Path, golden: SampleGolden) -> None:
    """Write the golden of the sample with one row a line, so that a diff of it reads as the rows that changed."""
    head = msgspec.structs.asdict(golden)
    del head["scenarios"]
    lines = ["{", *(f'  "{name}": {_line(value)},' for name, value in head.items()), '  "scenarios": {']
    for name, rows in golden.scenarios.items():
        listed = ",\n".join(f"      {_line(key)}: {_line(figures)}" for key, figures in rows.items())
        lines += [f"    {_line(name)}: {{", *([listed] if listed else []), "    },"]
    lines[-1] = lines[-1].rstrip(",")
    write_atomic(path, "\n".join([*lines, "  }", "}", ""]).encode())


def _line(value: Any) -> str:
    return encode_json(value, indent=0).decode().strip()


def stamp(now: datetime) -> str:
    """A time as documents hold it."""
    return now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
