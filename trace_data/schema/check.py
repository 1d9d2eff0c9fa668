"""Invariants of a `SequenceRecord`, checked before it is used."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle
from trace_data.os_errors import in_words, is_missing
from trace_data.schema.body import GENDERS, BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding, Severity
from trace_data.schema.frame import file_of
from trace_data.schema.keypoints import LAYOUTS, Keypoints
from trace_data.schema.record import Person, SequenceRecord

DETECTED_SHARE = 0.02
"""Tolerance for detected 2D points: median distance from the projected joints, as a share of the frame's long side."""
EXACT_PX = 1.0
"""Tolerance, px, for the sample world, whose 2D points are exact projections."""


OFF_CENTRE = 0.1
"""The principal point lies this share of a frame's side from its middle at most. In the published datasets it is 0.03;
frames at three quarters or one and a half of their size make it 0.17."""
FAR_OUTSIDE = 4.0
"""2D points may leave the frame by this many frame sizes before they count as broken."""
EDGE = 0.02
"""Points made in the picture itself may lie this share of a side beyond its edge."""
OUTSIDE = 0.05
"""Such a share of them may lie farther outside."""
LEAST_INSIDE = 0.25
"""Share of projected points below which the frames are others."""
CORNER, SUSPICIOUS_CORNER = 0.5, 2 / 3
"""Where all points of a sequence lie in this part of the frame, at its top left, it was enlarged, or may have been."""
SCALED = "frames that were scaled or turned do not fit their annotation: unpack them again in their own size"
"""What mends frames of another size than the annotation's."""
LARGEST_DISTANCE = 1000.0
"""Metres from the world's origin; anything farther is in a wrong unit."""
LARGEST_BODY = 4.0
"""Metres between the joints of one person."""
SMALLEST_BODY = 0.25
"""The same, median over frames in which `ENOUGH_JOINTS` are known: a crouching infant is larger."""
ENOUGH_JOINTS = 8
STILL_FRAMES = 3
"""In so many frames a camera that moves has different poses: no two measurements are equal to the last bit."""
REPEATED = 0.1
"""Share of frames that repeat the pose before, from which it is said; from a half on it is an error."""
TRIPOD = 0.01
"""Metres that a camera which only turns stays within, as it is rounded."""
STILL = (
    "the pose of one frame was written for others: get the extrinsics again; a camera that stands still is not `moving`"
)
FARTHEST = 200.0
"""Metres from the camera; nobody is seen who stands farther away."""
UPSIDE_DOWN = -0.7
"""Cosine between a body's own up and the world's, median: nobody is head down all the time."""
LARGEST_ANGLE = 4 * np.pi
"""Radians by which the joint that turns most does, median over frames: a fit leaves whole turns in a few of them."""
BEHIND = -0.3
"""Metres along the camera's axis; a body's origin may lie so far from its joints."""


def check_record(record: SequenceRecord, *, files: bool = True) -> list[Finding]:
    """Check shapes, finiteness, rotations, units, depth and frame files of a record. Returns [] for a valid one.

    `files`: whether to check that the frame files exist; False for callers that open them anyway.
    """
    frames = len(record.frames)
    findings = [*_shape("frame_ids", record.frame_ids, (frames,))]
    findings += _shape("everyone_annotated", record.everyone_annotated, (frames,))
    if frames == 0:
        findings.append(_error("frames", "no frames", "the images were not extracted or not downloaded"))
    if not findings and (np.diff(record.frame_ids) <= 0).any():
        findings.append(_error("frame_ids", "not strictly increasing", "frames out of time order"))
    if not 1.0 <= record.fps <= 1000.0:
        findings.append(_error("fps", f"{record.fps}, expected 1 to 1000"))
    if files:
        findings += _files(record)
    if len({person.name for person in record.people}) != len(record.people):
        findings.append(_error("people", f"names repeat: {[person.name for person in record.people]}"))
    findings += _camera(record.camera, frames)
    findings += _stuck(record, frames)
    for person in record.people:
        findings += _person(person, record, frames)
    findings += _nobody(record, frames)
    findings += _upright(record)
    return findings + [Finding(severity="warning", key="annotation", what=remark) for remark in record.remarks]


