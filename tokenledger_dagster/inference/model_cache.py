"""Loaded models, shared and bounded: who asks gets a lease, and what nobody holds may go.

Here: least-recently-used eviction by number, by accounted bytes and by idle time; leases, so that nothing in use is
closed; loading each model once however many threads ask. Not here: how a model is loaded (`loading`), and which one is
asked (`chain`). There is no thread of its own: idle models go when the cache is used next, or by `sweep`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, NamedTuple

from tokenledger_dagster.inference.backend import BackendError, BackendName, EmbeddingBackend
from tokenledger_dagster.observability import names
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics

__all__ = ["CacheStanding", "EvictionReason", "Key", "ModelCache"]

EvictionReason = Literal["capacity", "bytes", "idle", "unhealthy", "closed"]


class Key(NamedTuple):
    """What is loaded once: the weights, and everything that makes one loading of them differ from another."""

    model_sha256: str
    backend: BackendName
    threads: int = 1
    compute_units: str = ""
    """Of Core ML; "" for the others."""


class CacheStanding(NamedTuple):
    """What the cache holds and did so far."""

    models: int
    """Loaded, those that are given up but still in use among them."""
    size_bytes: int
    """Accounted, of the same."""
    leases: int
    evictions: dict[EvictionReason, int]
    over_limit: str
    """Why more is loaded than the limits say, for a person; "" where it is not."""


class _Entry:
    """A loaded model. Changed under the cache's lock alone."""

    def __init__(self, key: Key, backend: EmbeddingBackend, leases: int, now: float) -> None:
        self.key = key
        self.backend = backend
        self.size_bytes = backend.size_bytes
        self.leases = leases
        self.last_used = now
        self.given_up = False
        """No longer handed out; closed when the last lease ends."""


