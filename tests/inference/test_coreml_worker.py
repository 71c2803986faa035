"""Core ML's worker process: it answers or is ended in time, another one follows, and none is ever left behind.

The workers are fakes that speak the real protocol; no test here needs coremltools or a Mac.
"""

from __future__ import annotations

import fcntl
import importlib.util
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from tests.inference import fakes
from tests.inference.fake_worker import ANSWERS, EXITS, FAILS, HOLDS, NAN, SHORT, SLEEPS, UNIT
from tests.inference.fakes import SPEC, FakeBackend
from tokenledger_dagster.inference.backend import (
    BackendError,
    BackendTimeoutError,
    EmbeddingBackend,
    LoadRefusedError,
)
from tokenledger_dagster.inference.chain import Chain
from tokenledger_dagster.inference.coreml_backend import CoreMlBackend, load_coreml, start_coreml
from tokenledger_dagster.inference.coreml_graph import PACKAGE_WEIGHTS
from tokenledger_dagster.inference.coreml_process import WorkerProcess
from tokenledger_dagster.inference.coreml_worker import IDS, MASK, VECTOR, ElsewhereError, core_ml, planned
from tokenledger_dagster.inference.model_cache import Key, ModelCache
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.inference.validation import checked_vectors

TOKENS = 8
"""Of the package; the model takes 16."""


class Bench(NamedTuple):
    """A model's folder with a package that fakes pretend to have loaded."""

    folder: ModelFolder
    opened: list[CoreMlBackend]

    def start(self, mode: str = "", *, target: str = "main", load_s: float = 10.0) -> CoreMlBackend:
        backend = start_coreml(
            self.folder, MANIFEST, mode, target=f"tests.inference.fake_worker:{target}", load_s=load_s
        )
        self.opened.append(backend)
        return backend

    def gone(self, within_s: float = 5.0) -> bool:
        """Whether no worker lives, or lives on for long."""
        with (self.folder.mlpackage / "alive").open("rb") as handle:
            return eventually(lambda: _lock(handle.fileno()), within_s)


MANIFEST = msgspec.structs.replace(fakes.MANIFEST, coreml_tokens=TOKENS)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    folder = ModelFolder(tmp_path)
    weights = folder.mlpackage / PACKAGE_WEIGHTS
    weights.parent.mkdir(parents=True)
    weights.write_bytes(bytes(1_000))
    made = Bench(folder, [])
    yield made
    for backend in made.opened:
        backend.close()


def eventually(holds: Callable[[], bool], within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def ask(backend: CoreMlBackend, *rows: list[int], timeout_s: float = 10.0) -> list[list[float]]:
    width = max(map(len, rows))
    ids = np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], dtype=np.int64)
    found: list[list[float]] = backend.embed(ids, mask, timeout_s=timeout_s).tolist()
    return found


def quietly(backend: CoreMlBackend, token: int, *, timeout_s: float) -> str:
    """Why a call failed; for threads, where nobody sees an exception."""
    try:
        return str(ask(backend, [token], timeout_s=timeout_s))
    except BackendError as error:
        return str(error)


def test_each_text_is_padded_to_the_packages_length(bench: Bench) -> None:
    backend = bench.start()

    answers = ask(backend, [ANSWERS, 40, 41], [ANSWERS, 50, 51, 52, 53])

    # first token, tokens, length of the frame, last token
    assert answers == [[1.0, 3.0, 8.0, 41.0], [1.0, 5.0, 8.0, 53.0]]
    assert (backend.name, backend.precision, backend.dims, backend.max_tokens) == ("coreml", "fp16", 4, TOKENS)
    assert backend.compute_unit == UNIT
    assert backend.size_bytes == 1_500


def test_padding_of_the_batch_beyond_the_packages_length_is_no_matter(bench: Bench) -> None:
    ids = np.zeros((1, 16), dtype=np.int64)
    mask = np.zeros_like(ids)
    ids[0, :2], mask[0, :2] = [ANSWERS, 9], 1

    assert bench.start().embed(ids, mask, timeout_s=10).tolist() == [[1.0, 2.0, 8.0, 9.0]]


def test_longer_text_is_refused_and_not_cut(bench: Bench) -> None:
    with pytest.raises(BackendError, match="9 tokens; the package takes 8, use another backend"):
        ask(bench.start(), [ANSWERS] * 9)


