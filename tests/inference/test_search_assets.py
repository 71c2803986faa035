"""The asset `inference/session_vectors`: off at the cost of a look, on with what was embedded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.inference import session_vectors
from resources import Inference, LedgerHome, Metrics
from tests.inference.toy import toy_model
from tests.support import World, claude, user
from tokenledger_dagster.inference.session_vectors import vectors_standing
from tokenledger_dagster.inference.switch import Standing, model_folder
from tokenledger_dagster.inference.vector_files import folder_of

for package in ("safetensors", "tokenizers", "onnxruntime"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two sessions, and a home with a model."""
    world = World(tmp_path)
    monkeypatch.setenv("HOME", str(world.home_dir))
    world.claude(user("fix the flaky test"), claude(minutes=1))
    world.claude(user("write docs", 5, "s2"), claude("m2", "r2", session="s2", minutes=6), name="s2.jsonl")
    world.sync()
    toy_model(model_folder(world.ledger).root)
    return world


def materialized(world: World) -> tuple[str, dict[str, Any]]:
    """Data version and metadata."""
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"home": LedgerHome(root=str(world.ledger.root)), "inference": Inference(), "metrics": Metrics()}
        result = dg.materialize([session_vectors], resources=resources, instance=instance)
        (event,) = result.asset_materializations_for_node("inference__session_vectors")
        version = event.tags["dagster/data_version"] if event.tags else ""
        return version, {name: value.value for name, value in event.metadata.items()}


def test_nothing_is_read_until_prompts_may_be(world: World) -> None:
    version, told = materialized(world)

    assert (version, told["dagster/row_count"], told["state"], told["why"]) == ("off", 0, "off", "prompts are not read")
    assert told["turn_on"].startswith("set `inference.prompts: true` under `features` or TOKENLEDGER_FEATURE_INFERENCE")
    assert not folder_of(world.ledger).exists()


def test_sessions_are_embedded_once_and_told_with_a_version_of_their_content(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE_PROMPTS", "true")
    version, told = materialized(world)

    shown = {
        name: told[name] for name in ("state", "dagster/row_count", "sessions", "embedded", "unchanged", "left_out")
    }
    assert shown == {
        "state": "on",
        "dagster/row_count": 2,
        "sessions": 2,
        "embedded": 2,
        "unchanged": 0,
        "left_out": 0,
    }
    assert told["path"] == str(folder_of(world.ledger))
    again, told = materialized(world)
    assert (again, told["embedded"], told["unchanged"]) == (version, 0, 2)
    world.append(world.claude_path("s2.jsonl"), user("and the readme", 7, "s2"))
    changed, told = materialized(world)
    assert (changed == version, told["embedded"], told["dagster/row_count"]) == (False, 1, 2)


def test_switching_reading_off_removes_the_words_that_were_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE_PROMPTS", "true")
    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE_STORE_PROMPTS", "true")
    materialized(world)
    assert b"flaky" in (world.ledger.prompts / "texts.sqlite").read_bytes()
    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE_PROMPTS", "false")

    materialized(world)

    assert sorted(path.name for path in world.ledger.prompts.iterdir()) == ["index.sqlite", "key"]


def test_off_costs_a_look(world: World) -> None:
    home, inference = LedgerHome(root=str(world.ledger.root)), Inference()
    vectors_standing(inference.standing(home))
    started = time.perf_counter()
    assert not vectors_standing(inference.standing(home)).on
    assert time.perf_counter() - started < 0.1


def test_where_inference_is_off_its_own_reason_is_told() -> None:
    off = Standing(False, False, False, None, "no model", "build one")
    assert vectors_standing(off) is off
