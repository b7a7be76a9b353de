"""Constant-velocity Kalman filter over many boxes at once.

The state is the one of ByteTrack (Zhang et al. 2022, arXiv 2110.06864; S-ViT official settings): box centre
x and y, aspect ratio (width / height) and height, in pixels where they have a unit, each with a velocity per
frame. Noise grows with the box height, except that of the aspect ratio, which is fixed.

Motion, process noise and measurement noise never mix two of the four coordinates, so the 8x8 covariance
always consists of four independent 2x2 blocks. Only these are stored, which makes every step a handful of
element-wise operations and inverts no matrix.

Layout: a `state` is one float64 array (5, 4, N). Axis 0: position, velocity, variance of the position,
covariance of both, variance of the velocity. Axis 1: centre x, centre y, aspect ratio, height. Axis 2:
tracks. A `measurement` is (4, N) with the same coordinates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

POSITION, VELOCITY, VAR_POSITION, COVARIANCE, VAR_VELOCITY = range(5)
CENTRE_X, CENTRE_Y, ASPECT, HEIGHT = range(4)

_POSITION_STD = 1 / 20  # of the box height: process and measurement noise of centre and height
_VELOCITY_STD = 1 / 160  # of the box height: process noise of their velocities
_ASPECT_STD, _ASPECT_VELOCITY_STD, _ASPECT_MEASUREMENT_STD = 1e-2, 1e-5, 1e-1


def initiate(measurement: Floats) -> Floats:
    """Return the state (5, 4, N) of tracks that start at `measurement` (4, N), with velocity 0."""
    state = np.zeros((5, *measurement.shape))
    state[POSITION] = measurement
    # A single box says little about where the object is and nothing about its speed: wider than in tracking.
    height = measurement[HEIGHT]
    state[VAR_POSITION] = _variance(height, 2 * _POSITION_STD, _ASPECT_STD)
    state[VAR_VELOCITY] = _variance(height, 10 * _VELOCITY_STD, _ASPECT_VELOCITY_STD)
    return state


def predict(state: Floats) -> Floats:
    """Return `state` (5, 4, N) moved ahead by one frame."""
    position, velocity, var_position, covariance, var_velocity = state
    height = position[HEIGHT]
    moved = np.empty_like(state)
    moved[POSITION] = position + velocity
    moved[VELOCITY] = velocity
    moved[VAR_POSITION] = var_position + 2 * covariance + var_velocity
    moved[VAR_POSITION] += _variance(height, _POSITION_STD, _ASPECT_STD)
    moved[COVARIANCE] = covariance + var_velocity
    moved[VAR_VELOCITY] = var_velocity + _variance(height, _VELOCITY_STD, _ASPECT_VELOCITY_STD)
    return moved


def update(state: Floats, measurement: Floats) -> Floats:
    """Return `state` (5, 4, N) corrected by the boxes `measurement` (4, N) that were found for it."""
    position, velocity, var_position, covariance, var_velocity = state
    noise = _variance(position[HEIGHT], _POSITION_STD, _ASPECT_MEASUREMENT_STD)
    gain_position, gain_velocity = state[VAR_POSITION : COVARIANCE + 1] / (var_position + noise)
    innovation = measurement - position
    corrected = np.empty_like(state)
    corrected[POSITION] = position + gain_position * innovation
    corrected[VELOCITY] = velocity + gain_velocity * innovation
    corrected[VAR_POSITION] = var_position - gain_position * var_position
    corrected[COVARIANCE] = covariance - gain_position * covariance
    corrected[VAR_VELOCITY] = var_velocity - gain_velocity * covariance
    return corrected


def mean(state: Floats) -> Floats:
    """Return the means (N, 8) of `state` in the usual order: x, y, aspect, height, then their velocities."""
    return state[POSITION : VELOCITY + 1].reshape(8, -1).T.copy()


def covariance(state: Floats) -> Floats:
    """Return the full covariance matrices (N, 8, 8) of `state`, in the order of `mean`."""
    full = np.zeros((state.shape[2], 8, 8))
    coordinate = np.arange(4)
    full[:, coordinate, coordinate] = state[VAR_POSITION].T
    full[:, coordinate, coordinate + 4] = full[:, coordinate + 4, coordinate] = state[COVARIANCE].T
    full[:, coordinate + 4, coordinate + 4] = state[VAR_VELOCITY].T
    return full


def _variance(height: Floats, relative_std: float, aspect_std: float) -> Floats:
    """Return variances (4, N): `relative_std` times the height for all but the aspect ratio."""
    variance = np.empty((4, height.size))
    variance[:] = np.square(relative_std * height)
    variance[ASPECT] = aspect_std**2
    return variance
