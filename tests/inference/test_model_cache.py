"""The cache of loaded models: what stays, what goes and why, and that nothing in use is ever closed."""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.inference.fakes import Clock, FakeBackend
from tokenledger_dagster.inference.backend import BackendError, EmbeddingBackend, LoadRefusedError
from tokenledger_dagster.inference.model_cache import CacheStanding, Key, ModelCache
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import NoopMetrics, RecordingMetrics


def key(name: str) -> Key:
    return Key(name, "onnx")


class Shelf:
    """Makes a new backend for each load and keeps all of them; sizes by the first letter of the key."""

    def __init__(self, sizes: dict[str, int] | None = None) -> None:
        self.sizes = sizes or {}
        self.loads: list[str] = []
        self.made: dict[str, list[FakeBackend]] = {}
        self.faults: list[Exception] = []

    def __call__(self, key: Key) -> EmbeddingBackend:
        name = key.model_sha256
        self.loads.append(name)
        if self.faults:
            raise self.faults.pop()
        backend = FakeBackend(size_bytes=self.sizes.get(name, 1))
        self.made.setdefault(name, []).append(backend)
        return backend

    def closed(self) -> dict[str, list[int]]:
        """How often each backend ever made was closed."""
        return {name: [one.closed for one in made] for name, made in self.made.items()}


def cache_of(shelf: Any, clock: Clock | None = None, **limits: Any) -> ModelCache:
    figures = {"max_items": 2, "max_bytes": 100, "idle_ttl_s": 60, **limits}
    return ModelCache(shelf, clock=clock or Clock(), **figures)


def use(cache: ModelCache, *names: str) -> None:
    for name in names:
        with cache.lease(key(name)):
            pass


def test_a_model_is_loaded_once_and_shared() -> None:
    shelf, metrics = Shelf(), RecordingMetrics()
    cache = cache_of(shelf, metrics=metrics)

    with cache.lease(key("a")) as first, cache.lease(key("a")) as second:
        assert first is second
        assert cache.standing() == CacheStanding(models=1, size_bytes=1, leases=2, evictions={}, over_limit="")

    assert shelf.loads == ["a"]
    assert metrics.value(names.INFERENCE_CACHE, outcome="miss") == 1
    assert metrics.value(names.INFERENCE_CACHE, outcome="hit") == 1
    assert metrics.value(names.INFERENCE_CACHE_BYTES) == 1
    assert metrics.observations(names.INFERENCE_LOAD_DURATION, backend="onnx") == [0.0]


def test_threads_and_compute_units_make_another_model() -> None:
    shelf = Shelf()
    cache = cache_of(shelf, max_items=3)

    for one in (Key("a", "onnx"), Key("a", "onnx", threads=2), Key("a", "coreml", 1, "CPU_AND_NE")):
        with cache.lease(one):
            pass

    assert shelf.loads == ["a", "a", "a"]


def test_the_least_recently_used_goes_first() -> None:
    shelf = Shelf()
    cache = cache_of(shelf)

    use(cache, "a", "b", "a", "c")

    assert shelf.closed() == {"a": [0], "b": [1], "c": [0]}
    assert cache.standing().evictions == {"capacity": 1}


def test_what_is_too_large_together_goes_by_bytes() -> None:
    shelf = Shelf({"a": 40, "b": 40, "c": 50})
    cache = cache_of(shelf, max_items=9)

    use(cache, "a", "b", "c")

    assert shelf.closed() == {"a": [1], "b": [0], "c": [0]}
    assert cache.standing() == CacheStanding(models=2, size_bytes=90, leases=0, evictions={"bytes": 1}, over_limit="")


def test_a_model_larger_than_everything_is_used_and_then_goes() -> None:
    shelf = Shelf({"whale": 1_000})
    cache = cache_of(shelf)

    with cache.lease(key("whale")):
        assert cache.standing().over_limit == "1,000 bytes instead of 100 loaded, since they are in use"
    assert shelf.closed() == {"whale": [1]}
    assert cache.standing().evictions == {"bytes": 1}


def test_nothing_in_use_goes_even_when_everything_is_and_that_is_told() -> None:
    shelf = Shelf()
    cache = cache_of(shelf, max_items=1)

    with cache.lease(key("a")):
        with cache.lease(key("b")):
            assert shelf.closed() == {"a": [0], "b": [0]}
            assert cache.standing().over_limit == "2 models instead of 1 loaded, since they are in use"
        # the first lease to end brings it back below the limit
        assert shelf.closed() == {"a": [0], "b": [1]}
        assert cache.standing().over_limit == ""
    assert shelf.closed() == {"a": [0], "b": [1]}


