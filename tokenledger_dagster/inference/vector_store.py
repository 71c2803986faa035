"""Vectors of sessions: appended in batches, merged now and then, read back as what is true of each session now.

Here: the columns, appending, merging and reading. The latest batch that names a session speaks for it: it replaces all
of the session's earlier rows, or says that it has none any more. Not here: names of files and the lock
(`vector_files`), what is embedded (`session_vectors`), and searching (`vector_index`, `search`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import staged
from tokenledger_dagster.inference.arrow_columns import matrix, moments, texts, truths, vectors, whole_numbers
from tokenledger_dagster.inference.backend import Served
from tokenledger_dagster.inference.vector_files import VectorFile, clean, file_name, live_files

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Vectors = npt.NDArray[np.float32]

__all__ = [
    "COLUMNS",
    "SessionKey",
    "SessionRow",
    "SessionVectors",
    "append",
    "live_rows",
    "merge",
    "read_columns",
    "vectors_of",
]

SessionKey = tuple[str, str]
"""Client and session id."""

COLUMNS = {
    "batch": "number of the batch that wrote the row; a session's latest batch speaks for it",
    "client": "the program that wrote the log",
    "session_id": "the session, as in `usage_sessions`",
    "part": "from 1; 0 in a row that says that the session has no vectors any more",
    "part_count": "how many parts the session has",
    "started_at": "time of the session's first prompt, UTC; null where the log has none",
    "digest": "stands for the session's prompts and the way they are cut into parts",
    "token_count": "tokens of the part that were embedded, the special ones counted",
    "truncated": "whether some of the part was left out, or what follows the last part",
    "model_sha256": "SHA-256 of the model's weights",
    "requested": "the backend that was asked for",
    "actual": "the backend that answered",
    "reason": "why that was not the one that was asked for; empty where it was",
    "precision": "of the weights: fp32, fp16 or int8",
    "compute_unit": "what it ran on, as the runtime tells",
    "created_at": "when the row was written, UTC",
    "vector": "of length 1",
}
"""What each column of a file means, in order."""
_VECTOR = "vector"
_KEYS = ("batch", "client", "session_id", "part")
_READ_ROWS = 8_192
"""Vectors decoded at a time, 12 MB of 384 dimensions."""


class SessionVectors(NamedTuple):
    """All parts of one session, as they were embedded."""

    client: str
    session_id: str
    started_at: datetime | None
    """Naive UTC."""
    digest: str
    vectors: Vectors
    """[parts, dims], of length 1; at least one part."""
    token_counts: Sequence[int]
    truncated: Sequence[bool]
    served: Sequence[Served]
    """One of each by part."""


class SessionRow(NamedTuple):
    """What is true of one session now, and where its vectors lie."""

    client: str
    session_id: str
    started_us: int | None
    """Time of the first prompt, microseconds since 1970, UTC."""
    digest: str
    models: frozenset[tuple[str, str]]
    """(SHA-256 of the weights, precision) of its rows: one, unless a backend changed in between."""
    file: int
    """Place of its file in the list."""
    first_row: int
    """Within the file; the session's rows follow each other."""
    parts: int


def append(
    folder: Path, sessions: Sequence[SessionVectors], forgotten: Sequence[SessionKey], dims: int, now: datetime
) -> None:
    """Writes one batch: all of it is there when this returns, none of it where it fails.  Call while `writing`.

    Args:
        folder: where the files are.
        sessions: each once.
        forgotten: sessions that have no vectors any more.
        dims: length of a vector.
        now: naive UTC.

    Raises:
        OSError: the disk refused.
    """
    files = live_files(folder)
    number = files[-1].last + 1 if files else 1
    table = _table(sessions, forgotten, number, dims, now)
    _write(folder / file_name(number, number, table.num_rows, dims), table.schema, [table])


def merge(folder: Path, most: int) -> int:
    """Merges the latest files where there are more than `most`; returns how many were.  Call while `writing`.

    A file is merged once as much follows it as it holds, so that a vector is written anew a few times at the most,
    however many batches there are. What a later batch replaced goes. Vectors are read and written some thousands at a
    time, so memory does not grow by them.

    Raises:
        OSError: the disk refused.
        TokenLedgerError: a file is damaged.
    """
    files = live_files(folder)
    if len(files) <= most:
        return 0
    start, rows = len(files), 0
    while start and files[start - 1].dims == files[-1].dims and (not rows or files[start - 1].rows <= rows):
        start -= 1
        rows += files[start].rows
    chosen = files[start:]
    if len(chosen) < 2:
        return 0
    tables = [read_columns(one, _KEYS) for one in chosen]
    # that a session was forgotten has to be remembered as long as an earlier file may hold some of it
    kept = _latest(tables, with_forgotten=start > 0)
    name = file_name(chosen[0].first, chosen[-1].last, sum(map(len, kept)), chosen[-1].dims)
    _write(folder / name, _schema(chosen[-1].dims), _gathered(zip(chosen, kept, strict=True)))
    clean(folder)
    return len(chosen)


def live_rows(files: Sequence[VectorFile]) -> list[SessionRow]:
    """What is true of each session now, in the order in which the rows stand in the files.

    Raises:
        FileNotFoundError: a file was merged meanwhile.
        TokenLedgerError: a file is damaged.
    """
    tables = [read_columns(one, (*_KEYS, "started_at", "digest", "model_sha256", "precision")) for one in files]
    found: list[SessionRow] = []
    for file, (table, kept) in enumerate(zip(tables, _latest(tables, with_forgotten=False), strict=True)):
        if not kept:
            continue
        clients, sessions = table["client"].to_pylist(), table["session_id"].to_pylist()
        times, digests = table["started_at"].cast("int64").to_pylist(), table["digest"].to_pylist()
        models = list(zip(table["model_sha256"].to_pylist(), table["precision"].to_pylist(), strict=True))
        starts = [
            place
            for place, row in enumerate(kept)
            if not place or (clients[row], sessions[row]) != (clients[kept[place - 1]], sessions[kept[place - 1]])
        ]
        for start, end in zip(starts, [*starts[1:], len(kept)], strict=True):
            row = kept[start]
            used = frozenset(models[one] for one in kept[start:end])
            found.append(
                SessionRow(clients[row], sessions[row], times[row], digests[row], used, file, row, end - start)
            )
    return found


