"""Thousands of sessions: one cold read, appends and renames end in the same figures, and stay incremental."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.support import World, claude, jsonl, line, meta, rollout, tokens, turn, user
from tokenledger_dagster.ingest.compaction import compact

SESSIONS = 3_000
Truth = dict[str, tuple[int, int]]
"""Events and tokens by session."""


def session(number: int) -> tuple[str, str, bytes, tuple[int, int]]:
    """Name, path, content, and what it is: every second one is a rollout."""
    random, name = Random(number), f"{number:08d}-0000-4000-8000-{number:012d}"
    start, events, total = number * 7.0, random.randint(2, 12), 0
    if number % 2:
        rows = [meta(name, start), turn("gpt-5.4", start)]
        grown = [0, 0, 0]
        for step in range(events):
            grown = [one + random.randint(1, 900) for one in grown]
            row = tokens((grown[0] + grown[1], grown[1], grown[2]), minutes=start + step + 0.5)
            rows += [row, {**row, "timestamp": tokens(minutes=start + step + 0.75)["timestamp"]}]
        return name, f".codex/sessions/{rollout(name)}", jsonl(*rows), (events, sum(grown))
    rows = []
    for step in range(events):
        counters = {"input": random.randint(1, 90), "read": random.randint(0, 9_000), "write": random.randint(0, 900)}
        output = random.randint(2, 900)
        total += sum(counters.values()) + output
        rows.append(user("x" * random.randint(10, 2_000), start + step, name))
        for part in (1, output):
            rows.append(
                claude(f"m{number}-{step}", f"r{step}", output=part, minutes=start + step, session=name, **counters)
            )
    return name, f".claude/projects/-home-ada-p{number % 40}/{name}.jsonl", jsonl(*rows), (events, total)


def found(world: World) -> Truth:
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for event in world.events():
        counts[event.session] += 1
        sums[event.session] += sum(event.buckets)
    return {name: (counts[name], sums[name]) for name in counts}


@pytest.mark.slow
def test_thousands_of_sessions_cold_appended_renamed_and_deleted(tmp_path: Path) -> None:
    cold, grown = World(tmp_path / "cold"), World(tmp_path / "grown")
    truth: Truth = {}
    paths: list[tuple[Path, bytes]] = []
    for number in range(SESSIONS):
        name, path, content, figures = session(number)
        truth[name] = figures
        cold.write(cold.home_dir / path).write_bytes(content)
        target = grown.write(grown.home_dir / path)
        cut = content.rfind(b"\n", 0, len(content) * 2 // 3) + 1 + number % 30
        target.write_bytes(content[:cut])
        paths.append((target, content))
    cold.sync()
    assert found(cold) == truth

    grown.sync()
    for target, content in paths:
        with target.open("ab") as handle:
            handle.write(content[target.stat().st_size :])
    appended = grown.sync()
    assert appended.sources.changed == SESSIONS
    assert sum(one.bytes_read for one in appended.providers.values()) < sum(len(content) for _, content in paths) // 2
    assert grown.booked() == cold.booked()

    for target, _ in paths[:SESSIONS:2]:
        os.rename(target, target.with_name(f"moved-{target.name}"))
    renamed = grown.sync()
    assert (renamed.sources.unchanged, renamed.sources.missing, renamed.emitted_total) == (SESSIONS, 0, 0)
    assert grown.booked() == cold.booked()

    for target, content in paths[1:SESSIONS:20]:  # rewritten: the last line comes first, as no client writes it
        target.write_bytes(line(content.splitlines()[0]) + b"\n\n" + content[content.index(b"\n") + 1 :])
    for target, _ in paths[3:SESSIONS:20]:
        target.unlink()
    grown.sync()
    compact(grown.ledger)
    assert found(grown) == truth
    assert grown.sync().sources.unchanged == SESSIONS - len(paths[3:SESSIONS:20])
