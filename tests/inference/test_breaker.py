"""The circuit breaker: what opens it, what does not, and the one call that closes it."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.fakes import Clock
from tokenledger_dagster.inference.breaker import Breaker, BreakerChange, Outcome
from tokenledger_dagster.inference.policy import BreakerPolicy, policy

SLA_S = 1.0


def breaker_of(clock: Clock, changes: list[BreakerChange] | None = None, **figures: Any) -> Breaker:
    """Over 100 calls and 100 s, from 20 calls on, 95 %, 3 in a row, 30 s of cooldown."""
    given_figures = {
        "window_calls": 100,
        "window_s": 100.0,
        "min_samples": 20,
        "min_success": 0.95,
        "max_timeouts_in_row": 3,
        "cooldown_s": 30.0,
        **figures,
    }
    tell = None if changes is None else changes.append
    return Breaker(BreakerPolicy(**given_figures), SLA_S, clock=clock, tell=tell)


def call(breaker: Breaker, outcome: Outcome = "ok", seconds: float = 0.1, detail: str = "") -> bool:
    ticket = breaker.admit()
    assert ticket is not None
    return breaker.record(ticket, outcome, seconds, detail)


def calls(breaker: Breaker, *counts: tuple[int, Outcome, float]) -> None:
    for count, outcome, seconds in counts:
        for _ in range(count):
            call(breaker, outcome, seconds)


def test_two_of_twenty_failures_open_it_and_one_does_not() -> None:
    changes: list[BreakerChange] = []
    breaker = breaker_of(Clock(), changes)

    calls(breaker, (18, "ok", 0.1), (1, "error", 0.1))
    assert not call(breaker)
    assert breaker.state == "closed"
    assert call(breaker, "error", 0.1, "out of memory")

    assert breaker.state == "open"
    assert breaker.admit() is None
    told = "19 of 21 calls were answered, less than 0.95 of them; last: out of memory"
    assert changes == [BreakerChange(1_000.0, "closed", "open", told)]
    assert breaker.reason == told


def test_exactly_the_share_wanted_is_enough() -> None:
    for count in range(20, 101, 20):
        breaker = breaker_of(Clock())
        calls(breaker, (count * 19 // 20, "ok", 0.1), (count // 20, "error", 0.1))

        assert breaker.state == "closed", count


def test_fewer_calls_than_the_minimum_say_nothing() -> None:
    breaker = breaker_of(Clock())

    calls(breaker, (19, "error", 0.1))
    assert breaker.state == "closed"
    assert call(breaker, "error")


def test_a_percentile_over_the_sla_opens_it() -> None:
    changes: list[BreakerChange] = []
    breaker = breaker_of(Clock(), changes)

    calls(breaker, (19, "ok", SLA_S))
    assert call(breaker, "ok", 1.5)

    assert changes[0].reason == "the 99th percentile of 20 calls is 1.5 s, above 1 s"


def test_one_slow_call_in_a_hundred_is_within_the_sla_and_two_are_not() -> None:
    breaker = breaker_of(Clock(), window_calls=200)
    calls(breaker, (99, "ok", 0.1))

    assert not call(breaker, "ok", 1.5)
    assert call(breaker, "ok", 1.5)


def test_three_calls_stopped_in_a_row_open_it_whatever_the_samples() -> None:
    changes: list[BreakerChange] = []
    breaker = breaker_of(Clock(), changes)

    calls(breaker, (2, "timeout", 5.0), (1, "ok", 0.1), (2, "timeout", 5.0))
    assert breaker.state == "closed"
    assert call(breaker, "timeout", 5.0, "no answer within 5 s")

    assert changes[0].reason == "3 calls in a row were stopped; last: no answer within 5 s"


def test_old_calls_are_forgotten_by_time_and_by_number() -> None:
    clock = Clock()
    breaker = breaker_of(clock)
    calls(breaker, (19, "error", 0.1))
    clock.sleep(100.5)
    calls(breaker, (19, "error", 0.1))
    assert breaker.state == "closed"

    breaker = breaker_of(clock, window_calls=20, min_success=0.9)
    calls(breaker, (18, "ok", 0.1), (2, "error", 0.1), (20, "ok", 0.1), (2, "error", 0.1))
    assert breaker.state == "closed"


def tripped(clock: Clock, changes: list[BreakerChange] | None = None) -> Breaker:
    breaker = breaker_of(clock, changes)
    calls(breaker, (3, "timeout", 5.0))
    return breaker


def test_after_the_cooldown_one_call_is_let_through_and_a_good_one_closes_it() -> None:
    clock, changes = Clock(), []
    breaker = tripped(clock, changes)

    clock.sleep(29.9)
    assert breaker.admit() is None
    clock.sleep(0.1)
    probe = breaker.admit()
    assert probe is not None
    assert probe.is_probe
    assert breaker.state == "half_open"
    assert breaker.admit() is None
    assert not breaker.record(probe, "ok", 0.4)

    assert breaker.state == "closed"
    assert breaker.reason == ""
    assert [(change.at_s, change.before, change.after, change.reason) for change in changes] == [
        (1_000.0, "closed", "open", "3 calls in a row were stopped"),
        (1_030.0, "open", "half_open", "30 s after it opened one call is let through (3 calls in a row were stopped)"),
        (1_030.0, "half_open", "closed", "the call let through was answered in 0.4 s"),
    ]


@pytest.mark.parametrize(
    ("outcome", "seconds", "detail", "told"),
    [
        ("error", 0.1, "out of memory", "the call let through failed: out of memory"),
        ("timeout", 5.0, "", "the call let through failed: timeout"),
        ("ok", 1.25, "", "the call let through took 1.25 s, above 1 s"),
    ],
)
def test_a_bad_call_keeps_it_open_for_another_cooldown(
    outcome: Outcome, seconds: float, detail: str, told: str
) -> None:
    clock = Clock()
    breaker = tripped(clock)
    clock.sleep(40)

    assert call(breaker, outcome, seconds, detail)
    assert breaker.reason == told
    clock.sleep(29.9)
    assert breaker.admit() is None
    clock.sleep(0.1)
    assert breaker.admit() is not None


def test_a_probe_that_says_nothing_leaves_its_place_to_the_next() -> None:
    clock, changes = Clock(), []
    breaker = tripped(clock, changes)
    clock.sleep(30)

    for _ in range(3):
        probe = breaker.admit()
        assert probe is not None
        breaker.forget(probe)
    assert breaker.state == "open"
    assert breaker.reason == "3 calls in a row were stopped"

    call(breaker)
    assert breaker.state == "closed"
    assert len(changes[-2].reason) < 100


def test_what_began_before_a_change_counts_no_more() -> None:
    clock = Clock()
    breaker = breaker_of(clock)
    late = [breaker.admit() for _ in range(40)]
    calls(breaker, (3, "timeout", 5.0))
    clock.sleep(30)
    probe = breaker.admit()
    assert probe is not None

    for ticket in late:
        assert ticket is not None
        breaker.record(ticket, "error", 9.0)
        breaker.forget(ticket)
    assert breaker.state == "half_open"
    breaker.record(probe, "ok", 0.1)
    assert breaker.state == "closed"


def test_after_it_closes_the_window_begins_anew() -> None:
    clock = Clock()
    breaker = breaker_of(clock)
    calls(breaker, (18, "ok", 0.1), (2, "error", 0.1))
    clock.sleep(30)
    call(breaker)

    calls(breaker, (19, "error", 0.1))

    assert breaker.state == "closed"


def test_of_many_threads_one_is_let_through() -> None:
    clock = Clock()
    breaker = tripped(clock)
    clock.sleep(30)
    start = threading.Barrier(8)
    found: list[bool] = []

    def ask() -> None:
        start.wait(10)
        found.append(breaker.admit() is not None)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert sorted(found) == [False] * 7 + [True]


ACTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["ok", "error", "timeout"]), st.sampled_from([0.1, 1.0, 1.5])),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 29.0, 31.0, 101.0])),
        st.tuples(st.just("forget"), st.just(0.0)),
    ),
    max_size=120,
)


@given(ACTS)
def test_whatever_happens_it_moves_only_along_its_arrows_and_opens_for_a_reason_alone(
    acts: list[tuple[str, float]],
) -> None:
    clock, changes = Clock(), []
    breaker = breaker_of(clock, changes, window_calls=20, min_samples=5, min_success=0.8)
    window: list[tuple[float, str, float]] = []
    opened = 0.0
    for act, amount in acts:
        if act == "wait":
            clock.sleep(amount)
            continue
        state, told = breaker.state, len(changes)
        ticket = breaker.admit()
        assert (ticket is None) == (state == "open" and clock() - opened < 30)
        if ticket is None:
            continue
        assert ticket.is_probe == (state == "open")
        if act == "forget":
            breaker.forget(ticket)
            assert breaker.state == state
            continue
        breaker.record(ticket, act, amount)  # type: ignore[arg-type]
        if ticket.is_probe:
            assert (breaker.state == "closed") == (act == "ok" and amount <= SLA_S)
            window = []
        else:
            window = [*window, (clock(), act, amount)][-20:]
            recent = [one for one in window if one[0] >= clock() - 100]
            failed = sum(kind != "ok" for _, kind, _ in recent) > 0.2 * len(recent)
            slow = any(seconds > SLA_S for _, _, seconds in recent)
            in_row = len(window) >= 3 and all(kind == "timeout" for _, kind, _ in window[-3:])
            assert (breaker.state == "open") == (in_row or (len(recent) >= 5 and (failed or slow)))
        if breaker.state == "open":
            opened, window = clock(), []
        assert bool(breaker.reason) == (breaker.state != "closed")
        assert (len(changes) == told) == (breaker.state == state == "closed")
    arrows = [(change.before, change.after) for change in changes]
    assert set(arrows) <= {("closed", "open"), ("open", "half_open"), ("half_open", "closed"), ("half_open", "open")}
    assert all(earlier[1] == later[0] for earlier, later in pairwise(arrows))
    assert all(change.reason for change in changes)


@given(st.integers(20, 100), st.integers(0, 100))
def test_with_the_shipped_figures_it_opens_below_95_percent_and_not_before(count: int, failed: int) -> None:
    """All failures last, so that each one before the last still left it closed or the share was already too small."""
    failed = min(failed, count)
    breaker = Breaker(policy().breaker, SLA_S, clock=Clock())
    for number in range(count):
        ticket = breaker.admit()
        if ticket is None:
            break
        breaker.record(ticket, "ok" if number < count - failed else "error", 0.1)

    # as long as every longer beginning is good enough, the whole is the worst of all
    assert (breaker.state == "open") == (failed / count > 0.05 + 1e-12)
