"""What may go into a backend and come out of it; runtimes themselves let each of these through or die of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.inference.fakes import SPEC
from tokenledger_dagster.inference.backend import BackendError
from tokenledger_dagster.inference.validation import checked_batch, checked_vectors

UNIT = [[1.0, 0.0], [0.6, 0.8]]


def test_a_batch_comes_out_as_contiguous_int64() -> None:
    ids, mask = checked_batch([[2, 99, 3], [2, 3, 0]], [[1, 1, 1], [1, 1, 0]], SPEC)

    assert ids.tolist() == [[2, 99, 3], [2, 3, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert ids.dtype == mask.dtype == np.int64
    assert checked_batch(np.asfortranarray(ids), mask, SPEC)[0].flags.c_contiguous
    same, _ = checked_batch(ids, mask, SPEC)
    assert same is ids


@pytest.mark.parametrize(
    ("ids", "mask", "told"),
    [
        ([1, 2], [1, 1], r"ids: shape \[2\] is no batch"),
        ([[]], [[]], "ids: holds float64, no whole numbers"),
        (np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3), dtype=np.int64), r"ids: shape \[0, 3\] is no batch"),
        (np.zeros((2, 0), dtype=np.int64), np.zeros((2, 0), dtype=np.int64), r"ids: shape \[2, 0\] is no batch"),
        ([[1, 2], [1]], [[1, 1], [1]], "ids: rows of different lengths"),
        ([[1.0, 2.0]], [[1, 1]], "ids: holds float64"),
        ([["a"]], [[1]], "ids: holds <U1"),
        ([[True]], [[1]], "ids: holds bool"),
        ([[1, 2]], [[1]], r"mask: shape \[1, 1\] is not that of ids, \[1, 2\]"),
        ([[1] * 17], [[1] * 17], "ids: 17 tokens in a row; the model takes 16"),
        ([[1, -1]], [[1, 1]], "ids: row 0, token 1 is -1, outside the vocabulary of 100"),
        ([[1, 2], [100, 1]], [[1, 1], [1, 1]], "ids: row 1, token 0 is 100, outside"),
        (np.array([[2**64 - 1]], dtype=np.uint64), [[1]], "ids: row 0, token 0 is -1, outside"),
        ([[1, 2]], [[1, 2]], "mask: holds more than 0 and 1"),
        ([[1, 2]], [[1, -1]], "mask: holds more than 0 and 1"),
        ([[1, 2]], [[1.0, 0.0]], "mask: holds float64"),
        ([[1, 2], [3, 4]], [[1, 0], [0, 0]], "mask: row 1 has no token"),
    ],
)
def test_what_is_no_batch_is_refused_before_any_backend_sees_it(ids: Any, mask: Any, told: str) -> None:
    with pytest.raises(BackendError, match=told):
        checked_batch(ids, mask, SPEC)


def test_an_answer_comes_out_as_contiguous_float32() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        vectors = checked_vectors(np.array(UNIT, dtype=dtype, order="F"), 2, 2, 0.01)

        assert vectors.dtype == np.float32
        assert vectors.flags.c_contiguous
        np.testing.assert_allclose(vectors, UNIT, atol=1e-3)


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        (None, "answer: is NoneType, no array of floats"),
        (UNIT, "answer: is list, no array of floats"),
        (np.array([[1, 0], [0, 1]]), "answer: is int64 numbers"),
        (np.array([[1j, 0], [0, 1]]), "answer: is complex128 numbers"),
        (np.array([[None, 0], [0, 1]]), "answer: is object numbers"),
        (np.array(UNIT[0]), r"answer: shape \[2\] instead of \[2, 2\]"),
        (np.array(UNIT[:1]), r"answer: shape \[1, 2\] instead of \[2, 2\]"),
        (np.array([UNIT]), r"answer: shape \[1, 2, 2\] instead of"),
        (np.array([[1.0, 0.0], [np.nan, 0.0]]), "answer: row 1 holds NaN or infinity; verify the model's weights"),
        (np.array([[np.inf, 0.0], [1.0, 0.0]]), "answer: row 0 holds NaN or infinity"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "answer: row 1 has the length 0 instead of 1"),
        (np.array([[1.0, 0.2], [1.0, 0.0]]), r"answer: row 0 has the length 1\.0198 instead of 1"),
        (np.array([[1e300, 1e300], [1.0, 0.0]]), "answer: row 0 has the length inf instead of 1"),
    ],
)
def test_what_is_no_set_of_unit_vectors_is_refused(vectors: Any, told: str) -> None:
    with pytest.raises(BackendError, match=told):
        checked_vectors(vectors, 2, 2, 0.01)


def test_no_rows_are_no_fault_of_an_answer() -> None:
    assert checked_vectors(np.zeros((0, 2), dtype=np.float32), 0, 2, 0.01).shape == (0, 2)


@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(width=32)))
def test_whatever_is_let_through_is_finite_and_of_length_one(vectors: Any) -> None:
    try:
        found = checked_vectors(vectors, *vectors.shape, 0.01)
    except BackendError:
        return
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=0.011)
