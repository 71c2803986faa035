"""Linear least squares whose weights may not be negative.

Here: the method of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23), with numpy alone. Not here:
what is fitted (`fitting`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

__all__ = ["non_negative"]


def non_negative(matrix: Matrix, target: Matrix) -> Matrix:
    """The x >= 0 for which |matrix x - target| is least.

    Args:
        matrix: [rows, columns] float64, finite. Columns may be zero or depend on each other.
        target: [rows] float64, finite.

    Returns:
        [columns] float64.
    """
    import numpy as np

    columns = matrix.shape[1]
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    scaled = matrix / scale
    found = np.zeros(columns)
    free = np.zeros(columns, dtype=bool)
    tolerance = 1e-10 * max(1.0, float(np.abs(scaled.T @ target).max(initial=0.0)))
    for _ in range(8 * columns + 8):  # each round frees one column; a bound, since rounding may go in circles
        gradient = scaled.T @ (target - scaled @ found)
        gradient[free] = -np.inf
        best = int(np.argmax(gradient))
        if gradient[best] <= tolerance:
            break
        free[best] = True
        found = _walked(scaled, target, found, free)
    return np.asarray(found / scale)


def _walked(matrix: Matrix, target: Matrix, found: Matrix, free: npt.NDArray[np.bool_]) -> Matrix:
    """Towards the best values of the free columns; a column that would fall below 0 stops there and is free no more."""
    import numpy as np

    while True:
        wanted = np.zeros_like(found)
        wanted[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        below = free & (wanted <= 0)
        if not below.any():
            return wanted
        step = float(np.min(found[below] / np.maximum(found[below] - wanted[below], np.finfo(float).tiny)))
        found = found + step * (wanted - found)
        free &= found > 1e-14
        found[~free] = 0.0
