"""What a Codex usage row bills, given the rows before it: one rule a test, as literal rows.

A row is (total, last); a vector is (input, cached, cache write, output, reasoning).
"""

from __future__ import annotations

from tokenledger_dagster.clients.codex_reducer import LOWER_LINEAGE, REPEATED, ReducerState, fingerprint, reduce_row
from tokenledger_dagster.contracts.record import Vector

ZERO = (0, 0, 0, 0, 0)


def v(input: int, cached: int = 0, output: int = 0, reasoning: int = 0) -> Vector:
    return (input, cached, 0, output, reasoning)


def billed(*rows: tuple[Vector | None, Vector | None]) -> list[tuple[Vector, str | None]]:
    state = ReducerState()
    return [reduce_row(state, total, last) for total, last in rows]


def inputs(*rows: tuple[Vector | None, Vector | None]) -> list[int]:
    return [vector[0] for vector, _ in billed(*rows)]


def test_the_first_row_bills_its_last() -> None:
    assert billed((v(1_000, 600, 50, 20), v(100, 60, 5, 2))) == [(v(100, 60, 5, 2), None)]


def test_a_first_row_without_last_bills_its_total() -> None:
    assert billed((v(1_000, 600, 50, 20), None)) == [(v(1_000, 600, 50, 20), None)]


def test_a_total_already_billed_bills_nothing_however_much_later() -> None:
    assert billed((v(100), v(100)), (v(150), v(50)), (v(150), v(50)), (v(100), v(100))) == [
        (v(100), None),
        (v(50), None),
        (ZERO, REPEATED),
        (ZERO, REPEATED),
    ]


def test_a_repeated_total_leaves_the_baseline_alone() -> None:
    assert inputs((v(100), v(100)), (v(150), v(50)), (v(100), v(100)), (v(170), v(20))) == [100, 50, 0, 20]


def test_growth_bills_the_smaller_of_last_and_growth_per_field() -> None:
    rows = ((v(100, 20, 10), v(100, 20, 10)), (v(130, 20, 12), v(100, 20, 10)))

    assert [vector for vector, _ in billed(*rows)] == [v(100, 20, 10), v(30, 0, 2)]


def test_a_jump_that_last_does_not_explain_is_not_billed() -> None:
    assert inputs((v(100), v(100)), (v(1_000), v(40)), (v(1_050), None)) == [100, 40, 50]


def test_a_total_that_fell_bills_last_and_starts_a_new_baseline() -> None:
    assert inputs((v(1_000), v(1_000)), (v(300), v(200)), (v(350), None)) == [1_000, 200, 50]


def test_one_fallen_field_is_enough() -> None:
    assert billed((v(100, 50, 10), v(100, 50, 10)), (v(120, 40, 12), v(20, 5, 2)))[1] == (v(20, 5, 2), None)


def test_a_total_alone_bills_its_growth() -> None:
    assert inputs((v(100), None), (v(180), None)) == [100, 80]


def test_a_fallen_total_alone_goes_on_from_what_was_counted() -> None:
    assert inputs((v(100), v(100)), (v(1_000), v(40)), (v(180), None)) == [100, 40, 40]


def test_a_lower_lineage_bills_nothing_and_keeps_the_baseline() -> None:
    rows = ((v(100_000), None), (v(4_000), None), (v(101_000), None), (v(6_000), None), (v(102_000), None))

    assert billed(*rows) == [
        (v(100_000), None),
        (ZERO, LOWER_LINEAGE),
        (v(1_000), None),
        (ZERO, LOWER_LINEAGE),
        (v(1_000), None),
    ]


def test_last_alone_is_billed_and_moves_the_baseline() -> None:
    assert inputs((None, v(60)), (None, v(40)), (v(150), None)) == [60, 40, 50]


def test_a_last_of_zeros_bills_nothing() -> None:
    assert billed((None, ZERO)) == [(ZERO, REPEATED)]


def test_the_sum_of_all_billed_is_what_the_state_counts() -> None:
    state = ReducerState()
    for row in ((v(100), v(100)), (v(1_000), v(40)), (v(1_000), v(40)), (v(180), None), (None, v(5))):
        reduce_row(state, *row)

    assert state.counted == v(100 + 40 + 40 + 5)


def test_fingerprints_tell_absent_vectors_from_zeros() -> None:
    assert len({fingerprint(v(1), None), fingerprint(None, v(1)), fingerprint(v(1), ZERO), fingerprint(v(1))}) == 4
