"""Weights from texts whose tokens somebody counted.

Here: the fit, and its error on texts it was not fitted on. Not here: where such texts come from (`counted logs`).

What is made small is the error in relation to the count, so that long texts do not outweigh short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tokenledger_dagster.inference.estimates.estimator import Estimator
from tokenledger_dagster.inference.estimates.features import FEATURES, Features
from tokenledger_dagster.inference.estimates.least_squares import non_negative

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Sample", "cross_validated", "error_of", "fit"]


class Sample(NamedTuple):
    """A text as it is counted here and by its provider."""

    features: Features
    tokens: int
    """At least 1."""
    group: str
    """Samples of one group resemble each other, as those of one session: they are never fitted and tested on apart."""


def fit(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Weights, none negative; zeros for no samples."""
    if not samples:
        return (0.0,) * len(FEATURES)
    import numpy as np

    matrix, counts = _arrays(samples)
    return tuple(float(weight) for weight in non_negative(matrix / counts[:, None], np.ones_like(counts)))


def error_of(weights: Sequence[float], samples: Sequence[Sample]) -> float:
    """Mean of |estimate - count| / count; 0 for no samples."""
    if not samples:
        return 0.0
    return sum(_errors(weights, samples)) / len(samples)


def cross_validated(samples: Sequence[Sample], folds: int) -> float | None:
    """Error on samples of groups that the weights were not fitted on; None with fewer than two groups.

    Args:
        samples: any number.
        folds: into how many parts the groups are dealt, in order of their names.
    """
    groups = sorted({one.group for one in samples})
    parts = min(folds, len(groups))
    if parts < 2:
        return None
    fold_of = {group: place % parts for place, group in enumerate(groups)}
    errors: list[float] = []
    for fold in range(parts):
        held_out = [one for one in samples if fold_of[one.group] == fold]
        weights = fit([one for one in samples if fold_of[one.group] != fold])
        errors += _errors(weights, held_out)
    return sum(errors) / len(errors)


def fitted(samples: Sequence[Sample], folds: int) -> Estimator | None:
    """Weights from all samples with their cross-validated error; None where that cannot be told."""
    error = cross_validated(samples, folds)
    if error is None:
        return None
    return Estimator(method="fitted", weights=fit(samples), expected_error=error, sample_count=len(samples))


def _errors(weights: Sequence[float], samples: Sequence[Sample]) -> list[float]:
    matrix, counts = _arrays(samples)
    import numpy as np

    return [float(one) for one in np.abs(matrix @ np.asarray(weights) - counts) / counts]


def _arrays(samples: Sequence[Sample]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    import numpy as np

    matrix = np.asarray([one.features for one in samples], dtype=np.float64)
    return matrix, np.asarray([one.tokens for one in samples], dtype=np.float64)
