"""The official archives: `S1/Videos/Directions 1.54138969.mp4`, `S1/MyPoseFeatures/*/*.cdf`, `metadata.xml`.

All frames are read directly from the videos, at 50 frames per second; a build subsamples them with `--every`. If a
video is missing, its images are read: `S1/Images/Directions 1.54138969/frame_000000.jpg`, with any prefix.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import first_image, frame_size, gap, remark_on_length
from trace_data.adapters.human36m.calibration import (
    CalibratedView,
    best_view,
    locate_in_camera,
    metadata_file,
    read_metadata,
)
from trace_data.adapters.human36m.cdf import read_cdf
from trace_data.adapters.human36m.facts import (
    AGAIN,
    CAMERAS,
    FPS,
    NOTE,
    SPEC,
    SUBJECTS,
    certain,
    entries,
    file_state,
    numbers,
)
from trace_data.adapters.human36m.record import record_of
from trace_data.adapters.human36m.subject_files import body_over, subject_file
from trace_data.adapters.listing import below, entry, is_folder, numbered, numbered_files
from trace_data.adapters.units import check_unit
from trace_data.defects import lost
from trace_data.errors import AnnotationError, DatasetLayoutError
from trace_data.frames.video import VideoFacts, video_facts
from trace_data.geometry import transform
from trace_data.schema.findings import Finding
from trace_data.schema.frame import Frame, VideoFrame
from trace_data.schema.record import SequenceRecord, Split

LAYOUT = "official (videos, CDF)"
VIDEO = ".mp4"
_IMAGE = re.compile(r"(?:.*\D)?(\d+)\.(?:jpe?g|png)", re.IGNORECASE)


def is_here(folder: Path) -> bool:
    """Whether the dataset's folder has this layout."""
    subjects = [entry(folder, f"S{n}") for group in SUBJECTS.values() for n in group]
    return any(subject is not None and entry(subject, "Videos", "Images") is not None for subject in subjects)


def find(folder: Path, split: Split) -> list[SequenceRef]:
    """The videos of a split that have 3D joints, by subject and name."""
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=f"S{subject}_{_name(video)}",
            layout=LAYOUT,
            annotation=annotation,
            images=video,
            frames=_length(video),
            reads=_reads(folder, subject, video, annotation),
        )
        for subject in SUBJECTS[split]
        for video, annotation in _videos(folder, subject).items()
        if annotation is not None
    ]


def inspect(folder: Path, refs: list[SequenceRef]) -> list[Finding]:
    """Videos without joints, joints without video, a missing calibration."""
    findings = []
    if read_metadata(folder) is None:
        findings.append(
            Finding(
                severity="warning",
                key="metadata.xml",
                what="missing: cameras are found from the joints, each its own world, and bodies are not used",
                hint="download the code of the release (Release-v1.2) and put its metadata.xml here",
            )
        )
    findings += [] if (folder / NOTE).is_file() else _lost_subjects(refs)
    for subject in (n for subjects in SUBJECTS.values() for n in subjects):
        videos = _videos(folder, subject)
        findings += [
            Finding(severity="error", key=str(video.relative_to(folder)), what="no 3D joints", hint=_POSES)
            for video, annotation in videos.items()
            if annotation is None
        ]
        findings += [
            Finding(severity="error", key=f"S{subject}/{name}", what="joints without a video", hint=_VIDEOS)
            for name in _unseen(folder, subject, list(videos))
            if lost(SPEC.name, f"S{subject}_{name}") is None
        ]
    return findings


def _lost_subjects(refs: list[SequenceRef]) -> list[Finding]:
    """An error for each subject of whom there is nothing beside others of the same split; a whole split may be left
    out on purpose."""
    held = {split: {int(ref.name[1:].split("_")[0]) for ref in refs if ref.split == split} for split in SUBJECTS}
    return [
        Finding(
            severity="error",
            key=f"S{subject}",
            what=f"S{subject} has no video with joints, others of the split {split!r} have",
            hint=f"unpack the archives of S{subject} (Videos, Poses) again",
        )
        for split, subjects in SUBJECTS.items()
        for subject in subjects
        if held[split] and subject not in held[split]
    ]


