"""The encoder in numpy: what every backend must agree with.

Here: BERT, mean pooling and length 1, in the dtype of the weights: float64 is the reference that golden vectors are
made with, float32 is what the numpy backend runs. Not here: batching, time limits and checks (`numpy_backend`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.inference.weights import layer_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import Ids
    from tokenledger_dagster.inference.model_folder import ModelSpec
    from tokenledger_dagster.inference.weights import Weights

    Array = npt.NDArray[np.floating[Any]]

__all__ = ["as_float64", "forward", "reference_vector"]


def as_float64(weights: Weights) -> dict[str, npt.NDArray[np.float64]]:
    """The same weights, exactly, for the reference; twice the memory of float32."""
    import numpy as np

    return {name: value.astype(np.float64) for name, value in weights.items()}


def reference_vector(
    weights: Mapping[str, npt.NDArray[np.float64]], spec: ModelSpec, ids: Sequence[int]
) -> list[float]:
    """The vector of one text, computed alone in float64, of length 1.

    Args:
        weights: from `as_float64`.
        spec: their shape.
        ids: the text's tokens, the special ones among them.

    Raises:
        ValueError: the result is not finite: the weights hold NaN or infinity.
    """
    import numpy as np

    row = np.array([list(ids)], dtype=np.int64)
    with np.errstate(all="ignore"):
        vector = forward(weights, spec, row, np.ones_like(row))[0]
    if not np.isfinite(vector).all():
        raise ValueError("the weights hold numbers that are not finite")
    values: list[float] = vector.tolist()
    return values


def forward(
    weights: Weights,
    spec: ModelSpec,
    ids: Ids,
    mask: Ids,
    *,
    between_layers: Callable[[], None] | None = None,
) -> Array:
    """Embed one batch.

    Args:
        weights: float32 or float64, by the checkpoint's names.
        spec: their shape.
        ids: [batch, tokens], each from 0 up to the vocabulary's size.
        mask: the same shape, 1 for a token and 0 for padding; every row has at least one 1.
        between_layers: called before each layer; what it raises ends the computation.

    Returns:
        [batch, dims] in the dtype of the weights, each row of length 1.
    """
    import numpy as np

    batch, tokens = ids.shape
    words = weights["embeddings.word_embeddings.weight"]
    dtype = words.dtype
    hidden = words[ids] + (
        weights["embeddings.position_embeddings.weight"][:tokens]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    # one row per token: a matrix product of two axes is one call of the library, of three one per text
    hidden = _layer_norm(hidden.reshape(-1, spec.dims), weights, "embeddings.LayerNorm", spec.layer_norm_eps)
    hidden_from = np.where(mask[:, None, None, :] == 1, 0.0, -np.inf).astype(dtype)
    per_head = spec.dims // spec.heads

    def by_head(values: Array) -> Array:
        return values.reshape(batch, tokens, spec.heads, per_head).transpose(0, 2, 1, 3)

    for layer in range(spec.layers):
        if between_layers is not None:
            between_layers()
        prefix = layer_prefix(layer)
        attention = f"{prefix}attention.self."
        query = by_head(_linear(hidden, weights, f"{attention}query"))
        key = by_head(_linear(hidden, weights, f"{attention}key"))
        value = by_head(_linear(hidden, weights, f"{attention}value"))
        query *= dtype.type(1 / math.sqrt(per_head))
        scores = query @ key.transpose(0, 1, 3, 2)
        scores += hidden_from
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(-1, spec.dims)
        hidden += _linear(mixed, weights, f"{prefix}attention.output.dense")
        hidden = _layer_norm(hidden, weights, f"{prefix}attention.output.LayerNorm", spec.layer_norm_eps)
        wide = _gelu(_linear(hidden, weights, f"{prefix}intermediate.dense"))
        hidden += _linear(wide, weights, f"{prefix}output.dense")
        hidden = _layer_norm(hidden, weights, f"{prefix}output.LayerNorm", spec.layer_norm_eps)

    present = mask.astype(dtype)[:, :, None]
    pooled = (hidden.reshape(batch, tokens, spec.dims) * present).sum(axis=1) / present.sum(axis=1)
    return np.asarray(pooled / np.linalg.norm(pooled, axis=-1, keepdims=True))


def _linear(values: Array, weights: Weights, name: str) -> Array:
    result: Array = values @ weights[f"{name}.weight"].T
    result += weights[f"{name}.bias"]
    return result


def _layer_norm(values: Array, weights: Weights, name: str, eps: float) -> Array:
    import numpy as np

    values = values - values.mean(axis=-1, keepdims=True)
    scale = np.sqrt(np.square(values).mean(axis=-1, keepdims=True) + values.dtype.type(eps))
    values /= scale
    values *= weights[f"{name}.weight"]
    values += weights[f"{name}.bias"]
    return values


def _gelu(values: Array) -> Array:
    """Values times P(X <= value), exact: the tanh approximation differs by more than backends may."""
    import numpy as np

    half = values.dtype.type(0.5)
    scaled = values * values.dtype.type(math.sqrt(0.5))
    probability = _erf_reference(scaled) if values.dtype == np.float64 else _erf(scaled)
    probability += 1
    probability *= half
    probability *= values
    return probability


def _erf_reference(values: Array) -> Array:
    """The error function in float64, as the C library knows it."""
    import numpy as np

    flat = map(math.erf, values.ravel().tolist())
    return np.fromiter(flat, np.float64, count=values.size).reshape(values.shape)


def _erf(values: Array) -> Array:
    """The error function by Abramowitz and Stegun 7.1.26: within 1.5e-7, which is float32's own precision."""
    import numpy as np

    size = np.abs(values)
    t = 1 / (1 + values.dtype.type(0.3275911) * size)
    result = values.dtype.type(1.061405429) * t
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        result += values.dtype.type(coefficient)
        result *= t
    np.square(size, out=size)
    np.negative(size, out=size)
    np.exp(size, out=size)
    result *= size
    np.subtract(1, result, out=result)
    return np.copysign(result, values, out=result)
