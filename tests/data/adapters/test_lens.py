"""What a lens does to projections, against OpenCV, and how a camera is found with its lens."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import tiny_mpi

from trace_data.adapters import find_sequences, read_record
from trace_data.adapters.human36m.calibration import fitted_view
from trace_data.errors import AnnotationError
from trace_data.geometry import project
from trace_data.sample_world.human36m_clips import bend
from trace_data.schema.record import SequenceRecord

INTRINSICS = np.array([[1145.0, 0, 512.5], [0, 1143.8, 515.5], [0, 0, 1.0]])
COEFFICIENTS = np.array([-0.2, 0.24, -0.001, -0.0014, -0.003, 0.01, -0.02, 0.005, 0.002, -0.003, 0.001, 0.004])


LENS = np.array([-0.276859611, 0.131125256, -0.000360494, -0.001149441, -0.049318332])
"""Of TS5 and TS6 of MPI-INF-3DHP."""


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


def millimetres(number: int) -> np.ndarray:
    """(8, 17, 3) joints of a test subject in camera axes."""
    _, extrinsics = tiny_mpi.test_subject(number)["camera"]
    world = tiny_mpi.joints(17, 100 + number)
    found: np.ndarray = 1000 * world @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    return found


def bent_test_set(root: Path, numbers: tuple[int, ...], packed: bool = False) -> Path:
    """A test set whose cameras have the lens of TS5 and TS6."""
    folder = root / "mpi_inf_3dhp/mpi_inf_3dhp_test_set"
    tiny_mpi.test_set(folder, numbers=numbers, packed=packed)
    for number in numbers:
        pixels = cv2.projectPoints(
            millimetres(number).reshape(-1, 3),
            np.zeros(3),
            np.zeros(3),
            tiny_mpi.test_subject(number)["camera"][0],
            LENS,
        )[0].reshape(8, 17, 2)
        if packed:
            annots = np.load(folder / "annots.npz", allow_pickle=True)["annots"].item()
            for name, entry in annots.items():
                if name.startswith(f"TS{number}/"):
                    entry["kp2d"] = pixels[int(name[-10:-4]) - 1]
            np.savez(folder / "annots.npz", annots=annots)
        else:
            with h5py.File(folder / f"TS{number}/annot_data.mat", "r+") as file:
                file["annot2"][:] = pixels[:, None]
    return folder


def calibration(number: int, focal: float = 1.0) -> str:
    """The text of a calibration of 0.1 mm a pixel."""
    (fx, _, cx), (_, fy, cy), _ = tiny_mpi.test_subject(number)["camera"][0]
    middle = tiny_mpi.SIZE / 2
    return (
        "tc camera calibration v0.3\ncamera\t0\tcam\nframe\t0\n"
        f"sensorSize\t{tiny_mpi.SIZE / 10} {tiny_mpi.SIZE / 10}\nfocalLength\t{focal * fx / 10}\n"
        f"pixelAspect\t{fy / fx}\ncenterOffset\t{(cx - middle) / 10} {(cy - middle) / 10} \n"
        f"distortionModel\tOpenCV\ndistortion\t{' '.join(map(str, LENS))}\norigin\t0 0 0\nup\t0 1 0\nright\t1 0 0\n"
    )


def worst(record: SequenceRecord) -> float:
    person = record.people[0]
    assert person.keypoints2d is not None and person.joints3d is not None
    seen = person.keypoints2d.points[..., 2] > 0
    pixels = project(record.camera.intrinsics, person.joints3d.points[..., :3], record.camera.distortion)
    return float(np.linalg.norm(pixels - person.keypoints2d.points[..., :2], axis=-1)[seen].max())


@pytest.mark.parametrize("packed", [False, True])
def test_ts5_and_ts6_are_found_with_their_lens(packed: bool, tmp_path: Path) -> None:
    """docs/reference/datasets.md#mpi-inf-3dhp-test-set; a pinhole makes the focal length three percent too short."""
    bent_test_set(tmp_path, (1, 5, 6), packed)
    one, *others = (read_record(ref) for ref in find_sequences("mpi-inf-3dhp", tmp_path, "test"))
    for number, record in zip((5, 6), others):
        truth = tiny_mpi.test_subject(number)["camera"][0]
        np.testing.assert_allclose(record.camera.intrinsics[0], truth, atol=1e-4)
        assert worst(record) < 1e-3 and "lens" in record.provenance["camera"]
    assert one.camera.distortion is None and worst(one) > 0.1, "only these two are known to have one"


@pytest.mark.parametrize("name", ["ts5-6cameras.calib", "TS5-6Cameras.CALIB"])
def test_the_calibration_of_the_test_set_is_read(name: str, tmp_path: Path) -> None:
    folder = bent_test_set(tmp_path, (5,))
    place = folder / "test_util/camera_calibration"
    place.mkdir(parents=True)
    (place / name).write_text(calibration(5))
    (ref,) = find_sequences("mpi-inf-3dhp", tmp_path, "test")
    record = read_record(ref)
    assert place / name in (ref.reads or ()) and name in record.provenance["camera"]
    np.testing.assert_allclose(record.camera.intrinsics[0], tiny_mpi.test_subject(5)["camera"][0], atol=1e-9)
    assert record.people[0].keypoints2d.projected and worst(record) < 1e-6 and not record.remarks  # type: ignore[union-attr]
    for text, words in ((calibration(5, focal=1.2), "px"), ("sensorSize 9.6", "sensorSize"), ("", "focallength")):
        (place / name).write_text(text)
        other = read_record(ref)
        assert worst(other) < 1e-3 and "found" in other.provenance["camera"]
        assert name in other.remarks[0] and words in other.remarks[0]
