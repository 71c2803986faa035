"""The checkpoint: its description and its tensors, read with suspicion.

Here: `config.json` to a `ModelSpec`, `model.safetensors` to arrays of the names, shapes and dtype that a BERT encoder
has. Not here: what is computed with them (`encoder`, `onnx_graph`, `coreml_graph`) and whether they are the right ones
(`loading`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.model_folder import LARGEST_SIZE, MOST_LAYERS, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Weights = Mapping[str, npt.NDArray[np.floating[Any]]]
    """Tensors by their name in the checkpoint, all of one dtype."""

__all__ = ["ModelFileError", "TensorError", "expected_shapes", "layer_prefix", "read_spec", "read_weights"]

_CONFIG_BYTES = 1_000_000
_REMEDY = "fetch the model again with `tokenledger models fetch`"


class ModelFileError(TokenLedgerError):
    """A file of the model cannot be read, or does not describe the encoder that is built here."""


class TensorError(ModelFileError):
    """The checkpoint was read, and its tensors are not those of the encoder."""


class _Config(msgspec.Struct, frozen=True):
    """The keys of `config.json` that the computation depends on; others are ignored."""

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    layer_norm_eps: float = 1e-12
    model_type: str = "bert"
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"


def read_spec(path: Path, max_tokens: int) -> ModelSpec:
    """The shape of the encoder that `config.json` describes.

    Args:
        path: the checkpoint's `config.json`.
        max_tokens: where texts are cut, the special tokens counted; from 3 up to the model's positions.

    Raises:
        ModelFileError: the file cannot be read, or describes another kind of model than a BERT encoder with exact GELU.
    """
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            raise ModelFileError(f"{path}: larger than any model's description; {_REMEDY}")
        config = msgspec.json.decode(path.read_bytes(), type=_Config)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelFileError(f"{path}: does not describe a model ({error}); {_REMEDY}") from error
    kind = (config.model_type, config.hidden_act, config.position_embedding_type)
    if kind != ("bert", "gelu", "absolute"):
        raise ModelFileError(
            f"{path}: describes {kind[0]!r} with {kind[1]!r} and {kind[2]!r} positions, while only a BERT encoder with "
            f"exact GELU and absolute positions can be built; choose another checkpoint"
        )
    sizes = {
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
    }
    for name, value in sizes.items():
        if not 1 <= value <= (MOST_LAYERS if name == "num_hidden_layers" else LARGEST_SIZE):
            raise ModelFileError(f"{path}: {name} is {value}, which no model has; {_REMEDY}")
    if config.hidden_size % config.num_attention_heads:
        raise ModelFileError(
            f"{path}: {config.hidden_size} dimensions cannot be shared by {config.num_attention_heads} heads; {_REMEDY}"
        )
    if not 0 < config.layer_norm_eps < 1 or not math.isfinite(config.layer_norm_eps):
        raise ModelFileError(f"{path}: layer_norm_eps is {config.layer_norm_eps}, not between 0 and 1; {_REMEDY}")
    if not 3 <= max_tokens <= config.max_position_embeddings:
        raise ModelFileError(
            f"{path}: texts of {max_tokens} tokens are asked for and the model has {config.max_position_embeddings} "
            f"positions; ask for 3 up to that many"
        )
    return ModelSpec(
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        dims=config.hidden_size,
        intermediate=config.intermediate_size,
        vocab_size=config.vocab_size,
        max_positions=config.max_position_embeddings,
        layer_norm_eps=config.layer_norm_eps,
        max_tokens=max_tokens,
    )


def layer_prefix(layer: int) -> str:
    """What the names of one layer's tensors begin with, the first layer being 0."""
    return f"encoder.layer.{layer}."


def expected_shapes(spec: ModelSpec) -> dict[str, tuple[int | None, ...]]:
    """Shape by tensor that the encoder needs, matrices as [out, in]; None where any length of at least 1 will do."""
    dims, wide = spec.dims, spec.intermediate
    shapes: dict[str, tuple[int | None, ...]] = {
        "embeddings.word_embeddings.weight": (spec.vocab_size, dims),
        "embeddings.position_embeddings.weight": (spec.max_positions, dims),
        "embeddings.token_type_embeddings.weight": (None, dims),
        "embeddings.LayerNorm.weight": (dims,),
        "embeddings.LayerNorm.bias": (dims,),
    }
    for layer in range(spec.layers):
        prefix = layer_prefix(layer)
        for name, outputs, inputs in (
            ("attention.self.query", dims, dims),
            ("attention.self.key", dims, dims),
            ("attention.self.value", dims, dims),
            ("attention.output.dense", dims, dims),
            ("intermediate.dense", wide, dims),
            ("output.dense", dims, wide),
        ):
            shapes[f"{prefix}{name}.weight"] = (outputs, inputs)
            shapes[f"{prefix}{name}.bias"] = (outputs,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{prefix}{name}.weight"] = (dims,)
            shapes[f"{prefix}{name}.bias"] = (dims,)
    return shapes


def read_weights(path: Path, spec: ModelSpec | None = None) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of `model.safetensors`.

    Args:
        path: the checkpoint.
        spec: with it, exactly the tensors that the encoder needs are read, and each must have its shape and be
            float32; without it, every float32 tensor is read and others are left out.

    Raises:
        TensorError: with a spec, tensors are missing, of another shape or of another dtype; all that are wrong are
            counted, the first is named.
        ModelFileError: the file is missing, truncated or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            raise ModelFileError(f"{path}: there is no such file; {_REMEDY}")
        with safe_open(path, framework="numpy") as checkpoint:
            slices = {name: checkpoint.get_slice(name) for name in checkpoint.keys()}  # noqa: SIM118 - no mapping
            found = {name: (str(one.get_dtype()), tuple(one.get_shape())) for name, one in slices.items()}
            if spec is None:
                wanted = [name for name, (dtype, _) in found.items() if dtype == "F32"]
            else:
                wanted = list(expected_shapes(spec))
                _refuse_others(path, found, spec)
            return {name: checkpoint.get_tensor(name) for name in wanted}
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path}: cannot be read as safetensors ({_one_line(error)}); {_REMEDY}") from error


def _refuse_others(path: Path, found: Mapping[str, tuple[str, tuple[int, ...]]], spec: ModelSpec) -> None:
    wrong: list[str] = []
    for name, shape in expected_shapes(spec).items():
        if name not in found:
            wrong.append(f"{name} is missing")
            continue
        dtype, actual = found[name]
        if dtype != "F32":
            wrong.append(f"{name} is {dtype} where F32 is needed")
        elif len(actual) != len(shape) or any(
            length != expected if expected is not None else length < 1
            for length, expected in zip(actual, shape, strict=True)
        ):
            wanted = "x".join("n" if one is None else str(one) for one in shape)
            wrong.append(f"{name} is {'x'.join(map(str, actual))} where {wanted} is needed")
    if wrong:
        more = f" and {len(wrong) - 1} more tensors are wrong" if len(wrong) > 1 else ""
        raise TensorError(f"{path}: {wrong[0]}{more}; {_REMEDY}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
