"""The Core ML package, built from a toy and evaluated as it was saved: it agrees, and every way to be wrong shows.

coremltools takes five seconds to import, so all of it is slow; what surrounds the real Core ML is in
``test_coreml_worker``, which needs neither.
"""

from __future__ import annotations

import importlib.util
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.inference.toy import padded, reopened, reseal, sha256, toy_ids, toy_model, toy_weights
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference import coreml_graph, mil_evaluator
from tokenledger_dagster.inference.backend import BackendError, BackendTimeoutError, LoadRefusedError, Precision
from tokenledger_dagster.inference.coreml_backend import start_coreml
from tokenledger_dagster.inference.coreml_graph import PACKAGE_SPEC, PACKAGE_WEIGHTS, build_mlpackage
from tokenledger_dagster.inference.mil_evaluator import SimulatedPackage
from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder
from tokenledger_dagster.inference.parity import golden_error, parity_table
from tokenledger_dagster.inference.policy import policy

# importorskip would import it, and make collecting the tests five seconds slower
NEEDED = ("coremltools", "onnx", "onnxruntime", "safetensors", "tokenizers")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(one) for one in NEEDED),
        reason="the extras `inference` and `coreml` are not installed",
    ),
]

TOKENS = 16
"""Of the package; the model takes 32."""
Weights = dict[str, npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A toy with its package, complete."""
    folder = toy_model(tmp_path_factory.mktemp("model"))
    built(folder, folder.mlpackage)
    reseal(folder, coreml_tokens=TOKENS)
    return folder


@pytest.fixture(scope="module")
def manifest(model: ModelFolder) -> Manifest:
    return reopened(model)


@pytest.fixture
def copied(model: ModelFolder, tmp_path: Path) -> ModelFolder:
    """The same, to break."""
    shutil.copytree(model.root, tmp_path, dirs_exist_ok=True)
    return ModelFolder(tmp_path)


def built(
    model: ModelFolder, path: Path, *, precision: Precision = "fp16", change: Callable[[Weights], None] | None = None
) -> Path:
    """A package of the model's weights, or of what ``change`` makes of them."""
    weights = toy_weights(model)
    if change is not None:
        change(weights)
    assert precision != "int8"
    build_mlpackage(weights, reopened(model).spec, path, precision=precision, tokens=TOKENS)
    return path


def error_of(path: Path, manifest: Manifest) -> tuple[float, float]:
    return golden_error(SimulatedPackage(path), manifest)


def test_saved_package_agrees_with_float64_as_far_as_fp16_can(model: ModelFolder, manifest: Manifest) -> None:
    weights_sha256 = manifest.files[f"model.mlpackage/{PACKAGE_WEIGHTS}"]
    package = SimulatedPackage(model.mlpackage, weights_sha256=weights_sha256)

    max_abs, cosine = golden_error(package, manifest)

    assert (package.precision, package.max_tokens, package.dims) == ("fp16", TOKENS, 32)
    # rounding to fp16 shows, and a tenth of what is allowed is not reached
    assert 1e-5 < max_abs < policy().parity["fp16"].max_abs / 10
    assert 1e-9 < cosine < policy().parity["fp16"].max_one_minus_cos / 10


def test_in_fp32_only_rounding_is_left(model: ModelFolder, manifest: Manifest, tmp_path: Path) -> None:
    package = SimulatedPackage(built(model, tmp_path / "a.mlpackage", precision="fp32"))

    max_abs, cosine = golden_error(package, manifest)

    assert package.precision == "fp32"
    assert max_abs < 1e-6
    assert cosine < 1e-12


def test_table_calls_it_simulated_and_tells_the_noise_floor(model: ModelFolder, manifest: Manifest) -> None:
    rows = parity_table(model, manifest, ["refactor the cache module " * 9], noise_floor=True)

    assert [(row.backend, row.precision, row.label, row.passed) for row in rows] == [
        ("onnx", "fp32", "parity", True),
        ("numpy", "fp32", "parity", True),
        ("coreml package", "fp16", "graph parity (simulated)", True),
        ("coreml fp32 package", "fp32", "graph parity (simulated)", True),
    ]
    assert {row.texts for row in rows} == {len(manifest.golden) + 1}
    assert (rows[2].max_abs_limit, rows[2].max_one_minus_cos_limit) == (5e-3, 1e-4)


def no_mask(mb: Any, kept: Any, tokens: int) -> Any:
    return mb.reshape(x=mb.mul(x=kept, y=0.0), shape=[1, 1, 1, tokens])


def mean_of_all(mb: Any, x: Any, kept: Any) -> Any:
    everywhere = mb.add(x=mb.mul(x=kept, y=0.0), y=1.0)
    return MEAN(mb, x, everywhere)


MEAN = coreml_graph._mean


@pytest.mark.parametrize(("part", "wrong"), [("_hidden", no_mask), ("_mean", mean_of_all)])
def test_graph_that_forgets_the_mask_is_caught(
    model: ModelFolder,
    manifest: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    wrong: Callable[..., Any],
) -> None:
    monkeypatch.setattr(coreml_graph, part, wrong)

    max_abs, cosine = error_of(built(model, tmp_path / "a.mlpackage"), manifest)

    assert max_abs > 10 * policy().parity["fp16"].max_abs
    assert cosine > 100 * policy().parity["fp16"].max_one_minus_cos


def swapped(weights: Weights) -> None:
    for layer in range(2):
        query, key = (f"encoder.layer.{layer}.attention.self.{part}" for part in ("query", "key"))
        for kind in ("weight", "bias"):
            weights[f"{query}.{kind}"], weights[f"{key}.{kind}"] = weights[f"{key}.{kind}"], weights[f"{query}.{kind}"]


def zeroed(weights: Weights) -> None:
    for name in weights:
        if name.startswith("encoder.layer.1.") and "LayerNorm" not in name:
            weights[name][:] = 0


def one_token_type_too_far(weights: Weights) -> None:
    kind = "embeddings.token_type_embeddings.weight"
    weights[kind] = weights[kind][::-1].copy()


def positions_shifted(weights: Weights) -> None:
    kind = "embeddings.position_embeddings.weight"
    weights[kind] = np.roll(weights[kind], 1, axis=0)


@pytest.mark.parametrize("change", [swapped, zeroed, one_token_type_too_far, positions_shifted])
def test_wrong_tensors_are_caught(
    model: ModelFolder, manifest: Manifest, tmp_path: Path, change: Callable[[Weights], None]
) -> None:
    max_abs, cosine = error_of(built(model, tmp_path / "a.mlpackage", change=change), manifest)

    assert max_abs > 2 * policy().parity["fp16"].max_abs
    assert cosine > 2 * policy().parity["fp16"].max_one_minus_cos


def test_approximate_gelu_hides_in_fp16_and_shows_in_fp32(
    model: ModelFolder, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_tanh(given: Any) -> Any:
        x = given["x"]
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    half, full = (built(model, tmp_path / f"{one}.mlpackage", precision=one) for one in ("fp16", "fp32"))
    monkeypatch.setattr(mil_evaluator, "OPERATIONS", {**mil_evaluator.OPERATIONS, "gelu": by_tanh})

    assert error_of(half, manifest)[0] < policy().parity["fp16"].max_abs
    assert error_of(full, manifest)[0] > policy().parity["fp32"].max_abs


def test_every_text_has_its_own_vector_whatever_its_batch(model: ModelFolder) -> None:
    package = SimulatedPackage(model.mlpackage)
    rows = [toy_ids(model, text, TOKENS) for text in ("", "fix the flaky test", "update the docs")]
    together = package.embed(*padded(rows), timeout_s=60)

    for row, vector in zip(rows, together, strict=True):
        assert np.array_equal(package.embed(*padded([row]), timeout_s=60)[0], vector)


def test_longer_texts_and_calls_out_of_time_are_errors(model: ModelFolder) -> None:
    package = SimulatedPackage(model.mlpackage)

    with pytest.raises(BackendError, match="17 tokens; it takes 16, cut the text"):
        package.embed(*padded([[2] * 17]), timeout_s=60)
    with pytest.raises(BackendTimeoutError):
        package.embed(*padded([[2, 3]]), timeout_s=0)
    package.close()
    with pytest.raises(BackendError, match="is closed"):
        package.embed(*padded([[2, 3]]), timeout_s=60)


def refusal(folder: ModelFolder, manifest: Manifest) -> LoadRefusedError:
    weights_sha256 = manifest.files[f"model.mlpackage/{PACKAGE_WEIGHTS}"]
    with pytest.raises(LoadRefusedError) as refused:
        SimulatedPackage(folder.mlpackage, weights_sha256=weights_sha256)
    assert "\n" not in str(refused.value)
    assert str(folder.mlpackage) in str(refused.value)
    assert "tokenledger models build" in str(refused.value)
    return refused.value


def test_damaged_weights_are_refused_though_coremltools_reads_them(copied: ModelFolder, manifest: Manifest) -> None:
    weights = copied.mlpackage / PACKAGE_WEIGHTS
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0x40
    weights.write_bytes(content)

    assert refusal(copied, manifest).stage == "sha256"
    SimulatedPackage(copied.mlpackage)  # nothing else notices
    row = parity_table(copied, manifest, [])[-1]
    assert (row.passed, row.max_abs) == (False, None)
    assert row.why.startswith("sha256: ")


@pytest.mark.parametrize("name", ["Manifest.json", PACKAGE_SPEC, PACKAGE_WEIGHTS])
def test_missing_part_is_refused(copied: ModelFolder, manifest: Manifest, name: str) -> None:
    (copied.mlpackage / name).unlink()

    refused = refusal(copied, manifest)

    assert refused.stage == "files"
    assert f"{copied.mlpackage / name}: cannot be read (No such file or directory)" in str(refused)


@pytest.mark.parametrize("name", ["Manifest.json", PACKAGE_SPEC])
@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"{}", b"no package"], ids=["empty", "zeros", "object", "text"])
def test_unreadable_part_is_refused(copied: ModelFolder, manifest: Manifest, name: str, content: bytes) -> None:
    (copied.mlpackage / name).write_bytes(content)

    assert refusal(copied, manifest).stage == "session"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_graph_is_refused(copied: ModelFolder, manifest: Manifest, share: float) -> None:
    path = copied.mlpackage / PACKAGE_SPEC
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    assert refusal(copied, manifest).stage == "session"


