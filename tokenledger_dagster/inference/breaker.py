"""When a backend is passed over: a circuit breaker over its last calls.

Here: the window, what opens it, and the single call that may close it again. Not here: who calls (`chain`), and the
figures (`config/inference.yaml`). It knows no backend and no metric and reads no clock but the one it is given.

    closed --too many failed, too slow, or stopped in a row--> open --cooldown--> half open --one good call--> closed
                                                                 ^-----------------one bad call----------------'
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

from tokenledger_dagster.inference.policy import BreakerPolicy

__all__ = ["Breaker", "BreakerChange", "BreakerState", "Outcome", "Ticket"]

BreakerState = Literal["closed", "open", "half_open"]
Outcome = Literal["ok", "error", "timeout"]


class BreakerChange(NamedTuple):
    """One change of state, for a person and for telemetry."""

    at_s: float
    """By the breaker's clock."""
    before: BreakerState
    after: BreakerState
    reason: str


class Ticket(NamedTuple):
    """Leave to call once. What comes back under a ticket of an earlier state changes nothing."""

    era: int
    is_probe: bool


class _Call(NamedTuple):
    at_s: float
    outcome: Outcome
    seconds: float


class Breaker:
    """Judges one backend by its calls. Safe to use from several threads.

    Every ticket is given back once, by `record` or by `forget`; until then a probe is the only call let through.
    """

    def __init__(
        self,
        policy: BreakerPolicy,
        sla_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[BreakerChange], None] | None = None,
    ) -> None:
        """Begin closed.

        Args:
            policy: what opens it and for how long.
            sla_s: seconds that the 99th percentile of calls may take.
            clock: seconds, never falling.
            tell: called with each change, in order; it must not call the breaker.
        """
        self._policy = policy
        self._sla_s = sla_s
        self._clock = clock
        self._tell = tell
        self._lock = threading.Lock()
        self._state: BreakerState = "closed"
        self._reason = ""
        self._era = 0
        self._opened_s = 0.0
        self._calls: deque[_Call] = deque(maxlen=policy.window_calls)
        self._timeouts_in_row = 0

    @property
    def state(self) -> BreakerState:
        """The state now; open until a call is let through as a probe, even when the cooldown is over."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is not closed; "" where it is."""
        return self._reason

    def admit(self) -> Ticket | None:
        """Leave to call; None where it is open, or half open with its probe under way."""
        with self._lock:
            if self._state == "closed":
                return Ticket(self._era, is_probe=False)
            if self._state == "half_open":
                return None
            waited = self._clock() - self._opened_s
            if waited < self._policy.cooldown_s:
                return None
            self._change("half_open", f"{waited:.4g} s after it opened one call is let through ({self._reason})")
            return Ticket(self._era, is_probe=True)

    def record(self, ticket: Ticket, outcome: Outcome, seconds: float, detail: str = "") -> bool:
        """Count one call, and return whether it opened the breaker.

        Args:
            ticket: the leave it had.
            outcome: ok, error, or timeout where it was stopped.
            seconds: how long it took.
            detail: what went wrong, for the reason of a change.
        """
        with self._lock:
            if ticket.era != self._era:
                return False  # began before the last change, which is judged already
            if ticket.is_probe:
                self._judge_probe(outcome, seconds, detail)
            else:
                self._calls.append(_Call(self._clock(), outcome, seconds))
                self._timeouts_in_row = self._timeouts_in_row + 1 if outcome == "timeout" else 0
                why = self._verdict()
                if why:
                    self._open(f"{why}; last: {detail}" if detail else why)
            return self._state == "open"

    def forget(self, ticket: Ticket) -> None:
        """Give back a ticket of a call that says nothing of the backend; a probe leaves its place to the next call."""
        with self._lock:
            if ticket.is_probe and ticket.era == self._era:
                why = self._reason
                self._change("open", "the call let through said nothing; the next call is let through")
                self._reason = why

    def _judge_probe(self, outcome: Outcome, seconds: float, detail: str) -> None:
        if outcome != "ok":
            self._open(f"the call let through failed: {detail or outcome}")
        elif seconds > self._sla_s:
            self._open(f"the call let through took {seconds:.4g} s, above {self._sla_s:g} s")
        else:
            self._change("closed", f"the call let through was answered in {seconds:.4g} s")

    def _verdict(self) -> str:
        """Why the window says open; "" where it does not."""
        policy = self._policy
        oldest = self._clock() - policy.window_s
        while self._calls and self._calls[0].at_s < oldest:
            self._calls.popleft()
        if self._timeouts_in_row >= policy.max_timeouts_in_row:
            return f"{self._timeouts_in_row} calls in a row were stopped"
        count = len(self._calls)
        if count < policy.min_samples:
            return ""
        answered = sum(call.outcome == "ok" for call in self._calls)
        if answered / count < policy.min_success:
            return f"{answered} of {count} calls were answered, less than {policy.min_success:.4g} of them"
        # nearest rank: below 100 calls the slowest one
        slow = sorted(call.seconds for call in self._calls)[-(-99 * count // 100) - 1]
        if slow > self._sla_s:
            return f"the 99th percentile of {count} calls is {slow:.4g} s, above {self._sla_s:g} s"
        return ""

    def _open(self, reason: str) -> None:
        self._opened_s = self._clock()
        self._change("open", reason)

    def _change(self, after: BreakerState, reason: str) -> None:
        """Begins a new state; the window begins anew with it."""
        change = BreakerChange(self._clock(), self._state, after, reason)
        self._state = after
        self._era += 1
        self._calls.clear()
        self._timeouts_in_row = 0
        if after != "half_open":  # which is still for the reason that opened it
            self._reason = "" if after == "closed" else reason
        if self._tell is not None:
            self._tell(change)
