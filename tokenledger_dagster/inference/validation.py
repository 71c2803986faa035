"""What may go into a backend and what may come out of it.

Here: the shape, range and type of a batch; the shape, finiteness and length of its vectors. Runtimes are no help with
either: a negative id wraps around, weights with a NaN answer NaN, and an empty mask answers a zero vector, all without
an error. Not here: what is done about it (`chain`), and whether the vectors mean anything (`loading`, golden texts).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenledger_dagster.inference.backend import BackendError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tokenledger_dagster.inference.backend import Ids, Vectors
    from tokenledger_dagster.inference.model_folder import ModelSpec

__all__ = ["checked_batch", "checked_vectors"]


def checked_batch(ids: npt.ArrayLike, mask: npt.ArrayLike, spec: ModelSpec) -> tuple[Ids, Ids]:
    """A batch as every backend takes it.

    Args:
        ids: whole numbers from 0 up to the vocabulary's size, [batch, tokens], neither of them 0.
        mask: of the same shape, 1 for a token and 0 for padding; every row has at least one 1.
        spec: the model's; its vocabulary and its longest text are the bounds.

    Returns:
        Both as contiguous int64, copied only where they are not.

    Raises:
        BackendError: the batch is not one; the message says where.
    """
    import numpy as np

    ids, mask = _whole_numbers("ids", ids), _whole_numbers("mask", mask)
    if ids.ndim != 2 or 0 in ids.shape:
        raise BackendError(f"ids: shape {list(ids.shape)} is no batch; pass [rows, tokens], both above 0")
    if mask.shape != ids.shape:
        raise BackendError(f"mask: shape {list(mask.shape)} is not that of ids, {list(ids.shape)}; pass one per token")
    if ids.shape[1] > spec.max_tokens:
        raise BackendError(f"ids: {ids.shape[1]} tokens in a row; the model takes {spec.max_tokens}, cut the text")
    outside = (ids < 0) | (ids >= spec.vocab_size)
    if outside.any():
        row, column = (int(place) for place in np.argwhere(outside)[0])
        raise BackendError(
            f"ids: row {row}, token {column} is {ids[row, column]}, outside the vocabulary of {spec.vocab_size}; "
            "use the model's own tokenizer"
        )
    if ((mask != 0) & (mask != 1)).any():
        raise BackendError("mask: holds more than 0 and 1; pass 1 for a token and 0 for padding")
    empty = np.flatnonzero(mask.sum(axis=1) == 0)
    if empty.size:
        raise BackendError(f"mask: row {int(empty[0])} has no token; leave the row out")
    return ids, mask


def checked_vectors(vectors: object, rows: int, dims: int, norm_tolerance: float) -> Vectors:
    """An answer that is one unit vector per row.

    Args:
        vectors: what the runtime returned.
        rows: how many texts were asked about.
        dims: length of the model's vectors.
        norm_tolerance: by how much the length of a vector may differ from 1 (`policy().answers`).

    Returns:
        The same as float32 [rows, dims], contiguous.

    Raises:
        BackendError: it is something else; the message says what.
    """
    import numpy as np

    if not isinstance(vectors, np.ndarray) or vectors.dtype not in (np.float16, np.float32, np.float64):
        found = f"{vectors.dtype} numbers" if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise BackendError(f"answer: is {found}, no array of floats; build the model again")
    if vectors.shape != (rows, dims):
        raise BackendError(f"answer: shape {list(vectors.shape)} instead of [{rows}, {dims}]; build the model again")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise BackendError(f"answer: row {int(np.argmin(finite))} holds NaN or infinity; verify the model's weights")
    with np.errstate(over="ignore"):  # an infinite length is told below
        lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1))
    off = np.abs(lengths - 1)
    if rows and off.max() > norm_tolerance:
        row = int(off.argmax())
        raise BackendError(f"answer: row {row} has the length {lengths[row]:.6g} instead of 1; build the model again")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _whole_numbers(name: str, given: npt.ArrayLike) -> npt.NDArray[np.int64]:
    import numpy as np

    try:
        array = np.asarray(given)
    except ValueError as error:
        raise BackendError(f"{name}: rows of different lengths; pad them with 0") from error
    if array.dtype.kind not in "iu":
        raise BackendError(f"{name}: holds {array.dtype}, no whole numbers; pass token ids as int64")
    return np.ascontiguousarray(array, dtype=np.int64)
