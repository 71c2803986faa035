"""Running sums of a session: what observations of them come to, in any order and from any files."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenledger_dagster.clients.adapter import SNAPSHOT_SUPERSEDED, SnapshotAdapter, counters_of
from tokenledger_dagster.clients.base import BookingFacts, Claim, Copy
from tokenledger_dagster.contracts.record import Counters, UsageRecord, Vector

many = settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
orders = st.integers(0, 2**20).map(Random)


class Sessions(SnapshotAdapter):
    """A client that only booking sees."""

    name = "sessions"


class NoFacts:
    """Running sums ask nothing of the rest of the ledger."""

    def row_owner(self, copy: Copy) -> tuple[str, str | None]:
        raise AssertionError

    def is_superseded(self, stream: int) -> bool:
        raise AssertionError

    def has_file(self, session: str) -> bool:
        raise AssertionError


FACTS: BookingFacts = NoFacts()


def seen(sums: Vector, stream: int = 1, ordinal: int = 0, at: int = 0, session: str = "s1") -> Copy:
    counters = counters_of(sums)
    return Copy(
        rid=stream * 1_000 + ordinal, stream=stream, ordinal=ordinal, session=1, timestamp_us=at, timed=True, sha=b"",
        model_raw=None, counters=tuple(getattr(counters, name) for name in Counters.__struct_fields__),
        total=counters.total, message_id=session, request_id=None, cumulative=sums, last=None, by_content=False,
        file_rule=None, is_sidechain=False, is_progress=False, service_tier=None, speed=None, reported_cost_nano=None,
        is_estimated=False,
    )  # fmt: skip


def claims(copies: Sequence[Copy]) -> list[Claim]:
    return Sessions().claims(copies, FACTS)


def booked(copies: Sequence[Copy]) -> dict[tuple[object, ...], tuple[int, ...]]:
    """Input, output, cache write, cache read, reasoning by identity."""
    return {one.identity: (*one.copies[0].counters[:4], one.copies[0].counters[7]) for one in claims(copies)}


def total(copies: Sequence[Copy]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*booked(copies).values(), strict=True)))


@st.composite
def growing(draw: st.DrawFn) -> list[Vector]:
    """The sums of a session, from its first tokens on; reasoning stays inside output."""
    count = st.integers(0, 1_000)
    sums, found = [0, 0, 0, 0, 0], []
    for _ in range(draw(st.integers(1, 8))):
        plain, reasoning = draw(count), draw(count)
        step = [draw(count), draw(count), draw(count), plain + reasoning, reasoning]
        step[0] += not sum(step) + sum(sums[:3])
        sums = [now + more for now, more in zip(sums, step, strict=True)]
        found.append((sums[0], sums[1], sums[2], sums[3], sums[4]))
    return found


@st.composite
def observed(draw: st.DrawFn) -> tuple[list[Copy], Vector]:
    """Observations of one session in up to four files, each in its own order, and the last sums seen."""
    snapshots = draw(growing())
    copies: list[Copy] = []
    for stream in range(1, draw(st.integers(1, 4)) + 1):
        places = sorted(draw(st.sets(st.integers(0, len(snapshots) - 1), min_size=1)))
        for ordinal, place in enumerate(places):
            copies.append(seen(snapshots[place], stream, ordinal, at=place))
    return copies, max((copy.cumulative for copy in copies if copy.cumulative), key=lambda one: (sum(one[:4]), one))


class TestAnySession:
    @many
    @given(observed(), orders)
    def test_events_add_up_to_the_last_sums_whatever_the_order(
        self, given: tuple[list[Copy], Vector], order: Random
    ) -> None:
        copies, last = given
        shuffled = order.sample(copies, len(copies))

        fresh, read, write, output, reasoning = last
        assert total(shuffled) == (fresh, output, write, read, reasoning)
        assert booked(shuffled) == booked(copies)

    @many
    @given(observed())
    def test_every_observation_is_one_event_or_one_duplicate(self, given: tuple[list[Copy], Vector]) -> None:
        copies, _ = given
        told = [copy.rid for one in claims(copies) for copy in one.copies]
        told += [copy.rid for one in claims(copies) for copy, _ in one.losers]

        assert sorted(told) == sorted(copy.rid for copy in copies)

    @many
    @given(observed(), st.integers(5, 8))
    def test_a_file_read_again_adds_nothing(self, given: tuple[list[Copy], Vector], stream: int) -> None:
        copies, _ = given
        again = [
            seen(copy.cumulative, copy.stream + stream, copy.ordinal, copy.timestamp_us)
            for copy in copies
            if copy.cumulative is not None
        ]

        assert booked([*copies, *again]) == booked(copies)

    @many
    @given(growing(), st.integers(1, 20_000))
    def test_a_bare_total_counts_only_beyond_what_parts_tell(self, snapshots: list[Vector], bare: int) -> None:
        copies = [seen(sums, 1, place) for place, sums in enumerate(snapshots)]
        summed = sum(total([*copies, seen((0, 0, 0, bare, 0), 2)])[:4])

        assert summed == max(bare, sum(snapshots[-1][:4]))


class TestOneSession:
    def test_each_look_that_found_more_is_an_event_of_the_growth(self) -> None:
        copies = [seen((10, 5, 0, 3, 1), ordinal=0), seen((15, 5, 2, 9, 4), ordinal=1)]

        assert list(booked(copies).values()) == [(10, 3, 0, 5, 1), (5, 6, 2, 0, 3)]

    def test_an_old_copy_of_the_session_is_no_event_of_its_own(self) -> None:
        (one,) = claims([seen((10, 0, 0, 20, 0), stream=1), seen((100, 0, 0, 200, 0), stream=2)])

        assert one.copies[0].total == 300
        assert [(copy.stream, rule) for copy, rule in one.losers] == [(1, SNAPSHOT_SUPERSEDED)]

    def test_a_file_that_grew_is_no_old_copy(self) -> None:
        copies = [seen((10, 0, 0, 0, 0), 1, 0), seen((60, 0, 0, 0, 0), 1, 1), seen((90, 0, 0, 0, 0), 2, 0)]

        assert [one.copies[0].total for one in claims(copies)] == [10, 50, 30]

    def test_growth_is_dated_by_the_look_that_saw_it(self) -> None:
        looked = [seen((10, 0, 0, 0, 0), 1, 0, at=100), seen((60, 0, 0, 0, 0), 1, 1, at=900)]
        moved = seen((60, 0, 0, 0, 0), 2, 0, at=100)

        _, growth = claims([*looked, moved])
        assert [copy.timestamp_us for copy in growth.copies] == [900]

    def test_sums_that_fall_add_nothing(self) -> None:
        copies = [seen((50, 0, 0, 0, 0), 1, 0), seen((20, 0, 0, 0, 0), 1, 1), seen((70, 0, 0, 0, 0), 1, 2)]

        assert total(copies) == (70, 0, 0, 0, 0)

    def test_sessions_of_one_group_stay_apart(self) -> None:
        copies = [seen((5, 0, 0, 0, 0), 1), seen((7, 0, 0, 0, 0), 2, session="s2")]

        assert booked(copies) == {
            ("sessions", "s1", 5, 0, 0, 0, 0): (5, 0, 0, 0, 0),
            ("sessions", "s2", 7, 0, 0, 0, 0): (7, 0, 0, 0, 0),
        }

    @pytest.mark.parametrize("cumulative", [None, (1, 0, 0, 0, 0)])
    def test_requests_and_sums_are_never_one_group(self, cumulative: Vector | None) -> None:
        record = UsageRecord(
            ordinal=0, byte_offset=0, byte_length=0, record_sha256="", timestamp_us=0, session_id="s1", model_raw=None,
            counters=Counters(input_tokens=1), message_id="s1", cumulative=cumulative,
        )  # fmt: skip

        assert Sessions().group(record) == (b"s1" if cumulative is None else b"\x01s1")
