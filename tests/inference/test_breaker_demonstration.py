"""A worker that hangs and comes back: what is answered meanwhile, and the series that tell of it, literally."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.inference.fakes import MANIFEST, Clock, FakeBackend, Loader
from tests.inference.measure_breaker import Demonstration, measured, play, told
from tokenledger_dagster.inference.policy import policy
from tokenledger_dagster.observability import names

SERIES = """
     0.0 load_duration_seconds coreml
     0.1 calls_total coreml coreml ok
     0.2 calls_total coreml coreml ok
     0.3 calls_total coreml coreml ok
     0.4 calls_total coreml coreml ok
     0.5 calls_total coreml coreml ok
     0.6 calls_total coreml coreml ok
     5.6 calls_total coreml coreml timeout
     5.6 demoted_calls_total coreml timeout
     5.6 load_duration_seconds onnx
     5.8 calls_total coreml onnx ok
    10.8 calls_total coreml coreml timeout
    10.8 demoted_calls_total coreml timeout
    11.0 calls_total coreml onnx ok
    16.0 calls_total coreml coreml timeout
    16.0 breaker_changes_total coreml open
    16.0 demoted_calls_total coreml timeout
    16.2 calls_total coreml onnx ok
    16.2 demoted_calls_total coreml open
    16.4 calls_total coreml onnx ok
    16.4 demoted_calls_total coreml open
    16.6 calls_total coreml onnx ok
    76.6 breaker_changes_total coreml half_open
    81.6 calls_total coreml coreml timeout
    81.6 breaker_changes_total coreml open
    81.6 demoted_calls_total coreml timeout
    81.8 calls_total coreml onnx ok
    81.8 demoted_calls_total coreml open
    82.0 calls_total coreml onnx ok
    82.0 demoted_calls_total coreml open
    82.2 calls_total coreml onnx ok
   142.2 breaker_changes_total coreml half_open
   142.3 calls_total coreml coreml ok
   142.3 breaker_changes_total coreml closed
   142.4 calls_total coreml coreml ok
   142.5 calls_total coreml coreml ok
   142.5 evicted_models_total closed
   142.5 evicted_models_total closed
"""
LEFT_OUT = (names.INFERENCE_CALL_DURATION, names.INFERENCE_CACHE, names.INFERENCE_CACHE_BYTES)


def series(found: Demonstration) -> list[str]:
    """Seconds, name and labels of all that was emitted, but for what is summed up below."""
    return [
        " ".join([f"{one.at_s:.1f}", one.name.removeprefix("tokenledger_inference_"), *one.labels])
        for one in found.metrics.emitted
        if one.name not in LEFT_OUT
    ]


def without_times(lines: list[str]) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in lines]


def fake() -> Demonstration:
    """Seconds are those of a clock that calls move: 0.1 s of the worker, 0.2 s of ONNX, 5 s until one is stopped."""
    clock = Clock()
    coreml = FakeBackend("coreml", precision="fp16", clock=clock, seconds=0.1)
    onnx = FakeBackend("onnx", clock=clock, seconds=0.2)

    def delay(seconds: float) -> None:
        coreml.seconds = seconds or 0.1

    return play(Loader(coreml, onnx), MANIFEST, policy(), delay=delay, clock=clock, sleep=clock.sleep)


def test_a_hanging_worker_is_passed_over_probed_and_taken_back() -> None:
    found = fake()

    assert series(found) == [" ".join(line.split()) for line in SERIES.strip().splitlines()]


def test_every_batch_is_answered_and_says_by_whom_and_why() -> None:
    found = fake()

    stopped = "coreml: no answer within 5 s; the worker was stopped"
    why = stopped.removeprefix("coreml: ")
    opened = f"coreml: circuit breaker open: 3 calls in a row were stopped; last: {why}"
    still = f"coreml: circuit breaker open: the call let through failed: {why}"
    assert [(one.actual, one.precision, one.reason) for _, one in found.answers] == [
        *[("coreml", "fp16", "")] * 6,
        *[("onnx", "fp32", stopped)] * 3,
        *[("onnx", "fp32", opened)] * 2,
        ("onnx", "fp32", stopped),
        *[("onnx", "fp32", still)] * 2,
        *[("coreml", "fp16", "")] * 3,
    ]
    assert [(round(change.at_s - 1_000, 1), change.before, change.after) for _, change in found.changes] == [
        (16.0, "closed", "open"),
        (76.6, "open", "half_open"),
        (81.6, "half_open", "open"),
        (142.2, "open", "half_open"),
        (142.3, "half_open", "closed"),
    ]


def test_sums_of_the_series() -> None:
    metrics = fake().metrics

    calls = {
        (backend, outcome): metrics.value(names.INFERENCE_CALLS, requested="coreml", backend=backend, outcome=outcome)
        for backend in ("coreml", "onnx")
        for outcome in ("ok", "error", "timeout")
    }
    assert calls == {
        ("coreml", "ok"): 9,
        ("coreml", "error"): None,
        ("coreml", "timeout"): 4,
        ("onnx", "ok"): 8,
        ("onnx", "error"): None,
        ("onnx", "timeout"): None,
    }
    assert metrics.value(names.INFERENCE_DEMOTIONS, backend="coreml", reason="timeout") == 4
    assert metrics.value(names.INFERENCE_DEMOTIONS, backend="coreml", reason="open") == 4
    assert metrics.value(names.INFERENCE_CACHE, outcome="miss") == 2
    assert metrics.value(names.INFERENCE_CACHE, outcome="hit") == 19
    assert metrics.value(names.INFERENCE_CACHE_BYTES) == 0
    durations = metrics.observations(names.INFERENCE_CALL_DURATION, backend="coreml")
    assert durations == pytest.approx([0.1] * 6 + [5.0] * 4 + [0.1] * 3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the worker inherits a Unix socket")
def test_the_same_with_a_real_process_and_real_deadlines(tmp_path: Path) -> None:
    """The same series: a process that is ended and started again behaves as the fake one."""
    for package in ("onnx", "onnxruntime", "safetensors", "tokenizers"):
        pytest.importorskip(package, reason="the extra `inference` is not installed")

    found = measured(tmp_path / "model", timeout_s=1.5, cooldown_s=1.0)

    assert without_times(series(found)) == without_times(SERIES.strip().splitlines())
    assert [one.actual for _, one in found.answers] == ["coreml"] * 6 + ["onnx"] * 8 + ["coreml"] * 3
    assert "closed -> open: 3 calls in a row were stopped" in told(found)