def _nobody(record: SequenceRecord, frames: int) -> Iterator[Finding]:
    """Frames in which nobody is annotated: labels that were lost, or never made."""
    present = [person.present for person in record.people if person.present.shape == (frames,)]
    alone = frames - int(np.any(present, axis=0).sum()) if present else frames
    if alone > OUTSIDE * frames:
        what = f"nobody is annotated in {alone} of {frames} frames"
        yield Finding(severity="warning", key="people", what=what, hint="nothing is learnt from these frames")


def _upright(record: SequenceRecord) -> Iterator[Finding]:
    """Where the world's up is known: people who stand on their heads most of the time, as a lost flip makes them."""
    if record.world_up is None:
        return
    up = np.array(record.world_up)
    if up.shape != (3,) or abs(np.linalg.norm(up) - 1) > 1e-6:
        yield _error("world_up", f"is {record.world_up}, expected a unit vector")
        return
    heights = [
        matrix_from_axis_angle(person.body.pose[person.body_valid, 0])[:, :, 1] @ up
        for person in record.people
        if person.body is not None
        and "root_rotation" in person.body.known
        and person.body.pose.shape == (len(person.body_valid), 24, 3)
    ]
    height = float(np.median(np.concatenate(heights))) if heights and sum(map(len, heights)) else 1.0
    if height < UPSIDE_DOWN:
        what = "people stand on their heads in most frames"
        yield _error("world_up", what, "body and world have different axes, or the sign of an angle is wrong")


def _files(record: SequenceRecord) -> Iterator[Finding]:
    """Missing frame files. A permission error or a broken mount is reported as such, once."""
    files = dict.fromkeys(map(file_of, record.frames))
    missing = []
    for file in files:
        try:
            if not stat.S_ISREG(file.stat().st_mode):
                missing.append(file)
        except OSError as error:
            if not is_missing(error):
                what, hint = in_words(error)
                yield _error("frames", f"{what}: {file}", hint)
                return
            missing.append(file)
    if missing:
        yield _error(
            "frames", f"{len(missing)} of {len(files)} files are missing, first {missing[0]}", "copy them again"
        )


def _error(key: str, what: str, hint: str = "") -> Finding:
    return Finding(severity="error", key=key, what=what, hint=hint)


def _shape(key: str, array: npt.NDArray[np.generic], expected: tuple[int, ...]) -> Iterator[Finding]:
    if array.shape != expected:
        yield _error(key, f"shape {array.shape}, expected {expected}")


def _finite(key: str, array: npt.NDArray[np.float64]) -> Iterator[Finding]:
    if bad := int((~np.isfinite(array)).sum()):
        yield _error(key, f"{bad} of {array.size} values are NaN or infinite")


def _camera(camera: Camera, frames: int) -> Iterator[Finding]:
    for key, array, side in (
        ("camera.intrinsics", camera.intrinsics, 3),
        ("camera.camera_from_world", camera.camera_from_world, 4),
    ):
        if array is None:
            continue
        if array.shape not in {(1, side, side), (frames, side, side)}:
            yield _error(key, f"shape {array.shape}, expected (1 or {frames}, {side}, {side})")
            continue
        yield from _finite(key, array)
        if side == 4 and camera.moving and frames >= STILL_FRAMES and (array == array[0]).all():
            yield _error(key, f"the camera moves and has the same pose in all {frames} frames", STILL)
        if side == 4 and np.isfinite(array).all():
            yield from _rigid(key, array)
    if camera.distortion is not None:
        if camera.distortion.ndim != 1 or not 5 <= len(camera.distortion) <= 12:
            yield _error("camera.distortion", f"shape {camera.distortion.shape}, expected (5,) to (12,)")
        yield from _finite("camera.distortion", camera.distortion)
    if camera.known and not camera.cropped:
        yield from _principal_point(camera)
    focal = camera.intrinsics[..., (0, 1), (0, 1)]
    longest = max(camera.width, camera.height)
    if not ((focal > 0.2 * longest) & (focal < 20 * longest)).all():
        yield _error("camera.intrinsics", f"focal length {focal.min():.1f} to {focal.max():.1f} px for {longest} px")


