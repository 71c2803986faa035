"""A Markdown pipe table is read as its author sees it, and refused with file, line and remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.pipe_table import PipeTableError, decode_table, parse_pipe_table, plain_text

TABLE = """\
| Benchmark | Notes | A | B |
|---|:---|---:|:---:|
| Chess | Elo | 1201 | — |
| Go | Rank | | 3 |
"""
CELLS = [("Chess", "Elo", "1201", "—"), ("Go", "Rank", "", "3")]


def cells(text: str) -> list[tuple[str, ...]]:
    return [row.cells for row in parse_pipe_table(text, name="models.csv").rows]


def refusal(text: str) -> str:
    with pytest.raises(PipeTableError) as caught:
        parse_pipe_table(text, name="models.csv")
    return str(caught.value)


def test_header_and_rows_know_their_line() -> None:
    table = parse_pipe_table(TABLE, name="models.csv")
    assert (table.header.line, table.header.cells) == (1, ("Benchmark", "Notes", "A", "B"))
    assert [(row.line, row.cells) for row in table.rows] == [(3, CELLS[0]), (4, CELLS[1])]


@pytest.mark.parametrize(
    "variant",
    [
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.rstrip("\n"),
        TABLE.replace("|---|:---|---:|:---:|\n", ""),
        TABLE.replace("| Chess", "Chess").replace("— |", "—"),
        TABLE.replace("| Chess", "  |\tChess"),
        "\n" + TABLE.replace("\n", "\n\n"),
    ],
    ids=["bom", "crlf", "cr", "no end", "no separator", "no outer pipes", "blanks", "blank lines"],
)
def test_spellings_of_one_table_are_the_same_table(variant: str) -> None:
    assert cells(variant) == CELLS


def test_blank_lines_count_as_lines_of_the_file() -> None:
    table = parse_pipe_table("\n| a | b |\n\n| c | d |\n", name="models.csv")
    assert (table.header.line, [row.line for row in table.rows]) == (2, [4])


def test_only_the_line_after_the_header_is_a_separator() -> None:
    assert cells("| a | b |\n| 1 | 2 |\n|---|---|\n") == [("1", "2"), ("---", "---")]


def test_a_row_may_end_early() -> None:
    assert cells("| a | b | c |\n| 1 |\n") == [("1",)]


def test_the_last_cell_may_be_empty() -> None:
    assert cells("| a | b |\n| 1 ||\n") == [("1", "")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (r"| a \| b | c |", (r"a \| b", "c")),
        (r"| a | b \|", ("a", r"b \|")),
        (r"| a \\| b |", (r"a \\", "b")),
        (r"| a \n | b |", (r"a \n", "b")),
        ("| a | b \\", ("a", "b \\")),
    ],
)
def test_an_escaped_pipe_is_text(row: str, expected: tuple[str, ...]) -> None:
    assert cells(f"| x | y |\n{row}\n") == [expected]


def test_escapes_are_read_as_pipes() -> None:
    assert plain_text(r"pass \| fail \n") == r"pass | fail \n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "models.csv: line 1: the file holds no table; its first line must be | Benchmark | ... |"),
        (" \n\n", "models.csv: line 1: the file holds no table; its first line must be | Benchmark | ... |"),
        (
            "Benchmark,Notes,A\n",
            "models.csv: line 1: no | in this line; keep nothing but the Markdown pipe table in the file",
        ),
        (
            "| a | b |\n\nSee above.\n",
            "models.csv: line 3: no | in this line; keep nothing but the Markdown pipe table in the file",
        ),
        (
            "| a | b |\n| 1 | 2 | 3 |\n",
            r"models.csv: line 2: 3 cells, but the header has 2; write a pipe inside a cell as \|",
        ),
        ("| a | b |\n| 1 | \x00 |\n", "models.csv: line 2: control character U+0000; remove it"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str) -> None:
    assert refusal(text) == message


def test_a_refusal_ends_a_command_as_bad_input() -> None:
    assert issubclass(PipeTableError, TokenLedgerError)
    assert PipeTableError.exit_code == 4


def test_bytes_that_are_not_utf_8_are_refused_with_their_line() -> None:
    with pytest.raises(PipeTableError) as caught:
        decode_table("| a |\n| — |\n".encode("cp1252"), name="models.csv")
    assert str(caught.value) == "models.csv: line 2: byte 8 is not UTF-8; save the file as UTF-8"


def test_utf_8_is_read_as_it_is() -> None:
    assert decode_table("| — |".encode(), name="models.csv") == "| — |"


def read_or_refused(data: bytes) -> str:
    try:
        return repr(parse_pipe_table(decode_table(data, name="models.csv"), name="models.csv"))
    except PipeTableError as error:
        return str(error)


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert read_or_refused(data).startswith(("PipeTable(", "models.csv: line "))


CELL = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"], blacklist_characters="|\\")).map(str.strip)


@given(st.integers(1, 6).flatmap(lambda width: st.lists(st.tuples(*[CELL] * width), min_size=1, max_size=6)))
def test_what_is_written_as_a_table_is_read_back(rows: list[tuple[str, ...]]) -> None:
    width = len(rows[0])
    lines = ["|" + "|".join(f" {cell} " for cell in row) + "|" for row in [("h",) * width, ("-",) * width, *rows]]
    assert cells("\n".join(lines)) == rows
