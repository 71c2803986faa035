"""`tokenledger models`: what it prints, what it exits with, and what a wrong model is told as."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.inference.models import Toy
from tests.inference.toy import reseal, save_weights, toy_weights
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.governance.doctor import examine
from tokenledger_dagster.inference import build as building
from tokenledger_dagster.inference.build import build
from tokenledger_dagster.inference.fetch import fetch
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.settings import load_settings

for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The toy model as the one this program knows, in the home of the command."""
    made = Toy(tmp_path)
    monkeypatch.setattr(building, "_has_coremltools", lambda: False)
    monkeypatch.setattr("tokenledger_dagster.inference.model_card.read_card", lambda: made.card)
    monkeypatch.setattr("tokenledger_dagster.governance.doctor.read_card", lambda: made.card)
    monkeypatch.setenv("TOKENLEDGER_HOME", str(made.home.root))
    return made


@pytest.fixture
def model(toy: Toy) -> ModelFolder:
    """The toy model, built."""
    fetch(toy.home, toy.card, str(toy.source), note=toy.note)
    build(toy.home, toy.card, note=toy.note)
    return ModelFolder(toy.root)


def told(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, list[str]]:
    """Exit code, the document, and the lines on stderr."""
    code = main(["models", *arguments, "--format", "json"])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return code, json.loads(out) if out else None, err.splitlines()


def test_fetch_build_verify(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "--from", str(toy.source)]) == 0
    assert "fetched" in capfd.readouterr().out
    assert main(["models", "build"]) == 0
    out, err = capfd.readouterr()
    assert "left out" in out
    assert err.splitlines()[0] == "building model.onnx"
    assert main(["models", "verify"]) == 0
    out, _ = capfd.readouterr()

    assert out.endswith(f"verified: toy/two-layer-encoder in {toy.root}\n")
    rows = [line.split() for line in out.splitlines() if ":" not in line]
    assert [row[:2] for row in rows if row[:1] in (["onnx"], ["numpy"])] == [
        *(["onnx", "onnx"], ["numpy", "numpy"]),
        *(["onnx", "float64"], ["numpy", "float64"]),
    ]


# ------------------------------------------------------------------ verify


@pytest.mark.skipif(sys.platform == "darwin", reason="says what another system says")
@pytest.mark.usefixtures("model")
def test_each_backend_tells_who_serves_and_why(capfd: pytest.CaptureFixture[str]) -> None:
    code, report, _ = told(capfd, "verify")

    assert (code, report["passed"], report["problems"], report["schema_version"]) == (0, True, [], 1)
    assert [(one["requested"], one["actual"], one["stage"]) for one in report["backends"]] == [
        ("coreml", "onnx", "platform"),
        ("onnx", "onnx", None),
        ("numpy", "numpy", None),
    ]
    assert report["backends"][0]["reason"].startswith("platform: coreml: runs on macOS")
    assert all(one["golden_max_abs"] < 1e-5 for one in report["backends"][1:])
    assert [(one["subject"], one["label"], one["passed"]) for one in report["parity"]] == [
        ("onnx", "parity", True),
        ("numpy", "parity", True),
        ("coreml package", "graph parity (simulated)", None),
    ]
    assert all(one["max_abs"] <= one["allowed_max_abs"] for one in report["parity"][:2])