def _stuck(record: SequenceRecord, frames: int) -> Iterator[Finding]:
    """Poses of a moving camera that are repeated to the last bit, though not in all frames.

    Frames in which nobody is valid do not count: releases repeat the last pose where the camera was lost. Poses of a
    camera that only turns may be made up, and then stand still.
    """
    camera, poses = record.camera, record.camera.camera_from_world
    flags = [person.body_valid if person.body is not None else person.present for person in record.people]
    if poses is None or not camera.moving or poses.shape != (frames, 4, 4) or (poses == poses[0]).all():
        return
    if not flags or any(flag.shape != (frames,) for flag in flags) or not np.isfinite(poses).all():
        return
    counted = poses[np.any(flags, axis=0)]
    repeated = (counted[1:] == counted[:-1]).all(axis=(1, 2))
    if repeated.sum() < STILL_FRAMES or repeated.mean() < REPEATED:
        return
    places = -np.einsum("tji,tj->ti", counted[:, :3, :3], counted[:, :3, 3])
    turns_only = float(np.ptp(places, axis=0).max()) < TRIPOD
    yield Finding(
        severity="warning" if turns_only or repeated.mean() <= 0.5 else "error",
        key="camera.camera_from_world",
        what=f"the camera moves and has exactly the pose of the frame before in {repeated.sum():,} of "
        f"{len(repeated):,} frames",
        hint=STILL,
    )


def _principal_point(camera: Camera) -> Iterator[Finding]:
    """Frames that were scaled or turned after their annotation no longer have it in the middle."""
    size = np.array([camera.width, camera.height])
    off = np.abs(camera.intrinsics[..., :2, 2] - (size - 1) / 2) / size
    if (off > OFF_CENTRE).any():
        x, y = camera.intrinsics.reshape(-1, 3, 3)[off.reshape(-1, 2).max(axis=1).argmax(), :2, 2]
        what = (
            f"the frames have {camera.width}x{camera.height} px, expected a size whose middle is near the principal "
            f"point ({x:.0f}, {y:.0f})"
        )
        yield _error("camera.intrinsics", what, SCALED)


def _rigid(key: str, matrices: npt.NDArray[np.float64]) -> Iterator[Finding]:
    rotation = matrices[:, :3, :3]
    drift = float(np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max())
    if drift > 1e-3 or (np.linalg.det(rotation) < 0).any():
        yield _error(
            key, f"not rotations: R Rᵀ differs from the identity by {drift:.2g}", "a transposed or scaled matrix"
        )
    if float(np.abs(matrices[:, 3] - (0.0, 0.0, 0.0, 1.0)).max()) > 1e-6:
        yield _error(key, "the last row is not 0 0 0 1")
    if (largest := float(np.abs(matrices[:, :3, 3]).max())) > LARGEST_DISTANCE:
        yield _error(key, f"a translation of {largest:,.0f} m", "millimetres taken for metres")


def _turned(who: str, body: BodyParams) -> Iterator[Finding]:
    """The rotation of the origin `turned` is there, and is one."""
    if (body.turned is None) == (body.origin == "turned"):
        yield _error(f"{who}.turned", f"and origin {body.origin!r} do not belong together")
    elif body.turned is not None:
        yield from _shape(f"{who}.turned", body.turned, (3, 3))
        if body.turned.shape == (3, 3):
            rigid = np.eye(4)
            rigid[:3, :3] = body.turned
            yield from _rigid(f"{who}.turned", rigid[None])


def _radians(key: str, pose: npt.NDArray[np.float64]) -> Iterator[Finding]:
    """`pose`: (N, 24, 3) axis-angles of frames that count."""
    if not len(pose) or not np.isfinite(pose).all():
        return  # nothing to say, or reported already
    most = float(np.median(np.linalg.norm(pose, axis=2).max(axis=1)))
    if most > LARGEST_ANGLE:
        what = f"turns a joint by {most:.0f} in most frames, expected radians, {LARGEST_ANGLE:.0f} at most"
        yield _error(key, what, "degrees taken for radians")


