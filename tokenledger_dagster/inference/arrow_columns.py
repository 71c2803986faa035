"""Arrow arrays from plain values and back, buffer by buffer.

Here: texts, whole numbers, truths, times and vectors. Not here: any schema. pyarrow's own ways, `array` and `to_numpy`,
import pandas where it is installed, to ask whether the values are one of its columns; that takes longer than a search.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

__all__ = ["matrix", "microseconds", "moments", "texts", "truths", "vectors", "whole_numbers"]


def texts(values: Sequence[str]) -> pa.Array:
    """Strings; what UTF-8 cannot write becomes a question mark."""
    import numpy as np
    import pyarrow as pa

    encoded = [value.encode("utf-8", "replace") for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    large = pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))
    return large.cast(pa.string())


def whole_numbers(values: Sequence[int]) -> pa.Array:
    """64-bit integers."""
    import numpy as np
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.array(values, np.int64))])


def truths(values: Sequence[bool]) -> pa.Array:
    """True or false."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def moments(values: Sequence[datetime | None]) -> pa.Array:
    """Times, naive UTC, to the microsecond; None is null."""
    import numpy as np
    import pyarrow as pa

    times = np.array([microseconds(value) or 0 for value in values], np.int64)
    known = _bits([value is not None for value in values])
    return pa.Array.from_buffers(pa.timestamp("us"), len(values), [known, pa.py_buffer(times)])


def vectors(rows: npt.NDArray[np.float32], kind: pa.DataType) -> pa.Array:
    """Rows of a matrix as lists of a fixed size; `kind` is their type."""
    import numpy as np
    import pyarrow as pa

    flat = np.ascontiguousarray(rows, np.float32).reshape(-1)
    values = pa.Array.from_buffers(pa.float32(), len(flat), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(values, type=kind)


def matrix(column: pa.Array, dims: int) -> npt.NDArray[np.float32]:
    """Lists of a fixed size as rows; not to be written to."""
    import numpy as np

    flat = column.flatten()
    values = (
        np.frombuffer(flat.buffers()[1], np.float32, len(flat), flat.offset * 4) if len(flat) else np.empty(0, "f4")
    )
    return values.reshape(-1, dims)


def microseconds(moment: datetime | None) -> int | None:
    """Since 1970, of a time in naive UTC."""
    if moment is None:
        return None
    delta = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _bits(values: Sequence[bool]) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little"))
