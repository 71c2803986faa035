"""What a session was about, guessed from the vector of its first words: a class, or nothing where it is not clear.

Here: the classes with their prototypes and thresholds (`config/activities.yaml`), and the guess from vectors alone. Not
here: whose vectors they are and where guesses are kept (`session_activity`).

An estimate with a known and considerable error: it sums up kinds of work, and says nothing of the person who did it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec

from tokenledger_dagster.inference.rule_file import read_rules

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

__all__ = ["ACTIVITIES", "METHOD", "OTHER", "Abstained", "Guess", "Rules", "centers", "guesses", "load_rules", "rules"]

PATH = Path(__file__).resolve().parents[2] / "config" / "activities.yaml"
ACTIVITIES = ("debug", "feature", "refactor", "explain", "docs", "devops", "test", "review")
"""What may be guessed."""
OTHER = "other"
"""The class that is never claimed: a text that is nearest to it has no activity."""
METHOD = "nearest-center"
"""Cosine to the middle of each class's prototypes."""
Abstained = Literal["", "other_model", "too_short", "other", "low_score", "low_margin"]
"""Why there is no guess, the first reason that holds; empty where there is one."""
_PLACES = 4
"""Of scores and margins: backends that agree within their tolerance then mostly agree in what is written."""

_Cosine = Annotated[float, msgspec.Meta(ge=-1, le=1)]
_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    schema_version: Literal[1]
    min_tokens: Annotated[int, msgspec.Meta(ge=0, le=10_000)]
    """Of a first part, the special tokens counted; below this nothing is guessed."""
    min_score: _Cosine
    min_margin: Annotated[float, msgspec.Meta(ge=0, le=2)]
    prototypes: dict[str, Annotated[list[_Text], msgspec.Meta(min_length=1)]]
    """Texts by class, `ACTIVITIES` and `OTHER`."""

    def __post_init__(self) -> None:
        """Refuse what no type says."""
        wanted = {*ACTIVITIES, OTHER}
        if wanted != set(self.prototypes):
            odd = ", ".join(sorted(wanted ^ set(self.prototypes)))
            raise ValueError(f"prototypes: {odd}: is missing or unknown")
        texts = [text for some in self.prototypes.values() for text in some]
        if len(texts) != len(set(texts)):
            raise ValueError("prototypes: a text stands there twice")

    @property
    def texts(self) -> list[str]:
        """All prototypes, class by class."""
        return [text for some in self.prototypes.values() for text in some]

    @property
    def digest(self) -> str:
        """Stands for everything that a guess depends on but the model."""
        content = msgspec.json.encode((METHOD, _PLACES, self), order="deterministic")
        return hashlib.blake2b(content, digest_size=8).hexdigest()


class Guess(NamedTuple):
    """What is said of one text."""

    activity: str | None
    """One of `ACTIVITIES`; None for an abstention."""
    abstained: Abstained
    nearest: str | None
    """The nearest class, also where it is not claimed; None where nothing was compared."""
    runner_up: str | None
    score: float | None
    """Cosine to the nearest class, four places."""
    margin: float | None
    """By how much the nearest class is nearer than the runner-up."""


@cache
def rules() -> Rules:
    """The committed rules, read once.  Raises TokenLedgerError: see `load_rules`."""
    return load_rules()


def load_rules(path: Path = PATH) -> Rules:
    """The rules of a file.

    Raises:
        TokenLedgerError: it is missing, or says what cannot be meant.
    """
    return read_rules(path, Rules)


def centers(vectors: Vectors, rules: Rules) -> Vectors:
    """The middle of each class.

    Args:
        vectors: [prototypes, dims] of `rules.texts`.
        rules: whose prototypes they are.

    Returns:
        [classes, dims], of length 1, in the order of `rules.prototypes`.
    """
    import numpy as np

    found, start = [], 0
    for texts in rules.prototypes.values():
        found.append(vectors[start : start + len(texts)].mean(axis=0, dtype=np.float64))
        start += len(texts)
    middles = np.stack(found)
    return np.asarray(middles / np.linalg.norm(middles, axis=1, keepdims=True), dtype=np.float32)


def guesses(vectors: Vectors, token_counts: Sequence[int], centers: Vectors, rules: Rules) -> Iterator[Guess]:
    """What is said of each text.

    Args:
        vectors: [texts, dims], of length 1, by the model that the centers are of.
        token_counts: of each text, the special tokens counted.
        centers: from `centers`.
        rules: the same.
    """
    import numpy as np

    classes = list(rules.prototypes)
    cosines = vectors @ centers.T
    # of two classes equally near the first one: the same on every machine
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :2]
    for row, (first, second) in enumerate(order):
        if token_counts[row] < rules.min_tokens:
            yield Guess(None, "too_short", None, None, None, None)
            continue
        score = round(float(cosines[row, first]), _PLACES)
        margin = round(float(cosines[row, first]) - float(cosines[row, second]), _PLACES)
        reason = _reason(classes[first], score, margin, rules)
        activity = None if reason else classes[first]
        yield Guess(activity, reason, classes[first], classes[second], score, margin)


def _reason(nearest: str, score: float, margin: float, rules: Rules) -> Abstained:
    if nearest == OTHER:
        return "other"
    if score < rules.min_score:
        return "low_score"
    return "low_margin" if margin < rules.min_margin else ""