def _person(person: Person, record: SequenceRecord, frames: int) -> Iterator[Finding]:
    who = f"people[{person.name}]"
    for key, flags in (("present", person.present), ("body_valid", person.body_valid)):
        yield from _shape(f"{who}.{key}", flags, (frames,))
        if flags.shape != (frames,):
            return
    for key, gender in (("gender", person.gender), ("body.gender", person.body and person.body.gender)):
        if gender is not None and gender not in GENDERS:
            yield _error(f"{who}.{key}", f"is {gender!r}, expected {', '.join(GENDERS)}")
    if (person.body_valid & ~person.present).any():
        yield _error(f"{who}.body_valid", "true in frames in which the person is not present")
    if person.body is not None:
        expected = {"pose": (frames, 24, 3), "betas": (frames, 10), "translation": (frames, 3)}
        for name, shape in expected.items():
            array = getattr(person.body, name)
            if array is None:
                continue
            yield from _shape(f"{who}.{name}", array, shape)
            yield from _finite(f"{who}.{name}", array)
        if person.body.pose.shape == expected["pose"]:
            yield from _radians(f"{who}.pose", person.body.pose[person.body_valid])
        yield from _turned(who, person.body)
        if person.body.translation is not None:
            yield from _far(f"{who}.translation", person.body.translation)
            yield from _before_camera(f"{who}.translation", person, record.camera, frames)
        if float(np.abs(person.body.betas).max(initial=0)) > 20:
            yield _error(f"{who}.betas", f"a coefficient of {np.abs(person.body.betas).max():.1f}, expected below 20")
    elif person.body_valid.any():
        yield _error(f"{who}.body_valid", "true although there is no body")
    if person.keypoints2d is not None:
        yield from _keypoints(f"{who}.keypoints2d", person.keypoints2d, frames, 3)
        yield from _inside(f"{who}.keypoints2d", person.keypoints2d, record.camera)
    if person.joints3d is not None:
        yield from _keypoints(f"{who}.joints3d", person.joints3d, frames, 4)
        yield from _far(f"{who}.joints3d", person.joints3d.points[..., :3])
        yield from _extent(f"{who}.joints3d", person.joints3d)
        yield from _depth(f"{who}.joints3d", person.joints3d, record.camera, frames)


def _far(key: str, metres: npt.NDArray[np.float64]) -> Iterator[Finding]:
    with np.errstate(invalid="ignore"):
        largest = float(np.nanmax(np.abs(metres), initial=0.0))
    if largest > LARGEST_DISTANCE:
        yield _error(key, f"{largest:,.0f} m from the origin", "millimetres taken for metres")


def _before_camera(key: str, person: Person, camera: Camera, frames: int) -> Iterator[Finding]:
    """Bodies that the camera cannot see: behind it, or too far away."""
    body, valid = person.body, person.body_valid
    if body is None or body.translation is None or "translation" not in body.known or not camera.known:
        return
    if body.translation.shape != (frames, 3) or not np.isfinite(body.translation).all() or not valid.any():
        return  # reported already
    extrinsics = camera.per_frame(frames)[1]
    seen = np.einsum("tij,tj->ti", extrinsics[:, :3, :3], body.translation)[valid] + extrinsics[valid, :3, 3]
    yield from _distance(key, seen)
    behind = seen[:, 2] < BEHIND
    if person.joints3d is None and behind.any():
        yield Finding(
            severity="warning" if behind.mean() < 0.5 else "error",
            key=key,
            what=f"the body is behind the camera in {behind.mean():.0%} of its frames",
            hint="camera_from_world may be inverted, or the body stands in another world",
        )


def _distance(key: str, seen: npt.NDArray[np.float64]) -> Iterator[Finding]:
    """`seen`: (N, 3) places in the camera's frame."""
    if len(seen) and (most := float(np.linalg.norm(seen, axis=1).max())) > FARTHEST:
        what = f"somebody stands {most:,.0f} m from the camera, expected {FARTHEST:.0f} at most"
        yield _error(key, what, "millimetres taken for metres, or camera and body of different worlds")