def test_hung_call_is_ended_at_the_deadline_and_another_worker_is_already_starting(bench: Bench) -> None:
    backend = bench.start()
    hung = backend.worker_pid
    started = time.monotonic()

    with pytest.raises(BackendTimeoutError, match="did not answer in time and was ended"):
        ask(backend, [SLEEPS], timeout_s=0.2)

    assert 0.2 <= time.monotonic() - started < 2
    assert hung is not None
    with pytest.raises(ProcessLookupError):
        os.kill(hung, 0)
    assert backend.worker_pid not in (None, hung)
    assert ask(backend, [ANSWERS, 5]) == [[1.0, 2.0, 8.0, 5.0]]


def test_killed_workers_leave_no_temporary_files(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    backend = bench.start()
    assert len(list(tmp_path.glob("tokenledger-coreml-*/compiled"))) == 1
    with pytest.raises(BackendTimeoutError):
        ask(backend, [SLEEPS], timeout_s=0.1)
    backend.close()

    assert list(tmp_path.glob("tokenledger-coreml-*")) == []


def test_system_that_starts_no_process_is_a_refused_load(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")

    with pytest.raises(LoadRefusedError, match="cannot be started") as refused:
        bench.start()

    assert refused.value.stage == "session"


def test_deadline_is_that_of_the_whole_batch(bench: Bench) -> None:
    backend = bench.start()

    with pytest.raises(BackendTimeoutError):
        ask(backend, [ANSWERS], [ANSWERS], [SLEEPS], [ANSWERS], timeout_s=0.2)


def test_worker_that_holds_the_interpreter_is_ended_all_the_same(bench: Bench) -> None:
    with pytest.raises(BackendTimeoutError):
        ask(bench.start(), [HOLDS], timeout_s=0.2)


def test_worker_that_dies_is_told_with_its_exit_code_and_replaced(bench: Bench) -> None:
    backend = bench.start()

    with pytest.raises(BackendError, match=r"ended by itself \(exit code 3\)"):
        ask(backend, [EXITS])

    assert ask(backend, [ANSWERS]) == [[1.0, 1.0, 8.0, 1.0]]


def test_worker_killed_between_two_calls_is_noticed_and_replaced(bench: Bench) -> None:
    backend = bench.start()
    assert backend.worker_pid is not None
    os.kill(backend.worker_pid, signal.SIGKILL)

    with pytest.raises(BackendError, match=r"ended by itself \(signal 9\)"):
        ask(backend, [ANSWERS])

    assert ask(backend, [ANSWERS]) == [[1.0, 1.0, 8.0, 1.0]]


def test_failure_of_the_model_is_one_line_and_the_worker_stays(bench: Bench) -> None:
    backend = bench.start()
    pid = backend.worker_pid

    with pytest.raises(BackendError, match=r"the model failed: no room on the Neural Engine$"):
        ask(backend, [FAILS])

    assert ask(backend, [ANSWERS]) == [[1.0, 1.0, 8.0, 1.0]]
    assert backend.worker_pid == pid


def test_nan_comes_through_and_is_refused_as_any_backends_would_be(bench: Bench) -> None:
    backend = bench.start()
    ids = np.array([[NAN, 5]])

    vectors = backend.embed(ids, np.ones_like(ids), timeout_s=10)

    with pytest.raises(BackendError, match="row 0 holds NaN"):
        checked_vectors(vectors, 1, 4, 0.01)


def test_answer_of_a_wrong_shape_ends_the_worker(bench: Bench) -> None:
    backend = bench.start()

    with pytest.raises(BackendError, match="answered 12 bytes instead of 4 numbers and was ended"):
        ask(backend, [SHORT])

    assert ask(backend, [ANSWERS]) == [[1.0, 1.0, 8.0, 1.0]]


@pytest.mark.parametrize("mode", ["flood", "huge"])
def test_worker_that_sends_what_nobody_asked_for_is_ended(bench: Bench, mode: str) -> None:
    backend = bench.start(mode, target="hostile")

    with pytest.raises(BackendError, match="sent what nobody asked for and was ended"):
        ask(backend, [ANSWERS])


def test_second_answer_to_one_question_is_none_to_the_next(bench: Bench) -> None:
    backend = bench.start("twice", target="hostile")
    assert ask(backend, [ANSWERS]) == [[0.0, 0.0, 0.0, 0.0]]

    with pytest.raises(BackendError, match="sent what nobody asked for and was ended"):
        ask(backend, [ANSWERS])


def test_half_an_answer_does_not_outlast_the_deadline(bench: Bench) -> None:
    backend = bench.start("half", target="hostile")
    started = time.monotonic()

    with pytest.raises(BackendTimeoutError):
        ask(backend, [ANSWERS], timeout_s=0.2)

    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("refuses", "cannot load the model: model.mlmodel: is no model"),
        ("exits", r"ended by itself \(exit code 9\)"),
        ("sleeps", "did not load the model in time and was ended"),
    ],
)
def test_worker_that_does_not_get_ready_is_a_refused_load(bench: Bench, mode: str, message: str) -> None:
    with pytest.raises(LoadRefusedError, match=message) as refused:
        bench.start(mode, load_s=0.5 if mode == "sleeps" else 10.0)

    assert refused.value.stage == "session"
    assert str(refused.value).startswith(f"{bench.folder.mlpackage}: ")
    assert bench.gone()


