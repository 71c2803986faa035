"""Tokens of a text by a weighted sum of what is counted of it; the shipped weights, and the last resort.

Here: estimating. Not here: fitting weights (`fitting`), and which estimator is used for what (`choosing`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.estimates.features import FEATURES, Features

__all__ = ["SHIPPED_PATH", "Estimator", "Method", "Shipped", "load_shipped"]

Method = Literal["fitted", "shipped", "characters"]
"""`fitted`: weights from your own counted answers. `shipped`: those of the data file. `characters`: a quarter of the
characters."""

SHIPPED_PATH = Path(__file__).resolve().parents[3] / "config" / "token_estimator.json"
_Weight = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
_Error = Annotated[float, msgspec.Meta(ge=0, le=1_000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Estimator(msgspec.Struct, frozen=True, kw_only=True):
    """Weights, and how good they were found to be."""

    method: Method
    weights: tuple[float, ...]
    """Tokens per unit of each of `FEATURES`."""
    expected_error: float
    """Mean of |estimate - count| / count, as measured; 0.1 is 10 %."""
    sample_count: int
    """Texts with a count that the error was measured on."""

    def tokens(self, features: Features) -> int:
        """Tokens of a text, or of several whose figures were added; at least 1 for any text, 0 for none."""
        found = sum(weight * figure for weight, figure in zip(self.weights, features, strict=True))
        return max(round(found), features[0] and 1)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """How the estimators did on one kind of text, as measured when the weights were fitted."""

    texts: _Count
    characters_per_token: float
    characters_error: _Error
    cross_validated_error: _Error
    """Of weights fitted without the texts of the same file."""
    left_out_error: _Error
    """Of weights fitted without this kind of text."""


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """`config/token_estimator.json`."""

    schema_version: Literal[1]
    generated_at: str
    fitted_with: str
    """The command that wrote the file."""
    vocabulary: str
    features: list[str]
    weights: list[_Weight]
    texts: _Count
    other_vocabularies: dict[str, _Error]
    """Error of the weights on counts of vocabularies that they were not fitted on."""
    expected_error: _Error
    """Mean of these errors: the vocabulary of a log's model is not the one that the weights were fitted on either."""
    characters_error: _Error
    """Of a quarter of the characters, on the same counts."""
    kinds: dict[str, Kind]

    @property
    def estimators(self) -> tuple[Estimator, Estimator]:
        """The shipped weights, and a quarter of the characters with the error that was measured beside them."""
        fitted = Estimator(
            method="shipped",
            weights=tuple(self.weights),
            expected_error=self.expected_error,
            sample_count=self.texts,
        )
        return fitted, last_resort(self.characters_error, self.texts)


def last_resort(expected_error: float = 1.0, sample_count: int = 0) -> Estimator:
    """A quarter of the characters; nothing is known of its error where no samples are given, which is told as 100 %."""
    weights = tuple(0.25 if name == "characters" else 0.0 for name in FEATURES)
    return Estimator(method="characters", weights=weights, expected_error=expected_error, sample_count=sample_count)


def load_shipped(path: Path = SHIPPED_PATH) -> Shipped:
    """The shipped weights.

    Raises:
        TokenLedgerError: the file is missing, or not what it must be.
    """
    remedy = "restore it from the repository"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Shipped)
    except (OSError, ValueError) as fault:  # msgspec's errors among them
        raise TokenLedgerError(f"{path}: cannot be used ({' '.join(str(fault).split())}); {remedy}") from fault
    if tuple(found.features) != FEATURES or len(found.weights) != len(FEATURES):
        raise TokenLedgerError(f"{path}: has other features than this program counts; {remedy}")
    return found