def test_corrupted_weights_are_told_and_exit_1(model: ModelFolder, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(model.weights.read_bytes())
    content[-1_000:] = bytes(1_000)
    model.weights.write_bytes(content)

    code, report, errors = told(capfd, "verify")

    assert (code, report["passed"]) == (1, False)
    assert {one["path"]: one["state"] for one in report["files"]}["model.safetensors"] == "changed"
    by_name = {one["requested"]: one for one in report["backends"]}
    assert (by_name["numpy"]["stage"], by_name["numpy"]["actual"]) == ("sha256", None)
    assert by_name["onnx"]["actual"] == "onnx"
    assert any(line.startswith(f"tokenledger models: {model.weights}: SHA-256 is ") for line in errors)
    assert any("numpy refused at sha256" in line for line in errors)
    # vectors computed from damaged weights would accuse the graph, which is sound
    assert report["parity"] == []
    assert not any("onnx" in problem for problem in report["problems"])


def test_a_missing_graph_is_told_and_demotes_to_numpy(model: ModelFolder, capfd: pytest.CaptureFixture[str]) -> None:
    model.onnx.unlink()

    code, report, errors = told(capfd, "verify")

    assert code == 1
    by_name = {one["requested"]: one for one in report["backends"]}
    assert (by_name["onnx"]["stage"], by_name["onnx"]["actual"]) == ("files", "numpy")
    assert by_name["onnx"]["reason"].startswith(f"files: {model.onnx}: ")
    # both reasons on the way from the first wish to the one that serves
    assert by_name["coreml"]["reason"].count("; files: ") == 1
    assert by_name["coreml"]["actual"] == "numpy"
    assert any("model.onnx: is not there; build it again with `tokenledger models build`" in line for line in errors)


def test_weights_with_nan_are_refused_even_where_the_manifest_knows_them(
    model: ModelFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = toy_weights(model)
    weights["encoder.layer.1.output.dense.bias"][:] = np.nan
    save_weights(model, weights)
    reseal(model)

    code, report, _ = told(capfd, "verify")

    assert code == 1
    assert {one["state"] for one in report["files"]} == {"ok"}
    assert {one["requested"]: one["stage"] for one in report["backends"]}["numpy"] in ("session", "golden")
    assert any(one.startswith("numpy refused at ") for one in report["problems"])


def test_a_graph_of_a_later_opset_is_refused_before_it_is_loaded(
    model: ModelFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    import onnx

    graph = onnx.load(model.onnx)
    graph.opset_import[0].version = 99
    model.onnx.write_bytes(graph.SerializeToString())
    reseal(model)

    code, report, _ = told(capfd, "verify")

    assert code == 1
    by_name = {one["requested"]: one for one in report["backends"]}
    assert (by_name["onnx"]["stage"], by_name["onnx"]["actual"]) == ("capability", "numpy")
    assert "asks for opset 99" in by_name["onnx"]["reason"]


def test_with_all_refused_there_is_no_backend(model: ModelFolder, capfd: pytest.CaptureFixture[str]) -> None:
    model.tokenizer.write_text("{}")

    code, report, _ = told(capfd, "verify")

    assert code == 1
    assert {one["actual"] for one in report["backends"]} == {None}
    assert "no backend is ready; see the reasons above" in report["problems"]
    assert report["parity"] == []


@pytest.mark.usefixtures("toy")
def test_without_a_model_it_is_bad_input(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["models", "verify"])

    out, err = capfd.readouterr()
    assert (code, out) == (4, "")
    assert err.endswith("manifest.json: is not there; run `tokenledger models build`\n")


def test_a_corrupted_manifest_is_bad_input_in_one_line(model: ModelFolder, capfd: pytest.CaptureFixture[str]) -> None:
    model.manifest.write_bytes(model.manifest.read_bytes()[:-20])

    code = main(["models", "verify"])

    assert code == 4
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"tokenledger models: {model.manifest}: is no manifest")


# ------------------------------------------------------------------ fetch, build


def test_other_weights_are_refused_and_taken_only_when_asked(
    toy: Toy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = toy.other(tmp_path / "other")

    assert main(["models", "fetch", "--from", str(other)]) == 4
    assert "nothing was kept" in capfd.readouterr().err
    code, report, _ = told(capfd, "fetch", "--from", str(other), "--allow-unpinned")
    assert (code, report["pinned"]) == (0, False)
    _, status, _ = told(capfd, "status")
    said = {name: status[name] for name in ("state", "model", "license", "attribution")}
    assert said == {name: report[name] for name in ("model", "license", "attribution")} | {"state": "fetched"}
    assert said["license"] == "unknown"
    code, report, _ = told(capfd, "build")
    assert (code, report["model"]) == (0, "toy/two-layer-encoder (unpinned)")


def test_unpinned_without_a_folder_is_a_usage_error(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    assert toy.notes == []
    assert main(["models", "fetch", "--allow-unpinned"]) == 2
    assert "name one with --from FOLDER" in capfd.readouterr().err


def test_documents_name_their_version(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["fetch", "--from", str(toy.source)], ["build"], ["build", "--force"], ["verify"], ["status"]):
        code, report, _ = told(capfd, *arguments)
        assert (code, report["schema_version"]) == (0, 1)
        assert report["generated_at"].endswith("Z")
        assert report["folder"] == str(toy.root)


# ------------------------------------------------------------------ status, doctor


def test_status_tells_each_stage(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    assert told(capfd, "status")[1]["state"] == "absent"
    main(["models", "fetch", "--from", str(toy.source)])
    capfd.readouterr()
    _, report, _ = told(capfd, "status")
    assert (report["state"], report["on"], report["turn_on"]) == ("fetched", False, "run `tokenledger models build`")
    main(["models", "build"])
    capfd.readouterr()
    _, report, _ = told(capfd, "status")
    assert (report["state"], report["on"], report["why"], report["prompts"]) == ("built", True, "", False)
    (toy.root / "model.onnx").unlink()
    code, report, _ = told(capfd, "status")
    assert (code, report["state"]) == (0, "damaged")
    assert report["problem"] == (
        f"{toy.root / 'model.onnx'}: is not there; build it again with `tokenledger models build`"
    )


def findings(toy: Toy, **features: str) -> list[tuple[str, str, str]]:
    environ = {f"TOKENLEDGER_FEATURE_{name.upper()}": text for name, text in features.items()}
    settings = load_settings({"TOKENLEDGER_HOME": str(toy.home.root), **environ})
    found = examine(toy.home, {"HOME": "/nowhere"}, settings)
    return [(one.level, one.topic, one.text) for one in found if one.topic in ("inference", "prompts")]


def test_doctor_tells_what_is_off_and_how_it_is_turned_on(toy: Toy) -> None:
    remedy = "run `make setup-inference`, then `tokenledger models build`"

    assert findings(toy) == [("info", "inference", f"off: no model in {toy.root}; {remedy}")]
    assert findings(toy, inference="true") == [("warning", "inference", f"off: no model in {toy.root}; {remedy}")]


@pytest.mark.usefixtures("model")
def test_doctor_tells_which_model_is_on_and_what_is_read(toy: Toy) -> None:
    on = ("ok", "inference", f"on: toy/two-layer-encoder from {toy.source}, onnx is asked first")

    assert findings(toy) == [on, ("info", "prompts", "the words you typed are not read")]
    assert findings(toy, inference_prompts="true")[1][2] == (
        "the words you typed are read and embedded on this machine, not kept"
    )
    assert findings(toy, inference_prompts="true", inference_store_prompts="true")[1][2] == (
        f"the words you typed are read and embedded on this machine, kept in {toy.home.root}"
    )


def test_doctor_tells_of_a_damaged_model(toy: Toy, model: ModelFolder) -> None:
    model.manifest.write_text("{}")

    ((level, _, text),) = findings(toy)
    assert level == "error"
    assert text.startswith(f"{model.manifest}: is no manifest")


# ------------------------------------------------------------------ without the extra


def test_nothing_of_the_commands_imports_a_runtime() -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "coremltools", "safetensors", "tokenizers", "huggingface_hub"}
    code = (
        "import sys; from tokenledger_dagster.cli import models; from tokenledger_dagster.cli.main import main; "
        "main(['models', 'status']); main(['doctor']); "
        f"print('loaded', sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines()[-1] == "loaded []", done.stderr


@pytest.mark.usefixtures("model")
def test_verify_names_the_packages_it_needs(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tokenledger_dagster.inference.verification._NEEDED", ("json", "no_such_package"))

    assert main(["models", "verify"]) == 4

    assert "no_such_package: not installed, and needed to verify; run `make setup-inf" in capfd.readouterr().err


def test_a_folder_of_models_that_cannot_be_written_is_told(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(toy.home.models, ignore_errors=True)
    toy.home.models.write_text("in the way")

    assert main(["models", "fetch", "--from", str(toy.source)]) == 4

    assert "cannot be written" in capfd.readouterr().err