def test_package_that_was_not_built_is_refused_before_a_worker_starts(bench: Bench) -> None:
    (bench.folder.mlpackage / PACKAGE_WEIGHTS).unlink()

    with pytest.raises(LoadRefusedError, match="was not built") as refused:
        bench.start()

    assert refused.value.stage == "files"
    assert not (bench.folder.mlpackage / "alive").exists()


def test_call_that_meets_a_loading_worker_gives_up_and_lets_it_load(bench: Bench) -> None:
    backend = bench.start("slow again")
    with pytest.raises(BackendError):
        ask(backend, [EXITS])
    loading = backend.worker_pid

    with pytest.raises(BackendTimeoutError, match="is still loading the model"):
        ask(backend, [ANSWERS], timeout_s=0.05)

    assert ask(backend, [ANSWERS]) == [[1.0, 1.0, 8.0, 1.0]]
    assert backend.worker_pid == loading


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, -5.0, math.nan])
def test_no_time_is_no_answer_and_no_reason_to_end_a_worker(bench: Bench, timeout_s: float) -> None:
    backend = bench.start()
    worker = backend.worker_pid

    with pytest.raises(BackendTimeoutError, match=f"coreml: stopped, no answer within {timeout_s:g} s"):
        ask(backend, [ANSWERS], timeout_s=timeout_s)

    assert ask(backend, [ANSWERS]) == [[1, 1, TOKENS, 1]]
    assert backend.worker_pid == worker


@pytest.mark.parametrize("timeout_s", [math.inf, 1e12])
def test_time_without_end_is_time_enough(bench: Bench, timeout_s: float) -> None:
    assert ask(bench.start(), [ANSWERS], timeout_s=timeout_s) == [[1, 1, TOKENS, 1]]


def test_worker_that_is_idle_at_the_deadline_is_not_ended(bench: Bench) -> None:
    backend = bench.start()
    worker = backend._worker
    assert worker is not None

    with pytest.raises(BackendTimeoutError, match="no time is left to ask it"):
        worker.ask(bytes(4 * TOKENS), bytes(4 * TOKENS), SPEC.dims, time.monotonic())

    assert ask(backend, [ANSWERS]) == [[1, 1, TOKENS, 1]]
    assert backend._worker is worker


def test_answer_to_an_interrupted_call_is_not_taken_for_that_to_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = bench.start()

    def interrupted(worker: WorkerProcess, size: int, deadline: float) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WorkerProcess, "_received", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(backend, [ANSWERS, 7])

    assert ask(backend, [ANSWERS, 9]) == [[1, 2, TOKENS, 9]]


FORKED = """
import os, sys, time
from tests.inference.test_coreml_worker import ANSWERS, MANIFEST, TOKENS, ModelFolder, Path, ask, start_coreml

backend = start_coreml(ModelFolder(Path(sys.argv[1])), MANIFEST, "", target="tests.inference.fake_worker:main")
ours = backend.worker_pid
child = os.fork()
last = 20 if child else 40
right = all(ask(backend, [ANSWERS, last + n]) == [[1, 2, TOKENS, last + n]] for n in range(20))
same = backend.worker_pid == ours
backend.close()
if not child:
    os._exit(0 if right and not same else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(right, same, code)
"""