def test_idle_models_go_when_the_cache_is_used_next_but_not_the_one_that_is_wanted() -> None:
    shelf, clock = Shelf(), Clock()
    cache = cache_of(shelf, clock)
    use(cache, "a", "b")

    clock.sleep(60)
    cache.sweep()
    assert cache.standing().evictions == {}

    clock.sleep(0.5)
    use(cache, "a")

    assert shelf.closed() == {"a": [0], "b": [1]}
    assert shelf.loads == ["a", "b"]
    assert cache.standing().evictions == {"idle": 1}


def test_a_model_in_use_is_not_idle_however_long() -> None:
    shelf, clock = Shelf(), Clock()
    cache = cache_of(shelf, clock)

    with cache.lease(key("a")):
        clock.sleep(1_000)
        cache.sweep()
        assert shelf.closed() == {"a": [0]}
    cache.sweep()

    assert shelf.closed() == {"a": [0]}


def test_a_discarded_model_is_closed_after_its_last_lease_and_loaded_anew() -> None:
    shelf = Shelf()
    cache = cache_of(shelf)

    with cache.lease(key("a")) as old:
        cache.discard(key("a"))
        with cache.lease(key("a")) as new:
            assert new is not old
            assert shelf.closed() == {"a": [0, 0]}
        cache.discard(key("none"))
    assert shelf.closed() == {"a": [1, 0]}
    assert cache.standing().evictions == {"unhealthy": 1}


def test_what_is_given_up_but_in_use_still_counts() -> None:
    shelf = Shelf({"a": 60, "b": 60})
    cache = cache_of(shelf)

    with cache.lease(key("a")):
        cache.discard(key("a"))
        use(cache, "b")
        assert cache.standing().size_bytes == 60
    assert shelf.closed() == {"a": [1], "b": [1]}
    assert cache.standing().evictions == {"unhealthy": 1, "bytes": 1}


def test_close_waits_for_nothing_and_closes_what_is_in_use_when_that_ends() -> None:
    shelf = Shelf()
    cache = cache_of(shelf)
    use(cache, "a")

    with cache.lease(key("b")):
        cache.close()
        assert shelf.closed() == {"a": [1], "b": [0]}
        cache.close()
        with pytest.raises(BackendError, match="is closed; open the embedder again"), cache.lease(key("c")):
            pass
    assert shelf.closed() == {"a": [1], "b": [1]}
    assert cache.standing() == CacheStanding(0, 0, 0, {"closed": 2}, "")


def test_a_lease_ends_when_its_block_fails() -> None:
    shelf = Shelf()
    cache = cache_of(shelf)

    with pytest.raises(RuntimeError, match="planted"), cache.lease(key("a")):
        raise RuntimeError("planted")

    assert cache.standing().leases == 0


def test_a_failed_load_is_told_and_the_next_asks_again() -> None:
    shelf = Shelf()
    shelf.faults = [LoadRefusedError("sha256", "model.onnx: changed; build it again")]
    cache = cache_of(shelf)

    with pytest.raises(LoadRefusedError, match=r"model\.onnx: changed"), cache.lease(key("a")):
        pass
    assert cache.standing() == CacheStanding(0, 0, 0, {}, "")
    use(cache, "a")

    assert shelf.loads == ["a", "a"]


def test_one_backend_that_cannot_be_closed_does_not_keep_the_others() -> None:
    shelf = Shelf()
    cache = cache_of(shelf)
    use(cache, "a", "b")

    def refuse() -> None:
        raise BackendError("the worker does not end")

    shelf.made["a"][0].close = refuse  # type: ignore[method-assign]
    with pytest.raises(BackendError, match="does not end"):
        cache.close()

    assert shelf.closed() == {"a": [0], "b": [1]}


