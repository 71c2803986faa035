"""Cases of Gemini CLI, Qwen Code, Kimi and pi that other projects pin: every field of ``expected`` that a ledger holds.

The files stand under TOKENLEDGER_CONFORMANCE_DIR, outside the repository.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import World

CASES = Path(os.environ.get("TOKENLEDGER_CONFORMANCE_DIR", "/nonexistent")) / "cases"
NAMES = sorted(path.name for path in CASES.glob("*") if path.name.startswith(("gemini-", "qwen-", "kimi-", "pi-")))
NOT_COMPARED = {
    "messages": "conversation rows without usage are not stored",
    "tool_calls": "tool calls are not stored",
    "peer_values": "another project's reading",
    "normalised": "the same as totals",
    "record_total": "what the log says, not what it means",
    "totals_partial": "part of totals",
}

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(not NAMES, reason="TOKENLEDGER_CONFORMANCE_DIR is not set to a folder of cases"),
]


def counted(record: Mapping[str, Any]) -> dict[str, int]:
    """A record in the cases' words: tool tokens in the input, reasoning beside the output."""
    return {
        "input": record["input_tokens"] + record["tool_input_tokens"],
        "cache_read": record["cache_read_tokens"],
        "cache_write": record["cache_write_tokens"],
        "output": record["output_tokens"] - record["reasoning_tokens"],
        "reasoning": record["reasoning_tokens"],
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_case(tmp_path: Path, name: str) -> None:
    expected: dict[str, Any] = json.loads((CASES / name / "expected.json").read_text("utf-8"))["expected"]
    world = World(tmp_path)
    shutil.copytree(CASES / name / "input", world.home_dir, dirs_exist_ok=True)
    world.sync()
    events = world.events()
    booked = {rid for (rid,) in world.query("SELECT rid FROM events")}
    winners = [record for record in world.records() if record["rid"] in booked]
    winners.sort(key=lambda record: record["timestamp_us"] if "timestamp_us" in record else record["timestamp"])
    counts = [counted(record) for record in winners]
    costs = sum(float(record["reported_cost_usd"] or 0) for record in winners)
    totals = {
        key: sum(one[key] for one in counts) for key in ("input", "cache_read", "cache_write", "output", "reasoning")
    }
    found = {
        "events": len(events),
        "totals": {**totals, "total": sum(totals.values())},
        "by_event": counts,
        "models": sorted({event.model_raw or "" for event in events}),
        "date": events[0].time[:10] if events else None,
        "session": events[0].session if events else None,
        "project": events[0].project if events else None,
        "cost_usd_recorded": round(costs, 9),
    }

    assert set(expected) <= {*found, *NOT_COMPARED}
    for key in expected.keys() - NOT_COMPARED.keys() - {"by_event"}:
        assert (key, found[key]) == (key, expected[key])
    for one, wanted in zip(found["by_event"], expected.get("by_event", found["by_event"]), strict=True):
        assert {key: one[key] for key in wanted if key != "tool_calls"} == {
            key: count for key, count in wanted.items() if key != "tool_calls"
        }
