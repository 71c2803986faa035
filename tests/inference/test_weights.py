"""A checkpoint is read for what it says, and refused in one line for what it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.inference.toy import save_weights, toy_model, toy_weights
from tokenledger_dagster.inference.model_folder import ModelFolder, ModelSpec
from tokenledger_dagster.inference.weights import ModelFileError, TensorError, read_spec, read_weights

for package in ("onnx", "safetensors", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")

SPEC = ModelSpec(
    layers=2,
    heads=4,
    dims=32,
    intermediate=64,
    vocab_size=204,
    max_positions=64,
    layer_norm_eps=1e-12,
    max_tokens=32,
)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return toy_model(tmp_path / "model", onnx=False)


def describe(folder: ModelFolder, **changes: Any) -> None:
    config = json.loads(folder.config.read_bytes())
    folder.config.write_text(json.dumps({**config, **changes}), encoding="utf-8")


def test_description_tells_the_shape(folder: ModelFolder) -> None:
    assert read_spec(folder.config, 32) == SPEC


def test_unknown_keys_of_a_description_are_ignored(folder: ModelFolder) -> None:
    describe(folder, torch_dtype="float32", id2label={"0": "a"})

    assert read_spec(folder.config, 32) == SPEC


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "roberta"}, "describes 'roberta' with 'gelu' and 'absolute' positions"),
        ({"hidden_act": "gelu_new"}, "describes 'bert' with 'gelu_new'"),
        ({"position_embedding_type": "relative_key"}, "'relative_key' positions"),
        ({"hidden_size": 33}, "33 dimensions cannot be shared by 4 heads"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, which no model has"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000, which no model has"),
        ({"vocab_size": 10**12}, "vocab_size is 1000000000000, which no model has"),
        ({"vocab_size": -1}, "vocab_size is -1, which no model has"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0.0, not between 0 and 1"),
        ({"max_position_embeddings": 31}, "texts of 32 tokens are asked for and the model has 31 positions"),
        ({"hidden_size": "32"}, "does not describe a model (Expected `int`, got `str` - at `$.hidden_size`)"),
        ({"hidden_size": None}, "Expected `int`, got `null`"),
    ],
)
def test_description_of_another_model_is_refused(folder: ModelFolder, changes: dict[str, Any], reason: str) -> None:
    describe(folder, **changes)

    with pytest.raises(ModelFileError) as refused:
        read_spec(folder.config, 32)

    assert str(refused.value).startswith(f"{folder.config}: ")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not describe a model"),
        (b"\0\0\0", "does not describe a model"),
        (b"{}", "missing required field `num_hidden_layers`"),
        (b"\xff\xfe{", "does not describe a model"),
        (b"[" * 100_000, "does not describe a model"),
        (b" " * 1_000_001, "larger than any model's description"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_what_is_no_description_is_refused(folder: ModelFolder, content: bytes | None, reason: str) -> None:
    folder.config.unlink()
    if content is not None:
        folder.config.write_bytes(content)

    with pytest.raises(ModelFileError) as refused:
        read_spec(folder.config, 32)

    assert reason in str(refused.value)
    assert str(refused.value).endswith("fetch the model again with `tokenledger models fetch`")


def test_with_a_spec_exactly_the_encoders_tensors_are_read(folder: ModelFolder) -> None:
    weights = read_weights(folder.weights, SPEC)

    assert len(weights) == 5 + 2 * 16
    assert {one.dtype for one in weights.values()} == {np.dtype(np.float32)}
    assert weights["encoder.layer.1.intermediate.dense.weight"].shape == (64, 32)
    assert "pooler.dense.bias" not in weights


def test_without_a_spec_every_float32_tensor_is_read(folder: ModelFolder) -> None:
    weights = read_weights(folder.weights)

    assert len(weights) == 5 + 2 * 16 + 1
    assert "pooler.dense.bias" in weights
    assert "embeddings.position_ids" not in weights


KEY = "encoder.layer.0.attention.self.key.weight"
BIAS = "encoder.layer.1.output.dense.bias"


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({KEY: None}, f"{KEY} is missing; fetch"),
        ({KEY: None, BIAS: None}, f"{KEY} is missing and 1 more tensors are wrong; fetch"),
        ({KEY: np.zeros((32, 31), np.float32)}, f"{KEY} is 32x31 where 32x32 is needed"),
        ({KEY: np.zeros(32, np.float32)}, f"{KEY} is 32 where 32x32 is needed"),
        ({KEY: np.zeros((32, 32), np.float16)}, f"{KEY} is F16 where F32 is needed"),
        ({KEY: np.zeros((32, 32), np.float64)}, f"{KEY} is F64 where F32 is needed"),
        ({KEY: np.zeros((32, 32), np.int32)}, f"{KEY} is I32 where F32 is needed"),
        (
            {"embeddings.token_type_embeddings.weight": np.zeros((0, 32), np.float32)},
            "embeddings.token_type_embeddings.weight is 0x32 where nx32 is needed",
        ),
    ],
)
def test_tensors_of_another_encoder_are_refused(folder: ModelFolder, tensors: dict[str, Any], reason: str) -> None:
    weights: dict[str, Any] = {**toy_weights(folder), **tensors}
    save_weights(folder, {name: value for name, value in weights.items() if value is not None})

    with pytest.raises(TensorError) as refused:
        read_weights(folder.weights, SPEC)

    assert reason in str(refused.value)
    assert str(refused.value).startswith(f"{folder.weights}: ")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"\xff" * 64, b"\x10" + b"\0" * 7 + b"{" * 16, None], ids=["", "0", "ff", "{", "none"]
)
def test_what_is_no_checkpoint_is_refused(folder: ModelFolder, content: bytes | None) -> None:
    folder.weights.unlink()
    if content is not None:
        folder.weights.write_bytes(content)

    with pytest.raises(ModelFileError) as refused:
        read_weights(folder.weights, SPEC)

    assert str(refused.value).startswith(f"{folder.weights}: ")
    assert "\n" not in str(refused.value)


def test_truncated_checkpoint_is_refused(folder: ModelFolder) -> None:
    folder.weights.write_bytes(folder.weights.read_bytes()[:-1])

    with pytest.raises(ModelFileError, match="cannot be read as safetensors"):
        read_weights(folder.weights, SPEC)


def test_folder_in_place_of_the_checkpoint_is_refused(folder: ModelFolder) -> None:
    folder.weights.unlink()
    folder.weights.mkdir()

    with pytest.raises(ModelFileError, match="there is no such file"):
        read_weights(folder.weights, SPEC)
