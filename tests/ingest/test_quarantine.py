"""Bad input is counted by reason and kept as position and hash; no text of a log ever enters the home."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.support import World, claude, line, meta, tokens, turn, user

SECRETS = (
    "sk-ant-api03-CANARYcanaryCANARY",
    "ada.canary@example.org",
    "CANARY PROMPT: the tide is high",
    "ghp_CANARY0123",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def quarantine(world: World) -> list[tuple[int, int, str, str]]:
    return world.query("SELECT byte_offset, byte_length, record_sha256, reason FROM quarantine ORDER BY byte_offset")


def test_a_bad_line_is_kept_as_position_length_hash_and_reason(world: World) -> None:
    good, bad = line(claude()), b'{"type":"assistant","message":{"id":"cut'
    world.claude(good, bad, good)
    summary = world.sync()

    assert summary.providers["claude-code"].skipped == {"truncated_json": 1}
    assert quarantine(world) == [(len(good) + 1, len(bad), hashlib.sha256(bad).hexdigest(), "truncated_json")]
    assert len(world.events()) == 1


def test_every_reason_is_counted(world: World) -> None:
    world.claude(b"[1]", b"7", b"  ", b"\x00\x00", b"oops", b'{"type":"assist', claude(usage={"input_tokens": 0}))
    summary = world.sync()

    assert summary.providers["claude-code"].skipped == {
        "not_an_object": 2,
        "blank": 1,
        "nul_padding": 1,
        "invalid_json": 1,
        "truncated_json": 1,
        "zero_usage": 1,
    }


def test_reading_again_counts_a_bad_line_once(world: World) -> None:
    world.claude(b"oops", claude())
    world.sync()
    world.sync(no_cache=True)

    assert len(quarantine(world)) == 1
    assert world.skipped() == {"invalid_json": 1}


def test_one_bad_file_does_not_stop_the_others(world: World) -> None:
    world.claude(b"\xff\xfe\xff", name="bad.jsonl")
    world.claude(b"\x1f\x8bnot gzip at all", name="worse.jsonl")
    world.claude(claude(), name="good.jsonl")
    world.sync()

    assert len(world.events()) == 1


def test_no_text_of_any_log_is_in_the_home(world: World) -> None:
    secret = " ".join(SECRETS)
    odd = {"input_tokens": 5, "note": secret, "deep": {"prompt": secret, "n": 1}}
    answer = claude("m1", "r1")
    answer["message"]["content"] = [{"type": "text", "text": secret}, {"type": "tool_use", "input": {"key": secret}}]
    path = world.claude(
        user(secret),
        answer,
        claude("m2", "r2", usage=odd, error=secret, minutes=1),
        line(claude("m3", "r3", note=secret, minutes=2)) + b'{"glued":"' + secret.encode() + b'"}',
        line(claude("m4", "r4", note=secret, minutes=3)).replace(b"done", b"\xff"),
        b'{"type":"assistant","text":"' + secret.encode(),
        secret,
        json.dumps([secret]),
    )
    with path.open("ab") as handle:
        handle.write(b'{"type":"user","cut":"' + secret.encode())
    item = {"timestamp": "2026-02-18T09:00:00.000Z", "type": "response_item", "payload": {"text": secret}}
    world.codex(
        meta(instructions=secret, base_instructions={"text": secret}), turn(), item, tokens((10, 0, 1), minutes=1)
    )
    world.sync()
    world.sync(no_cache=True, full=True)
    kept = b"".join(file.read_bytes() for file in world.ledger.root.rglob("*") if file.is_file())

    assert len(world.events()) == 5
    assert [one for one in SECRETS if one.encode() in kept or one.encode("utf-16-le") in kept] == []
    assert b"CANARY" not in kept


@pytest.mark.parametrize("name", ["service_tier", "speed"])
def test_a_setting_that_is_no_word_is_not_kept(world: World, name: str) -> None:
    world.claude(claude(usage={"input_tokens": 5, name: SECRETS[2]}))
    world.sync()
    kept = b"".join(file.read_bytes() for file in world.ledger.root.rglob("*") if file.is_file())

    assert len(world.events()) == 1
    assert b"CANARY" not in kept


def test_the_home_is_its_owners_alone(world: World) -> None:
    world.claude(claude())
    world.sync()

    assert world.ledger.root.stat().st_mode & 0o077 == 0
