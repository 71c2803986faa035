"""The numpy and the ONNX backend: the same vectors, hard time limits, any batch, many threads, an end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference.toy import padded, reopened, toy_model
from tokenledger_dagster.inference import batch_run, numpy_backend
from tokenledger_dagster.inference.backend import BackendError, BackendName, BackendTimeoutError, EmbeddingBackend
from tokenledger_dagster.inference.encoder import as_float64, reference_vector
from tokenledger_dagster.inference.loading import load_backend
from tokenledger_dagster.inference.model_folder import Manifest, ModelFolder
from tokenledger_dagster.inference.processor_threads import limited_threads
from tokenledger_dagster.inference.weights import read_weights

for package in ("onnx", "onnxruntime", "safetensors", "threadpoolctl", "tokenizers"):
    pytest.importorskip(package, reason="the extra `inference` is not installed")

from threadpoolctl import threadpool_info, threadpool_limits  # noqa: E402

NAMES: tuple[BackendName, ...] = ("onnx", "numpy")
LONG = 30.0
"""Seconds; no call of the small model takes that."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return toy_model(tmp_path_factory.mktemp("backends"))


@pytest.fixture(scope="module")
def manifest(folder: ModelFolder) -> Manifest:
    return reopened(folder)


@pytest.fixture(scope="module")
def slow_folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """One whose largest piece of a batch takes some tenths of a second."""
    folder = tmp_path_factory.mktemp("slow")
    return toy_model(folder, layers=4, dims=128, heads=4, intermediate=256, max_tokens=64)


@pytest.fixture(scope="module")
def slow_batch() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """One piece: 4096 tokens."""
    ids = np.random.default_rng(5).integers(0, 204, size=(64, 64))
    return ids, np.ones_like(ids)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> BackendName:
    named: BackendName = request.param
    return named


@pytest.fixture
def backend(folder: ModelFolder, manifest: Manifest, name: BackendName) -> Iterator[EmbeddingBackend]:
    loaded = load_backend(name, folder, manifest)
    yield loaded
    loaded.close()


def one_minus_cos(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float((1 - (one * other).sum(axis=1) / lengths).max())


def test_what_they_say_of_themselves(folder: ModelFolder, manifest: Manifest) -> None:
    onnx, numpy = (load_backend(name, folder, manifest) for name in NAMES)

    assert (onnx.name, onnx.precision, onnx.compute_unit) == ("onnx", "fp32", "CPUExecutionProvider")
    assert (onnx.dims, onnx.max_tokens) == (32, 32)
    assert onnx.size_bytes == int(1.5 * folder.onnx.stat().st_size)
    assert (numpy.name, numpy.precision, numpy.compute_unit) == ("numpy", "fp32", "CPU")
    assert (numpy.dims, numpy.max_tokens) == (32, 32)
    assert numpy.size_bytes == sum(one.nbytes for one in read_weights(folder.weights, manifest.spec).values())


def test_golden_texts_get_the_float64_vectors(backend: EmbeddingBackend, manifest: Manifest) -> None:
    found = backend.embed(*padded([one.ids for one in manifest.golden]), timeout_s=LONG)
    expected = np.array([one.vector for one in manifest.golden])

    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5
    assert one_minus_cos(found, expected) <= 1e-6


@pytest.fixture(scope="module")
def loaded(folder: ModelFolder, manifest: Manifest) -> dict[BackendName, EmbeddingBackend]:
    return {name: load_backend(name, folder, manifest) for name in NAMES}


@pytest.fixture(scope="module")
def reference(folder: ModelFolder, manifest: Manifest) -> Callable[[list[int]], list[float]]:
    weights = as_float64(read_weights(folder.weights, manifest.spec))
    return lambda ids: reference_vector(weights, manifest.spec, ids)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(
    rows=st.lists(st.lists(st.integers(0, 203), min_size=1, max_size=32), min_size=1, max_size=9),
    wider=st.integers(0, 31),
    junk=st.integers(0, 203),
    order=st.randoms(use_true_random=False),
)
def test_neither_neighbours_nor_order_nor_padding_change_a_vector(
    loaded: dict[BackendName, EmbeddingBackend],
    reference: Callable[[list[int]], list[float]],
    name: BackendName,
    rows: list[list[int]],
    wider: int,
    junk: int,
    order: Random,
) -> None:
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)
    ids, mask = padded([rows[one] for one in shuffled])
    room = min(wider, 32 - ids.shape[1])
    ids = np.pad(ids, ((0, 0), (0, room)))
    mask = np.pad(mask, ((0, 0), (0, room)))
    ids[mask == 0] = junk

    found = loaded[name].embed(ids, mask, timeout_s=LONG)

    expected = np.array([reference(rows[one]) for one in shuffled])
    assert np.abs(found - expected).max() <= 1e-5
    assert one_minus_cos(found, expected) <= 1e-6