class _Flight:
    """A loading under way, and who waits for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.waiters = 0
        self.entry: _Entry | None = None
        """With one lease for each waiter, so that none of them finds it evicted."""
        self.error: Exception | None = None


class ModelCache:
    """Loaded models by key. Safe to use from several threads.

    Limits are kept whenever they can be: with every model in use more than the limits is loaded, `standing` tells so,
    and what is too much goes as soon as a lease ends. A model that alone is larger than `max_bytes` is loaded, used
    and evicted.
    """

    def __init__(
        self,
        load: Callable[[Key], EmbeddingBackend],
        *,
        max_items: int,
        max_bytes: int,
        idle_ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
        metrics: MetricsBackend | None = None,
    ) -> None:
        """Load nothing yet.

        Args:
            load: makes the backend of a key; called without any lock held, and never twice at a time for one key.
            max_items: models loaded at most.
            max_bytes: their `size_bytes` together at most.
            idle_ttl_s: seconds after its last use from which a model may go.
            clock: seconds, never falling.
            metrics: where loads, hits and evictions are told.
        """
        self._load = load
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._idle_ttl_s = idle_ttl_s
        self._clock = clock
        self._metrics = NoopMetrics() if metrics is None else metrics
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        """Least recently used first."""
        self._given_up: list[_Entry] = []
        self._flights: dict[Key, _Flight] = {}
        self._evictions: Counter[EvictionReason] = Counter()
        self._closed = False

    @contextmanager
    def lease(self, key: Key) -> Iterator[EmbeddingBackend]:
        """The loaded model, which stays loaded until the block ends.

        Raises:
            LoadRefusedError: it was not loaded; every thread that waited for this loading gets the same error, and the
                next to ask loads again.
            BackendError: the cache is closed.
        """
        entry = self._acquire(key)
        try:
            yield entry.backend
        finally:
            self._release(entry)

    def discard(self, key: Key) -> None:
        """Give up a model that does not work; who asks next has it loaded anew. Without one nothing happens."""
        with self._lock:
            entry = self._entries.get(key)
            gone = [] if entry is None else self._give_up([entry], "unhealthy")
        self._close_all(gone)

    def sweep(self) -> None:
        """Close what was not used for longer than the idle time."""
        with self._lock:
            gone = self._trim()
        self._close_all(gone)

    def close(self) -> None:
        """Close what nobody holds, and the rest as its leases end; wait for nothing. A second call does nothing."""
        with self._lock:
            self._closed = True
            gone = self._give_up(list(self._entries.values()), "closed")
        self._close_all(gone)

    def standing(self) -> CacheStanding:
        """What is loaded at this moment."""
        with self._lock:
            live = self._live()
            held, size = len(live), sum(entry.size_bytes for entry in live)
            over = [f"{held} models instead of {self._max_items}"] if held > self._max_items else []
            over += [f"{size:,} bytes instead of {self._max_bytes:,}"] if size > self._max_bytes else []
            return CacheStanding(
                models=held,
                size_bytes=size,
                leases=sum(entry.leases for entry in live),
                evictions=dict(self._evictions),
                over_limit=f"{' and '.join(over)} loaded, since they are in use" if over else "",
            )

    def _acquire(self, key: Key) -> _Entry:
        """An entry with one lease for the caller."""
        with self._lock:
            if self._closed:
                raise BackendError("model cache: is closed; open the embedder again")
            entry = self._entries.get(key)
            self._metrics.counter(names.INFERENCE_CACHE, outcome="miss" if entry is None else "hit")
            if entry is not None:
                entry.leases += 1
                self._entries.move_to_end(key)
                flight, leads = None, False
            else:
                flight = self._flights.get(key)
                leads = flight is None
                if flight is None:
                    flight = self._flights[key] = _Flight()
                else:
                    flight.waiters += 1
            # after the hit, so that a model is not thrown away at the moment it is wanted
            gone = self._trim()
        self._close_all(gone)
        if entry is not None:
            return entry
        assert flight is not None
        return self._fly(key, flight) if leads else self._wait(flight)

    def _fly(self, key: Key, flight: _Flight) -> _Entry:
        """Loads for all who wait."""
        started = self._clock()
        try:
            backend = self._load(key)
            entry = _Entry(key, backend, 0, self._clock())
        except BaseException as error:
            with self._lock:
                del self._flights[key]
                interrupted = BackendError(f"{key.backend}: loading was interrupted; ask again")
                flight.error = error if isinstance(error, Exception) else interrupted
            flight.done.set()
            raise
        seconds = self._clock() - started
        with self._lock:
            del self._flights[key]
            entry.leases = 1 + flight.waiters
            flight.entry = self._entries[key] = entry
            self._tell_size()
            gone = self._give_up([entry], "closed") if self._closed else self._trim()
        flight.done.set()
        self._close_all(gone)
        # last, so that whatever becomes of it nobody waits for ever
        self._metrics.histogram(names.INFERENCE_LOAD_DURATION, seconds, backend=key.backend)
        return entry

    @staticmethod
    def _wait(flight: _Flight) -> _Entry:
        """What another thread loads; its error where it fails."""
        flight.done.wait()
        if flight.error is not None:
            raise flight.error
        assert flight.entry is not None
        return flight.entry

    def _release(self, entry: _Entry) -> None:
        with self._lock:
            entry.leases -= 1
            entry.last_used = self._clock()
            gone = []
            if entry.given_up and not entry.leases:
                self._given_up.remove(entry)
                gone.append(entry)
                self._tell_size()
            gone += self._trim()
        self._close_all(gone)

    def _trim(self) -> list[_Entry]:
        """Gives up what is idle, then what is too much; returns what must be closed. Under the lock."""
        now = self._clock()
        free = [entry for entry in self._entries.values() if not entry.leases]
        gone = self._give_up([entry for entry in free if now - entry.last_used > self._idle_ttl_s], "idle")
        for entry in free:
            if entry.given_up:
                continue
            live = self._live()
            if len(live) > self._max_items:
                gone += self._give_up([entry], "capacity")
            elif sum(one.size_bytes for one in live) > self._max_bytes:
                gone += self._give_up([entry], "bytes")
            else:
                break
        return gone

    def _give_up(self, entries: Iterable[_Entry], reason: EvictionReason) -> list[_Entry]:
        """Hands these out no more; returns those that nobody holds. Under the lock."""
        gone = []
        for entry in entries:
            del self._entries[entry.key]
            entry.given_up = True
            self._evictions[reason] += 1
            self._metrics.counter(names.INFERENCE_EVICTIONS, reason=reason)
            if entry.leases:
                self._given_up.append(entry)
            else:
                gone.append(entry)
        if gone:
            self._tell_size()
        return gone

    def _live(self) -> list[_Entry]:
        """What takes memory: what is given up but in use, too. Under the lock."""
        return [*self._entries.values(), *self._given_up]

    def _tell_size(self) -> None:
        self._metrics.gauge(names.INFERENCE_CACHE_BYTES, sum(entry.size_bytes for entry in self._live()))

    @staticmethod
    def _close_all(entries: list[_Entry]) -> None:
        """Closes each of them even where one fails. Without the lock: a worker takes its time to end."""
        with ExitStack() as stack:
            for entry in entries:
                stack.callback(entry.backend.close)
