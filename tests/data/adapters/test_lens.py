"""What a lens does to projections, against OpenCV, and how a camera is found with its lens."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trace_data.adapters.human36m.calibration import fitted_view
from trace_data.errors import AnnotationError
from trace_data.geometry import project
from trace_data.sample_world.human36m_clips import bend

INTRINSICS = np.array([[1145.0, 0, 512.5], [0, 1143.8, 515.5], [0, 0, 1.0]])
COEFFICIENTS = np.array([-0.2, 0.24, -0.001, -0.0014, -0.003, 0.01, -0.02, 0.005, 0.002, -0.003, 0.001, 0.004])


def points(number: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform((-1.2, -1.2, 2.5), (1.2, 1.2, 6), (number, 3))


@pytest.mark.parametrize("count", [5, 8, 12])
def test_projection_through_a_lens_is_that_of_opencv(count: int) -> None:
    lens, seen = COEFFICIENTS[:count], points()
    expected = cv2.projectPoints(seen, np.zeros(3), np.zeros(3), INTRINSICS, lens)[0].reshape(-1, 2)
    np.testing.assert_allclose(project(INTRINSICS, seen, lens), expected, atol=1e-9)
    assert np.abs(project(INTRINSICS, seen) - expected).max() > 1, "a pinhole shows them elsewhere"
    np.testing.assert_array_equal(project(INTRINSICS, seen, np.zeros(5)), project(INTRINSICS, seen))


def test_batches_and_points_behind_the_camera() -> None:
    seen = points(12).reshape(3, 4, 3)
    seen[1, 2, 2] = -3.0
    pixels = project(np.broadcast_to(INTRINSICS, (3, 3, 3)), seen, COEFFICIENTS)
    assert np.isnan(pixels[1, 2]).all() and np.isfinite(np.delete(pixels.reshape(12, 2), 6, axis=0)).all()


def test_a_camera_is_found_from_points_with_its_lens() -> None:
    """In single precision, as the release stores them, and with the formula of the release's code."""
    truth = (-0.2071, 0.2476, -0.0031, -0.00098, -0.00142)
    seen = points(640).astype(np.float32).astype(np.float64)
    pixels = bend(seen[:, :2] / seen[:, 2:], truth) * (1145.0, 1143.8) + (512.5, 515.5)
    pixels = pixels.astype(np.float32).astype(np.float64)
    view = fitted_view(seen.reshape(20, 32, 3), pixels.reshape(20, 32, 2), __file__)  # type: ignore[arg-type]
    np.testing.assert_allclose(view.intrinsics, INTRINSICS, atol=0.01)
    np.testing.assert_allclose(project(view.intrinsics, seen, view.distortion), pixels, atol=1e-3)
    with pytest.raises(AnnotationError, match="no camera sees the 3D joints"):
        fitted_view(seen.reshape(20, 32, 3), pixels[::-1].reshape(20, 32, 2), __file__)  # type: ignore[arg-type]