class Gate(Shelf):
    """Holds every load until it is let through; knows when one has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.opened = threading.Event(), threading.Event()

    def __call__(self, key: Key) -> EmbeddingBackend:
        self.begun.set()
        assert self.opened.wait(10)
        return super().__call__(key)


def in_threads(cache: ModelCache, gate: Gate, count: int) -> list[object]:
    """What each of so many threads gets that asks for the same model while it is being loaded."""
    found: list[object] = []

    def ask() -> None:
        try:
            with cache.lease(key("a")) as backend:
                found.append(backend)
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    threads[0].start()
    assert gate.begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    while any(flight.waiters < count - 1 for flight in cache._flights.values()):
        threading.Event().wait(0.001)
    gate.opened.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    return found


def test_threads_that_ask_together_load_once() -> None:
    gate = Gate()
    cache = cache_of(gate)

    found = in_threads(cache, gate, 8)

    assert gate.loads == ["a"]
    assert found == [gate.made["a"][0]] * 8
    assert cache.standing().leases == 0


def test_threads_that_ask_together_all_get_the_error_and_the_next_asks_again() -> None:
    gate = Gate()
    error = LoadRefusedError("golden", "model.onnx: differs by 0.2; build it again")
    gate.faults = [error]
    cache = cache_of(gate)

    assert in_threads(cache, gate, 8) == [error] * 8
    assert gate.loads == ["a"]
    use(cache, "a")
    assert gate.loads == ["a", "a"]


def test_those_who_wait_find_the_model_loaded_even_where_it_is_too_large_to_stay() -> None:
    gate = Gate()
    gate.sizes = {"a": 1_000}
    cache = cache_of(gate)

    assert in_threads(cache, gate, 8) == [gate.made["a"][0]] * 8
    assert gate.closed() == {"a": [1]}


def test_a_load_that_is_interrupted_leaves_nobody_waiting() -> None:
    begun, opened = threading.Event(), threading.Event()

    def load(_: Key) -> EmbeddingBackend:
        begun.set()
        assert opened.wait(10)
        raise KeyboardInterrupt

    cache = cache_of(load)
    found: list[str] = []

    def ask() -> None:
        try:
            with cache.lease(key("a")):
                pass
        except KeyboardInterrupt:
            found.append("interrupted")
        except BackendError as error:
            found.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    while any(not flight.waiters for flight in cache._flights.values()):
        threading.Event().wait(0.001)
    opened.set()
    for thread in threads:
        thread.join(10)

    assert sorted(found) == ["interrupted", "onnx: loading was interrupted; ask again"]


def test_metrics_that_fail_keep_nobody_waiting_for_a_model() -> None:
    class Away(NoopMetrics):
        def histogram(self, name: str, value: float, **labels: str) -> None:
            raise OSError("the receiver is away")

    cache = cache_of(Shelf(), metrics=Away())
    with pytest.raises(OSError, match="the receiver is away"):
        use(cache, "a")

    assert cache._flights == {}
    use(cache, "a")


def test_a_model_that_arrives_after_the_cache_was_closed_serves_who_asked_and_goes() -> None:
    gate = Gate()
    cache = cache_of(gate)
    found: list[int] = []

    def ask() -> None:
        with cache.lease(key("a")) as backend:
            assert isinstance(backend, FakeBackend)
            found.append(backend.closed)

    thread = threading.Thread(target=ask)
    thread.start()
    assert gate.begun.wait(10)
    cache.close()
    gate.opened.set()
    thread.join(10)

    assert found == [0]
    assert gate.closed() == {"a": [1]}
    assert cache.standing().evictions == {"closed": 1}


def test_threads_in_any_order_never_meet_a_closed_model_and_each_is_closed_once() -> None:
    shelf = Shelf({"a": 40, "b": 40, "c": 40, "d": 40})
    cache = cache_of(shelf)
    start = threading.Barrier(8)
    faults: list[object] = []

    def ask(seed: int) -> None:
        choose = random.Random(seed)
        start.wait(10)
        for _ in range(200):
            name = choose.choice("abcd")
            with cache.lease(key(name)) as backend:
                assert isinstance(backend, FakeBackend)
                if choose.random() < 0.1:
                    cache.discard(key(name))
                if backend.closed:
                    faults.append(name)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = cache.standing()
    assert (found.leases, found.over_limit, faults) == (0, "", [])
    cache.close()

    assert {closed for made in shelf.closed().values() for closed in made} == {1}
    assert sum(cache.standing().evictions.values()) == len(shelf.loads)


SIZES = {"a": 10, "b": 20, "c": 30, "d": 120}


class CacheMachine(RuleBasedStateMachine):
    """Leases, time, discards and loads that fail, in any order, against a list of what a simple cache would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf, self.clock, self.metrics = Shelf(SIZES), Clock(), RecordingMetrics()
        self.cache = cache_of(self.shelf, self.clock, max_items=2, max_bytes=100, idle_ttl_s=60, metrics=self.metrics)
        self.leases: list[tuple[str, FakeBackend, ExitStack]] = []
        self.held: list[str] = []
        """The model's own idea of what may be handed out, least recently asked first."""
        self.used: dict[str, float] = {}
        self.given_up: list[tuple[str, FakeBackend]] = []
        self.closed = False

    def in_use(self, name: str) -> bool:
        lost = [backend for _, backend in self.given_up]
        return any(held == name and backend not in lost for held, backend, _ in self.leases)

    def trim(self) -> None:
        free = [name for name in self.held if not self.in_use(name)]
        for name in free:
            if self.clock() - self.used[name] > 60:
                self.held.remove(name)
        for name in free:
            live = [*self.held, *(name for name, _ in self.given_up)]
            if name in self.held and (len(live) > 2 or sum(SIZES[one] for one in live) > 100):
                self.held.remove(name)

    def give_up(self, name: str) -> None:
        self.held.remove(name)
        for held, backend, _ in self.leases:
            if held == name and (name, backend) not in self.given_up and backend is self.shelf.made[name][-1]:
                self.given_up.append((name, backend))

    @precondition(lambda self: not self.closed)
    @rule(name=st.sampled_from(sorted(SIZES)), fails=st.booleans())
    def acquire(self, name: str, fails: bool) -> None:
        loads = len(self.shelf.loads)
        self.shelf.faults = [LoadRefusedError("session", "planted")] if fails else []
        stack = ExitStack()
        if name in self.held:
            backend = stack.enter_context(self.cache.lease(key(name)))
            assert len(self.shelf.loads) == loads
            self.held.remove(name)
        elif fails:
            with pytest.raises(LoadRefusedError, match="planted"):
                stack.enter_context(self.cache.lease(key(name)))
            self.trim()
            return
        else:
            backend = stack.enter_context(self.cache.lease(key(name)))
            assert self.shelf.loads[loads:] == [name]
        assert isinstance(backend, FakeBackend)
        self.trim()
        self.held.append(name)
        self.used[name] = self.clock()
        self.leases.append((name, backend, stack))
        self.trim()

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name, backend, stack = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        stack.close()
        if (name, backend) in self.given_up:
            if backend not in [one for _, one, _ in self.leases]:
                self.given_up.remove((name, backend))
        else:
            self.used[name] = self.clock()
        self.trim()

    @rule(seconds=st.sampled_from([1.0, 59.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule()
    def sweep(self) -> None:
        self.cache.sweep()
        self.trim()

    @rule(name=st.sampled_from(sorted(SIZES)))
    def discard(self, name: str) -> None:
        self.cache.discard(key(name))
        if name in self.held:
            self.give_up(name)

    @precondition(lambda self: self.leases)
    @rule()
    def close(self) -> None:
        self.cache.close()
        self.closed = True
        for name in list(self.held):
            self.give_up(name)

    @invariant()
    def nothing_in_use_is_closed(self) -> None:
        assert [name for name, backend, _ in self.leases if backend.closed] == []

    @invariant()
    def nothing_is_closed_twice_and_what_is_held_is_open(self) -> None:
        lost = [backend for _, backend in self.given_up]
        for name, made in self.shelf.made.items():
            for backend in made:
                newest = backend is made[-1]
                held = (newest and name in self.held) or backend in lost
                assert backend.closed == (0 if held else 1), name

    @invariant()
    def limits_hold_where_they_can(self) -> None:
        found = self.cache.standing()
        live = [*self.held, *(name for name, _ in self.given_up)]
        assert (found.models, found.size_bytes) == (len(live), sum(SIZES[name] for name in live))
        assert found.leases == len(self.leases)
        if found.over_limit:
            assert all(self.in_use(name) for name in self.held)
        assert bool(found.over_limit) == (found.models > 2 or found.size_bytes > 100)

    @invariant()
    def every_load_is_loaded_or_told_as_given_up(self) -> None:
        found = self.cache.standing()
        loaded = sum(map(len, self.shelf.made.values()))
        assert loaded == len(self.held) + sum(found.evictions.values())
        for reason, count in found.evictions.items():
            assert self.metrics.value(names.INFERENCE_EVICTIONS, reason=reason) == count
        if loaded:
            assert self.metrics.value(names.INFERENCE_CACHE_BYTES) == found.size_bytes

    def teardown(self) -> None:
        for _, _, stack in self.leases:
            stack.close()
        self.cache.close()
        assert {count for made in self.shelf.closed().values() for count in made} <= {1}
        assert self.cache.standing().size_bytes == 0


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(max_examples=60, stateful_step_count=30)
