"""Aider's polyglot leaderboard: runs of one benchmark with quality, cost and time of each, taken together.

Here: reading the YAML file that the project publishes (Apache-2.0, `aider/website/_data/polyglot_leaderboard.yml`) and
the frontier of its runs. Not here: dominance (`pareto.py`), scores (`scores.py`).

A cost or a time of 0 means that nothing was measured: such a run takes no part, neither as free nor as worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.models.pareto import Point, Standing, frontier_probabilities, standings

MOST_BYTES = 2 << 20
MOST_RUNS = 1_000
"""Every run is compared with every other, 2,000 times over."""
MOST_CASES = 1_000_000
LEAST, MOST = Decimal("0.000001"), Decimal(1_000_000_000)
"""What a run can cost, take or solve, other than nothing; USD, seconds, percent, exercises."""
_PLACES = Decimal("0.000001")


class LeaderboardError(TokenLedgerError):
    """The file is no leaderboard; the message names it, the entry and the remedy."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the leaderboard."""

    run_id: str
    model: str
    date: str
    test_cases: int
    pass_rate: Decimal
    """Percent of the exercises solved within two tries."""
    solved: int | None
    total_cost_usd: Decimal | None
    """None = not measured."""
    seconds_per_case: Decimal | None
    """None = not measured."""

    @property
    def cost_per_case_usd(self) -> Decimal | None:
        """USD per exercise, six places; None where no cost was measured."""
        return None if self.total_cost_usd is None else (self.total_cost_usd / self.test_cases).quantize(_PLACES)

    @property
    def missing(self) -> tuple[str, ...]:
        """Objectives that were not measured."""
        absent = {"cost": self.total_cost_usd, "latency": self.seconds_per_case}
        return tuple(name for name, value in absent.items() if value is None)


class Placed(msgspec.Struct, frozen=True):
    """One run and how it stands; None where it takes no part."""

    run: Run
    standing: Standing | None
    dominated_by: str | None
    frontier_probability: Decimal | None


def read_leaderboard(path: Path) -> list[Run]:
    """Return the runs of a leaderboard file, in its order.

    Raises:
        LeaderboardError: it cannot be read, or is no leaderboard.
    """
    import yaml

    try:
        if path.stat().st_size > MOST_BYTES:
            raise LeaderboardError(f"{path}: larger than {MOST_BYTES >> 20} MB; a leaderboard is a few kilobytes")
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    except OSError as error:
        raise LeaderboardError(f"{path}: {error.strerror or error}; name the leaderboard's YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LeaderboardError(f"{path}: is no YAML file ({first}); fetch it again") from error
    if not isinstance(document, list) or not document:
        raise LeaderboardError(f"{path}: holds no list of runs; name Aider's polyglot_leaderboard.yml")
    if len(document) > MOST_RUNS:
        raise LeaderboardError(f"{path}: holds {len(document):,} runs; name a leaderboard of at most {MOST_RUNS:,}")
    return [_run(entry, f"{path}: entry {number}") for number, entry in enumerate(document, 1)]


def placed(runs: Sequence[Run]) -> list[Placed]:
    """Return how each run stands in quality, cost and latency, best first; those without all three stand last."""
    able = [run for run in runs if not run.missing]
    points = [_point(run) for run in able]
    found = [
        Placed(run, standing, None if standing.example is None else able[standing.example].model, chance)
        for run, standing, chance in zip(able, standings(points), frontier_probabilities(points), strict=True)
    ]
    found += [Placed(run, None, None, None) for run in runs if run.missing]
    return sorted(found, key=_order)


def _order(one: Placed) -> tuple[int, Decimal, str]:
    return (one.standing.front_rank if one.standing else 2**31, -one.run.pass_rate, one.run.run_id)


def _point(run: Run) -> Point:
    assert run.total_cost_usd is not None
    assert run.seconds_per_case is not None
    costs = (run.total_cost_usd / run.test_cases, run.seconds_per_case)
    return Point(run.pass_rate, costs, run.solved, run.test_cases)


def _run(entry: Any, place: str) -> Run:
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
        raise LeaderboardError(f"{place}: is no run with a model; mend or fetch the file again")
    cases = _whole(entry, "test_cases", place)
    rate = _number(entry, "pass_rate_2", place)
    if not cases or cases > MOST_CASES or rate is None or rate > 100:
        raise LeaderboardError(
            f"{place}: needs test_cases (1 to {MOST_CASES:,}) and pass_rate_2 (0 to 100); mend or fetch the file again"
        )
    solved = _whole(entry, "pass_num_2", place)
    return Run(
        run_id=str(entry.get("dirname") or place.rpartition(" ")[2]),
        model=entry["model"].strip(),
        date=str(entry.get("date") or ""),
        test_cases=cases,
        pass_rate=rate,
        solved=None if solved is None else min(solved, cases),
        total_cost_usd=_number(entry, "total_cost", place) or None,
        seconds_per_case=_number(entry, "seconds_per_case", place) or None,
    )


def _whole(entry: dict[str, Any], name: str, place: str) -> int | None:
    found = _number(entry, name, place)
    if found is not None and found != found.to_integral_value():
        raise LeaderboardError(f"{place}: {name} is no whole number; mend or fetch the file again")
    return None if found is None else int(found)


def _number(entry: dict[str, Any], name: str, place: str) -> Decimal | None:
    """A measure that can be meant; None where there is none."""
    text = entry.get(name)
    if text in (None, ""):
        return None
    try:
        found = Decimal(str(text))
    except InvalidOperation as error:
        raise LeaderboardError(f"{place}: {name} is no number; mend or fetch the file again") from error
    if not found.is_finite() or found < 0 or (found and not LEAST <= found <= MOST):
        raise LeaderboardError(f"{place}: {name} is no measure; mend or fetch the file again")
    # twelve places: more say nothing, and what a machine printed may have thousands
    return round(found, 12)
