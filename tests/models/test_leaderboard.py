"""Aider's leaderboard: what a run states, what it does not, and how the runs stand among each other."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenledger_dagster.models import leaderboard
from tokenledger_dagster.models.leaderboard import LeaderboardError, Placed, Run, placed, read_leaderboard

NEEDS = "needs test_cases (1 to 1,000,000) and pass_rate_2 (0 to 100)"
RUNS = """\
- dirname: 2026-01-01--dear
  model: "dear and good "
  date: 2026-01-01
  test_cases: 200
  pass_rate_2: 80.0
  pass_num_2: 160
  total_cost: 20.0
  seconds_per_case: 30.5
- dirname: 2026-01-02--cheap
  model: cheap
  date: 2026-01-02
  test_cases: 200
  pass_rate_2: 60.0
  pass_num_2: 120
  total_cost: 1.0
  seconds_per_case: 30.5

- dirname: 2026-01-03--beaten
  model: beaten
  date: 2026-01-03
  test_cases: 200
  pass_rate_2: 55.0
  pass_num_2: 110
  total_cost: 25.0
  seconds_per_case: 40
- dirname: 2026-01-04--free
  model: free preview
  date: 2026-01-04
  test_cases: 200
  pass_rate_2: 90.0
  pass_num_2: 180
  total_cost: 0.0000
  seconds_per_case: 10
- dirname: 2026-01-05--untimed
  model: untimed
  date: 2026-01-05
  test_cases: 200
  pass_rate_2: 95.0
  total_cost: 0.1
