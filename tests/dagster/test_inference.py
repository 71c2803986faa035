"""The stage `inference`: off at the cost of a look, on by a model, in its own job and never in `orchestrate`."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest

from assets.inference import embedding_model
from resources import Inference, LedgerHome, Metrics
from tests.inference.models import Toy
from tokenledger_dagster.automation import reached
from tokenledger_dagster.definitions import defs
from tokenledger_dagster.inference import build as building
from tokenledger_dagster.inference.backend import BACKENDS
from tokenledger_dagster.inference.build import build
from tokenledger_dagster.inference.fetch import fetch
from tokenledger_dagster.inference.switch import InferenceOffError

KEY = dg.AssetKey(["inference", "embedding_model"])


def materialized(root: Path) -> tuple[str, dict[str, object]]:
    """Data version and metadata of the model's asset in the home at `root`."""
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"home": LedgerHome(root=str(root)), "inference": Inference()}
        result = dg.materialize([embedding_model], resources=resources, instance=instance)
        (event,) = result.asset_materializations_for_node("inference__embedding_model")
        version = event.tags["dagster/data_version"] if event.tags else ""
        return version, {name: value.value for name, value in event.metadata.items()}


def toy_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
        pytest.importorskip(package, reason="the extra `inference` is not installed")
    monkeypatch.setattr(building, "_has_coremltools", lambda: False)
    toy = Toy(folder)
    fetch(toy.home, toy.card, str(toy.source), note=toy.note)
    build(toy.home, toy.card, note=toy.note)
    return toy


def test_without_a_model_it_is_empty_and_says_how_to_turn_it_on(tmp_path: Path) -> None:
    version, told = materialized(tmp_path / "ledger")

    assert (version, told["dagster/row_count"], told["state"]) == ("off", 0, "off")
    assert told["why"] == f"no model in {tmp_path}/ledger/models/all-MiniLM-L6-v2"
    assert told["turn_on"] == "run `make setup-inference`, then `tokenledger models build`"
    assert materialized(tmp_path / "ledger")[0] == "off"


def test_switched_off_it_costs_a_look(tmp_path: Path) -> None:
    home, inference = LedgerHome(root=str(tmp_path)), Inference()
    inference.standing(home)
    started = time.perf_counter()

    assert not inference.standing(home).on
    assert time.perf_counter() - started < 0.1


def test_with_a_model_its_version_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = toy_home(tmp_path, monkeypatch)

    version, told = materialized(toy.home.root)

    report = build(toy.home, toy.card, note=toy.note)
    assert version == report.data_version
    assert {name: told[name] for name in ("state", "model", "license", "dims", "prompts", "requested_backend")} == {
        "state": "on",
        "model": "toy/two-layer-encoder",
        "license": "MIT",
        "dims": 32,
        "prompts": "not read",
        "requested_backend": "onnx",
    }
    assert build(toy.home, toy.card, force=True, note=toy.note).changed
    assert materialized(toy.home.root)[0] == version


def test_steps_of_a_run_share_one_embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = toy_home(tmp_path, monkeypatch)
    home, seen = LedgerHome(root=str(toy.home.root)), []
    with Inference().yield_for_execution(dg.build_init_resource_context()) as inference:
        for _ in range(2):
            with inference.embedder(home, Metrics()) as embedder:
                seen.append(embedder)
                found = embedder.embed(["fix the flaky test", ""])
                assert found.vectors.shape == (2, 32)
                assert {one.actual for one in found.served} <= set(BACKENDS)

    assert seen[0] is seen[1]


def test_without_a_model_no_embedder_is_given(tmp_path: Path) -> None:
    opened = Inference().embedder(LedgerHome(root=str(tmp_path)), Metrics())

    with pytest.raises(InferenceOffError, match="inference is off: no model in"), opened:
        pytest.fail("there is none")


# ------------------------------------------------------------------ jobs


def stages_of(job: str) -> set[str]:
    return {key.path[0] for key in defs.resolve_job_def(job).asset_layer.executable_asset_keys}


def test_it_has_a_job_of_its_own_and_is_part_of_everything() -> None:
    assert stages_of("inference") == {"inference"}
    assert "inference" in stages_of("do_all_next")


def test_no_job_that_makes_figures_waits_for_it() -> None:
    for job in ("orchestrate", "orchestrate_ui", "refresh", "refresh_ledger", "reconcile", "pricing_ci"):
        assert "inference" not in stages_of(job), job


def test_a_change_of_logs_does_not_reach_it() -> None:
    found = reached(defs.resolve_asset_graph(), {"codex", "claude-code"})

    assert found
    assert all(key.path[0] != "inference" for key in found)
