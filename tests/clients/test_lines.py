"""Lines the fast path refuses: what is still read from them, and why the rest is not."""

from __future__ import annotations

import hashlib

import pytest

from tests.support import claude, line
from tokenledger_dagster.clients.base import Sink
from tokenledger_dagster.clients.lines import objects


def read(data: bytes, offset: int = 0) -> tuple[list[tuple[dict[str, object], bytes, int, list[str]]], Sink]:
    sink = Sink(now_us=0)
    return list(objects(data, offset, sink)), sink


def test_a_byte_order_mark_is_not_part_of_the_row() -> None:
    found, _ = read(b'\xef\xbb\xbf{"a":1}')

    assert found == [({"a": 1}, b'{"a":1}', 3, [])]


def test_nul_padding_is_not_part_of_the_row() -> None:
    found, _ = read(b'\x00\x00{"a":1}\x00', offset=100)

    assert found == [({"a": 1}, b'{"a":1}', 102, [])]


def test_two_objects_on_one_line_are_two_rows_each_with_its_own_bytes() -> None:
    found, sink = read(b'{"a":1}{"b":2}', offset=50)

    assert found == [
        ({"a": 1}, b'{"a":1}', 50, ["several_objects_on_line"]),
        ({"b": 2}, b'{"b":2}', 57, ["several_objects_on_line"]),
    ]
    assert sink.skipped == {}


def test_offsets_count_bytes_and_not_characters() -> None:
    data = '{"a":"ü"}{"b":2}'.encode()
    found, _ = read(data)

    assert [data[at : at + len(piece)] for _, piece, at, _ in found] == ['{"a":"ü"}'.encode(), b'{"b":2}']


def test_invalid_utf8_keeps_the_row_and_flags_it() -> None:
    data = b'{"a":"\xff","n":1}'
    found, _ = read(data)

    assert found == [({"a": "�", "n": 1}, data, 0, ["invalid_utf8"])]


def test_numbers_json_does_not_know_are_read() -> None:
    found, _ = read(b'{"a":NaN,"b":Infinity,"c":1}')

    assert found[0][0]["c"] == 1


def test_a_number_of_a_hundred_digits_is_read() -> None:
    found, _ = read(b'{"a":' + b"9" * 100 + b"}")

    assert found[0][0] == {"a": int("9" * 100)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b" \t\r", "blank"),
        (b"\x00\x00\x00", "nul_padding"),
        (b"[1,2]", "not_an_object"),
        (b"42", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
    ],
)
def test_what_is_no_row_is_counted_and_not_quarantined(data: bytes, reason: str) -> None:
    found, sink = read(data)

    assert found == []
    assert sink.skipped == {reason: 1}
    assert sink.bad == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"type":"assistant","mess', "truncated_json"),
        (b'{"type":"assistant"', "truncated_json"),
        (b"oops", "invalid_json"),
        (b'{"a":1,,"b":2}', "invalid_json"),
        (b"{'a':1}", "invalid_json"),
    ],
)
def test_a_bad_line_is_quarantined_by_position_and_hash(data: bytes, reason: str) -> None:
    found, sink = read(data, offset=7)

    assert found == []
    assert sink.skipped == {reason: 1}
    assert [(bad.byte_offset, bad.byte_length, bad.reason) for bad in sink.bad] == [(7, len(data), reason)]
    assert sink.bad[0].record_sha256 == hashlib.sha256(data).hexdigest()


def test_a_row_before_garbage_on_its_line_is_read() -> None:
    found, sink = read(b'{"a":1}oops')

    assert [row for row, *_ in found] == [{"a": 1}]
    assert sink.skipped == {"invalid_json": 1}


def test_a_deeply_nested_line_is_quarantined_and_does_not_raise() -> None:
    found, sink = read(b'{"a":' + b"[" * 200_000)

    assert found == []
    assert sum(sink.skipped.values()) == 1


def test_a_row_of_several_megabytes_is_read(tmp_path: object) -> None:
    row = claude(content="x" * 5_000_000)
    found, _ = read(line(row))

    assert found[0][0]["sessionId"] == "s1"