def _extent(key: str, joints: Keypoints) -> Iterator[Finding]:
    known = np.where(joints.points[..., 3:] > 0, joints.points[..., :3], np.nan)
    if np.isfinite(known).any():
        counted = np.isfinite(known).any(axis=(1, 2))
        extent = float((np.nanmax(known[counted], axis=1) - np.nanmin(known[counted], axis=1)).max())
        if not extent < LARGEST_BODY:
            yield _error(key, f"one body's joints lie {extent:,.1f} m apart", "millimetres taken for metres")
        enough = known[np.isfinite(known).all(axis=2).sum(axis=1) >= ENOUGH_JOINTS]
        if len(enough):
            size = np.nanmax(enough, axis=1) - np.nanmin(enough, axis=1)
            typical = float(np.median(size.max(axis=1)))
            if typical < SMALLEST_BODY:
                what = f"one body's joints lie only {typical:.2g} m apart"
                yield _error(key, what, "metres divided as if they were millimetres")


def _keypoints(key: str, keypoints: Keypoints, frames: int, width: int) -> Iterator[Finding]:
    if keypoints.layout not in LAYOUTS:
        yield _error(key, f"unknown joint set {keypoints.layout!r}")
        return
    yield from _shape(key, keypoints.points, (frames, len(LAYOUTS[keypoints.layout]), width))
    yield from _finite(key, keypoints.points)
    confidence = keypoints.points[..., -1]
    if confidence.size and (confidence.min() < 0 or confidence.max() > 1):
        yield _error(key, f"confidence from {confidence.min():.3g} to {confidence.max():.3g}, expected 0 to 1")


def _inside(key: str, keypoints: Keypoints, camera: Camera) -> Iterator[Finding]:
    size = np.array([camera.width, camera.height])
    seen = keypoints.points[..., 2] > 0
    relative = keypoints.points[..., :2][seen] / size
    if relative.size and (relative.min() < -FAR_OUTSIDE or relative.max() > 1 + FAR_OUTSIDE):
        yield _error(key, f"points up to {np.abs(relative).max():.1f} frame sizes away", "coordinates of other images")
    if not len(relative):
        return
    inside = float(((relative >= 0) & (relative <= 1)).all(axis=-1).mean())
    if camera.known:  # they may be projections, also of what is outside
        if inside < 0.5:
            severity: Severity = "warning" if inside >= LEAST_INSIDE else "error"
            what = f"only {inside:.0%} of the points are inside the frame"
            yield Finding(severity=severity, key=key, what=what, hint=SCALED)
        return
    outside = float(((relative < -EDGE) | (relative > 1 + EDGE)).any(axis=-1).mean())
    if outside > OUTSIDE:
        frame = f"{camera.width}x{camera.height} px"
        yield _error(key, f"{outside:.0%} of the points lie outside the frames of {frame}, expected none", SCALED)
    elif (part := float(relative.max())) < SUSPICIOUS_CORNER:
        what = f"all points lie in the first {part:.0%} of the frames' width and height"
        severity = "error" if part < CORNER else "warning"
        yield Finding(severity=severity, key=key, what=f"{what}: enlarged after annotation?", hint=SCALED)


def _depth(key: str, joints: Keypoints, camera: Camera, frames: int) -> Iterator[Finding]:
    if joints.points.shape[0] != frames or not np.isfinite(joints.points).all():
        return  # reported already
    _, extrinsics = camera.per_frame(frames)
    depth = np.einsum("ti,tki->tk", extrinsics[:, 2, :3], joints.points[..., :3]) + extrinsics[:, None, 2, 3]
    known = joints.points[..., 3] > 0
    if camera.known:
        world = np.einsum("tij,tkj->tki", extrinsics[:, :3, :3], joints.points[..., :3]) + extrinsics[:, None, :3, 3]
        yield from _distance(key, world[known])
    behind = (depth <= 0) & known
    if behind.any():
        yield Finding(
            severity="warning" if behind.mean() < 0.5 else "error",
            key=key,
            what=f"{behind.mean():.0%} of the joints lie behind the camera, first in frame {behind.any(1).argmax()}",
            hint="camera_from_world may be inverted",
        )
