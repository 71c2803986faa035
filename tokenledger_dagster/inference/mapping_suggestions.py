"""The review queue of model names: what no rule explains, what it may stand for, and the entry that would say so.

Here: the queue of a home, suggestions for one name, and the file they are kept in. A suggestion changes nothing: only
an entry that a person puts into `overrides.yaml` does. Not here: likeness and its guard (`likeness`), rules of names
(`models/names.py`), what is missing of prices (`pricing/suggestions.py`).

Works without a model. Where inference is on, embeddings put what passed the guard in order; they let nothing pass.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

import msgspec

from tokenledger_dagster.contracts.mapping_suggestions import MappingReview, MappingSuggestion, NameInReview
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.clock import utc_stamp
from tokenledger_dagster.inference.likeness import Candidate, Names
from tokenledger_dagster.inference.rule_file import read_rules
from tokenledger_dagster.models.names import ModelName, resolve, taken_apart
from tokenledger_dagster.models.overrides import Override
from tokenledger_dagster.models.rules import catalog

if TYPE_CHECKING:
    import duckdb

    from tokenledger_dagster.inference.embedder import Embeddings
    from tokenledger_dagster.inference.switch import Standing
    from tokenledger_dagster.pricing.rate_table import RateTable

__all__ = [
    "Asked",
    "Reviewed",
    "Rules",
    "asked_of",
    "kept_review",
    "load_rules",
    "review",
    "rules",
    "suggestions",
    "write_review",
]

PATH = Path(__file__).resolve().parents[2] / "config" / "mapping_suggestions.yaml"
_PLACES = 3
_NO_MODEL = ("reserved.", "unknown_name none.")
"""How rule and maker's rule of such a name begin."""
_LONGEST_NAME = 300
"""Beyond this it is text; `models/names.py` compares no such name either."""

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z]+\Z")]


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`config/mapping_suggestions.yaml`."""

    schema_version: Literal[1]
    below_confidence: Annotated[int, msgspec.Meta(ge=1, le=100)]
    min_score: _Share
    most: Annotated[int, msgspec.Meta(ge=1, le=10)]
    """Suggestions of one name."""
    most_names: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    """Of the queue, by tokens."""
    neutral: list[_Word]
    derived: list[_Word]
    families: dict[_Word, _Word]


class Embedder(Protocol):
    """What is asked of an `embedder.Embedder`."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Vectors of these texts."""
        ...


class Asked(NamedTuple):
    """Who embeds, or why nobody does."""

    embedder: Callable[[], AbstractContextManager[Embedder]] | None
    told: str
    """`on`, or the reason."""


def asked_of(found: Standing, embedder: Callable[[], AbstractContextManager[Embedder]]) -> Asked:
    """Who embeds where inference stands like this; a model that cannot be used is as good as none."""
    from tokenledger_dagster.inference.manifest import read_manifest

    if not found.on or found.model is None:
        return Asked(None, found.told)
    try:
        return Asked(embedder, f"on, with the model {read_manifest(found.model).weights_sha256[:12]}")
    except TokenLedgerError as error:
        return Asked(None, f"off: {error}")


