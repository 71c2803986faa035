"""What each operation of a saved Core ML package means, on numbers that can be checked by hand; no package needed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tokenledger_dagster.inference.backend import BackendError
from tokenledger_dagster.inference.mil_evaluator import OPERATIONS

LEFT = [[1.0, 2.0], [3.0, 4.0]]
CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("add", {"x": LEFT, "y": [10.0, 20.0]}, [[11.0, 22.0], [13.0, 24.0]]),
    ("sub", {"x": 1.0, "y": LEFT}, [[0.0, -1.0], [-2.0, -3.0]]),
    ("mul", {"x": LEFT, "y": -1.0}, [[-1.0, -2.0], [-3.0, -4.0]]),
    ("real_div", {"x": LEFT, "y": [[2.0], [4.0]]}, [[0.5, 1.0], [0.75, 1.0]]),
    ("cast", {"x": [0, 1], "dtype": "fp32"}, [0.0, 1.0]),
    ("expand_dims", {"x": [1.0, 2.0], "axes": [1]}, [[1.0], [2.0]]),
    ("gather", {"x": LEFT, "indices": [[1, 0, 1]], "axis": 0, "batch_dims": 0}, [[LEFT[1], LEFT[0], LEFT[1]]]),
    # weights are [out, in]
    (
        "linear",
        {"x": [[1.0, 1.0]], "weight": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "bias": [0.0, 0.0, 1.0]},
        [[3, 7, 12]],
    ),
    ("matmul", {"x": LEFT, "y": LEFT, "transpose_x": False, "transpose_y": False}, [[7.0, 10.0], [15.0, 22.0]]),
    ("matmul", {"x": LEFT, "y": LEFT, "transpose_x": False, "transpose_y": True}, [[5.0, 11.0], [11.0, 25.0]]),
    ("matmul", {"x": LEFT, "y": LEFT, "transpose_x": True, "transpose_y": False}, [[10.0, 14.0], [14.0, 20.0]]),
    ("reduce_sum", {"x": LEFT, "axes": [1], "keep_dims": False}, [3.0, 7.0]),
    ("reduce_sum", {"x": LEFT, "axes": [0], "keep_dims": True}, [[4.0, 6.0]]),
    ("reduce_l2_norm", {"x": [[3.0, 4.0]], "axes": [-1], "keep_dims": True}, [[5.0]]),
    ("reshape", {"x": LEFT, "shape": [1, 4]}, [[1.0, 2.0, 3.0, 4.0]]),
    ("transpose", {"x": [LEFT], "perm": [0, -1, -2]}, [[[1.0, 3.0], [2.0, 4.0]]]),
    ("softmax", {"x": [[0.0, math.log(3)], [-1e4, 0.0]], "axis": -1}, [[0.25, 0.75], [0.0, 1.0]]),
    (
        "layer_norm",
        {"x": [[1.0, 3.0]], "axes": [-1], "gamma": [1.0, 10.0], "beta": [0.5, 0.5], "epsilon": 3.0},
        [[0.0, 5.5]],
    ),
    # by the normal distribution: 1.96 is passed by 2.5 % of it
    ("gelu", {"x": [0.0, 1.959964, -1.959964], "mode": "EXACT"}, [0.0, 1.959964 * 0.975, -1.959964 * 0.025]),
]


@pytest.mark.parametrize(("kind", "given", "expected"), CASES, ids=[case[0] for case in CASES])
def test_operation(kind: str, given: dict[str, Any], expected: Any) -> None:
    arrays = {
        name: np.array(value, dtype=np.int32 if name in {"indices", "perm", "shape"} else np.float32)
        if isinstance(value, list) and name != "axes"
        else value
        for name, value in given.items()
    }

    assert OPERATIONS[kind](arrays).tolist() == pytest.approx(np.array(expected), abs=1e-6)


def test_every_operation_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(OPERATIONS)


@pytest.mark.parametrize(("kind", "given"), [("gelu", {"mode": "TANH_APPROXIMATION"}), ("gather", {"batch_dims": 1})])
def test_variant_that_no_encoder_needs_is_an_error_and_not_a_guess(kind: str, given: dict[str, Any]) -> None:
    with pytest.raises(BackendError, match=kind):
        OPERATIONS[kind]({"x": np.zeros(1), "indices": np.zeros(1, dtype=np.int32), "axis": 0, **given})
