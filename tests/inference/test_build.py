"""A checkpoint becomes a model: equal bytes every time, nothing to do twice, and no model from a broken build."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.inference.models import TEXTS, Toy
from tests.inference.toy import save_weights, toy_ids, toy_weights
from tokenledger_dagster.contracts.inference import BuildReport
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference import build as building
from tokenledger_dagster.inference.build import build
from tokenledger_dagster.inference.fetch import fetch
from tokenledger_dagster.inference.manifest import check_files, digest_of, read_manifest, sha256_of
from tokenledger_dagster.inference.model_folder import ModelFolder

for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Its weights fetched, on a machine without coremltools, whose import takes seconds."""
    monkeypatch.setattr(building, "_has_coremltools", lambda: False)
    made = Toy(tmp_path)
    fetch(made.home, made.card, str(made.source), note=made.note)
    return made


def run(toy: Toy, **options: Any) -> BuildReport:
    return build(toy.home, toy.card, note=toy.note, **options)


def test_a_build_makes_the_graph_the_golden_vectors_and_last_the_manifest(toy: Toy) -> None:
    report = run(toy)

    folder = ModelFolder(toy.root)
    manifest = read_manifest(folder)
    assert {path.name for path in toy.root.iterdir()} == {
        *("model.safetensors", "config.json", "tokenizer.json", "fetched.json", "model.onnx", "manifest.json"),
    }
    assert {one.state for one in check_files(folder, manifest)} == {"ok"}
    assert (manifest.model, manifest.license, manifest.attribution) == (toy.card.name, "MIT", "random numbers")
    assert (manifest.source, manifest.opset, manifest.ir_version) == (str(toy.source), 20, 10)
    assert (manifest.spec.dims, manifest.spec.max_tokens, manifest.coreml_tokens) == (32, 32, None)
    assert [one.text for one in manifest.golden] == TEXTS
    assert [one.ids for one in manifest.golden] == [toy_ids(folder, text) for text in TEXTS]
    assert all(math.isclose(math.hypot(*one.vector), 1, abs_tol=1e-12) for one in manifest.golden)
    assert {"tokenledger", "recipe", "onnx", "numpy", "safetensors", "tokenizers"} <= set(manifest.built_with)
    assert (report.changed, report.data_version) == (True, digest_of(manifest))
    assert report.left_out == [
        "model.mlpackage: coremltools is not installed; run `make setup-inference`, then build again"
    ]


def test_a_second_time_there_is_nothing_to_do(toy: Toy) -> None:
    first = run(toy)
    before = {path: path.stat().st_mtime_ns for path in toy.root.iterdir()}

    second = run(toy)

    assert not second.changed
    assert {path: path.stat().st_mtime_ns for path in toy.root.iterdir()} == before
    assert (second.data_version, second.files) == (first.data_version, first.files)


def test_equal_weights_give_equal_bytes(toy: Toy) -> None:
    first = run(toy)
    graph = (toy.root / "model.onnx").read_bytes()
    second = run(toy, force=True)

    assert second.changed
    assert (toy.root / "model.onnx").read_bytes() == graph
    assert (second.files, second.data_version) == (first.files, first.data_version)


@pytest.mark.parametrize("damage", ["graph", "no graph", "manifest", "no manifest"])
def test_what_is_damaged_is_built_again(toy: Toy, damage: str) -> None:
    first = run(toy)
    path = toy.root / ("model.onnx" if "graph" in damage else "manifest.json")
    if damage.startswith("no "):
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])

    second = run(toy)

    assert second.changed
    assert second.files == first.files
    assert not run(toy).changed


def test_another_card_asks_for_another_build(toy: Toy) -> None:
    run(toy)
    toy.card = msgspec.structs.replace(toy.card, golden_texts=["a", "b"])

    assert run(toy).changed
    assert [one.text for one in read_manifest(ModelFolder(toy.root)).golden] == ["a", "b"]


