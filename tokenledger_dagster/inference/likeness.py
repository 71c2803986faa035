"""How alike a model's name is to the canonical ones, and which of them it may be taken for at all.

Here: names taken into words and numbers, a guard that another version or tier never passes, and a score. Plain Python
over texts; no model, no file. Not here: which names are asked about and what becomes of an answer
(`mapping_suggestions`).

Likeness alone is dangerous: the more a name resembles a known one, the more likely it is its next version, at another
price. So a candidate has to have just the same numbers in the same order, put together in the same way (`5-chat-1` is
not `5.1-chat`), the same single letters at digits (`4o` is not `o4`), and just the same known words, its family among
them, before likeness is asked at all. What remains free makes no other model: order, separators, a typing error, a
gateway's words before the name, a deployment's after it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

__all__ = ["Candidate", "Names", "Parts", "distance", "parts"]

_CHUNKS = re.compile(r"[^\W\d_]+|\d+")
_NUMBERS = re.compile(r"\d+(?:[\W_]+\d+)*")
_MARK_BEFORE = re.compile(r"(?<![a-z])[a-z](?=[0-9])")
_MARK_AFTER = re.compile(r"(?<=[0-9])[a-z](?![a-z])")
_LONGEST_GRAM = 4
_SHORTEST_MENDED = 4
"""Letters of a word below which another one is no typing error: `pro` and `air` are models."""
_TWO_ERRORS_FROM = 8


class Parts(NamedTuple):
    """A name taken apart."""

    words: tuple[str, ...]
    """Runs of letters, in order."""
    chunks: tuple[str, ...]
    """Runs of letters and runs of digits, in order."""
    digits: str
    """All digits, in order."""
    numbers: tuple[tuple[str, ...], ...]
    """Runs of digits in order, those together that no letter stands between: `5-1` and `5.1` are `5, 1`."""
    marks: tuple[str, ...]
    """Single letters with the digit that they stand at: `4o`, `o4`; sorted."""


class Candidate(NamedTuple):
    """A canonical name that a name may be taken for."""

    model: str
    score: float
    """0 to 1: two parts Dice over words and numbers, one part TF-IDF over letters."""
    dice: float
    tfidf: float


class Names:
    """The canonical names, ready to be compared with."""

    def __init__(
        self,
        models: Iterable[str],
        neutral: Collection[str] = (),
        families: Mapping[str, str] = {},
        derived: Collection[str] = (),
    ) -> None:
        """Take names apart once.

        Args:
            models: canonical ids.
            neutral: words that may stand behind a name and make no other model of it (`prod`, `deployment`).
            families: words that name their family too, where it is left out (`sonnet` -> `claude`).
            derived: words of what was made of a model, wherever they stand (`sft`, `merged`, `draft`).
        """
        self._parts = {model: parts(model) for model in sorted(models)}
        self._words = {word for one in self._parts.values() for word in one.words}
        self._neutral = frozenset(neutral) - self._words
        self._families = dict(families)
        self._derived = frozenset(derived) - self._words
        self._guarded: dict[tuple[object, ...], list[str]] = {}
        for model, one in self._parts.items():
            self._guarded.setdefault(_identity(one.words, one), []).append(model)

    def candidates(self, name: str) -> list[Candidate]:
        """What passes the guard, the most alike first.  A name of no known family has nothing to be taken for."""
        given = parts(name)
        read = self._read(given.words)
        if read is None:
            return []
        found = self._guarded.get(_identity([word for word in read if word in self._words], given), [])
        if not found:
            return []
        words = [word for word in read if word not in self._neutral]
        numbers = [chunk for chunk in given.chunks if chunk.isdecimal()]
        asked = self._asked(name, [*words, *numbers])
        scored = [self._scored(asked, model) for model in found]
        return sorted(scored, key=lambda one: (-one.score, one.model))

    def next_best(self, name: str, model: str) -> float:
        """The score of the canonical name that is most alike beside `model`, whether the guard lets it pass or not."""
        asked = self._asked(name, parts(name).chunks)
        return max((self._scored(asked, one).score for one in self._parts if one != model), default=0.0)

    def _read(self, words: Sequence[str]) -> list[str] | None:
        """The words as they are meant, with a family that was left out; None where one may make another model."""
        read: list[str] = []
        is_inside = False
        for word in words:
            if word in self._derived:
                return None
            meant = word if word in self._words or word in self._neutral else self._mended(word)
            if meant in self._words:
                is_inside = True
            elif is_inside and meant not in self._neutral:
                return None  # a word behind the name that nobody knows may be a tier
            read.append(meant)
        if not is_inside:
            return None
        implied = {self._families[word] for word in read if word in self._families}
        return [*read, *sorted(implied - set(read))]

    def _mended(self, word: str) -> str:
        """The one known word that this is a typing error of; the word itself where there is none, or more than one."""
        if len(word) < _SHORTEST_MENDED or not word.isascii():
            return word
        most = 2 if len(word) >= _TWO_ERRORS_FROM else 1
        near: dict[int, list[str]] = {}
        for known in self._words:
            fits = len(known) >= _SHORTEST_MENDED and abs(len(known) - len(word)) <= most
            if fits and not _is_longer(word, known):
                found = distance(word, known, most)
                if found is not None:
                    near.setdefault(found, []).append(known)
        nearest = near[min(near)] if near else []
        return nearest[0] if len(nearest) == 1 else word

    def _asked(self, name: str, chunks: Sequence[str]) -> _Asked:
        grams = _grams(name)
        return _Asked(Counter(chunks), grams, self._letters.length(grams))

    def _scored(self, asked: _Asked, model: str) -> Candidate:
        theirs, letters = Counter(self._parts[model].chunks), self._letters
        shared_chunks = sum(min(count, theirs[chunk]) for chunk, count in asked.chunks.items())
        dice = 2 * shared_chunks / max(asked.chunks.total() + theirs.total(), 1)
        grams = letters.grams[model]
        shared = sum(
            count * grams[gram] * letters.weight(gram) ** 2 for gram, count in asked.grams.items() if gram in grams
        )
        length = asked.length * letters.lengths[model]
        tfidf = shared / length if length else 0.0
        return Candidate(model, (2 * dice + tfidf) / 3, dice, tfidf)

    @cached_property
    def _letters(self) -> _Letters:
        """Made when something passes the guard for the first time: most names never need it, and it takes a while."""
        return _Letters(self._parts)


class _Asked(NamedTuple):
    """A name that scores are asked of."""

    chunks: Counter[str]
    grams: Counter[str]
    length: float
    """Of the grams as a vector."""


class _Letters:
    """Runs of letters of the canonical names, and how much each of them tells."""

    def __init__(self, models: Collection[str]) -> None:
        self.grams = {model: _grams(model) for model in models}
        seen = Counter(gram for grams in self.grams.values() for gram in grams)
        self._idf = {gram: math.log((1 + len(models)) / (1 + count)) + 1 for gram, count in seen.items()}
        self._rarest = math.log(1 + len(models)) + 1
        self.lengths = {model: self.length(grams) for model, grams in self.grams.items()}

    def length(self, grams: Counter[str]) -> float:
        """Of grams as a vector."""
        return math.sqrt(sum((count * self.weight(gram)) ** 2 for gram, count in grams.items()))

    def weight(self, gram: str) -> float:
        """More for what fewer names have."""
        return self._idf.get(gram, self._rarest)


def parts(name: str) -> Parts:
    """Words, numbers and the letters that belong to a number."""
    text = unicodedata.normalize("NFKC", name).lower()
    chunks = tuple(_CHUNKS.findall(text))
    marks = [text[one.start() : one.end() + 1] for one in _MARK_BEFORE.finditer(text)]
    marks += [text[one.start() - 1 : one.end()] for one in _MARK_AFTER.finditer(text)]
    return Parts(
        words=tuple(chunk for chunk in chunks if not chunk.isdecimal()),
        chunks=chunks,
        digits="".join(chunk for chunk in chunks if chunk.isdecimal()),
        numbers=tuple(tuple(re.findall(r"\d+", some)) for some in _NUMBERS.findall(text)),
        marks=tuple(sorted(marks)),
    )


def distance(one: str, other: str, most: int) -> int | None:
    """Letters to insert, remove, replace or exchange with their neighbour; None for more than `most`."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        earlier, before, row = before, row, [place]
        for column, theirs in enumerate(other, 1):
            best = min(before[column] + 1, row[-1] + 1, before[column - 1] + (letter != theirs))
            if place > 1 and column > 1 and letter == other[column - 2] and one[place - 2] == theirs:
                best = min(best, earlier[column - 2] + 1)
            row.append(best)
        if min(row) > most:
            return None
    return row[-1] if row[-1] <= most else None


def _identity(words: Iterable[str], one: Parts) -> tuple[object, ...]:
    """What two names must have in common."""
    return tuple(sorted(words)), one.numbers, one.marks


def _is_longer(word: str, known: str) -> bool:
    """Whether letters stand before or behind a known word, which makes a name of its own: `flashx` is no `flash`."""
    more = word.removeprefix(known) if word.startswith(known) else word.removesuffix(known)
    return len(more) < len(word) and set(more) != {known[-1]}


def _grams(name: str) -> Counter[str]:
    """Runs of one to four characters; separators are all the same, and stand at both ends."""
    text = f"-{'-'.join(_CHUNKS.findall(name.lower()))}-"
    return Counter(
        text[start : start + length]
        for length in range(1, _LONGEST_GRAM + 1)
        for start in range(len(text) - length + 1)
    )