"""


def read(folder: Path, text: str | bytes) -> list[Run]:
    path = folder / "polyglot_leaderboard.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_leaderboard(path)


def entry(**fields: object) -> str:
    """One run, further fields by their own names; None leaves one out."""
    named = {"model": "m", "test_cases": 10, "pass_rate_2": 50, "total_cost": 1, "seconds_per_case": 1, **fields}
    pairs = ", ".join(f"{name}: {value}" for name, value in named.items() if value is not None)
    return f"- {{{pairs}}}\n"


# ------------------------------------------------------------------ reading


def test_a_run_is_read_as_it_stands_there(tmp_path: Path) -> None:
    first = read(tmp_path, RUNS)[0]
    assert first == Run(
        run_id="2026-01-01--dear",
        model="dear and good",
        date="2026-01-01",
        test_cases=200,
        pass_rate=Decimal("80.0"),
        solved=160,
        total_cost_usd=Decimal("20.0"),
        seconds_per_case=Decimal("30.5"),
    )
    assert first.cost_per_case_usd == Decimal("0.100000")
    assert first.missing == ()


def test_no_cost_and_no_time_are_told_as_missing(tmp_path: Path) -> None:
    *_, free, untimed = read(tmp_path, RUNS)
    assert (free.total_cost_usd, free.cost_per_case_usd, free.missing) == (None, None, ("cost",))
    assert (untimed.seconds_per_case, untimed.solved, untimed.missing) == (None, None, ("latency",))
    (neither,) = read(tmp_path, entry(total_cost="''", seconds_per_case=0))
    assert neither.missing == ("cost", "latency")


@pytest.mark.parametrize("change", ["bom", "crlf", "both"])
def test_the_same_file_by_another_editor_is_the_same(tmp_path: Path, change: str) -> None:
    content = RUNS.encode()
    if change != "bom":
        content = content.replace(b"\n", b"\r\n")
    if change != "crlf":
        content = b"\xef\xbb\xbf" + content
    assert read(tmp_path, content) == read(tmp_path, RUNS)


def test_a_run_without_a_name_of_its_own_is_known_by_its_place(tmp_path: Path) -> None:
    assert [run.run_id for run in read(tmp_path, entry() + entry())] == ["1", "2"]


def test_no_more_tasks_are_solved_than_there_are(tmp_path: Path) -> None:
    assert read(tmp_path, entry(pass_num_2=11))[0].solved == 10


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no list of runs"),
        (b"[]", "holds no list of runs"),
        (b"model: m\n", "holds no list of runs"),
        (b"\x00", "is no YAML file"),
        (b"- model: \xff\n", "is no YAML file"),
        (b"- {model: m\n", "is no YAML file"),
        (b"- &a {model: m, of: *a}\n", "is no YAML file"),
        (b"[" * 500, "is no YAML file"),
        (b"- m\n", "entry 1: is no run with a model"),
        (b"- {test_cases: 1, pass_rate_2: 1}\n", "entry 1: is no run with a model"),
        (b"- {model: [a], test_cases: 1, pass_rate_2: 1}\n", "entry 1: is no run with a model"),
    ],
)
def test_a_file_that_is_no_leaderboard_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(LeaderboardError) as caught:
        read(tmp_path, content)
    told = str(caught.value)
    assert told.startswith(f"{tmp_path / 'polyglot_leaderboard.yml'}: ")
    assert problem in told
    assert "; " in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"test_cases": None}, NEEDS),
        ({"test_cases": 0}, NEEDS),
        ({"test_cases": 2.5}, "test_cases is no whole number"),
        ({"test_cases": 10**7}, NEEDS),
        ({"test_cases": "1e999999999"}, "test_cases is no measure"),
        ({"pass_num_2": "1e999999999"}, "pass_num_2 is no measure"),
        ({"pass_num_2": 1.9}, "pass_num_2 is no whole number"),
        ({"pass_rate_2": None}, NEEDS),
        ({"pass_rate_2": 100.1}, NEEDS),
        ({"pass_rate_2": -1}, "pass_rate_2 is no measure"),
        ({"pass_rate_2": "NaN"}, "pass_rate_2 is no measure"),
        ({"total_cost": "Infinity"}, "total_cost is no measure"),
        ({"total_cost": "1e30"}, "total_cost is no measure"),
        ({"total_cost": "1e-999999999"}, "total_cost is no measure"),
        ({"total_cost": "-0.01"}, "total_cost is no measure"),
        ({"total_cost": "$3"}, "total_cost is no number"),
        ({"seconds_per_case": "[1]"}, "seconds_per_case is no number"),
        ({"pass_num_2": "many"}, "pass_num_2 is no number"),
    ],
)
def test_a_figure_that_cannot_be_meant_is_named_with_its_entry(
    tmp_path: Path, fields: dict[str, object], problem: str
) -> None:
    with pytest.raises(LeaderboardError) as caught:
        read(tmp_path, entry() + entry(**fields))
    assert f"entry 2: {problem}; mend or fetch the file again" in str(caught.value)


def test_a_file_that_is_not_there_a_folder_and_too_much_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LeaderboardError, match=r"absent\.yml: No such file or directory; name the leaderboard"):
        read_leaderboard(tmp_path / "absent.yml")
    with pytest.raises(LeaderboardError, match="Is a directory; name the leaderboard"):
        read_leaderboard(tmp_path)
    monkeypatch.setattr(leaderboard, "MOST_BYTES", 10)
    with pytest.raises(LeaderboardError, match="larger than"):
        read(tmp_path, RUNS)


@given(st.binary(max_size=60) | st.text(alphabet="-{}[]:&*!,model 'x\n", max_size=60).map(str.encode))
def test_any_bytes_are_a_leaderboard_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    told = None
    try:
        read(tmp_path_factory.getbasetemp(), content)
    except LeaderboardError as error:
        told = str(error)
    assert told is None or "\n" not in told


def test_a_measure_of_nothing_is_nothing_however_it_is_written(tmp_path: Path) -> None:
    (run,) = read(tmp_path, entry(total_cost="0e999999999", seconds_per_case="-0.0", pass_rate_2="0e-999999999"))
    assert (run.missing, run.pass_rate) == (("cost", "latency"), 0)
    assert len(str(read(tmp_path, entry(total_cost=f"0.{'3' * 5_000}"))[0].total_cost_usd)) == 14


def test_more_runs_than_can_be_compared_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert leaderboard.MOST_RUNS == 1_000
    monkeypatch.setattr(leaderboard, "MOST_RUNS", 3)
    assert len(read(tmp_path, entry() * 3)) == 3
    with pytest.raises(LeaderboardError, match=r"holds 4 runs; name a leaderboard of at most 3"):
        read(tmp_path, entry() * 4)


# ------------------------------------------------------------------ standing


def test_a_benchmark_of_a_million_tasks_is_placed_at_once(tmp_path: Path) -> None:
    many = {"test_cases": 1_000_000, "total_cost": 5_000_000}
    runs = read(
        tmp_path,
        entry(dirname="a", pass_num_2=500_000, **many)
        + entry(dirname="b", pass_num_2=500_400, pass_rate_2=50.04, **many),
    )
    # half a standard deviation of the difference lies between them: 0.71 to 0.29
    assert {one.run.run_id: one.frontier_probability for one in placed(runs)} == {
        "b": Decimal("0.714"),
        "a": Decimal("0.286"),
    }


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Placed]:
    return {one.run.run_id.partition("--")[2]: one for one in placed(read(tmp_path, RUNS))}


def test_runs_come_best_first_and_those_that_lack_a_figure_last(found: dict[str, Placed]) -> None:
    assert list(found) == ["dear", "cheap", "beaten", "untimed", "free"]


def test_a_run_that_is_beaten_in_everything_names_the_best_that_does_so(found: dict[str, Placed]) -> None:
    standing = found["beaten"].standing
    assert standing is not None
    assert (standing.is_frontier, standing.front_rank, standing.dominators) == (False, 2, 2)
    assert found["beaten"].dominated_by == "dear and good"


def test_what_was_not_measured_is_neither_free_nor_worst(found: dict[str, Placed]) -> None:
    # free would beat every run if 0 were its cost, and be the last of all if it were the worst one
    for name in ("free", "untimed"):
        assert (found[name].standing, found[name].dominated_by, found[name].frontier_probability) == (None, None, None)
    assert [name for name, one in found.items() if one.standing is not None and one.standing.is_frontier] == [
        "dear",
        "cheap",
    ]


def test_a_run_without_a_cost_changes_nothing_for_the_others(tmp_path: Path, found: dict[str, Placed]) -> None:
    without = placed([run for run in read(tmp_path, RUNS) if not run.missing])
    assert without == [one for one in found.values() if one.standing is not None]


def test_costs_are_compared_by_exercise_and_exactly(tmp_path: Path) -> None:
    # 10 / 30 and 1 / 3 are one cost, 0.334 is a dearer one
    runs = read(
        tmp_path,
        entry(dirname="a", test_cases=30, total_cost=10)
        + entry(dirname="b", test_cases=3, total_cost=1)
        + entry(dirname="c", test_cases=100, total_cost=33.4),
    )
    assert {one.run.run_id: one.standing and one.standing.dominators for one in placed(runs)} == {
        "a": 0,
        "b": 0,
        "c": 2,
    }


def test_every_run_that_takes_part_has_a_chance(found: dict[str, Placed]) -> None:
    # nobody is cheaper than cheap, and no draw of 200 tasks closes the lead of 50 that dear has over beaten
    assert {name: one.frontier_probability for name, one in found.items()} == {
        "dear": Decimal("1.000"),
        "cheap": Decimal("1.000"),
        "beaten": Decimal("0.000"),
        "untimed": None,
        "free": None,
    }


def test_a_file_of_runs_without_costs_places_nobody(tmp_path: Path) -> None:
    (one,) = placed(read(tmp_path, entry(total_cost=0)))
    assert one.standing is None
