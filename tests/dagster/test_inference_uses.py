"""Estimates as assets: activity is off without a model, suggestions are not, and neither reads a log."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import duckdb
import pytest

from assets.inference import mapping_suggestions, session_activity
from resources import Engine, Inference, LedgerHome, Metrics
from tests.dagster.test_inference import toy_home
from tests.inference.words import Words, index_sessions, session
from tests.support import World, claude
from tokenledger_dagster.exports.tables import build
from tokenledger_dagster.home import ensure_home
from tokenledger_dagster.inference.manifest import read_manifest
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.inference.session_activity import table_path

NAMES = ("session_activity", "mapping_suggestions")


def materialized(root: Path) -> dict[str, tuple[str, dict[str, object]]]:
    """Data version and metadata of both assets in the home at `root`."""
    resources = {"home": LedgerHome(root=str(root), timezone="UTC"), "inference": Inference(), "metrics": Metrics()}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [session_activity, mapping_suggestions], resources={**resources, "engine": Engine()}, instance=instance
        )
        found: dict[str, tuple[str, dict[str, object]]] = {}
        for name in NAMES:
            (event,) = result.asset_materializations_for_node(f"inference__{name}")
            told: dict[str, object] = {key: value.value for key, value in event.metadata.items()}
            found[name] = ((event.tags or {})["dagster/data_version"], told)
        return found


def test_without_a_model_activity_is_off_and_suggestions_do_without(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.claude(claude(model="claude-sonet-4-5"))
    world.sync()
    with duckdb.connect() as con:
        build("events", con, world.ledger, "UTC")
    ensure_home(world.ledger.root, "test")

    first = materialized(world.ledger.root)

    version, told = first["session_activity"]
    assert (version, told["dagster/row_count"], told["state"]) == ("off", 0, "off")
    assert told["turn_on"] == "run `make setup-inference`, then `tokenledger models build`"
    version, told = first["mapping_suggestions"]
    assert (told["dagster/row_count"], told["suggestions"], told["is_estimate"]) == (1, 1, True)
    assert str(told["embedding"]).startswith("off: no model in ")
    again = materialized(world.ledger.root)["mapping_suggestions"]
    assert (again[0], again[1]["cache_hit_ratio"]) == (version, 1.0)


def test_an_empty_home_gives_empty_results(tmp_path: Path) -> None:
    found = materialized(tmp_path / "ledger")

    assert [found[name][1]["dagster/row_count"] for name in NAMES] == [0, 0]


def test_with_a_model_the_activity_of_what_is_embedded_is_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = toy_home(tmp_path, monkeypatch)
    sha256 = read_manifest(ModelFolder(toy.root)).weights_sha256
    index_sessions(toy.home, [session("s1", "the flaky test"), session("s2", "continue")], Words(sha=sha256))

    version, told = materialized(toy.home.root)["session_activity"]

    # vectors of a test's own words and of the toy model have other dimensions, and are compared with nothing
    assert (told["state"], told["dagster/row_count"], told["guessed"], told["other_model"]) == ("on", 2, 0, 2)
    assert told["is_estimate"] is True
    assert materialized(toy.home.root)["session_activity"][0] == version
    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE", "false")
    assert materialized(toy.home.root)["session_activity"][0] == "off"
    assert not table_path(toy.home).exists()