def test_unknown_operation_is_refused_by_its_name(
    model: ModelFolder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {kind: meaning for kind, meaning in mil_evaluator.OPERATIONS.items() if kind != "softmax"}
    monkeypatch.setattr(mil_evaluator, "OPERATIONS", known)

    with pytest.raises(LoadRefusedError, match="operation 'softmax' is unknown to the evaluator") as refused:
        SimulatedPackage(model.mlpackage)

    assert refused.value.stage == "capability"


def test_package_with_other_names_is_refused(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coreml_graph, "VECTOR", "embedding")

    with pytest.raises(LoadRefusedError, match=r"gives .*'embedding'.*, no encoder's") as refused:
        SimulatedPackage(built(model, tmp_path / "a.mlpackage"))

    assert refused.value.stage == "signature"


def test_only_the_weights_are_the_same_in_every_build(model: ModelFolder, tmp_path: Path) -> None:
    first, second = (built(model, tmp_path / f"{one}.mlpackage") for one in "ab")

    assert sha256(first / PACKAGE_WEIGHTS) == sha256(second / PACKAGE_WEIGHTS)


def test_everybody_may_read_a_package_and_nothing_is_left_beside_it(model: ModelFolder, tmp_path: Path) -> None:
    path = built(model, tmp_path / "a.mlpackage")
    stale = path / "stale"
    stale.write_text("of an earlier build")
    built(model, path)

    modes = {part.relative_to(path).name: stat.S_IMODE(part.stat().st_mode) for part in path.rglob("*")}
    assert modes == {
        "Manifest.json": 0o644,
        "Data": 0o755,
        "com.apple.CoreML": 0o755,
        "model.mlmodel": 0o644,
        "weights": 0o755,
        "weight.bin": 0o644,
    }
    assert stat.S_IMODE(path.stat().st_mode) & 0o500 == 0o500
    assert [one.name for one in tmp_path.iterdir()] == ["a.mlpackage"]


def test_more_tokens_than_positions_are_refused(model: ModelFolder, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(TokenLedgerError, match="65 tokens; the model has 64 positions"):
        build_mlpackage(toy_weights(model), manifest.spec, tmp_path / "a.mlpackage", precision="fp16", tokens=65)

    assert list(tmp_path.iterdir()) == []


def test_weights_that_do_not_fit_together_are_told_in_one_line(
    model: ModelFolder, manifest: Manifest, tmp_path: Path
) -> None:
    weights = toy_weights(model)
    weights["encoder.layer.0.output.dense.weight"] = np.zeros((3, 5), dtype=np.float32)

    with pytest.raises(TokenLedgerError, match=r"a\.mlpackage: cannot be built \(.*verify weights") as refused:
        build_mlpackage(weights, manifest.spec, tmp_path / "a.mlpackage", precision="fp16", tokens=TOKENS)

    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_told(model: ModelFolder, manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(TokenLedgerError, match="make room or choose another folder"):
        built(model, tmp_path / "file" / "a.mlpackage")


def test_building_and_evaluating_say_nothing(model: ModelFolder, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.inference.test_coreml_package import *\n"
        "model = ModelFolder(Path(sys.argv[1])); path = built(model, Path(sys.argv[2]))\n"
        "error_of(path, reopened(model))"
    )
    words = [sys.executable, "-W", "error", "-c", code, str(model.root), str(tmp_path / "a.mlpackage")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2])

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac can")
def test_real_worker_loads_the_package_and_only_predicting_needs_a_mac(model: ModelFolder, manifest: Manifest) -> None:
    with closing(start_coreml(model, manifest, "CPU_AND_NE")) as backend:
        assert backend.compute_unit == "CPU_AND_NE, no plan (Exception)"
        with pytest.raises(BackendError, match="the model failed: Model prediction is only supported on macOS"):
            backend.embed(*padded([[2, 3]]), timeout_s=60)


@pytest.mark.skipif(sys.platform != "darwin", reason="Core ML runs on macOS")
def test_core_ml_agrees_with_float64_on_a_mac(model: ModelFolder, manifest: Manifest) -> None:
    row = next(row for row in parity_table(model, manifest, []) if row.backend == "coreml")

    assert (row.label, row.precision, row.passed, row.why) == ("Core ML parity", "fp16", True, "")
    with closing(start_coreml(model, manifest, "CPU_AND_NE")) as backend:
        assert backend.compute_unit.startswith("CPU_AND_NE, ")
