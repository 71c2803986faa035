"""What each session was about, kept beside its vectors: one row a session, made of vectors that are there already.

Here: reading first parts, the table and the summary beside it, and when they are made anew. Nothing is embedded but the
prototypes, and no log is read. Not here: the guess (`activity`), the vectors (`session_vectors`), and what sessions of
an activity cost (`activity_costs`).
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import staged, write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.activity import METHOD, Guess, Rules, centers, guesses, rules
from tokenledger_dagster.inference.vector_files import VectorFile, folder_of, live_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenledger_dagster.inference.activity import Vectors
    from tokenledger_dagster.inference.embedder import Embeddings

__all__ = ["COLUMNS", "SCHEMA_VERSION", "Made", "Summary", "activities", "forget", "table_path", "write_activity"]

SCHEMA_VERSION = 1
COLUMNS = {
    "client": "the program that wrote the log",
    "session_id": "the session, as in `usage_sessions`",
    "activity": "the guess; null for an abstention",
    "abstained": "why there is none: other_model, too_short, other, low_score, low_margin; empty where there is one",
    "nearest": "the nearest class, also where it is not claimed; null where nothing was compared",
    "runner_up": "the class after it",
    "score": "cosine to the nearest class, four places",
    "margin": "by how much it is nearer than the runner-up",
    "method": "how classes are compared",
    "model_sha256": "SHA-256 of the weights that embedded the session",
    "requested": "the backend that was asked to embed it",
    "backend": "the backend that did",
    "is_estimate": "true: nothing here was counted",
}
"""What each column of the table means, in order."""
_TOLD = ("token_count", "requested", "actual", "model_sha256", "precision")
"""What is read of a first part beside its vector."""
_LOOKS = 5
"""How often files are listed again that were merged away while they were read."""


class Embedder(Protocol):
    """What is asked of an `embedder.Embedder`."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Vectors of these texts."""
        ...


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`session_activity.json`: what the table says, in figures."""

    schema_version: int
    generated_at: datetime
    """UTC."""
    is_estimate: bool
    key: str
    """Stands for all that the table was made of."""
    digest: str
    """Stands for its rows."""
    sessions: int
    guessed: int
    """Sessions with an activity; the others are abstentions."""
    by_activity: dict[str, int]
    abstained: dict[str, int]
    """Sessions by the reason why nothing is said of them."""
    method: str
    min_tokens: int
    min_score: float
    min_margin: float


class Made(NamedTuple):
    """What one call did."""

    summary: Summary
    is_new: bool
    duration_ms: int


class _Rows(NamedTuple):
    """Some first parts."""

    about: list[tuple[Any, ...]]
    """Client and session, then `_TOLD`."""
    vectors: Vectors


def table_path(home: Home) -> Path:
    """Where the table lies; the summary is beside it."""
    return home.lake / "inference" / "session_activity.parquet"


def write_activity(
    home: Home,
    embedder: Callable[[], AbstractContextManager[Embedder]],
    model_sha256: str,
    *,
    using: Rules | None = None,
    now: datetime | None = None,
) -> Made:
    """Bring the table up to date with the vectors of sessions.

    Args:
        home: the ledger's home.
        embedder: opened only where something changed, to embed the prototypes.
        model_sha256: SHA-256 of the weights of the model in use.
        using: None is the committed rules.
        now: time of the summary; None is the clock's.

    Raises:
        BackendError: no backend answered.
        TokenLedgerError: a file of vectors is damaged.
        OSError: the disk refused.
    """
    started, wanted = time.perf_counter(), using or rules()
    known = read_summary(home)
    files = live_files(folder_of(home))
    key = _key(files, model_sha256, wanted)
    if known is not None and known.key == key and table_path(home).is_file():
        return Made(known, False, _ms(started))
    rows: list[tuple[Any, ...]] = []
    if files:
        with embedder() as opened:
            found = opened.embed(wanted.texts)
        rows = _rows(home, key, centers(found.vectors, wanted), _one_space(found), wanted)
    summary = _summary(rows, key, wanted, now or datetime.now(UTC))
    _write(home, rows)
    write_json_atomic(_summary_path(home), summary)
    return Made(summary, True, _ms(started))


def forget(home: Home) -> None:
    """Remove table and summary, where there are any: what inference made does not outlive that it is switched off."""
    _summary_path(home).unlink(missing_ok=True)
    table_path(home).unlink(missing_ok=True)


def read_summary(home: Home) -> Summary | None:
    """The summary as it was written last; None where there is none, or one of another version."""
    try:
        found = msgspec.json.decode(_summary_path(home).read_bytes(), type=Summary)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors
        return None
    return found if found.schema_version == SCHEMA_VERSION else None


def activities(home: Home) -> dict[tuple[str, str], str | None]:
    """The activity of each session by client and id, None for an abstention; empty where the table was never made.

    Raises TokenLedgerError where the table is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = table_path(home)
    try:
        table = pq.read_table(path, columns=["client", "session_id", "activity"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, pa.ArrowException) as error:
        shown = " ".join(str(error).split())[:160]
        raise TokenLedgerError(f"{path}: cannot be read ({shown}); delete it, it is made anew") from error
    keys = zip(table["client"].to_pylist(), table["session_id"].to_pylist(), strict=True)
    return dict(zip(keys, table["activity"].to_pylist(), strict=True))


# -------------------------------------------------------------------- made of vectors


def _one_space(found: Embeddings) -> tuple[str, str]:
    """The weights and the precision of the prototypes: only vectors of the same may be compared with them."""
    spaces = {(one.model_sha256, one.precision) for one in found.served}
    if len(spaces) != 1:
        raise TokenLedgerError(
            "the backend changed while the prototypes of activities were embedded, and their precision with it; run it "
            "again"
        )
    return spaces.pop()


def _rows(home: Home, key: str, middles: Vectors, space: tuple[str, str], using: Rules) -> list[tuple[Any, ...]]:
    """Rows of the table, by client and session."""
    for _ in range(_LOOKS):
        files = live_files(folder_of(home))
        try:
            found = [row for some in _first_parts(files) for row in _guessed(some, middles, space, using)]
        except FileNotFoundError:
            continue  # merged by another process: the list is another one now
        return sorted(found, key=lambda row: row[:2])
    raise TokenLedgerError(f"{folder_of(home)}: files change faster than they are read; try again")


def _guessed(some: _Rows, middles: Vectors, space: tuple[str, str], using: Rules) -> Iterator[tuple[Any, ...]]:
    if some.vectors.shape[1] == middles.shape[1]:
        found: Iterable[Guess] = guesses(some.vectors, [row[2] for row in some.about], middles, using)
    else:
        found = [_OTHER_MODEL] * len(some.about)
    for (client, session, _, requested, actual, *own), guess in zip(some.about, found, strict=True):
        said = guess if tuple(own) == space else _OTHER_MODEL
        yield (
            *(client, session, said.activity, said.abstained, said.nearest, said.runner_up, said.score, said.margin),
            *(METHOD, own[0], requested, actual, True),
        )


_OTHER_MODEL = Guess(None, "other_model", None, None, None, None)


def _first_parts(files: Sequence[VectorFile]) -> Iterator[_Rows]:
    """First parts, some thousands at a time.

    Raises:
        FileNotFoundError: a file was merged meanwhile.
        TokenLedgerError: a file is damaged.
    """
    from tokenledger_dagster.inference.vector_store import live_rows, read_columns, vectors_of

    sessions = live_rows(files)
    for place, file in enumerate(files):
        mine = {one.first_row: (one.client, one.session_id) for one in sessions if one.file == place}
        if not mine:
            continue
        told = [column.to_pylist() for column in read_columns(file, _TOLD).columns]
        start = 0
        for vectors in vectors_of(file):
            rows = [row for row in range(start, start + len(vectors)) if row in mine]
            about = [(*mine[row], *(column[row] for column in told)) for row in rows]
            yield _Rows(about, vectors[[row - start for row in rows]])
            start += len(vectors)


# -------------------------------------------------------------------- kept


def _key(files: Sequence[VectorFile], model_sha256: str, using: Rules) -> str:
    told = [(one.path.name, one.bytes, one.mtime_ns) for one in files]
    content = msgspec.msgpack.encode((SCHEMA_VERSION, tuple(COLUMNS), model_sha256, using.digest, told))
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _summary(rows: Sequence[tuple[Any, ...]], key: str, using: Rules, now: datetime) -> Summary:
    by_activity, abstained = Counter(row[2] for row in rows if row[2]), Counter(row[3] for row in rows if row[3])
    return Summary(
        schema_version=SCHEMA_VERSION,
        generated_at=now.astimezone(UTC).replace(microsecond=0),
        is_estimate=True,
        key=key,
        digest=hashlib.blake2b(msgspec.msgpack.encode(rows), digest_size=16).hexdigest(),
        sessions=len(rows),
        guessed=by_activity.total(),
        by_activity=dict(sorted(by_activity.items())),
        abstained=dict(sorted(abstained.items())),
        method=METHOD,
        min_tokens=using.min_tokens,
        min_score=using.min_score,
        min_margin=using.min_margin,
    )


def _write(home: Home, rows: Sequence[tuple[Any, ...]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: Mapping[str, Any] = {"score": pa.float64(), "margin": pa.float64(), "is_estimate": pa.bool_()}
    maybe = ("activity", "nearest", "runner_up", "score", "margin")
    fields = [
        pa.field(name, kinds.get(name, pa.string()), nullable=name in maybe, metadata={"description": about})
        for name, about in COLUMNS.items()
    ]
    arrays = [pa.array([row[place] for row in rows], type=field.type) for place, field in enumerate(fields)]
    table_path(home).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with staged(table_path(home)) as temporary:
        pq.write_table(pa.table(arrays, schema=pa.schema(fields)), temporary, compression="zstd", compression_level=1)


def _summary_path(home: Home) -> Path:
    return table_path(home).with_suffix(".json")


def _ms(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