def test_fork_of_a_process_has_a_worker_of_its_own_and_its_own_answers(bench: Bench) -> None:
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found = subprocess.run(
        [sys.executable, "-c", FORKED, str(bench.folder.root)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **paths},
    )

    assert (found.stdout, found.stderr) == ("True True 0\n", "")
    assert bench.gone()


def test_package_that_was_replaced_is_not_loaded_by_the_next_worker(bench: Bench) -> None:
    backend = bench.start()
    weights = bench.folder.mlpackage / PACKAGE_WEIGHTS
    weights.with_suffix(".new").write_bytes(weights.read_bytes())
    weights.with_suffix(".new").rename(weights)
    assert ask(backend, [ANSWERS]) == [[1, 1, TOKENS, 1]], "what was loaded is still what was checked"

    with pytest.raises(BackendError, match="exit code 3"):
        ask(backend, [EXITS])
    with pytest.raises(LoadRefusedError, match="was replaced since it was checked; ask again") as refused:
        ask(backend, [ANSWERS])

    assert refused.value.stage == "sha256"
    assert backend.worker_pid is None


def test_package_that_would_run_on_the_processor_alone_is_refused(bench: Bench) -> None:
    with pytest.raises(LoadRefusedError) as refused:
        bench.start("on the processor")

    assert refused.value.stage == "providers"
    assert str(refused.value) == (
        "Core ML worker: CPU_AND_NE was asked for and all 391 operations are planned on the CPU; "
        "switch the feature `coreml` off"
    )
    assert bench.gone()


def test_chain_demotes_what_would_run_on_the_processor_alone_and_says_so(bench: Bench) -> None:
    starts = []

    def load(key: Key) -> EmbeddingBackend:
        if key.backend == "onnx":
            return FakeBackend("onnx")
        starts.append(key)
        return bench.start("on the processor")

    cache = ModelCache(load, max_items=3, max_bytes=1_000_000, idle_ttl_s=60)
    chain = Chain(cache, "5a" * 32, SPEC, policy(), requested="coreml")
    served = [chain.embed([[60, 2]], [[1, 1]]).served for _ in range(3)]
    cache.close()

    assert served[0] == served[1] == served[2]
    assert (served[0].requested, served[0].actual) == ("coreml", "onnx")
    assert served[0].reason == (
        "coreml: providers: Core ML worker: CPU_AND_NE was asked for and all 391 operations are planned on the CPU; "
        "switch the feature `coreml` off"
    )
    assert len(starts) == 1


def test_worker_started_anew_that_would_run_on_the_processor_alone_is_refused(bench: Bench) -> None:
    backend = bench.start("on the processor next time")
    assert ask(backend, [ANSWERS]) == [[1, 1, TOKENS, 1]]

    with pytest.raises(BackendError, match="exit code 3"):
        ask(backend, [EXITS])
    with pytest.raises(LoadRefusedError, match="all 391 operations are planned on the CPU") as refused:
        ask(backend, [ANSWERS])

    assert refused.value.stage == "providers"


