"""Files appear whole or not at all; JSON is the same bytes for the same value."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.fileio import encode_json, staged, write_atomic, write_json_atomic


def one_line(value: Any) -> str:
    return encode_json(value, indent=0).decode()


def test_write_makes_folders_and_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.bin"

    write_atomic(path, b"one")
    write_atomic(path, b"two")

    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["report.bin"]


def test_failed_rename_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.bin"
    write_atomic(path, b"old")

    def refuse(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.bin"]


def test_exception_in_the_block_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_atomic(path, b"old")

    with pytest.raises(RuntimeError), staged(path) as temporary:  # noqa: PT012 - the block is what is tested
        temporary.write_bytes(b"half")
        raise RuntimeError

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["table.parquet"]


def test_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged(tmp_path / "table.parquet"):
        pass


def test_open_reader_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "report.bin"
    write_atomic(path, b"old")

    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"


def test_file_and_folder_are_flushed_around_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.bin"
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        steps.append("flush folder" if os.path.isdir(f"/dev/fd/{descriptor}") else "flush file")
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomic(path, b"x")

    assert steps == ["flush file", "rename", "flush folder"]


def test_json_keeps_the_order_of_keys_and_ends_with_a_line_feed(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "a.json", {"b": 1, "a": [True, None, "é"]})

    expected = '{\n  "b": 1,\n  "a": [\n    true,\n    null,\n    "é"\n  ]\n}\n'
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("1.50", "1.5"),
        ("2.000000000", "2"),
        ("0E-9", "0"),
        ("-0.0", "0"),
        ("1E+3", "1000"),
        ("1E-9", "0.000000001"),
        ("0.0000000005", "0"),
        ("0.0000000015", "0.000000002"),
        ("-0.0000000001", "0"),
        ("12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("12345678901234567890123456.1234567891", "12345678901234567890123456.123456789"),
    ],
)
def test_decimals_are_plain_numbers_with_at_most_nine_places(given_text: str, expected: str) -> None:
    assert one_line(Decimal(given_text)) == f"{expected}\n"


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15))
def test_every_decimal_reads_back_rounded_once(value: Decimal) -> None:
    read = json.loads(one_line(value), parse_float=Decimal, parse_int=Decimal)

    assert read == value.quantize(Decimal("1E-9"), rounding=ROUND_HALF_EVEN)


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), float("-inf")])
def test_what_json_cannot_say_is_an_error(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        encode_json({"a": [value]})


def test_unknown_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="a object cannot be written as JSON"):
        encode_json(object())


def test_times_are_utc_with_z_and_naive_ones_already_are() -> None:
    nepal = timezone(timedelta(hours=5, minutes=45))

    assert one_line(datetime(2026, 2, 18, 9, 30)) == '"2026-02-18T09:30:00Z"\n'
    assert one_line(datetime(2026, 2, 18, 9, 30, tzinfo=UTC)) == '"2026-02-18T09:30:00Z"\n'
    assert one_line(datetime(2026, 2, 18, 9, 30, tzinfo=nepal)) == '"2026-02-18T03:45:00Z"\n'


def test_structs_paths_and_large_integers_are_encoded() -> None:
    class Row(msgspec.Struct):
        path: Path
        tokens: int
        usd: Decimal

    row = Row(path=Path("/a"), tokens=2**63 - 1, usd=Decimal("0.10"))

    assert one_line([row]) == '[{"path":"/a","tokens":9223372036854775807,"usd":0.1}]\n'
