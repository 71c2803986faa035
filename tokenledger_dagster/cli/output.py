"""Results on stdout as table, JSON, CSV or Markdown.

Here: rendering of rows that a command hands over.  Not here: any figure, and nothing heavy: a warm report prints its
table with the standard library alone.
"""

from __future__ import annotations

import sys

from tokenledger_dagster.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from decimal import Decimal
    from typing import Any

FORMATS = ("table", "json", "csv", "markdown")


def add_format(parser: argparse.ArgumentParser, choices: Sequence[str] = FORMATS) -> None:
    """``--format``, with ``--json`` as a short way to say it."""
    import argparse

    parser.add_argument("--format", choices=choices, default=choices[0], help=f"default: {choices[0]}")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help=argparse.SUPPRESS)


def print_json(value: Any) -> None:
    """One JSON document."""
    from tokenledger_dagster.fileio import encode_json

    sys.stdout.buffer.write(encode_json(value))


def tokens(value: int) -> str:
    """Tokens for people: grouped digits."""
    return f"{value:,}"


def dollars(value: Decimal | None) -> str:
    """USD for people: cents, or more digits for small amounts; a dash where there is no price."""
    if value is None:
        return "-"
    if value < 0:
        return f"-{dollars(-value)}"
    if 0 < value * 10_000 < 1:
        return "<$0.0001"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def render(headers: Sequence[str], rows: Sequence[Sequence[str]], form: str, numeric_from: int = 1) -> str:
    """Rows of text as a table, CSV or Markdown; columns from ``numeric_from`` on are aligned right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    if form == "csv":
        import csv
        import io

        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(headers)
        writer.writerows(rows)
        return buffer.getvalue()
    if form == "markdown":
        lines = [" | ".join(headers), " | ".join("---:" if i >= numeric_from else "---" for i in range(len(headers)))]
        lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
        return "".join(f"| {line} |\n" for line in lines)
    return _table(headers, rows, numeric_from)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric_from: int) -> str:
    import shutil

    width = shutil.get_terminal_size((160, 40)).columns
    widths = [max(len(row[i]) for row in [list(headers), *rows]) for i in range(len(headers))]
    room = width - sum(widths[numeric_from:]) - 2 * (len(widths) - 1)
    for i in range(numeric_from):  # names give way, figures never
        widths[i] = max(min(widths[i], max(room // max(numeric_from, 1), 12)), 3)

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(size) if i >= numeric_from else _fit(cell, size, keep_end=i == 0)
            for i, (cell, size) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(parts).rstrip()

    rule = "  ".join("-" * size for size in widths)
    body = [line(row) for row in rows]
    return "\n".join([line(headers), rule, *body]) + "\n"


def _fit(cell: str, size: int, *, keep_end: bool) -> str:
    """Cut to ``size``: keys (paths, ids) differ at their end, lists say most at their start."""
    if len(cell) <= size:
        return cell.ljust(size)
    return "…" + cell[len(cell) - size + 1 :] if keep_end else cell[: size - 1] + "…"
