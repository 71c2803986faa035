"""The ONNX graph, built node by node from the checkpoint: no torch, no tracing, the same bytes for the same weights.

Here: the graph with pooling and length 1 inside, its names and versions. Not here: running it (`onnx_backend`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tokenledger_dagster.fileio import write_atomic
from tokenledger_dagster.inference.weights import layer_prefix

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.model_folder import ModelSpec
    from tokenledger_dagster.inference.weights import Weights

__all__ = ["INPUT_IDS", "INPUT_MASK", "IR_VERSION", "OPSET", "OUTPUT", "build_onnx"]

OPSET = 20
"""Has LayerNormalization and Gelu. The packages' own defaults are newer than what runtimes in use accept."""
IR_VERSION = 10
INPUT_IDS = "input_ids"
INPUT_MASK = "attention_mask"
OUTPUT = "vectors"
_BANNED = -1e9
"""Added to the score of padding: its share of the attention is then exactly 0 in float32."""


def build_onnx(weights: Weights, spec: ModelSpec, path: Path) -> None:
    """Write the encoder as `model.onnx`, all of it or nothing.

    Inputs `input_ids` and `attention_mask`, int64 [batch, tokens]; output `vectors`, float32 [batch, dims], mean-pooled
    over the mask and of length 1. Both axes are dynamic, up to the model's positions.

    Args:
        weights: float32, as `read_weights(path, spec)` gives them.
        spec: their shape.
        path: where the graph goes.

    Raises:
        OSError: the disk refused; `path` is as it was.
    """
    write_atomic(path, _Graph(weights, spec).encoded())


class _Graph:
    """Nodes in the order of the computation; every method appends and returns the name of its result."""

    def __init__(self, weights: Weights, spec: ModelSpec) -> None:
        import onnx

        self._onnx = onnx
        self._weights = weights
        self._spec = spec
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def encoded(self) -> bytes:
        """The model in ONNX's own format."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        self._compute()
        graph = helper.make_graph(
            self._nodes,
            "sentence_encoder",
            [helper.make_tensor_value_info(name, types.INT64, ["batch", "tokens"]) for name in (INPUT_IDS, INPUT_MASK)],
            [helper.make_tensor_value_info(OUTPUT, types.FLOAT, ["batch", self._spec.dims])],
            initializer=list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tokenledger",
        )
        encoded: bytes = model.SerializeToString(deterministic=True)
        return encoded

    def _compute(self) -> None:
        import numpy as np

        spec = self._spec
        hidden = self._embeddings()
        mask = self._node("Cast", INPUT_MASK, to=self._onnx.TensorProto.FLOAT)
        absent = self._node("Sub", self._number(1.0), mask)
        banned = self._node("Mul", self._node("Unsqueeze", absent, self._axes(1, 2)), self._number(_BANNED))
        # 0 takes the length over from the input: batch and tokens stay dynamic
        split = self._constant("shape.by_head", np.array([0, 0, spec.heads, spec.dims // spec.heads], dtype=np.int64))
        joined = self._constant("shape.joined", np.array([0, 0, spec.dims], dtype=np.int64))
        scale = self._number(1 / math.sqrt(spec.dims // spec.heads))
        for layer in range(spec.layers):
            prefix = layer_prefix(layer)
            attention = f"{prefix}attention.self."
            query, key, value = (
                self._node("Reshape", self._linear(hidden, f"{attention}{name}"), split)
                for name in ("query", "key", "value")
            )
            query = self._node("Transpose", self._node("Mul", query, scale), perm=[0, 2, 1, 3])
            key = self._node("Transpose", key, perm=[0, 2, 3, 1])
            value = self._node("Transpose", value, perm=[0, 2, 1, 3])
            scores = self._node("Add", self._node("MatMul", query, key), banned)
            mixed = self._node("MatMul", self._node("Softmax", scores, axis=-1), value)
            mixed = self._node("Reshape", self._node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
            hidden = self._node("Add", hidden, self._linear(mixed, f"{prefix}attention.output.dense"))
            hidden = self._layer_norm(hidden, f"{prefix}attention.output.LayerNorm")
            wide = self._node("Gelu", self._linear(hidden, f"{prefix}intermediate.dense"), approximate="none")
            hidden = self._node("Add", hidden, self._linear(wide, f"{prefix}output.dense"))
            hidden = self._layer_norm(hidden, f"{prefix}output.LayerNorm")
        self._pool(hidden, mask)

    def _embeddings(self) -> str:
        import numpy as np

        words = self._weight("embeddings.word_embeddings.weight")
        places = self._constant(
            "embeddings.places",
            self._weights["embeddings.position_embeddings.weight"]
            + self._weights["embeddings.token_type_embeddings.weight"][0],
        )
        tokens = self._node("Shape", INPUT_IDS, start=1, end=2)
        zero = self._constant("zero", np.zeros(1, dtype=np.int64))
        placed = self._node("Slice", places, zero, tokens, zero)
        hidden = self._node("Add", self._node("Gather", words, INPUT_IDS), placed)
        return self._layer_norm(hidden, "embeddings.LayerNorm")

    def _pool(self, hidden: str, mask: str) -> None:
        second, last = self._axes(1), self._axes(-1)
        present = self._node("Unsqueeze", mask, last)
        total = self._node("ReduceSum", self._node("Mul", hidden, present), second, keepdims=0)
        count = self._node("Max", self._node("ReduceSum", present, second, keepdims=0), self._number(1e-9))
        mean = self._node("Div", total, count)
        length = self._node("Max", self._node("ReduceL2", mean, last, keepdims=1), self._number(1e-12))
        self._node("Div", mean, length, result=OUTPUT)

    def _linear(self, values: str, name: str) -> str:
        matrix = self._constant(f"{name}.weight.transposed", self._weights[f"{name}.weight"].T)
        return self._node("Add", self._node("MatMul", values, matrix), self._weight(f"{name}.bias"))

    def _layer_norm(self, values: str, name: str) -> str:
        scale, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._node("LayerNormalization", values, scale, bias, axis=-1, epsilon=self._spec.layer_norm_eps)

    def _node(self, operator: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        result = result or f"{operator}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [result], name=result, **attributes))
        return result

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _number(self, value: float) -> str:
        import numpy as np

        return self._constant(f"number.{value!r}", np.array(value, dtype=np.float32))

    def _axes(self, *axes: int) -> str:
        import numpy as np

        return self._constant(f"axes.{axes!r}", np.array(axes, dtype=np.int64))

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        import numpy as np

        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name=name)
        return name
