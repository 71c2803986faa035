r"""A Markdown pipe table as cells that know where they stood.

Here: bytes to text, lines to cells, and what makes a text no table. Not here: what the columns mean (`seed.py`).

Accepted: a byte order mark, any line ends, blank lines, no outer pipes, no separator line, a cell with an escaped pipe
(`\|`), rows that end early. Refused: text that is no table, rows longer than the header, control characters.
"""

from __future__ import annotations

import re

import msgspec

from tokenledger_dagster.errors import TokenLedgerError

__all__ = ["PipeRow", "PipeTable", "PipeTableError", "decode_table", "parse_pipe_table", "plain_text"]

_BYTE_ORDER_MARK = "\ufeff"
_LINE_END = re.compile(r"\r\n|\r|\n")
_TOKEN = re.compile(r"\\.|\||[^\\|]+|\\")
_SEPARATOR_CELL = re.compile(r":?-+:?")
# C0 and C1 controls but the tab, line separators, half a surrogate pair: none of them can be loaded everywhere
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class PipeTableError(TokenLedgerError):
    """A text is not the pipe table it should be; the message names file, line and remedy."""


class PipeRow(msgspec.Struct, frozen=True):
    """One line of the table. Cell `n` (from 1) is `cells[n - 1]`, trimmed, escapes as written."""

    line: int
    """Line in the file, from 1."""
    cells: tuple[str, ...]


class PipeTable(msgspec.Struct, frozen=True):
    """A table's header and body. A body row has at most as many cells as the header, and may have fewer."""

    name: str
    """What messages call the file."""
    header: PipeRow
    rows: tuple[PipeRow, ...]

    def error(self, row: PipeRow, problem: str) -> PipeTableError:
        """Return the error that says `problem` of a row."""
        return _error(self.name, row.line, problem)


def decode_table(data: bytes, *, name: str) -> str:
    """Return a file's text.

    Args:
        data: the file's content.
        name: what messages call the file.

    Raises:
        PipeTableError: the bytes are not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _error(name, line, f"byte {error.start} is not UTF-8; save the file as UTF-8") from None


def parse_pipe_table(text: str, *, name: str) -> PipeTable:
    """Return the table of a text that holds nothing else.

    The first line that is not blank is the header. The line after it is passed over where it is a separator
    (`|---|---|`).

    Args:
        text: the whole file.
        name: what messages call the file.

    Raises:
        PipeTableError: no header, a line without a pipe, a row longer than the header, or a control character.
    """
    lines = _lines(text, name)
    if not lines:
        raise _error(name, 1, "the file holds no table; its first line must be | Benchmark | ... |")
    header, *body = lines
    if body and all(_SEPARATOR_CELL.fullmatch(cell) for cell in body[0].cells):
        body = body[1:]
    width = len(header.cells)
    for row in body:
        if len(row.cells) > width:
            problem = f"{len(row.cells)} cells, but the header has {width}; write a pipe inside a cell as \\|"
            raise _error(name, row.line, problem)
    return PipeTable(name, header, tuple(body))


def plain_text(cell: str) -> str:
    r"""Return what a cell reads as: `\|` is a pipe."""
    return cell.replace("\\|", "|")


def _lines(text: str, name: str) -> list[PipeRow]:
    found = []
    for number, line in enumerate(_LINE_END.split(text.removeprefix(_BYTE_ORDER_MARK)), start=1):
        if control := _CONTROL.search(line):
            raise _error(name, number, f"control character U+{ord(control[0]):04X}; remove it")
        if not line.strip():
            continue
        cells = _cells(line.strip())
        if cells is None:
            raise _error(name, number, "no | in this line; keep nothing but the Markdown pipe table in the file")
        found.append(PipeRow(number, cells))
    return found


def _cells(line: str) -> tuple[str, ...] | None:
    """Cells of a trimmed line; None where no pipe divides it."""
    tokens = _TOKEN.findall(line)
    if "|" not in tokens:
        return None
    cells = [""]
    for token in tokens:
        if token == "|":
            cells.append("")
        else:
            cells[-1] += token
    # outer pipes have nothing on their other side
    first = 1 if tokens[0] == "|" else 0
    last = len(cells) - 1 if tokens[-1] == "|" and len(tokens) > 1 else len(cells)
    return tuple(cell.strip() for cell in cells[first:last])


def _error(name: str, line: int, problem: str) -> PipeTableError:
    return PipeTableError(f"{name}: line {line}: {problem}")
