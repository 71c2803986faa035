"""A slow worker, the breaker and ONNX Runtime: what is answered by whom, and every metric on the way, second by second.

Here: a worker process that stops answering and recovers, asked through the real chain, cache, breaker, deadlines and
ONNX backend over a toy model; and the series that a metrics backend would have been sent.  Not here: assertions
(``test_breaker_demonstration``).  Of the real thing only the worker's program is another: it pretends to be Core ML.

    python tests/inference/measure_breaker.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402

from tokenledger_dagster.inference.backend import BackendName, EmbeddingBackend, Served  # noqa: E402
from tokenledger_dagster.inference.breaker import BreakerChange  # noqa: E402
from tokenledger_dagster.inference.chain import Chain  # noqa: E402
from tokenledger_dagster.inference.model_cache import Key, ModelCache  # noqa: E402
from tokenledger_dagster.inference.model_folder import Manifest  # noqa: E402
from tokenledger_dagster.inference.policy import Policy, policy  # noqa: E402
from tokenledger_dagster.observability.metrics import RecordingMetrics  # noqa: E402

HEALTHY, OPEN, RECOVERED = 6, 2, 3
"""Batches before the worker hangs, while the breaker is open, and after it closed again."""


class Emitted(NamedTuple):
    """One call of the metrics backend."""

    at_s: float
    """Since the beginning."""
    name: str
    labels: tuple[str, ...]
    """Values of the labels, in the order in which they were named."""
    value: float


class SeriesMetrics(RecordingMetrics):
    """Keeps every call with its time beside the sums."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._began_s = clock()
        self.emitted: list[Emitted] = []

    def counter(self, name: str, value: float = 1, **labels: str) -> None:
        super().counter(name, value, **labels)
        self._keep(name, value, labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        super().gauge(name, value, **labels)
        self._keep(name, value, labels)

    def histogram(self, name: str, value: float, **labels: str) -> None:
        super().histogram(name, value, **labels)
        self._keep(name, value, labels)

    def _keep(self, name: str, value: float, labels: dict[str, str]) -> None:
        self.emitted.append(Emitted(self._clock() - self._began_s, name, tuple(labels.values()), value))


class Answered(NamedTuple):
    """One batch."""

    at_s: float
    served: Served


class Demonstration(NamedTuple):
    """All that happened, in order."""

    answers: list[Answered]
    changes: list[tuple[BackendName, BreakerChange]]
    metrics: SeriesMetrics


def play(
    load: Callable[[Key], EmbeddingBackend],
    manifest: Manifest,
    rules: Policy,
    *,
    delay: Callable[[float], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Demonstration:
    """A worker that is well, hangs until its breaker opens and through one probe, and is well again.

    Args:
        load: makes `coreml` and `onnx`.
        manifest: of the model.
        rules: breaker and timeouts.
        delay: from now on the worker takes so many seconds.
        clock: seconds.
        sleep: lets seconds pass.
    """
    metrics = SeriesMetrics(clock)
    changes: list[tuple[BackendName, BreakerChange]] = []
    answers: list[Answered] = []
    cache = ModelCache(load, max_items=3, max_bytes=2**30, idle_ttl_s=3_600, clock=clock, metrics=metrics)
    chain = Chain(
        cache,
        manifest.weights_sha256,
        manifest.spec,
        rules,
        requested="coreml",
        clock=clock,
        metrics=metrics,
        tell=lambda name, change: changes.append((name, change)),
    )
    began = clock()

    def ask(count: int) -> None:
        for _ in range(count):
            answer = chain.embed([[2, 3]], [[1, 1]])
            answers.append(Answered(clock() - began, answer.served))

    ask(HEALTHY)
    delay(60)
    ask(rules.breaker.max_timeouts_in_row + OPEN)
    sleep(rules.breaker.cooldown_s)
    ask(1 + OPEN)  # the first of them is the probe, which still finds it hanging
    delay(0)
    sleep(rules.breaker.cooldown_s)
    ask(RECOVERED)
    cache.close()
    return Demonstration(answers, changes, metrics)


def measured(folder: Path, *, timeout_s: float, cooldown_s: float) -> Demonstration:
    """The same with a real process that is ended at real deadlines, and real ONNX Runtime beside it."""
    from tests.inference.toy import reopened, toy_model
    from tokenledger_dagster.inference.coreml_backend import start_coreml
    from tokenledger_dagster.inference.coreml_graph import PACKAGE_WEIGHTS
    from tokenledger_dagster.inference.loading import load_backend

    paths = toy_model(folder)
    manifest = msgspec.structs.replace(reopened(paths), coreml_tokens=16)
    weights = paths.mlpackage / PACKAGE_WEIGHTS
    weights.parent.mkdir(parents=True)
    weights.write_bytes(bytes(1_000))
    delay = paths.mlpackage / "delay"
    delay.write_text("0")
    shipped = policy()
    rules = msgspec.structs.replace(
        shipped,
        breaker=msgspec.structs.replace(shipped.breaker, cooldown_s=cooldown_s),
        timeouts=msgspec.structs.replace(shipped.timeouts, coreml=timeout_s),
        sla=msgspec.structs.replace(shipped.sla, coreml=timeout_s),
    )

    def load(key: Key) -> EmbeddingBackend:
        if key.backend == "coreml":
            dims = str(manifest.spec.dims)
            return start_coreml(paths, manifest, dims, target="tests.inference.slow_worker:main", load_s=60)
        return load_backend(key.backend, paths, manifest)

    def wait(seconds: float) -> None:
        temporary = delay.with_suffix(".new")
        temporary.write_text(str(seconds))
        temporary.replace(delay)

    return play(load, manifest, rules, delay=wait, clock=time.monotonic, sleep=time.sleep)


def told(found: Demonstration) -> str:
    """The three series, for a person."""
    lines = ["batches"]
    lines += [f"  {at_s:8.3f} s  {one.actual:<6} {one.precision}  {one.reason}" for at_s, one in found.answers]
    began = found.changes[0][1].at_s - _at(found, "open")
    lines += ["changes of the breaker"]
    lines += [
        f"  {change.at_s - began:8.3f} s  {name}: {change.before} -> {change.after}: {change.reason}"
        for name, change in found.changes
    ]
    lines += ["metrics"]
    lines += [
        f"  {one.at_s:8.3f} s  {one.name}{{{','.join(one.labels)}}} {one.value:.6g}" for one in found.metrics.emitted
    ]
    return "\n".join(lines)


def _at(found: Demonstration, state: str) -> float:
    return next(one.at_s for one in found.metrics.emitted if one.labels[-1:] == (state,))


def main(arguments: Any = None) -> None:
    """Plays and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds after which the worker is ended")
    parser.add_argument("--cooldown", type=float, default=2.0, help="seconds until a call is let through again")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(told(measured(Path(folder), timeout_s=args.timeout, cooldown_s=args.cooldown)))


if __name__ == "__main__":
    main()
