"""Who answers when a backend cannot, and what is told about it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.inference.fakes import SHA256, SPEC, Clock, FakeBackend, Loader, broken, small_policy
from tokenledger_dagster.inference.backend import BackendError, BackendName, LoadRefusedError, LoadStage, Served
from tokenledger_dagster.inference.breaker import BreakerChange
from tokenledger_dagster.inference.chain import Chain
from tokenledger_dagster.inference.model_cache import ModelCache
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import RecordingMetrics

IDS = [[60, 2, 3], [80, 3, 0]]
MASK = [[1, 1, 1], [1, 1, 0]]
UNITS = [[0.6, 0.8, 0.0, 0.0], [0.8, 0.6, 0.0, 0.0]]
NOT_HERE = "coreml: platform: Core ML runs on macOS alone; switch the feature `coreml` off"


class Bench:
    """A chain over three fake backends."""

    def __init__(self, requested: BackendName = "coreml", **breaker: Any) -> None:
        self.clock, self.metrics = Clock(), RecordingMetrics()
        self.coreml = FakeBackend("coreml", precision="fp16", clock=self.clock, seconds=0.1)
        self.onnx = FakeBackend("onnx", clock=self.clock, seconds=0.2)
        self.numpy = FakeBackend("numpy", clock=self.clock, seconds=0.3)
        self.loader = Loader(self.coreml, self.onnx, self.numpy)
        self.cache = ModelCache(
            self.loader, max_items=3, max_bytes=1_000, idle_ttl_s=3_600, clock=self.clock, metrics=self.metrics
        )
        self.changes: list[tuple[BackendName, BreakerChange]] = []
        self.chain = Chain(
            self.cache,
            SHA256,
            SPEC,
            small_policy(**breaker),
            requested=requested,
            clock=self.clock,
            metrics=self.metrics,
            tell=lambda name, change: self.changes.append((name, change)),
        )

    def served(self) -> Served:
        answer = self.chain.embed(IDS, MASK)
        np.testing.assert_allclose(answer.vectors, UNITS, atol=1e-6)
        return answer.served

    def demotions(self, backend: str, reason: str) -> float | None:
        return self.metrics.value(names.INFERENCE_DEMOTIONS, backend=backend, reason=reason)


def test_the_backend_asked_for_answers_and_no_reason_is_told() -> None:
    bench = Bench("onnx")

    assert bench.served() == Served("onnx", "onnx", "", "fp32", "onnx unit", SHA256)
    assert bench.loader.loaded == ["onnx"]
    assert bench.metrics.value(names.INFERENCE_CALLS, requested="onnx", backend="onnx", outcome="ok") == 1
    assert bench.metrics.observations(names.INFERENCE_CALL_DURATION, backend="onnx") == [pytest.approx(0.2)]


def test_what_is_not_loaded_is_passed_over_with_its_step_and_message() -> None:
    bench = Bench()
    bench.loader.refusals["coreml"] = LoadRefusedError("platform", NOT_HERE.replace("coreml: platform: ", "coreml: "))

    assert bench.served() == Served("coreml", "onnx", NOT_HERE, "fp32", "onnx unit", SHA256)
    assert bench.demotions("coreml", "platform") == 1


def test_every_backend_passed_over_is_named() -> None:
    bench = Bench()
    bench.loader.refusals["coreml"] = LoadRefusedError("platform", "no macOS")
    bench.loader.refusals["onnx"] = LoadRefusedError("sha256", "model.onnx: changed; build it again")

    found = bench.served()

    assert found.actual == "numpy"
    assert found.reason == "coreml: platform: no macOS; onnx: sha256: model.onnx: changed; build it again"


def test_a_refused_load_is_not_repeated_for_every_batch_but_after_a_while() -> None:
    bench = Bench()
    bench.loader.refusals["coreml"] = LoadRefusedError("golden", "differs by 0.2")
    for _ in range(5):
        bench.served()
    assert bench.loader.loaded == ["coreml", "onnx"]
    assert bench.demotions("coreml", "golden") == 5

    bench.clock.sleep(30)
    bench.loader.refusals.clear()

    assert bench.served().actual == "coreml"
    assert bench.changes == []


@pytest.mark.parametrize("stage", ["platform", "providers"])
def test_what_the_machine_refuses_is_not_asked_again(stage: LoadStage) -> None:
    bench = Bench()
    bench.loader.refusals["coreml"] = LoadRefusedError(stage, "all 391 operations are planned on the CPU")
    for _ in range(3):
        served = bench.served()
        assert served.reason == f"coreml: {stage}: all 391 operations are planned on the CPU"
        bench.clock.sleep(3_000)

    assert bench.loader.loaded.count("coreml") == 1
    assert bench.demotions("coreml", stage) == 3


def test_a_loaded_backend_that_refuses_is_given_up_and_not_held_against_its_calls() -> None:
    bench = Bench()
    assert bench.served().actual == "coreml"
    bench.coreml.fault = LoadRefusedError("sha256", "weight.bin: was replaced since it was checked; ask again")

    served = bench.served()

    assert (served.actual, served.reason) == (
        "onnx",
        "coreml: sha256: weight.bin: was replaced since it was checked; ask again",
    )
    assert bench.coreml.closed == 1
    bench.coreml.fault = None
    bench.clock.sleep(30)
    assert bench.served().actual == "coreml"
    assert bench.loader.loaded == ["coreml", "onnx", "coreml"]
    assert bench.changes == []


@pytest.mark.parametrize(
    ("spoil", "label", "reason"),
    [
        ({"fault": broken()}, "error", "coreml: the runtime failed: out of memory; use smaller batches"),
        ({"seconds": 9.0}, "timeout", "coreml: no answer within 5 s; the worker was stopped"),
        (
            {"answer": lambda ids: None},
            "error",
            "coreml: answer: is NoneType, no array of floats; build the model again",
        ),
        (
            {"answer": lambda ids: np.full((len(ids), 4), np.nan, dtype=np.float32)},
            "error",
            "coreml: answer: row 0 holds NaN or infinity; verify the model's weights",
        ),
        (
            {"answer": lambda ids: np.zeros((len(ids), 4), dtype=np.float32)},
            "error",
            "coreml: answer: row 0 has the length 0 instead of 1; build the model again",
        ),
        (
            {"answer": lambda ids: np.ones((1, 4), dtype=np.float32)},
            "error",
            "coreml: answer: shape [1, 4] instead of [2, 4]; build the model again",
        ),
    ],
)
def test_the_batch_that_a_backend_fails_on_is_answered_by_the_next(
    spoil: dict[str, Any], label: str, reason: str
) -> None:
    bench = Bench()
    for name, value in spoil.items():
        setattr(bench.coreml, name, value)

    assert bench.served() == Served("coreml", "onnx", reason, "fp32", "onnx unit", SHA256)
    assert bench.demotions("coreml", label) == 1
    assert bench.metrics.value(names.INFERENCE_CALLS, requested="coreml", backend="coreml", outcome=label) == 1
    assert bench.metrics.value(names.INFERENCE_CALLS, requested="coreml", backend="onnx", outcome="ok") == 1


def test_a_batch_that_is_none_is_refused_and_held_against_nobody() -> None:
    bench = Bench()

    for _ in range(20):
        with pytest.raises(BackendError, match="token 0 is 100, outside the vocabulary"):
            bench.chain.embed([[100]], [[1]])

    assert bench.loader.loaded == []
    assert bench.changes == []


def test_a_text_longer_than_a_backend_takes_goes_to_the_next_and_is_held_against_nobody() -> None:
    bench = Bench()
    bench.coreml.max_tokens = 2

    for _ in range(9):
        found = bench.served()

    assert found.actual == "onnx"
    assert found.reason == "coreml: takes 2 tokens of a text, this batch has 3"
    assert bench.demotions("coreml", "tokens") == 9
    assert bench.loader.loaded == ["coreml", "onnx"]
    assert bench.changes == []
    answer = bench.chain.embed([[60, 2]], [[1, 1]])
    assert (answer.served.actual, answer.served.precision) == ("coreml", "fp16")


def test_a_backend_that_keeps_failing_is_passed_over_without_being_called_and_given_up() -> None:
    bench = Bench()
    bench.coreml.fault = broken()
    for _ in range(4):
        bench.served()
    calls = len(bench.coreml.batches)
    assert bench.coreml.closed == 1

    found = bench.served()

    assert len(bench.coreml.batches) == calls == 4
    assert found.actual == "onnx"
    assert found.reason == (
        "coreml: circuit breaker open: 0 of 4 calls were answered, less than 0.95 of them; "
        "last: the runtime failed: out of memory; use smaller batches"
    )
    assert bench.demotions("coreml", "open") == 1
    assert bench.metrics.value(names.INFERENCE_BREAKER, backend="coreml", state="open") == 1
    assert bench.metrics.value(names.INFERENCE_EVICTIONS, reason="unhealthy") == 1


def test_after_the_cooldown_it_is_loaded_anew_and_one_good_call_brings_it_back() -> None:
    bench = Bench()
    bench.coreml.fault = broken()
    for _ in range(4):
        bench.served()
    bench.clock.sleep(30)
    bench.coreml.fault = None

    assert bench.served().actual == "coreml"
    assert bench.served().reason == ""
    assert bench.loader.loaded == ["coreml", "onnx", "coreml"]
    assert [(name, change.after) for name, change in bench.changes] == [
        ("coreml", "open"),
        ("coreml", "half_open"),
        ("coreml", "closed"),
    ]


def test_a_worker_that_answers_but_too_slowly_is_passed_over_by_its_percentile() -> None:
    """19 calls of 0.1 s, then one of 1.5 s against an SLA of 1 s: no failure, and yet over."""
    bench = Bench(min_samples=20, window_calls=100)
    for _ in range(19):
        assert bench.served().actual == "coreml"
    bench.coreml.seconds = 1.5
    assert bench.served().actual == "coreml"

    assert bench.served().reason == "coreml: circuit breaker open: the 99th percentile of 20 calls is 1.5 s, above 1 s"
    # it was slow and not broken: the same one is asked again
    bench.coreml.seconds = 0.1
    bench.clock.sleep(30)
    assert bench.served().actual == "coreml"
    assert bench.loader.loaded == ["coreml", "onnx"]
    assert [change.after for _, change in bench.changes] == ["open", "half_open", "closed"]


def test_a_probe_that_cannot_be_loaded_has_failed() -> None:
    bench = Bench()
    bench.coreml.fault = broken()
    for _ in range(4):
        bench.served()
    bench.clock.sleep(30)
    bench.loader.refusals["coreml"] = LoadRefusedError("golden", "differs by 0.2")

    assert bench.served().reason == "coreml: golden: differs by 0.2"
    assert bench.changes[-1][1].reason == "the call let through failed: golden: differs by 0.2"
    # its load is asked again after the cooldown, and then it may come back
    bench.coreml.fault = None
    bench.loader.refusals.clear()
    bench.clock.sleep(30)
    assert bench.served().actual == "coreml"


def test_a_probe_that_dies_leaves_its_place_to_the_next_call() -> None:
    bench = Bench()
    bench.coreml.fault = broken()
    for _ in range(4):
        bench.served()
    bench.clock.sleep(30)
    bench.coreml.fault = None
    bench.loader.refusals["coreml"] = RuntimeError("a fault of the program")
    with pytest.raises(RuntimeError, match="a fault of the program"):
        bench.chain.embed(IDS, MASK)
    bench.loader.refusals.clear()

    assert bench.served().actual == "coreml"


def test_with_nothing_left_one_error_names_every_reason() -> None:
    bench = Bench()
    bench.loader.refusals["coreml"] = LoadRefusedError("platform", "no macOS")
    bench.onnx.fault = broken()
    bench.numpy.seconds = 9.0

    with pytest.raises(BackendError) as found:
        bench.chain.embed(IDS, MASK)

    assert str(found.value) == (
        "no backend answered: coreml: platform: no macOS; "
        "onnx: the runtime failed: out of memory; use smaller batches; "
        "numpy: no answer within 5 s; the worker was stopped; run `tokenledger models verify`"
    )


def test_backends_before_the_requested_one_are_not_tried() -> None:
    bench = Bench("numpy")
    bench.numpy.fault = broken()

    with pytest.raises(BackendError, match="no backend answered: numpy: the runtime failed"):
        bench.chain.embed(IDS, MASK)
    assert bench.loader.loaded == ["numpy"]


def test_a_closed_cache_is_told_as_such() -> None:
    bench = Bench()
    bench.cache.close()

    with pytest.raises(BackendError, match="model cache: is closed"):
        bench.chain.embed(IDS, MASK)


def test_threads_share_one_loading_and_get_their_own_answers() -> None:
    bench = Bench("onnx")
    bench.onnx.seconds = 0  # the clock is everybody's: eight calls at a time would look slow to each of them
    start = threading.Barrier(8)
    found: dict[int, float] = {}

    def ask(number: int) -> None:
        start.wait(10)
        for _ in range(20):
            answer = bench.chain.embed([[number]], [[1]])
            found[number] = float(answer.vectors[0, 0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert found == pytest.approx({number: number / 100 for number in range(8)})
    assert bench.loader.loaded == ["onnx"]
    assert bench.cache.standing().leases == 0
