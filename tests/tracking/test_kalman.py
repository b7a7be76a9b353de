"""The stored 2x2 blocks are the textbook filter with full 8x8 matrices, for many tracks at once."""

import numpy as np
import numpy.typing as npt

from svit.tracking import kalman

Floats = npt.NDArray[np.float64]

MOTION = np.eye(8) + np.eye(8, k=4)
OBSERVATION = np.eye(4, 8)


def textbook_predict(mean: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    h = mean[3]
    std = np.array([h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160])
    return MOTION @ mean, MOTION @ covariance @ MOTION.T + np.diag(std**2)


def textbook_update(mean: Floats, covariance: Floats, box: Floats) -> tuple[Floats, Floats]:
    h = mean[3]
    noise = np.diag(np.array([h / 20, h / 20, 1e-1, h / 20]) ** 2)
    projected = OBSERVATION @ covariance @ OBSERVATION.T + noise
    gain = covariance @ OBSERVATION.T @ np.linalg.inv(projected)
    return mean + gain @ (box - OBSERVATION @ mean), covariance - gain @ projected @ gain.T


def random_boxes(rng: np.random.Generator, count: int) -> Floats:
    return np.stack(
        [rng.uniform(low, high, count) for low, high in ((0, 2000), (0, 1000), (0.2, 1), (30, 300))]
    )


def test_many_tracks_at_once_equal_the_full_matrices_of_each() -> None:
    rng = np.random.default_rng(0)
    state = kalman.initiate(random_boxes(rng, 7))
    expected = list(zip(kalman.mean(state), kalman.covariance(state), strict=True))
    for step in range(12):
        state = kalman.predict(state)
        expected = [textbook_predict(*track) for track in expected]
        if step % 3:
            boxes = random_boxes(rng, 7)
            state = kalman.update(state, boxes)
            expected = [textbook_update(*track, box) for track, box in zip(expected, boxes.T, strict=True)]
        np.testing.assert_allclose(kalman.mean(state), [mean for mean, _ in expected], rtol=1e-9, atol=1e-9)
        full = kalman.covariance(state)
        np.testing.assert_allclose(full, [covariance for _, covariance in expected], rtol=1e-9, atol=1e-9)


def test_a_new_track_is_uncertain_in_proportion_to_its_height() -> None:
    state = kalman.initiate(np.array([[10.0, 10.0], [20.0, 20.0], [0.5, 0.5], [40.0, 80.0]]))
    std = np.sqrt(np.diagonal(kalman.covariance(state), axis1=1, axis2=2))
    np.testing.assert_allclose(std[0], [4, 4, 1e-2, 4, 2.5, 2.5, 1e-5, 2.5])
    np.testing.assert_allclose(std[1], [8, 8, 1e-2, 8, 5, 5, 1e-5, 5])


def test_no_step_changes_the_state_it_was_given() -> None:
    boxes = random_boxes(np.random.default_rng(1), 3)
    state = kalman.initiate(boxes)
    before = state.copy()
    kalman.update(kalman.predict(state), boxes + 1)
    np.testing.assert_array_equal(state, before)