def test_batch_of_any_size_is_computed_in_pieces(backend: EmbeddingBackend, name: BackendName) -> None:
    # 400 rows of 32 are 12,800 tokens, and a piece has 4096 at the most
    random = np.random.default_rng(5)
    ids = random.integers(0, 204, size=(400, 32))
    mask = np.ones_like(ids)

    found = backend.embed(ids, mask, timeout_s=LONG)

    alone = np.concatenate([backend.embed(ids[row : row + 1], mask[:1], timeout_s=LONG) for row in (0, 127, 128, 399)])
    assert found.shape == (400, 32)
    assert np.abs(found[[0, 127, 128, 399]] - alone).max() <= 1e-5


@pytest.mark.parametrize(
    ("ids", "mask", "reason"),
    [
        ([[2, -1]], [[1, 1]], "row 0, token 1 is -1, outside the vocabulary of 204"),
        ([[2, 204]], [[1, 1]], "row 0, token 1 is 204, outside the vocabulary of 204"),
        ([[2, 3], [2, 3]], [[1, 1], [0, 0]], "mask: row 1 has no token"),
        ([[2, 3]], [[1, 2]], "mask: holds more than 0 and 1"),
        ([[2, 3]], [[1]], "mask: shape [1, 1] is not that of ids, [1, 2]"),
        ([2, 3], [1, 1], "ids: shape [2] is no batch"),
        ([[]], [[]], "ids: "),
        ([[2] * 33], [[1] * 33], "ids: 33 tokens in a row; the model takes 32"),
    ],
)
def test_what_is_no_batch_is_refused_and_the_next_is_answered(
    backend: EmbeddingBackend, manifest: Manifest, ids: object, mask: object, reason: str
) -> None:
    with pytest.raises(BackendError) as refused:
        backend.embed(np.array(ids), np.array(mask), timeout_s=LONG)

    assert reason in str(refused.value)
    assert not isinstance(refused.value, BackendTimeoutError)
    golden = manifest.golden[1]
    found = backend.embed(*padded([golden.ids]), timeout_s=LONG)[0]
    assert found.tolist() == pytest.approx(golden.vector, abs=1e-5)


def test_late_call_is_stopped_and_the_next_is_answered(
    slow_folder: ModelFolder, slow_batch: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], name: BackendName
) -> None:
    backend = load_backend(name, slow_folder, reopened(slow_folder))
    threads = set(threading.enumerate())
    started = time.monotonic()
    whole = backend.embed(*slow_batch, timeout_s=LONG)
    takes = time.monotonic() - started
    stopped_after = []
    for _ in range(3):  # the machine may be busy at one of these moments
        started = time.monotonic()
        with pytest.raises(BackendTimeoutError, match=f"^{name}: stopped, no answer within 0.005 s$"):
            backend.embed(*slow_batch, timeout_s=0.005)
        stopped_after.append(time.monotonic() - started)

    assert min(stopped_after) < 0.8 * takes
    assert set(threading.enumerate()) == threads
    assert np.array_equal(backend.embed(*slow_batch, timeout_s=LONG), whole)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.nan])
def test_no_time_is_no_answer(backend: EmbeddingBackend, name: BackendName, timeout_s: float) -> None:
    with pytest.raises(BackendTimeoutError, match=f"^{name}: stopped, no answer within {timeout_s:g} s$"):
        backend.embed(*padded([[2, 3]]), timeout_s=timeout_s)


def test_time_without_end_is_time_enough(backend: EmbeddingBackend, manifest: Manifest) -> None:
    golden = manifest.golden[1]

    for timeout_s in (math.inf, 1e12):
        found = backend.embed(*padded([golden.ids]), timeout_s=timeout_s)[0]
        assert found.tolist() == pytest.approx(golden.vector, abs=1e-5)