def test_a_newer_recipe_asks_for_another_build(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    run(toy)
    monkeypatch.setattr(building, "RECIPE", "2")

    assert run(toy).changed


def test_a_package_of_an_earlier_build_does_not_stay_without_a_hash(toy: Toy) -> None:
    (toy.root / "model.mlpackage" / "Data").mkdir(parents=True)

    run(toy)

    assert not (toy.root / "model.mlpackage").exists()


def test_without_weights_they_are_fetched_first(tmp_path: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy.root / "model.safetensors").unlink()
    asked: list[str] = []

    def sources(card: object) -> dict[str, Any]:
        def copy(into: Path, note: object) -> str:
            asked.append("hub")
            for path in toy.source.iterdir():
                (into / path.name).write_bytes(path.read_bytes())
            return "huggingface: toy"

        return {"hub": copy}

    monkeypatch.setattr("tokenledger_dagster.inference.fetch.pinned_sources", sources)

    assert run(toy).source == "huggingface: toy"
    assert asked == ["hub"]
    assert not run(toy).changed
    assert asked == ["hub"]


def test_weights_that_are_not_finite_are_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_has_coremltools", lambda: False)
    toy = Toy(tmp_path)
    source = ModelFolder(toy.source)
    weights = toy_weights(source)
    weights["embeddings.LayerNorm.bias"][3] = np.nan
    save_weights(source, weights)
    fetch(toy.home, toy.card, str(toy.source), allow_unpinned=True, note=toy.note)

    with pytest.raises(TokenLedgerError, match=r"model\.safetensors: the weights hold numbers that are not finite"):
        run(toy)

    assert not (toy.root / "manifest.json").exists()


def test_a_tokenizer_of_another_model_is_refused(toy: Toy, tmp_path: Path) -> None:
    config = toy.source / "config.json"
    document = msgspec.json.decode(config.read_bytes())
    source = ModelFolder(toy.source)
    weights = toy_weights(source)
    name = "embeddings.word_embeddings.weight"
    weights[name] = weights[name][:50]
    save_weights(source, weights)
    config.write_bytes(msgspec.json.encode({**document, "vocab_size": 50}))
    fetch(toy.home, toy.card, str(toy.source), allow_unpinned=True, note=toy.note)

    with pytest.raises(TokenLedgerError, match="fetch both from one place"):
        run(toy)


def test_unpinned_weights_are_named_in_the_manifest(toy: Toy, tmp_path: Path) -> None:
    other = toy.other(tmp_path / "other")
    fetch(toy.home, toy.card, str(other), allow_unpinned=True, note=toy.note)

    run(toy)

    manifest = read_manifest(ModelFolder(toy.root))
    assert (manifest.model, manifest.license) == ("toy/two-layer-encoder (unpinned)", "unknown")
    assert manifest.source == f"{other} (unpinned)"


def test_a_build_that_stops_half_way_leaves_no_model(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(toy)

    def full(made: Path, place: Path) -> None:
        raise OSError(28, "No space left on device", str(place))

    with monkeypatch.context() as patch:
        patch.setattr(building, "move_in", full)
        with pytest.raises(OSError, match="No space left"):
            run(toy, force=True)

    assert not (toy.root / "manifest.json").exists()
    assert {path.name for path in toy.home.models.iterdir()} == {".lock", toy.root.name}
    assert run(toy).files == first.files


def test_a_build_that_fails_before_anything_is_made_leaves_the_model_there_was(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(toy)

    def broken(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "build_onnx", broken)
    with pytest.raises(KeyboardInterrupt):
        run(toy, force=True)

    assert {one.state for one in check_files(ModelFolder(toy.root), read_manifest(ModelFolder(toy.root)))} == {"ok"}


def test_missing_packages_are_named_with_the_remedy(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_NEEDED", ("json", "no_such_package"))

    with pytest.raises(TokenLedgerError, match="no_such_package: not installed, and needed to build; run `make setup-"):
        run(toy)


@pytest.mark.slow
def test_the_core_ml_package_is_part_of_the_model(tmp_path: Path) -> None:
    pytest.importorskip("coremltools", reason="the extra `coreml` is not installed")
    toy = Toy(tmp_path)
    fetch(toy.home, toy.card, str(toy.source), note=toy.note)

    first = run(toy)
    second = run(toy, force=True)

    folder = ModelFolder(toy.root)
    weights = folder.mlpackage / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    name = "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
    assert first.files[name] == sha256_of(weights)
    assert (first.files, first.left_out) == (second.files, [])
    assert read_manifest(folder).coreml_tokens == 16
    assert not run(toy).changed
    weights.write_bytes(b"")
    assert run(toy).files == first.files
    # no hash is kept of the description, so what `verify` refuses must be seen here too
    description = folder.mlpackage / "Data" / "com.apple.CoreML" / "model.mlmodel"
    for damage in (b"", b"no package"):
        description.write_bytes(damage)
        assert run(toy).changed
