"""Which of several models nobody beats: dominance, frontier, layers, and how sure that is.

One model dominates another if it is no worse in every objective and better in one; equal models both stay. This needs
neither weights nor a common scale. Here: points in, standing out. Not here: which objectives a model has
(`frontier.py`), and scores (`scores.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from math import fsum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np

DRAWS = 2_000
"""Bootstrap samples; the standard error of a probability is then at most 1.1 points."""
_SEED = 20_261_120
_NOTHING = 1e-30
"""A chance so small beside the greatest that no draw tells it from none: draws have 53 bits."""


class Point(msgspec.Struct, frozen=True):
    """One model in one objective set; every objective is there, since what lacks one takes no part."""

    quality: Decimal
    """Higher is better."""
    costs: tuple[Decimal, ...]
    """Cost, latency: lower is better."""
    solved: int | None = None
    """Tasks solved, where quality is a share of `tasks`."""
    tasks: int | None = None


class Standing(msgspec.Struct, frozen=True):
    """How one point stands among the others."""

    is_frontier: bool
    front_rank: int
    """1 on the frontier, 2 on what would be the frontier without it, and so on."""
    dominators: int
    """How many points dominate it."""
    example: int | None
    """Index of one of them: on the frontier, of the highest quality, the first of these."""


def standings(points: Sequence[Point]) -> list[Standing]:
    """Return how each point stands, in the order given."""
    if not points:
        return []
    beats = _dominance(_ranks(points))
    ranks = _layers(beats)
    found = []
    for index, point_rank in enumerate(ranks):
        above = beats[:, index].nonzero()[0].tolist()
        best = [other for other in above if ranks[other] == 1]
        example = max(best, key=lambda other: (points[other].quality, -other), default=None)
        found.append(Standing(point_rank == 1, point_rank, len(above), example))
    return found


def frontier_probabilities(points: Sequence[Point], draws: int = DRAWS) -> list[Decimal | None]:
    """Return how often each point is on the frontier when tasks are drawn anew; None where nothing is known of them.

    Tasks solved are drawn from a binomial distribution around the measured share, independently for each model, by
    tables of its distribution and Python's own generator: the same on every machine. Points without `tasks` stay as
    they are. Costs and latencies are taken as measured.
    """
    import numpy as np

    if not points or draws < 1:
        return [None] * len(points)
    chance = random.Random(_SEED)
    qualities = np.empty((draws, len(points)), dtype=np.float64)
    for column, point in enumerate(points):
        if point.solved is None or not point.tasks:
            qualities[:, column] = float(point.quality)
            continue
        least, table = _distribution(point.solved, point.tasks)
        drawn = np.array([chance.random() for _ in range(draws)])
        qualities[:, column] = (least + np.searchsorted(table, drawn, side="right")) * 100.0 / point.tasks
    costs = _ranks(points)[:, 1:]
    counts = np.zeros(len(points), dtype=np.int64)
    cheaper = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    better = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    for sample in qualities:
        at_least, above = sample[:, None] >= sample[None, :], sample[:, None] > sample[None, :]
        counts += ~(cheaper & at_least & (better | above)).any(axis=0)
    return [
        (Decimal(int(count)) / draws).quantize(Decimal("0.001")) if point.tasks else None
        for point, count in zip(points, counts, strict=True)
    ]


def _ranks(points: Sequence[Point]) -> np.ndarray:
    """Objectives as whole numbers, lower is better in each: exact, whatever decimals were measured."""
    import numpy as np

    columns = [[-point.quality for point in points], *zip(*(point.costs for point in points), strict=True)]
    ranked = []
    for column in columns:
        order = {value: place for place, value in enumerate(sorted(set(column)))}
        ranked.append([order[value] for value in column])
    return np.array(ranked, dtype=np.int64).T


def _dominance(ranks: np.ndarray) -> np.ndarray:
    """Whether the point of the row dominates that of the column."""
    import numpy as np

    no_worse = (ranks[:, None, :] <= ranks[None, :, :]).all(axis=2)
    return np.logical_and(no_worse, (ranks[:, None, :] < ranks[None, :, :]).any(axis=2))


def _layers(beats: np.ndarray) -> list[int]:
    import numpy as np

    found, left = np.zeros(len(beats), dtype=np.int64), np.ones(len(beats), dtype=bool)
    layer = 0
    while left.any():
        layer += 1
        front = left & ~(beats & left[:, None]).any(axis=0)
        found[front] = layer
        left &= ~front
    return [int(rank) for rank in found]


@lru_cache(maxsize=256)
def _distribution(solved: int, tasks: int) -> tuple[int, np.ndarray]:
    """The least number solved that ever happens, and the chances of at most so many, one more, ..., short of all.

    Chances follow from that of the likeliest number by the quotient of neighbours, up to where they are nothing beside
    it: multiplications, divisions and sums alone, which every machine rounds alike; logarithms and powers are not.
    """
    import numpy as np

    share = min(max(solved, 0), tasks)
    below, above = [1.0], [1.0]
    for count in range(share, 0, -1):
        below.append(below[-1] * (count * (tasks - share) / ((tasks - count + 1) * share)))
        if below[-1] < _NOTHING:
            break
    for count in range(share, tasks):
        above.append(above[-1] * ((tasks - count) * share / ((count + 1) * (tasks - share))))
        if above[-1] < _NOTHING:
            break
    terms = below[:0:-1] + above
    whole = fsum(terms)
    table = np.array(list(accumulate(terms))) / whole
    return share - len(below) + 1, table[:-1]
