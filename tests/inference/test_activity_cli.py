"""``tokenledger activity``: usage by what sessions were about, and what it says where nothing can be said."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ran
from tests.inference.test_activity import small_rules
from tests.inference.toy import reopened, toy_model
from tests.inference.words import Words, index_sessions, session
from tests.support import World, claude, meta, tokens, turn
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.inference import embedder, session_activity
from tokenledger_dagster.inference.switch import model_folder

for package in ("safetensors", "tokenizers", "onnxruntime"):
    pytest.importorskip(package, reason="a package of the extra `inference`")

Activity = Callable[..., Ran]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Three sessions with usage; inference is off."""
    world = World(tmp_path)
    monkeypatch.setenv("HOME", str(world.home_dir))
    monkeypatch.setenv("TOKENLEDGER_HOME", str(world.ledger.root))
    world.claude(claude(input=1000, output=200))
    world.claude(claude("m2", "r2", minutes=100, session="s2", model="acme", input=50, output=0), name="s2.jsonl")
    world.codex(meta(), turn(), tokens((1000, 400, 50), minutes=2))
    return world


@pytest.fixture
def on(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """The same with a model, and vectors of two of the sessions."""
    folder = model_folder(world.ledger)
    folder.root.parent.mkdir()
    folder.root.symlink_to(toy_model(tmp_path / "toy").root)

    class Opened(Words):
        def __enter__(self) -> Words:
            return self

        def __exit__(self, *problem: object) -> None: ...

    words = Opened(sha=reopened(folder).weights_sha256)
    monkeypatch.setattr(embedder, "open_embedder", lambda *_, **__: words)
    monkeypatch.setattr(session_activity, "rules", small_rules)
    index_sessions(world.ledger, [session("s1", "the flaky test"), session("s2", "continue")], words)
    return world


@pytest.fixture
def activity(capfdbinary: pytest.CaptureFixture[bytes]) -> Activity:
    """Runs the command in this process."""

    def command(*arguments: str) -> Ran:
        code = main(["activity", *arguments])
        told = capfdbinary.readouterr()
        return Ran(code, told.out.decode(), told.err.decode())

    return command


def test_a_table_tells_usage_coverage_and_what_it_is_not_for(activity: Activity, on: World) -> None:
    shown = activity()

    assert (shown.code, shown.err) == (0, "")
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert lines[0] == "Activity (estimated) Sessions Tokens List price"
    assert lines[2:6] == [
        "test 1 1,200 $0.0060",
        "no activity guessed 1 50 -",
        "prompts not embedded 1 1,050 $0.0013",
        "Total 3 2,300 $0.0073",
    ]
    assert lines[6] == (
        "1 of 3 sessions have a guess, with 52% of the tokens (score from 0.3, margin from 0.1). A guess by the first "
        "words of each session: it sums up kinds of work and is not for judging people."
    )


def test_json_carries_that_it_is_an_estimate_and_by_which_thresholds(activity: Activity, on: World) -> None:
    found: dict[str, Any] = activity("--json").json

    assert (found["is_estimate"], found["min_score"], found["min_margin"]) == (True, 0.3, 0.1)
    assert "not for judging people" in found["note"]
    assert found["rows"][0] == {
        "activity": "test",
        "embedded": True,
        "sessions": 1,
        "events": 1,
        "tokens": 1200,
        "list_price_usd": 0.006,
        "unpriced_tokens": 0,
    }
    assert found["rows"][1]["list_price_usd"] is None
    assert (found["guessed_sessions"], found["sessions"], found["tokens"]) == (1, 3, 2300)


def test_filters_are_those_of_a_report(activity: Activity, on: World) -> None:
    rows = list(csv.DictReader(io.StringIO(activity("--client", "codex", "--format", "csv").out)))

    assert [tuple(row.values()) for row in rows] == [("", "false", "1", "1", "1050", "0.001300000", "0")]
    assert activity("--since", "2030-01-01").code == 3
    assert activity("--since", "soon").code == 2


def test_where_inference_is_off_it_says_why_and_how_to_turn_it_on(activity: Activity, world: World) -> None:
    shown = activity()

    assert (shown.code, shown.out) == (4, "")
    assert shown.err.startswith("tokenledger activity: inference is off: no model in ")
    assert "`tokenledger models build`" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_without_vectors_it_says_how_there_come_to_be_some(activity: Activity, on: World) -> None:
    index_sessions(
        on.ledger, [session("s1"), session("s2")], Words(sha=reopened(model_folder(on.ledger)).weights_sha256)
    )

    shown = activity()

    assert (shown.code, shown.out) == (3, "")
    assert "`tokenledger search --read-prompts`" in shown.err