def read(ref: SequenceRef) -> SequenceRecord:
    """One video, in the world of the release where it is calibrated. Raises AnnotationError."""
    folder = ref.images.parents[2]
    subject = int(ref.images.parents[1].name[1:])
    action, serial = _clip(ref.images)
    joints = positions(ref.annotation, 3) / 1000
    check_unit(ref.annotation, joints)
    flat = _poses(folder, subject, "D2_Positions").get(f"{_name(ref.images)}.cdf".lower())
    pixels = None if flat is None else positions(flat, 2)
    if pixels is not None and len(pixels) != len(joints):
        raise AnnotationError(
            f"holds {len(pixels)} frames, {ref.annotation.parent.name} has {len(joints)}",
            where=flat,
            hint=AGAIN,
        )
    frames, frame_ids, size = _frames(ref.images, len(joints))
    remarks = remark_on_length(frame_ids.tolist(), len(joints))
    joints, pixels = joints[frame_ids], None if pixels is None else pixels[frame_ids]
    view, joints = _view(folder, ref, (subject, CAMERAS.index(serial)), joints, pixels)
    metadata = read_metadata(folder)
    clip = None if metadata is None else metadata.clips.get((subject, action))
    smpl = subject_file(folder, subject, "SMPL_NeuralAnnot", "smpl_param")
    body, body_valid = body_over(smpl if clip else None, clip or (0, 0), frame_ids)
    return record_of(
        ref,
        folder,
        subject,
        layout=LAYOUT,
        frames=frames,
        frame_ids=frame_ids,
        fps=FPS,
        size=size,
        view=view,
        keypoints2d=None if pixels is None else certain("H36M_32", pixels, projected=True),
        joints3d=certain("H36M_32", joints),
        body=body,
        body_valid=body_valid,
        remarks=remarks,
    )


def frame_file(ref: SequenceRef, number: int) -> Path:
    """Path of a frame's image, relative to the dataset's folder, used if the video is missing."""
    return Path(ref.images.parents[1].name, "Images", _name(ref.images), f"frame_{number:06d}.jpg")


def _frames(place: Path, annotated: int) -> tuple[tuple[Frame, ...], npt.NDArray[np.int64], tuple[int, int]]:
    """The annotated frames of a video or of a folder of images, their numbers, and width and height, px.

    Raises AnnotationError when images are missing, see also `first_image`.
    """
    if not is_folder(place):
        facts = video_facts(place)
        # decoding will tell whether it has all frames: headers are often wrong
        numbers = np.arange(annotated, dtype=np.int64)
        return tuple(VideoFrame(place, number) for number in range(annotated)), numbers, (facts.width, facts.height)
    images = numbered_files(place, _IMAGE)
    if not images or (lost := gap(list(images))) is not None:
        what = f"image {lost} is missing, there are {len(images)}" if images else "there are no images"
        raise AnnotationError(what, where=place, hint="extract the video again, or put it back into Videos/")
    first = first_image(list(images), annotated, place)
    chosen = {number - first: file for number, file in images.items() if number - first < annotated}
    files = tuple(chosen.values())
    return files, np.array(list(chosen), np.int64), frame_size(files)


def positions(file: Path, width: int) -> npt.NDArray[np.float64]:
    """`Pose` of a CDF file as (T, 32, width), in the file's unit. Raises AnnotationError."""
    pose = read_cdf(file, "Pose", hint=AGAIN)
    if pose.ndim == 3 and len(pose) == 1:
        pose = pose[0]
    return numbers(pose, (-1, 32 * width), "Pose", file).reshape(-1, 32, width)


_VIDEOS = "get the Videos archive of this subject"
_POSES = "get the Poses archives of this subject (D2_Positions, and D3_Positions or D3_Positions_mono)"


