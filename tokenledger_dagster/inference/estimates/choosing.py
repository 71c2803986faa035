"""Which estimator is used for the texts of one maker's models.

Here: the choice, by the error that was measured. Not here: measuring (`fitting`), and samples (`collecting`).

A tokenizer belongs to the maker of a model, whoever serves it: what Claude Code counted serves for Claude in Cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.estimates.estimator import SHIPPED_PATH, Estimator, last_resort, load_shipped
from tokenledger_dagster.inference.estimates.fitting import Sample, error_of, fitted
from tokenledger_dagster.inference.policy import EstimatePolicy

__all__ = ["Choices"]


class Choices:
    """Estimators by maker.

    Without samples of a maker the shipped weights are used. With some, whichever of the shipped weights and a quarter
    of the characters is nearer to them, with the error found on them. With enough, weights of their own too, judged by
    sessions that they were not fitted on.
    """

    def __init__(
        self, samples: Mapping[str, Sequence[Sample]], limits: EstimatePolicy, shipped: Path = SHIPPED_PATH
    ) -> None:
        self._samples, self._limits = samples, limits
        self._chosen: dict[str, Estimator] = {}
        self.problem: str | None = None
        """Why the shipped weights cannot be used; None where they can."""
        try:
            self._ready: tuple[Estimator, ...] = load_shipped(shipped).estimators
        except TokenLedgerError as fault:
            self.problem = str(fault)
            self._ready = (last_resort(),)

    def of(self, maker: str) -> Estimator:
        """The estimator for a maker's models; "" where the maker is not known."""
        found = self._chosen.get(maker)
        if found is None:
            found = self._chosen[maker] = self._choose(self._samples.get(maker, ()))
        return found

    def _choose(self, given: Sequence[Sample]) -> Estimator:
        samples = _different(given)
        candidates = list(self._ready)
        if len(samples) >= self._limits.min_check_samples:
            candidates = [_checked(one, samples) for one in candidates]
            own = fitted(samples, self._limits.folds) if len(samples) >= self._limits.min_fit_samples else None
            candidates += [] if own is None else [own]
        return min(candidates, key=lambda one: one.expected_error)


def _different(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of different texts: an answer that is given a hundred times is one, however many sessions show it."""
    return list({one.features: one for one in sorted(samples, reverse=True)}.values())


def _checked(one: Estimator, samples: Sequence[Sample]) -> Estimator:
    """With the error on these samples in place of the one it was shipped with."""
    return msgspec.structs.replace(one, expected_error=error_of(one.weights, samples), sample_count=len(samples))
