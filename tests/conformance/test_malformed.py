"""Logs as crashes, editors and proxies leave them: events and skipped lines of every file, pinned by hand.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support import World, totals

FILES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "clients" / "malformed" / "realistic"

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not FILES.is_dir(), reason="TOKENLEDGER_CONFORMANCE_DIR has no malformed corpus beside it"),
]

ONE, TWO = (1, 0, 0, 1), (2, 0, 0, 2)
"""Input, cache write, cache read, output of one and of both rows that most files hold."""

EXPECTED: dict[str, tuple[int, tuple[int, int, int, int], dict[str, int], set[str]]] = {
    # file: events, tokens, skipped lines, flags
    "api_error_synthetic.jsonl": (1, ONE, {"zero_usage": 1}, set()),
    "array_line.jsonl": (1, ONE, {"not_an_object": 4}, set()),
    "blank_and_ws.jsonl": (1, ONE, {"blank": 1}, set()),
    "bom.jsonl": (2, TWO, {}, set()),
    "crlf.jsonl": (2, TWO, {}, set()),
    "dup_keys.jsonl": (1, (9, 0, 0, 1), {}, set()),
    "empty.jsonl": (0, (0, 0, 0, 0), {"no_usage": 1}, set()),
    "float_and_string_tokens.jsonl": (1, (12, 0, 0, 3), {}, set()),
    "future_and_epoch0.jsonl": (2, TWO, {}, {"timestamp_epoch", "timestamp_future"}),
    "invalid_utf8.jsonl": (2, TWO, {}, {"invalid_utf8"}),
    "lone_surrogate.jsonl": (1, ONE, {}, set()),
    "nan_infinity.jsonl": (1, (1, 0, 0, 0), {}, {"counter_not_a_count"}),
    "negative_and_huge.jsonl": (1, (0, 0, 0, 1), {"zero_usage": 1}, {"counter_overflow"}),
    "no_final_newline.jsonl": (2, TWO, {}, set()),
    "nul_padding.jsonl": (2, TWO, {}, set()),
    "rollout.jsonl.gz": (2, TWO, {}, set()),
    "truncated_last_line.jsonl": (1, ONE, {"unfinished_last_line": 1}, set()),
    "two_objects_one_line.jsonl": (2, TWO, {}, {"several_objects_on_line"}),
    "usage_null.jsonl": (1, ONE, {"usage_null": 1}, set()),
    "utf16le.jsonl": (1, ONE, {}, set()),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_damaged_transcript(tmp_path: Path, name: str) -> None:
    world = World(tmp_path)
    target = world.claude_path(name)
    target.parent.mkdir(parents=True)
    shutil.copyfile(FILES / name, target)
    summary = world.sync()
    events, tokens, skipped, flags = EXPECTED[name]

    assert summary.problems == []
    assert (len(world.events()), totals(world.events())) == (events, tokens)
    assert (summary.providers["claude-code"].skipped if summary.providers else {}) == skipped
    found = {flag for record in world.records() for flag in record["flags"]}
    assert found - {"usage_odd_types"} == flags


def test_every_file_of_the_corpus_is_expected() -> None:
    assert {path.name for path in FILES.iterdir()} == set(EXPECTED)


def test_all_of_them_in_one_folder_stop_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude_path("x").parent.mkdir(parents=True)
    for name in EXPECTED:
        shutil.copyfile(FILES / name, world.claude_path(name))
    world.sync()
    before = world.booked()
    world.sync(no_cache=True)

    # the files share their ids: m1 and m2 under r1 and r2
    assert {event.model_raw for event in world.events()} == {"claude-opus-4-6"}
    assert world.booked() == before