class Reviewed(NamedTuple):
    """What one call did."""

    review: MappingReview
    digest: str
    """Stands for the queue and its suggestions."""
    is_new: bool
    duration_ms: int


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`mapping_suggestions.json`: the review and what it stands on."""

    key: str
    review: MappingReview


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


def suggestions(name: str, client: str, using: Rules | None = None) -> list[MappingSuggestion]:
    """What a name that no rule explains may stand for, the likeliest first; mostly nothing.

    Args:
        name: as the log writes it.
        client: the program that wrote the log; its entry holds in its logs only.
        using: None is the committed rules.
    """
    wanted = using or rules()
    resolved = resolve(name, client, None)
    # routers, families, tests and composites are no one model, however they are spelled
    if len(name) > _LONGEST_NAME or f"{resolved.name.rule} {resolved.maker_rule}".startswith(_NO_MODEL):
        return []
    text, modifiers = taken_apart(name)
    known = _names(tuple(wanted.neutral), tuple(wanted.families.items()), tuple(wanted.derived))
    makers = {resolved.name.maker} if resolved.name.maker else set(catalog().values())
    passed = [one for one in known.candidates(text) if one.score >= wanted.min_score and catalog()[one.model] in makers]
    found = []
    for one in passed[: wanted.most]:
        entry = _entry(name, client, one, modifiers)
        if entry is None:
            continue
        found.append(
            MappingSuggestion(
                model=one.model,
                maker=catalog()[one.model],
                modifiers=modifiers,
                method="dice-tfidf",
                score=round(one.score, _PLACES),
                margin=round(one.score - known.next_best(text, one.model), _PLACES),
                cosine=None,
                override=entry,
            )
        )
    return found


def review(
    home: Home,
    con: duckdb.DuckDBPyConnection,
    events: Path,
    asked: Asked,
    *,
    using: Rules | None = None,
    now: datetime | None = None,
) -> MappingReview:
    """The names of a home that wait for a review, each with its suggestions.

    Args:
        home: a home that was synced.
        con: a DuckDB connection.
        events: the table `events` as Parquet.
        asked: who embeds.
        using: None is the committed rules.
        now: time of the document; None is the clock's.
    """
    from tokenledger_dagster.exports.costs import prices_of

    wanted = using or rules()
    names = _queue(con, events, prices_of(home).snapshot.table, wanted)
    first = sorted(names.values(), key=lambda one: (-one.tokens, one.client, one.name))[: wanted.most_names]
    listed = [msgspec.structs.replace(one, suggestions=suggestions(one.name, one.client, wanted)) for one in first]
    told = asked.told
    try:
        listed = _ranked(listed, asked.embedder)
    except TokenLedgerError as error:  # likeness does without
        told = f"off: {error}"
    return MappingReview(
        generated_at=utc_stamp(now),
        overrides_path=str(home.overrides_path),
        below_confidence=wanted.below_confidence,
        min_score=wanted.min_score,
        embedding=told,
        names_total=len(names),
        names=listed,
    )


def write_review(home: Home, con: duckdb.DuckDBPyConnection, asked: Asked, *, now: datetime | None = None) -> Reviewed:
    """Bring `mapping_suggestions.json` up to date; without events it lists nothing.

    Raises:
        OSError: the disk refused.
    """
    from tokenledger_dagster import __version__
    from tokenledger_dagster.exports.costs import prices_of
    from tokenledger_dagster.exports.tables import stored

    started, wanted = time.perf_counter(), rules()
    events = stored(home, "events")
    told = ("" if events is None else events.digest, prices_of(home).key, asked.told, __version__, str(home.root))
    key = _digest((*told, _catalog_digest(), wanted))
    kept = _read(home)
    is_new = kept is None or kept.key != key
    if kept is None or is_new:
        found = (
            review(home, con, events.path, asked, now=now)
            if events is not None
            else _empty(home, wanted, asked, utc_stamp(now))
        )
        kept = _Kept(key=key, review=found)
        write_json_atomic(review_path(home), {**_document(found), "key": key})
    duration_ms = round((time.perf_counter() - started) * 1000)
    return Reviewed(kept.review, _digest(kept.review.names), is_new, duration_ms)


def review_path(home: Home) -> Path:
    """Where the queue is kept."""
    return home.lake / "inference" / "mapping_suggestions.json"


def kept_review(home: Home) -> MappingReview | None:
    """The queue as it was kept; None where there is none, or a damaged one."""
    kept = _read(home)
    return None if kept is None else kept.review


# -------------------------------------------------------------------- the queue


def _queue(
    con: duckdb.DuckDBPyConnection, events: Path, table: RateTable, wanted: Rules
) -> dict[tuple[str, str], NameInReview]:
    query = Path(__file__).with_name("names_in_review.sql").read_text("utf-8")
    from tokenledger_dagster.exports.engine import literal

    found: dict[tuple[str, str], NameInReview] = {}
    rows = con.execute(query.format(events=literal(events), below=wanted.below_confidence)).fetchall()
    for client, raw, provider, model, maker, rule, confidence, count, tokens, first, last in rows:
        name = ModelName(model, maker, {}, rule, confidence)
        # what the pricing book names is certain, whatever it is called
        if table.named(provider, name).confidence >= wanted.below_confidence:
            continue
        one = _in_review(client, raw, maker, rule, confidence, count, tokens, first, last)
        other = found.get((client, raw))
        found[client, raw] = one if other is None else _joined(other, one)
    return found


def _in_review(
    client: str,
    raw: str,
    maker: str | None,
    rule: str,
    confidence: int,
    events: int,
    tokens: int,
    first: date,
    last: date,
) -> NameInReview:
    return NameInReview(
        client=client,
        name=raw,
        maker=maker,
        rule=rule,
        confidence=confidence,
        events=events,
        tokens=tokens,
        first_day=first.isoformat(),
        last_day=last.isoformat(),
        suggestions=[],
    )


def _joined(one: NameInReview, other: NameInReview) -> NameInReview:
    """The same name met under two billers."""
    return msgspec.structs.replace(
        one,
        events=one.events + other.events,
        tokens=one.tokens + other.tokens,
        first_day=min(one.first_day, other.first_day),
        last_day=max(one.last_day, other.last_day),
    )


def _ranked(
    names: list[NameInReview], embedder: Callable[[], AbstractContextManager[Embedder]] | None
) -> list[NameInReview]:
    """The suggestions of each name by the likeness of embeddings; names without any cost nothing."""
    texts = list(dict.fromkeys(text for one in names if one.suggestions for text in _texts(one)))
    if embedder is None or not texts:
        return names
    with embedder() as opened:
        vectors = dict(zip(texts, opened.embed(texts).vectors, strict=True))
    ranked = []
    for one in names:
        found = [
            msgspec.structs.replace(
                some,
                cosine=round(float(vectors[one.name] @ vectors[some.model]), _PLACES),
                method="dice-tfidf, ranked by embedding",
            )
            for some in one.suggestions
        ]
        found.sort(key=lambda some: (-(some.cosine or 0.0), -some.score, some.model))
        ranked.append(msgspec.structs.replace(one, suggestions=found))
    return ranked


def _texts(one: NameInReview) -> list[str]:
    return [one.name, *(some.model for some in one.suggestions)]


@cache
def _names(neutral: tuple[str, ...], families: tuple[tuple[str, str], ...], derived: tuple[str, ...]) -> Names:
    return Names(catalog(), neutral, dict(families), derived)


# -------------------------------------------------------------------- entries


def _entry(name: str, client: str, one: Candidate, modifiers: Mapping[str, str]) -> str | None:
    """An entry for `overrides.yaml`; None for a name that the file could not hold."""
    reason = f"somebody looked: it is {one.model} (suggested by likeness, score {one.score:.2f})"
    said: dict[str, Any] = {"name": name, "client": client, "model": one.model, "reason": reason}
    try:
        name.encode()  # half of a surrogate pair is in no YAML
        msgspec.convert({**said, "modifiers": dict(modifiers)}, Override)
    except ValueError:  # msgspec's errors are ValueErrors
        return None
    lines = [f"{key}: {_quoted(value)}" for key, value in said.items()]
    if modifiers:
        listed = ", ".join(f"{key}: {_quoted(value)}" for key, value in sorted(modifiers.items()))
        lines.insert(3, f"modifiers: {{{listed}}}")
    return "  - " + "\n    ".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text in double quotes as YAML reads it back, whatever is in it."""
    kept = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in kept) + '"'


# -------------------------------------------------------------------- kept


def _document(found: MappingReview) -> dict[str, Any]:
    return msgspec.structs.asdict(found)


def _empty(home: Home, wanted: Rules, asked: Asked, stamp: str) -> MappingReview:
    return MappingReview(
        generated_at=stamp,
        overrides_path=str(home.overrides_path),
        below_confidence=wanted.below_confidence,
        min_score=wanted.min_score,
        embedding=asked.told,
        names_total=0,
        names=[],
    )


def _read(home: Home) -> _Kept | None:
    try:
        raw = review_path(home).read_bytes()
        return _Kept(key=msgspec.json.decode(raw, type=_Keyed).key, review=msgspec.json.decode(raw, type=MappingReview))
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None


class _Keyed(msgspec.Struct, frozen=True):
    """What the file was made of."""

    key: str


def _catalog_digest() -> str:
    return _digest(catalog())


def _digest(value: object) -> str:
    return hashlib.blake2b(msgspec.json.encode(value, order="deterministic"), digest_size=16).hexdigest()
