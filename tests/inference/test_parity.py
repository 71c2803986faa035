"""How far backends are from float64: what counts, what must not pass, and what is said where none can be compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from tests.inference.toy import GOLDEN_TEXTS, reopened, reseal, save_weights, toy_model, toy_weights
from tokenledger_dagster.inference.backend import BackendError, BackendName, LoadRefusedError, Precision
from tokenledger_dagster.inference.encoder import forward
from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder
from tokenledger_dagster.inference.parity import golden_error, parity_table
from tokenledger_dagster.inference.policy import policy

if TYPE_CHECKING:
    from tokenledger_dagster.inference.backend import Ids, Vectors

for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")

TEXTS = ["why is the parser slow", "refactor the cache module " * 9]


class Own:
    """A backend of a test's own: what it embeds with is a function of ids and mask."""

    def __init__(self, manifest: Manifest, answer: Callable[[Ids, Ids], Any]) -> None:
        self.name: BackendName = "numpy"
        self.precision: Precision = "fp32"
        self.compute_unit = "test"
        self.dims = manifest.spec.dims
        self.max_tokens = manifest.spec.max_tokens
        self.size_bytes = 0
        self.answer = answer

    def embed(self, ids: Ids, mask: Ids, *, timeout_s: float) -> Vectors:
        vectors: Vectors = self.answer(ids, mask)
        return vectors

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return toy_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def manifest(model: ModelFolder) -> Manifest:
    return reopened(model)


@pytest.fixture(scope="module")
def right(model: ModelFolder, manifest: Manifest) -> Callable[[Ids, Ids], Any]:
    weights = toy_weights(model)
    return lambda ids, mask: forward(weights, manifest.spec, ids, mask)


def test_right_backend_differs_by_rounding_alone(manifest: Manifest, right: Callable[[Ids, Ids], Any]) -> None:
    max_abs, cosine = golden_error(Own(manifest, right), manifest)

    assert 0 < max_abs < 1e-6
    assert cosine < 1e-12


def test_backend_that_forgets_the_mask_is_caught_by_the_padding_of_a_batch(
    manifest: Manifest, right: Callable[[Ids, Ids], Any]
) -> None:
    max_abs, cosine = golden_error(Own(manifest, lambda ids, mask: right(ids, np.ones_like(mask))), manifest)

    assert cosine > 0.1
    assert max_abs > policy().parity["int8"].max_abs


def test_one_wrong_text_is_not_averaged_away(manifest: Manifest, right: Callable[[Ids, Ids], Any]) -> None:
    def one_off(ids: Ids, mask: Ids) -> Any:
        vectors = right(ids, mask).copy()
        vectors[3] = -vectors[3]
        return vectors

    assert golden_error(Own(manifest, one_off), manifest)[1] == pytest.approx(2)


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_answer_that_is_no_direction_is_infinitely_far(
    manifest: Manifest, right: Callable[[Ids, Ids], Any], value: float
) -> None:
    assert golden_error(Own(manifest, lambda ids, mask: right(ids, mask) * value), manifest)[1] == math.inf


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda ids, mask: np.ones((1, 32)), r"numpy: shape \[1, 32\] for 6 texts"),
        (lambda ids, mask: np.ones((len(ids), 31)), r"numpy: shape \[6, 31\] for 6 texts"),
    ],
)
def test_answer_of_a_wrong_shape_is_an_error(manifest: Manifest, answer: Callable[[Ids, Ids], Any], told: str) -> None:
    with pytest.raises(BackendError, match=told):
        golden_error(Own(manifest, answer), manifest)


def test_golden_texts_beyond_a_backends_length_are_left_out(
    manifest: Manifest, right: Callable[[Ids, Ids], Any]
) -> None:
    longest = max(len(one.ids) for one in manifest.golden)
    seen: list[int] = []

    def watched(ids: Ids, mask: Ids) -> Any:
        seen.extend(mask.sum(axis=1).tolist())
        return right(ids, mask)

    backend = Own(manifest, watched)
    backend.max_tokens = longest - 1
    golden_error(backend, manifest)

    assert sorted(seen) == sorted(len(one.ids) for one in manifest.golden if len(one.ids) < longest)


def test_no_golden_text_that_fits_is_no_pass(manifest: Manifest, right: Callable[[Ids, Ids], Any]) -> None:
    backend = Own(manifest, right)
    backend.max_tokens = 1

    with pytest.raises(LoadRefusedError, match="has no golden text of up to 1 tokens") as refused:
        golden_error(backend, manifest)

    assert refused.value.stage == "golden"


def test_table_holds_every_backend_against_float64(model: ModelFolder, manifest: Manifest) -> None:
    onnx, numpy, package = parity_table(model, manifest, TEXTS)

    for row, name in ((onnx, "onnx"), (numpy, "numpy")):
        assert (row.backend, row.against, row.precision, row.label) == (name, "float64 reference", "fp32", "parity")
        assert row.texts == len(GOLDEN_TEXTS) + 2
        assert row.max_abs is not None
        assert row.max_one_minus_cos is not None
        assert (row.max_abs_limit, row.max_one_minus_cos_limit) == (1e-5, 1e-6)
        assert 0 < row.max_abs < 1e-6
        assert 0 <= row.max_one_minus_cos < 1e-12
        assert (row.passed, row.why) == (True, "")
    # the toy has no package
    assert (package.backend, package.label, package.passed) == ("coreml package", "graph parity (simulated)", None)
    assert "model.mlpackage: was not built" in package.why
    assert (package.texts, package.max_abs, package.precision) == (0, None, None)


def test_only_a_mac_has_core_ml_parity(model: ModelFolder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    labels = [(row.backend, row.label) for row in parity_table(model, manifest, [])]

    assert labels == [
        ("onnx", "parity"),
        ("numpy", "parity"),
        ("coreml", "Core ML parity"),
        ("coreml package", "graph parity (simulated)"),
    ]


def test_backend_that_is_wrong_on_golden_texts_fails_its_row_alone(tmp_path: Path) -> None:
    model = toy_model(tmp_path)
    weights = toy_weights(model)
    weights["encoder.layer.1.output.dense.weight"][:] = 0
    save_weights(model, weights)
    manifest = reseal(model)

    onnx, numpy, _ = parity_table(model, manifest, [])

    # the graph was built before: it agrees with the golden vectors, and differs from the weights that are there now
    assert (onnx.passed, numpy.passed) == (False, False)
    assert onnx.why.startswith("differs by ")
    assert numpy.why.startswith("golden: ")
    assert numpy.max_abs is None


def test_package_without_a_hash_is_a_failure(model: ModelFolder, manifest: Manifest) -> None:
    package = parity_table(model, msgspec.structs.replace(manifest, coreml_tokens=16), [])[-1]

    assert package.passed is False
    assert package.why.startswith("files: ")
