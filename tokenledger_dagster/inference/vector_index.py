"""The vectors of one model and precision as one matrix, kept ready so that a search need not decode Parquet.

Here: the matrix, whose rows they are, and the file that keeps both. Vectors of another model or precision never enter
it; their sessions are counted. Not here: where vectors come from (`vector_store`), and scores (`search`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.fileio import staged, write_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.vector_files import VectorFile, folder_of, live_files

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.vector_store import SessionRow

    Vectors = npt.NDArray[np.float32]

__all__ = ["Keys", "VectorIndex", "cache_folder", "open_index"]

_REVISION = "2"
"""Raised when what is kept changes its shape."""
_LOOKS = 5
"""How often files are listed again that were merged away while they were read."""
_SEAL_BYTES = 16
_LOOKED_AT = 1_000
"""Rows of a kept matrix that are held against their length: all of them would take as long as a search."""
_TOLERANCE = 1e-3
"""Of a kept row's length."""


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Whose rows a matrix has; lists are by session, in the order of the rows."""

    model_sha256: str
    """Of the weights."""
    precision: str
    dims: int
    rows: int
    clients: list[str]
    session_ids: list[str]
    digests: list[str]
    started_us: list[int | None]
    """Microseconds since 1970, UTC."""
    starts: list[int]
    """First row of each session; it ends where the next one begins."""
    left_out: list[tuple[str, str]]
    """Client and id of sessions with vectors of another model or precision."""


class VectorIndex(NamedTuple):
    """All vectors that may be compared with each other."""

    keys: Keys
    matrix: Vectors
    """[rows, dims]; not to be written to."""
    version: str
    """Stands for the files, the model and the precision that it was made of."""

    @property
    def digest(self) -> str:
        """Stands for what is embedded, and by which model, in whatever order and files it was written."""
        keys = self.keys
        rows = sorted(zip(keys.clients, keys.session_ids, keys.digests, strict=True))
        content = msgspec.msgpack.encode((keys.model_sha256, keys.precision, keys.dims, rows))
        return hashlib.blake2b(content, digest_size=16).hexdigest()


def cache_folder(home: Home) -> Path:
    """Where matrices are kept; it may be deleted at any time."""
    return home.root / "cache" / "inference"


def open_index(home: Home, model_sha256: str, precision: str, known: VectorIndex | None = None) -> VectorIndex:
    """The vectors of this model and precision as they are now; empty where there are none.

    ``known`` is given back where it is still what the files say.

    Raises:
        TokenLedgerError: a file of vectors is damaged.
    """
    for _ in range(_LOOKS):
        files = live_files(folder_of(home))
        version = _version(files, model_sha256, precision)
        if known is not None and known.version == version:
            return known
        kept = _kept(home, version)
        if kept is not None:
            return kept
        try:
            return _made(home, files, version, (model_sha256, precision))
        except FileNotFoundError:
            continue  # merged by another process: the list is another one now
    raise TokenLedgerError(f"{folder_of(home)}: files change faster than they are read; try again")


def _version(files: Sequence[VectorFile], model_sha256: str, precision: str) -> str:
    told = [(one.path.name, one.bytes, one.mtime_ns) for one in files]
    content = msgspec.msgpack.encode((_REVISION, model_sha256, precision, told))
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _kept(home: Home, version: str) -> VectorIndex | None:
    """The matrix that is kept under this version; a damaged file is as good as none."""
    import numpy as np

    path = cache_folder(home) / version
    try:
        content = path.with_suffix(".keys").read_bytes()
        if _seal(content[_SEAL_BYTES:]) != content[:_SEAL_BYTES]:
            return None
        keys = msgspec.msgpack.decode(content[_SEAL_BYTES:], type=Keys)
        if not keys.rows:
            return VectorIndex(keys, np.zeros((0, keys.dims), np.float32), version)
        matrix = np.asarray(np.memmap(path.with_suffix(".f32"), np.float32, "r")).reshape(keys.rows, keys.dims)
    except (OSError, ValueError):  # msgspec's errors are ValueErrors, and so is a size that does not fit
        return None
    some = matrix[:: -(-keys.rows // _LOOKED_AT)]
    whole = np.abs(np.einsum("ij,ij->i", some, some) - 1) < _TOLERANCE  # false for a NaN
    return VectorIndex(keys, matrix, version) if whole.all() else None


def _seal(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SEAL_BYTES).digest()


def _made(home: Home, files: Sequence[VectorFile], version: str, wanted: tuple[str, str]) -> VectorIndex:
    """Reads the matrix from the files, and keeps it where the disk lets it."""
    import numpy as np

    from tokenledger_dagster.inference.vector_store import live_rows, vectors_of

    sessions = live_rows(files)
    comparable = [one for one in sessions if one.models == {wanted}]
    # one model has one length; whatever says otherwise was not written by this program
    chosen = [one for one in comparable if files[one.file].dims == files[comparable[-1].file].dims]
    of_index = {(one.client, one.session_id) for one in chosen}
    others = [(one.client, one.session_id) for one in sessions if (one.client, one.session_id) not in of_index]
    keys = _keys(chosen, files, others, wanted)
    matrix = np.empty((keys.rows, keys.dims), np.float32)
    wanted_rows = [np.zeros(file.rows, bool) for file in files]
    for one in chosen:
        wanted_rows[one.file][one.first_row : one.first_row + one.parts] = True
    filled = 0
    for file, is_wanted in zip(files, wanted_rows, strict=True):
        if not is_wanted.any():
            continue
        read = 0
        for vectors in vectors_of(file):
            taken = vectors[is_wanted[read : read + len(vectors)]]
            # of length 1 already, but for the rounding of half precision
            lengths = np.sqrt(np.einsum("ij,ij->i", taken, taken))
            np.divide(taken, lengths[:, None], out=matrix[filled : filled + len(taken)])
            filled, read = filled + len(taken), read + len(vectors)
    _keep(home, version, keys, matrix)
    return VectorIndex(keys, matrix, version)


def _keys(
    chosen: Sequence[SessionRow],
    files: Sequence[VectorFile],
    left_out: list[tuple[str, str]],
    wanted: tuple[str, str],
) -> Keys:
    starts, rows = [], 0
    for one in chosen:
        starts.append(rows)
        rows += one.parts
    return Keys(
        model_sha256=wanted[0],
        precision=wanted[1],
        dims=files[chosen[-1].file].dims if chosen else 0,
        rows=rows,
        clients=[one.client for one in chosen],
        session_ids=[one.session_id for one in chosen],
        digests=[one.digest for one in chosen],
        started_us=[one.started_us for one in chosen],
        starts=starts,
        left_out=left_out,
    )


def _keep(home: Home, version: str, keys: Keys, matrix: Vectors) -> None:
    folder = cache_folder(home)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # before it is written: what is of no use any more may be what fills the disk. A half-written copy is of a
        # search that was killed, or of one that goes on without keeping it
        for path in folder.iterdir():
            if path.suffix in (".f32", ".keys", ".tmp") and path.stem != version:
                path.unlink(missing_ok=True)
        if keys.rows:
            with staged(folder / f"{version}.f32") as temporary:
                matrix.tofile(temporary)
        content = msgspec.msgpack.encode(keys)
        write_atomic(folder / f"{version}.keys", _seal(content) + content)
    except OSError:
        return  # a full or read-only disk: the next search reads the files again