def test_answered_call_leaves_no_thread(backend: EmbeddingBackend) -> None:
    threads = set(threading.enumerate())

    for _ in range(20):
        backend.embed(*padded([[2, 3]]), timeout_s=LONG)

    assert set(threading.enumerate()) == threads


def test_no_thread_to_watch_the_time_is_a_failure_and_not_an_unwatched_call(
    folder: ModelFolder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load_backend("onnx", folder, manifest)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(BackendError, match="onnx: no thread can be started to watch the time"):
        backend.embed(*padded([[2, 3]]), timeout_s=LONG)


def test_many_threads_get_the_vectors_that_one_gets(backend: EmbeddingBackend, manifest: Manifest) -> None:
    batches = [padded([one.ids]) for one in manifest.golden]
    alone = [backend.embed(*batch, timeout_s=LONG) for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda batch: backend.embed(*batch, timeout_s=LONG), batches * 20))

    assert all(np.array_equal(found, alone[place % len(alone)]) for place, found in enumerate(together))


def test_closed_backend_says_so(backend: EmbeddingBackend, name: BackendName) -> None:
    backend.close()
    backend.close()

    with pytest.raises(BackendError, match=f"{name}: is closed; load it again"):
        backend.embed(*padded([[2, 3]]), timeout_s=LONG)


def test_call_that_is_under_way_outlives_the_close(
    slow_folder: ModelFolder, slow_batch: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]], name: BackendName
) -> None:
    backend = load_backend(name, slow_folder, reopened(slow_folder))
    whole = backend.embed(*slow_batch, timeout_s=LONG)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(backend.embed, *slow_batch, timeout_s=LONG)
        time.sleep(0.005)
        assert call.running()
        backend.close()
        assert np.array_equal(call.result(), whole)


def test_batch_that_memory_has_no_room_for_is_a_failure(
    backend: EmbeddingBackend, name: BackendName, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(batch_run, "checked_batch", full)

    with pytest.raises(BackendError, match=f"{name}: there is not enough memory for the batch"):
        backend.embed(*padded([[2, 3]]), timeout_s=LONG)


def test_numpy_takes_the_threads_that_were_asked_for_while_it_computes_and_gives_them_back(
    folder: ModelFolder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = numpy_backend.forward

    def observed(*given: Any, **options: Any) -> Any:
        seen.append(blas_threads())
        return real(*given, **options)

    monkeypatch.setattr(numpy_backend, "forward", observed)
    with threadpool_limits(3, user_api="blas"):
        most = blas_threads()
        for threads in (1, 2):
            backend = load_backend("numpy", folder, manifest, threads=threads)
            seen.clear()
            backend.embed(*padded([[2, 3]]), timeout_s=LONG)

            assert (seen, blas_threads()) == ([min(threads, most)], most)


def test_limit_of_threads_ends_with_the_last_of_several_calls() -> None:
    with threadpool_limits(3, user_api="blas"):
        most = blas_threads()
        first, second = limited_threads(1), limited_threads(2)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert blas_threads() == min(1, most)
        second.__exit__(None, None, None)
        assert blas_threads() == most


def blas_threads() -> int:
    """Threads that numpy's library takes now; 0 where nothing can be told of it."""
    return max((one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"), default=0)


def test_session_takes_the_threads_that_were_asked_for_and_no_more(
    folder: ModelFolder, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    opened: list[onnxruntime.SessionOptions] = []
    real = onnxruntime.InferenceSession

    def observed(path: object, options: onnxruntime.SessionOptions, **given: object) -> object:
        if isinstance(path, str):  # and not one of the probes of the capability check
            opened.append(options)
        return real(path, options, **given)

    monkeypatch.setattr(onnxruntime, "InferenceSession", observed)
    load_backend("onnx", folder, manifest)
    load_backend("onnx", folder, manifest, threads=2)

    assert [one.intra_op_num_threads for one in opened] == [1, 2]
    assert [one.inter_op_num_threads for one in opened] == [1, 1]
    assert [one.get_session_config_entry("session.intra_op.allow_spinning") for one in opened] == ["0", "0"]
