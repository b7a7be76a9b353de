"""Optimal one-to-one assignment in which a pair must be good enough to be worth making.

The official tracker minimises the cost C with a limit L: the optimum of the square matrix
[[C, L/2], [L/2, 0]], where leaving a row or a column alone costs L/2. A pair therefore changes the total by
C - L, so the same optimum maximises the sum of the gains L - C over the pairs that are made, where a pair
without gain is the same as no pair. Only pairs with a gain matter, and in a video they are few: most boxes
overlap one or two others. Pairs that every optimum contains are taken first, which leaves little for the
solver.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from svit.tracking.boxes import Indices

Gains = npt.NDArray[np.float64]

_ROUNDING = 1e-9  # far above the rounding error of a sum of gains, which must not decide anything


def assign(row: Indices, column: Indices, gain: Gains, shape: tuple[int, int]) -> tuple[Indices, Indices]:
    """Return the one-to-one choice among candidate pairs that has the largest sum of gains.

    Args:
        row: (P,) rows of the candidate pairs, each pair once.
        column: (P,) their columns.
        gain: (P,) limit - cost of each pair, at most about 1; only pairs with a positive gain may be given.
        shape: number of rows and of columns.

    Returns:
        Rows and columns of the chosen pairs, each (K,), in no particular order.
    """
    rows, columns = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    while row.size:
        # A pair that gains more than all other pairs of its row and of its column together is in every
        # optimum: one without it could give up at most one pair of each, take this one, and be better.
        total = np.bincount(row, gain, shape[0])[row] + np.bincount(column, gain, shape[1])[column]
        obvious = 3 * gain > total + _ROUNDING
        rows.append(row[obvious])
        columns.append(column[obvious])
        left = _without(row, rows[-1], shape[0]) & _without(column, columns[-1], shape[1])
        row, column, gain = row[left], column[left], gain[left]
        if 2 * row.size > left.size:
            # Another round would cost more than the general solver saves by it.
            row_left, column_left = _solve(row, column, gain)
            rows.append(row_left)
            columns.append(column_left)
            break
    return np.concatenate(rows), np.concatenate(columns)


def _without(values: Indices, taken: Indices, count: int) -> npt.NDArray[np.bool_]:
    """Return where `values`, all below `count`, are none of `taken`."""
    free = np.ones(count, bool)
    free[taken] = False
    return free[values]


def _solve(row: Indices, column: Indices, gain: Gains) -> tuple[Indices, Indices]:
    """Return the best choice by the general solver, on the rows and columns that occur only."""
    rows, small_row = np.unique(row, return_inverse=True)
    columns, small_column = np.unique(column, return_inverse=True)
    dense = np.zeros((rows.size, columns.size))
    dense[small_row, small_column] = gain
    chosen_row, chosen_column = linear_sum_assignment(dense, maximize=True)
    # The solver pairs off everything it can; a pair without gain means that both stay alone.
    made = dense[chosen_row, chosen_column] > 0
    return rows[chosen_row[made]], columns[chosen_column[made]]
