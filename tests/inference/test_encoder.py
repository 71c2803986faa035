"""The encoder in numpy is BERT, written out here once more without a single array operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.inference.toy import padded, reopened, toy_model, toy_weights
from tokenledger_dagster.inference.encoder import as_float64, forward, reference_vector
from tokenledger_dagster.inference.model_folder import ModelFolder, ModelSpec
from tokenledger_dagster.inference.weights import read_weights

for package in ("onnx", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")

Row = list[float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return toy_model(tmp_path_factory.mktemp("encoder"), onnx=False)


@pytest.fixture(scope="module")
def spec(folder: ModelFolder) -> ModelSpec:
    return reopened(folder).spec


@pytest.fixture(scope="module")
def weights(folder: ModelFolder, spec: ModelSpec) -> dict[str, npt.NDArray[np.float32]]:
    return read_weights(folder.weights, spec)


def dot(one: Row, other: Row) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def by_hand(weights: dict[str, Any], spec: ModelSpec, ids: list[int]) -> Row:
    """One text through the encoder, number by number."""
    tensors = {name: value.tolist() for name, value in weights.items()}

    def plus(*rows: Row) -> Row:
        return [math.fsum(column) for column in zip(*rows, strict=True)]

    def norm(row: Row, name: str) -> Row:
        mean = math.fsum(row) / len(row)
        spread = math.sqrt(math.fsum((one - mean) ** 2 for one in row) / len(row) + spec.layer_norm_eps)
        scale, shift = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return [(one - mean) / spread * s + b for one, s, b in zip(row, scale, shift, strict=True)]

    def linear(row: Row, name: str) -> Row:
        return plus([dot(row, line) for line in tensors[f"{name}.weight"]], tensors[f"{name}.bias"])

    words, places = tensors["embeddings.word_embeddings.weight"], tensors["embeddings.position_embeddings.weight"]
    first_type = tensors["embeddings.token_type_embeddings.weight"][0]
    rows = [norm(plus(words[one], places[at], first_type), "embeddings.LayerNorm") for at, one in enumerate(ids)]
    width = spec.dims // spec.heads
    for layer in range(spec.layers):
        at = f"encoder.layer.{layer}."
        query, key, value = (
            [linear(row, f"{at}attention.self.{name}") for row in rows] for name in ("query", "key", "value")
        )
        mixed: list[Row] = [[] for _ in rows]
        for head in range(spec.heads):
            part = slice(head * width, (head + 1) * width)
            for place, asking in enumerate(query):
                scores = [math.exp(dot(asking[part], other[part]) / math.sqrt(width)) for other in key]
                shares = [one / math.fsum(scores) for one in scores]
                mixed[place] += [dot(shares, [row[part][column] for row in value]) for column in range(width)]
        rows = [
            norm(plus(row, linear(one, f"{at}attention.output.dense")), f"{at}attention.output.LayerNorm")
            for row, one in zip(rows, mixed, strict=True)
        ]
        wide = [
            [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in linear(row, f"{at}intermediate.dense")] for row in rows
        ]
        rows = [
            norm(plus(row, linear(one, f"{at}output.dense")), f"{at}output.LayerNorm")
            for row, one in zip(rows, wide, strict=True)
        ]
    mean = [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]
    return [one / math.hypot(*mean) for one in mean]


@pytest.mark.parametrize("ids", [[2, 3], [2, 132, 109, 135, 133, 3], [7], [2, 0, 0, 203, 3]])
def test_reference_is_the_encoder_written_out_by_hand(
    weights: dict[str, npt.NDArray[np.float32]], spec: ModelSpec, ids: list[int]
) -> None:
    found = reference_vector(as_float64(weights), spec, ids)

    assert found == pytest.approx(by_hand(weights, spec, ids), abs=1e-14)
    assert math.hypot(*found) == pytest.approx(1, abs=1e-14)


def test_every_tensor_moves_the_result(weights: dict[str, npt.NDArray[np.float32]], spec: ModelSpec) -> None:
    exact = as_float64(weights)
    ids = [2, 132, 109, 3]
    before = np.array(reference_vector(exact, spec, ids))

    def moved(name: str) -> float:
        # not by a factor: layer norms take that out again
        random = np.random.default_rng(1).standard_normal(exact[name].shape)
        return float(np.abs(before - reference_vector({**exact, name: exact[name] + 0.5 * random}, spec, ids)).max())

    # a key's bias adds the same to all scores of a query, which softmax takes out again
    still = {name for name in exact if moved(name) < 1e-4}
    assert still == {f"encoder.layer.{layer}.attention.self.key.bias" for layer in range(2)}


def test_float32_is_within_its_own_precision_of_float64(
    weights: dict[str, npt.NDArray[np.float32]], spec: ModelSpec
) -> None:
    random = np.random.default_rng(3)
    rows = [random.integers(0, spec.vocab_size, size=length).tolist() for length in (1, 2, 5, 17, 32)]
    exact = np.array([reference_vector(as_float64(weights), spec, row) for row in rows])

    found = forward(weights, spec, *padded(rows))

    assert found.dtype == np.float32
    assert np.abs(found - exact).max() <= 1e-6


def test_padding_changes_nothing_whatever_it_holds(
    weights: dict[str, npt.NDArray[np.float32]], spec: ModelSpec
) -> None:
    exact = as_float64(weights)
    ids, mask = padded([[2, 132, 109, 3], [2, 3]])
    other = np.where(mask == 1, ids, 99)

    assert np.array_equal(forward(exact, spec, ids, mask), forward(exact, spec, other, mask))
    assert forward(exact, spec, ids, mask)[1].tolist() == pytest.approx(
        reference_vector(exact, spec, [2, 3]), abs=1e-14
    )


def test_weights_are_left_as_they_were(folder: ModelFolder, spec: ModelSpec) -> None:
    weights, before = toy_weights(folder), toy_weights(folder)

    forward(weights, spec, *padded([[2, 132, 3]]))

    assert all(np.array_equal(weights[name], before[name]) for name in before)


def test_computation_can_be_ended_between_layers(weights: dict[str, npt.NDArray[np.float32]], spec: ModelSpec) -> None:
    seen: list[int] = []

    def stop_before_the_second() -> None:
        seen.append(len(seen))
        if len(seen) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        forward(weights, spec, *padded([[2, 3]]), between_layers=stop_before_the_second)

    assert seen == [0, 1]


def test_weights_that_are_not_finite_have_no_reference(
    weights: dict[str, npt.NDArray[np.float32]], spec: ModelSpec
) -> None:
    exact = as_float64(weights)
    exact["encoder.layer.0.output.dense.bias"][3] = np.nan

    with pytest.raises(ValueError, match="the weights hold numbers that are not finite"):
        reference_vector(exact, spec, [2, 3])