def _view(
    folder: Path,
    ref: SequenceRef,
    who: tuple[int, int],
    joints: npt.NDArray[np.float64],
    pixels: npt.NDArray[np.float64] | None,
) -> tuple[CalibratedView, npt.NDArray[np.float64]]:
    """The camera and the joints in its world."""
    metadata = read_metadata(folder)
    if _in_world(ref.annotation):
        if metadata is None:
            raise AnnotationError(
                "metadata.xml is missing, without which D3_Positions cannot be seen through a camera",
                where=folder,
                hint="put metadata.xml of the release (Release-v1.2) there, or get D3_Positions_mono",
            )
        views = metadata.views(*who)
        return (views[0] if pixels is None else best_view(views, joints, pixels)), joints
    view = locate_in_camera(metadata, who, joints, pixels, ref.annotation)
    if view.camera_from_world is None:
        return view, joints
    return view, transform(np.linalg.inv(view.camera_from_world), joints)


def _in_world(annotation: Path) -> bool:
    """Whether the joints of a file are those of the world, one file for four cameras."""
    return annotation.parent.name.lower().endswith("d3_positions")


def _name(video: Path) -> str:
    """Name of a video or of its image folder: `Directions 1.54138969`."""
    return video.stem if video.suffix.lower() == VIDEO else video.name


def _clip(video: Path) -> tuple[str, str]:
    """Action, such as `Directions 1`, and serial number of the camera."""
    action, _, serial = _name(video).rpartition(".")
    return action, serial


def _videos(folder: Path, subject: int) -> dict[Path, Path | None]:
    """The videos of a subject, or their image folders, each with the file of its 3D joints, preferably in the world."""
    videos, images = (below(folder, f"S{subject}", name) for name in ("Videos", "Images"))
    held = (
        {}
        if videos is None
        else {video.stem.lower(): video for video in entries(videos).values() if video.suffix.lower() == VIDEO}
    )
    if images is not None:
        held = {name: place for name, place in entries(images).items() if place.suffix != VIDEO} | held
    world, mono = _poses(folder, subject, "D3_Positions"), _poses(folder, subject, "D3_Positions_mono")
    if read_metadata(folder) is None:
        world = {}
    joints: dict[Path, Path | None] = {}
    for _, video in sorted(held.items()):
        action, serial = _clip(video)
        if serial in CAMERAS and not action.startswith("_"):
            joints[video] = world.get(f"{action}.cdf".lower()) or mono.get(f"{_name(video)}.cdf".lower())
    return joints


def _poses(folder: Path, subject: int, kind: str) -> dict[str, Path]:
    """Files of one kind of positions, by name in lower case."""
    place = below(folder, f"S{subject}", "MyPoseFeatures", kind) or below(folder, f"S{subject}", f"Poses_{kind}")
    return {} if place is None else entries(place)


def _unseen(folder: Path, subject: int, videos: list[Path]) -> list[str]:
    """Clips (actions if no camera is named) with joints but without video."""
    kinds = ("D2_Positions", "D3_Positions", "D3_Positions_mono")
    files = [file for kind in kinds for file in _poses(folder, subject, kind).values()]
    seen = {_name(video).lower() for video in videos} | {_clip(video)[0].lower() for video in videos}
    names = {file.stem for file in files if file.suffix.lower() == ".cdf" and not file.name.startswith("_")}
    return sorted(name for name in names if name.lower() not in seen)


def _reads(folder: Path, subject: int, video: Path, annotation: Path) -> tuple[Path, ...]:
    """All files that tell of a video."""
    flat = _poses(folder, subject, "D2_Positions").get(f"{_name(video)}.cdf".lower())
    others = (flat, metadata_file(folder), subject_file(folder, subject, "SMPL_NeuralAnnot", "smpl_param"))
    return (annotation, *(file for file in others if file is not None))


def _length(video: Path) -> int:
    """Number of frames in the header, or of images; 0 if none can be read, as `read` will report."""
    try:
        if is_folder(video):
            return len(numbered(video, _IMAGE))
        return _facts(file_state(video)).frames
    except (AnnotationError, DatasetLayoutError):  # a circular link cannot be listed
        return 0


@lru_cache(maxsize=2048)
def _facts(state: tuple[str, int, int]) -> VideoFacts:
    return video_facts(Path(state[0]))
