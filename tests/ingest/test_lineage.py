"""Which rows of a file are its parent's.  A letter stands for one row; a run is (end, owner, rule)."""

from __future__ import annotations

import pytest

from tokenledger_dagster.ingest.lineage import WIDTH, Stream, common_prefix, lineages, owner_at


def rows(letters: str) -> bytes:
    return b"".join(letter.encode() * WIDTH for letter in letters)


def stream(number: int, session: str, letters: str, parent: str | None = None, rule: str = "copied") -> Stream:
    return Stream(number, session, [parent] if parent else [], rows(letters), rule)


@pytest.mark.parametrize(
    ("left", "right", "shared"),
    [("", "", 0), ("abc", "", 0), ("abc", "abc", 3), ("abcd", "abx", 2), ("x", "a", 0), ("abcdefgh", "abcdefgh", 8)],
)
def test_the_longest_common_prefix_in_rows(left: str, right: str, shared: int) -> None:
    assert common_prefix(rows(left), rows(right)) == shared
    assert common_prefix(rows(right), rows(left)) == shared


def test_a_session_on_its_own_owns_all_its_rows() -> None:
    assert lineages([stream(1, "p", "abc")]) == {1: [(3, "p", None)]}


def test_a_prefix_equal_to_the_parents_belongs_to_the_parent() -> None:
    found = lineages([stream(1, "p", "abcd"), stream(2, "c", "abxy", parent="p")])

    assert found[2] == [(2, "p", "copied"), (4, "c", None)]
    assert found[1] == [(4, "p", None)]


def test_rows_inherited_by_the_parent_belong_to_the_grandparent() -> None:
    family = [stream(1, "g", "ab"), stream(2, "p", "abcd", parent="g"), stream(3, "c", "abcdx", parent="p")]

    assert lineages(family)[3] == [(2, "g", "copied"), (4, "p", "copied"), (5, "c", None)]


def test_a_prefix_shorter_than_the_grandparents_ends_there() -> None:
    family = [stream(1, "g", "abc"), stream(2, "p", "abcd", parent="g"), stream(3, "c", "abx", parent="p")]

    assert lineages(family)[3] == [(2, "g", "copied"), (3, "c", None)]


def test_siblings_of_a_missing_parent_share_what_they_have_in_common() -> None:
    found = lineages([stream(1, "a", "mnx", parent="gone"), stream(2, "b", "mny", parent="gone")])

    assert found == {1: [(2, "gone", "copied"), (3, "a", None)], 2: [(2, "gone", "copied"), (3, "b", None)]}


def test_of_three_siblings_the_closest_counts() -> None:
    family = [stream(1, "a", "mnx", "gone"), stream(2, "b", "mny", "gone"), stream(3, "c", "mzz", "gone")]
    found = lineages(family)

    assert found[1][0] == (2, "gone", "copied")
    assert found[3][0] == (1, "gone", "copied")


def test_an_only_child_of_a_missing_parent_owns_what_it_shows() -> None:
    assert lineages([stream(1, "a", "mn", parent="gone")]) == {1: [(2, "a", None)]}


def test_a_session_that_names_itself_as_parent_is_its_own() -> None:
    assert lineages([stream(1, "a", "mn", parent="a")]) == {1: [(2, "a", None)]}


def test_sessions_that_name_each_other_end() -> None:
    found = lineages([stream(1, "a", "mn", parent="b"), stream(2, "b", "mn", parent="a")])

    assert set(found) == {1, 2}


def test_the_order_of_streams_does_not_matter() -> None:
    family = [stream(1, "g", "ab"), stream(2, "p", "abcd", parent="g"), stream(3, "c", "abcdx", parent="p")]

    assert lineages(reversed(family)) == lineages(family)


def test_a_long_chain_of_forks_is_followed() -> None:
    letters = "".join(chr(0x21 + n % 90) for n in range(300))
    family = [stream(n, f"s{n}", letters[: n + 1], parent=f"s{n - 1}" if n else None) for n in range(300)]

    assert lineages(family)[299][0] == (1, "s0", "copied")


def test_the_owner_of_a_row_is_found_by_its_position() -> None:
    runs = [(2, "p", "copied"), (4, "c", None)]

    assert [owner_at(runs, ordinal) for ordinal in range(5)] == [
        ("p", "copied"), ("p", "copied"), ("c", None), ("c", None), ("c", None),
    ]  # fmt: skip
