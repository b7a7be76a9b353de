"""The reduced problem has the optimum of the square matrix [[C, L/2], [L/2, 0]]."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import linear_sum_assignment

from svit.tracking.assignment import assign

Floats = npt.NDArray[np.float64]


def extended_optimum(cost: Floats, limit: float) -> tuple[set[tuple[int, int]], float]:
    """The pairs and the total of the definition."""
    rows, columns = cost.shape
    square = np.full((rows + columns, rows + columns), limit / 2)
    square[:rows, :columns] = cost
    square[rows:, columns:] = 0
    chosen = linear_sum_assignment(square)
    pairs = {(int(r), int(c)) for r, c in zip(*chosen, strict=True) if r < rows and c < columns}
    return pairs, float(square[chosen].sum())


def solve(cost: Floats, limit: float) -> set[tuple[int, int]]:
    pairs = np.nonzero(cost < limit)
    rows, columns = assign(*pairs, (limit - cost)[pairs], cost.shape)
    return {(int(r), int(c)) for r, c in zip(rows, columns, strict=True)}


def total(pairs: set[tuple[int, int]], cost: Floats, limit: float) -> float:
    """What the square matrix charges for `pairs`."""
    alone = sum(cost.shape) - 2 * len(pairs)
    return sum(cost[pair] for pair in pairs) + alone * limit / 2


@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 3), (12, 12), (40, 55)])
def test_random_costs_give_the_pairs_of_the_definition(shape: tuple[int, int], density: float) -> None:
    rng = np.random.default_rng([*shape, int(100 * density)])
    for _ in range(40):
        cost = np.where(rng.random(shape) < density, rng.random(shape), 1.0)
        limit = float(rng.choice([0.3, 0.7, 0.9]))
        assert solve(cost, limit) == extended_optimum(cost, limit)[0]


def test_equal_costs_give_a_total_as_low_as_the_definition() -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        # Few distinct values: many optima, of which any one will do.
        cost = rng.integers(0, 5, rng.integers(1, 9, 2)) / 4
        pairs = solve(cost, 0.75)
        assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
        assert total(pairs, cost, 0.75) == pytest.approx(extended_optimum(cost, 0.75)[1])


def test_pairs_are_not_chosen_first_and_dropped_afterwards() -> None:
    # The cheapest full assignment crosses over (1.2 against 1.7); one cheap pair and two left alone cost 0.9.
    cost = np.array([[0.2, 0.6], [0.6, 1.5]])
    without_limit = set(zip(*(index.tolist() for index in linear_sum_assignment(cost)), strict=True))
    assert without_limit == {(0, 1), (1, 0)}
    assert solve(cost, 0.7) == {(0, 0)} == extended_optimum(cost, 0.7)[0]


def test_nothing_to_assign_is_an_empty_answer() -> None:
    none = np.empty(0, np.intp)
    rows, columns = assign(none, none, np.empty(0), (3, 0))
    assert rows.size == columns.size == 0