def test_threads_are_served_one_after_the_other(bench: Bench) -> None:
    backend = bench.start()
    answers: dict[int, list[list[float]]] = {}

    def some(number: int) -> None:
        answers[number] = [ask(backend, [ANSWERS, number, place])[0] for place in range(20)]

    threads = [threading.Thread(target=some, args=(number,)) for number in range(10, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {number: [[1.0, 3.0, 8.0, float(place)] for place in range(20)] for number in range(10, 14)}


@pytest.mark.slow
def test_waiting_for_others_counts_towards_the_deadline(bench: Bench) -> None:
    backend = bench.start()
    first = threading.Thread(target=partial(quietly, backend, SLEEPS, timeout_s=1))
    first.start()
    assert eventually(backend._one_at_a_time.locked)

    with pytest.raises(BackendTimeoutError, match="others were being served"):
        ask(backend, [ANSWERS], timeout_s=0.05)

    first.join()


def test_close_ends_a_call_in_progress_and_the_worker(bench: Bench) -> None:
    backend = bench.start()
    faults: list[str] = []
    thread = threading.Thread(target=lambda: faults.append(quietly(backend, SLEEPS, timeout_s=30)))
    thread.start()
    assert eventually(backend._one_at_a_time.locked)
    backend.close()
    backend.close()
    thread.join(timeout=5)

    assert faults == ["coreml: was closed meanwhile; load it again"]
    assert backend.worker_pid is None
    assert bench.gone(0)
    with pytest.raises(BackendError, match="is closed"):
        ask(backend, [ANSWERS])


def test_forgotten_backend_ends_its_worker(bench: Bench) -> None:
    bench.start()
    bench.opened.clear()

    assert bench.gone()


ORPHAN = """
import os, sys, time
from tokenledger_dagster.inference.coreml_process import WorkerProcess

package, leave, token, timeout_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
worker = WorkerProcess("tests.inference.fake_worker:main", [package, ""], load_s=10)
worker.ready(time.monotonic() + 10)
if leave == "fork" and not os.fork():
    time.sleep(20)
    os._exit(0)
print("ready", flush=True)
if leave == "exit":
    sys.exit()
if leave == "_exit":
    os._exit(0)
if token:
    worker.ask(token.to_bytes(4, sys.byteorder), bytes(4), 4, time.monotonic() + timeout_s)
time.sleep(20)
"""


@contextmanager
def process_with_a_worker(bench: Bench, leave: str, token: int = 0, timeout_s: float = 10) -> Iterator[Any]:
    """Another process that has started a worker, asks it about ``token`` if any, and leaves or waits."""
    words = [sys.executable, "-c", ORPHAN, str(bench.folder.mlpackage), leave, str(token), str(timeout_s)]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": str(bench.folder.root)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, env={**os.environ, **paths}, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("leave", ["exit", "_exit"])
def test_no_worker_outlives_a_process_that_ends(bench: Bench, leave: str) -> None:
    with process_with_a_worker(bench, leave) as process:
        assert process.wait(timeout=10) == 0
        assert bench.gone()


@pytest.mark.slow
@pytest.mark.parametrize("token", [0, HOLDS], ids=["idle", "in a call that holds the interpreter"])
def test_no_worker_outlives_a_killed_process(bench: Bench, token: int) -> None:
    with process_with_a_worker(bench, "killed", token, timeout_s=0.4) as process:
        time.sleep(0.1)
        process.kill()
        # a hung worker ends itself a little after the deadline, which nobody is there to keep
        assert bench.gone()


def test_no_worker_outlives_a_killed_process_whose_fork_lives_on(bench: Bench) -> None:
    with process_with_a_worker(bench, "fork") as process:
        process.kill()
        assert bench.gone()


def test_core_ml_is_refused_elsewhere_with_nothing_imported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    loaded = "coremltools" in sys.modules

    with pytest.raises(LoadRefusedError, match="coreml: runs on macOS, this is linux; use `onnx`") as refused:
        load_coreml(bench.folder, MANIFEST)

    assert refused.value.stage == "platform"
    assert ("coremltools" in sys.modules) is loaded


def test_mac_without_coremltools_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(LoadRefusedError, match="coremltools is not installed; run `make setup-inference`") as refused:
        load_coreml(bench.folder, MANIFEST)

    assert refused.value.stage == "platform"


def test_starting_a_worker_imports_neither_numpy_nor_coremltools() -> None:
    code = (
        "import sys, tokenledger_dagster.inference.coreml_worker, tokenledger_dagster.inference.coreml_process;"
        "print({'numpy', 'coremltools', 'duckdb', 'dagster'} & {name.split('.')[0] for name in sys.modules})"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


class FakeCoreMl:
    """As much of coremltools as a worker uses, with a package of given names."""

    def __init__(self, names: list[str], *, plan: Any = None) -> None:
        self.ComputeUnit = {"CPU_AND_NE": "units", "CPU_ONLY": "units"}
        self.models = SimpleNamespace(MLModel=self.load, compute_plan=SimpleNamespace(MLComputePlan=self))
        self.names, self.plan = names, plan
        self.given: dict[str, Any] = {}

    def load(self, package: str, *, compute_units: str) -> FakeCoreMl:
        assert (package, compute_units) == ("a.mlpackage", "units")
        return self

    def get_spec(self) -> Any:
        *inputs, output = [SimpleNamespace(name=name) for name in self.names]
        return SimpleNamespace(description=SimpleNamespace(input=inputs, output=[output]))

    def get_compiled_model_path(self) -> str:
        return "a.mlmodelc"

    def load_from_path(self, path: str, *, compute_units: str) -> Any:
        assert (path, compute_units) == ("a.mlmodelc", "units")
        if self.plan is None:
            raise ValueError("MLComputePlan is not supported.")
        return self.plan

    def predict(self, given: dict[str, Any]) -> dict[str, Any]:
        self.given = given
        return {VECTOR: np.array([[0.6, 0.8]], dtype=np.float64)}


def test_model_is_asked_with_named_int32_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCoreMl([IDS, MASK, VECTOR], plan=plan_of([MLNeuralEngineComputeDevice()]))
    monkeypatch.setitem(sys.modules, "coremltools", fake)

    loaded = core_ml("a.mlpackage", "CPU_AND_NE")
    answer = loaded.predict(np.array([7, 0], np.int32).tobytes(), np.array([1, 0], np.int32).tobytes())

    assert loaded.compute_unit == "CPU_AND_NE, planned: operations 1 on the Neural Engine"
    assert {name: (array.dtype, array.tolist()) for name, array in fake.given.items()} == {
        IDS: (np.int32, [[7, 0]]),
        MASK: (np.int32, [[1, 0]]),
    }
    assert np.frombuffer(answer, np.float32).tolist() == pytest.approx([0.6, 0.8])


def test_mac_that_tells_no_plan_runs_the_model_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", FakeCoreMl([IDS, MASK, VECTOR]))

    assert core_ml("a.mlpackage", "CPU_AND_NE").compute_unit == "CPU_AND_NE, no plan (ValueError)"


def test_part_of_the_plan_on_the_processor_is_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of([MLCPUComputeDevice(), MLNeuralEngineComputeDevice(), MLCPUComputeDevice()])
    monkeypatch.setitem(sys.modules, "coremltools", FakeCoreMl([IDS, MASK, VECTOR], plan=plan))

    found = core_ml("a.mlpackage", "CPU_AND_NE").compute_unit

    assert found == "CPU_AND_NE, planned: operations 1 on the Neural Engine, 2 on the CPU"


def test_plan_on_the_processor_alone_is_told_where_more_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of([None, MLCPUComputeDevice(), MLCPUComputeDevice()])
    monkeypatch.setitem(sys.modules, "coremltools", FakeCoreMl([IDS, MASK, VECTOR], plan=plan))

    with pytest.raises(ElsewhereError, match="CPU_AND_NE was asked for and all 2 operations are planned on the CPU"):
        core_ml("a.mlpackage", "CPU_AND_NE")


def test_plan_on_the_processor_alone_is_right_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCoreMl([IDS, MASK, VECTOR], plan=plan_of([MLCPUComputeDevice()]))
    monkeypatch.setitem(sys.modules, "coremltools", fake)

    assert core_ml("a.mlpackage", "CPU_ONLY").compute_unit == "CPU_ONLY, planned: operations 1 on the CPU"


def test_package_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", FakeCoreMl(["image", "label"]))

    with pytest.raises(ValueError, match=r"a\.mlpackage: takes and gives image, label; build the model again"):
        core_ml("a.mlpackage", "CPU_AND_NE")


class MLNeuralEngineComputeDevice: ...


class MLCPUComputeDevice: ...


class MLFutureDevice: ...


def test_plan_counts_operations_by_device_and_leaves_constants_out() -> None:
    devices = [None, MLNeuralEngineComputeDevice(), None, MLCPUComputeDevice(), MLNeuralEngineComputeDevice()]

    assert planned(plan_of(devices)) == {"Neural Engine": 2, "CPU": 1}
    assert planned(plan_of([MLFutureDevice()])) == {"MLFutureDevice": 1}
    assert planned(plan_of([None])) == {}


def plan_of(devices: list[Any]) -> Any:
    """As much of a `MLComputePlan` as is read: each operation is its own device."""
    block = SimpleNamespace(operations=devices)
    program = SimpleNamespace(functions={"main": SimpleNamespace(block=block)})
    return SimpleNamespace(
        model_structure=SimpleNamespace(program=program),
        get_compute_device_usage_for_mlprogram_operation=lambda device: (
            None if device is None else SimpleNamespace(preferred_compute_device=device)
        ),
    )