def vectors_of(file: VectorFile) -> Iterator[Vectors]:
    """All vectors of a file by row, some thousands at a time: [rows, dims].

    Raises:
        FileNotFoundError: the file was merged meanwhile.
        TokenLedgerError: the file is damaged.
    """
    for batch in _batches(file, [_VECTOR]):
        yield matrix(batch.column(0), file.dims)


def read_columns(file: VectorFile, columns: Sequence[str]) -> pa.Table:
    """Some columns of a file, all rows.

    Raises:
        FileNotFoundError: the file was merged meanwhile.
        TokenLedgerError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path, page_checksum_verification=True) as parquet:
            known = parquet.schema_arrow.equals(_schema(file.dims)) and parquet.metadata.num_rows == file.rows
            table = parquet.read(columns=list(columns)) if known else None
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(file, str(error)) from error
    if table is None:
        raise _damaged(file, "other columns or rows than its name says")
    return table


def _latest(tables: Sequence[pa.Table], *, with_forgotten: bool) -> list[list[int]]:
    """Rows of each table that nothing later replaced, in order."""
    keys = [list(zip(*(table[name].to_pylist() for name in _KEYS), strict=True)) for table in tables]
    last: dict[SessionKey, int] = {}
    for rows in keys:
        for batch, client, session, _ in rows:
            last[client, session] = max(batch, last.get((client, session), 0))
    return [
        [
            place
            for place, (batch, client, session, part) in enumerate(rows)
            if batch == last[client, session] and (part or with_forgotten)
        ]
        for rows in keys
    ]


def _schema(dims: int) -> pa.Schema:
    import pyarrow as pa

    kinds = dict.fromkeys(COLUMNS, pa.string())
    kinds |= dict.fromkeys(("batch", "part", "part_count", "token_count"), pa.int64())
    kinds |= {"truncated": pa.bool_(), "started_at": pa.timestamp("us"), "created_at": pa.timestamp("us")}
    # read in half the time of elements that may be null
    kinds[_VECTOR] = pa.list_(pa.field("element", pa.float32(), nullable=False), dims)
    return pa.schema([pa.field(name, kinds[name], nullable=name == "started_at") for name in COLUMNS])


def _table(
    sessions: Sequence[SessionVectors], forgotten: Sequence[SessionKey], batch: int, dims: int, now: datetime
) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    rows = [_row(one, place, batch, now) for one in sessions for place in range(len(one.vectors))]
    rows += [(batch, *key, 0, 0, None, "", 0, False, *[""] * 6, now) for key in forgotten]
    stacked = np.concatenate([*(one.vectors for one in sessions), np.zeros((len(forgotten), dims), np.float32)])
    schema = _schema(dims)
    makers: dict[Any, Callable[[Any], pa.Array]] = {
        pa.string(): texts,
        pa.int64(): whole_numbers,
        pa.bool_(): truths,
        pa.timestamp("us"): moments,
    }
    arrays = [
        makers[field.type](values) for values, field in zip(zip(*rows, strict=True), list(schema)[:-1], strict=True)
    ]
    return pa.table([*arrays, vectors(stacked, schema.field(_VECTOR).type)], schema=schema)


def _row(one: SessionVectors, place: int, batch: int, now: datetime) -> tuple[object, ...]:
    """Values of one part in the order of the columns, all but the vector."""
    served = one.served[place]
    return (
        batch,
        one.client,
        one.session_id,
        place + 1,
        len(one.vectors),
        one.started_at,
        one.digest,
        one.token_counts[place],
        one.truncated[place],
        served.model_sha256,
        served.requested,
        served.actual,
        served.reason,
        served.precision,
        served.compute_unit,
        now,
    )


def _write(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    import pyarrow.parquet as pq

    with (
        staged(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=1,
            # vectors never repeat; everything else does
            use_dictionary=[name for name in COLUMNS if name != _VECTOR],
            column_encoding={f"{_VECTOR}.list.element": "BYTE_STREAM_SPLIT"},
            write_page_checksum=True,
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table)


def _gathered(kept: Iterable[tuple[VectorFile, Sequence[int]]]) -> Iterator[pa.Table]:
    """The rows of some files that are kept, gathered to tables of some thousands."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    for file, rows in kept:
        start = place = 0
        for batch in _batches(file, list(COLUMNS)):
            end = bisect_left(rows, start + len(batch), place)
            taken = whole_numbers([row - start for row in rows[place:end]])
            held.append(batch.take(taken))
            start, place = start + len(batch), end
            if sum(map(len, held)) >= _READ_ROWS:
                yield pa.Table.from_batches(held)
                held = []
    if held:
        yield pa.Table.from_batches(held)


def _batches(file: VectorFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows of a file, some thousands at a time; errors as of `read_columns`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path, page_checksum_verification=True) as parquet:
            yield from parquet.iter_batches(_READ_ROWS, columns=columns)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: VectorFile, why: str) -> TokenLedgerError:
    shown = " ".join(why.split())[:160]
    return TokenLedgerError(
        f"{file.path}: cannot be read as vectors of sessions ({shown}); delete it: the next search embeds its sessions "
        "again, as far as their logs are still there"
    )
