"""Every layout that is read, in a small form, and what may happen to its frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import tiny_3dpw
import tiny_3dpw_packed
import tiny_bedlam
import tiny_bedlam2
import tiny_dynacam
import tiny_emdb
import tiny_human36m
import tiny_mpi
import tiny_mupots
import tiny_penn_action
import tiny_rich
from mpi_damage import cut, exchange, loop

COUNTS = {"train": 2, "val": 1, "test": 1}


@dataclass(frozen=True)
class Layout:
    """One layout and one sequence of it."""

    dataset: str
    write: Callable[[Path], Path]
    """Writes below a root; returns the dataset's folder."""
    place: str
    """Folder of a sequence's images below the dataset's folder, or its video."""
    image: str = ""
    """How they are called by number; nothing for a video."""
    numbers: range = range(0)
    other: str = ""
    """Place of another sequence with another number of frames, where the layout's own names do not tell them apart."""
    case: tuple[str, str] = ("", "")
    """A folder or file of it, and its name in other letters."""

    def lose(self, folder: Path) -> None:
        """One frame, in the middle, is gone; or the video."""
        self.middle(folder).unlink()

    def truncate(self, folder: Path) -> None:
        """One frame, or the video, ends too early."""
        cut(self.middle(folder), 0.6)

    def shift(self, folder: Path) -> None:
        """The number of every image is one too high."""
        for number in reversed(self.numbers):
            file = folder / self.place / self.image.format(number)
            file.rename(file.with_name(self.image.format(number + 1)))

    def swap(self, folder: Path) -> None:
        """Two sequences have each other's frames."""
        exchange(folder / self.place, folder / self.other)

    def circle(self, folder: Path) -> None:
        """A link that leads back to itself lies where the frames should be."""
        loop(folder / self.place)

    def redraw(self, folder: Path, change: Callable[[Any], Any]) -> None:
        """Every frame of the sequence is what `change` makes of it (H, W, 3)."""
        if not self.image:
            _redraw_video(folder / self.place, change)
        for number in self.numbers:
            file = folder / self.place / self.image.format(number)
            cv2.imwrite(str(file), change(cv2.imread(str(file))))

    def recase(self, folder: Path) -> None:
        """Names in other letters, the dataset's own too."""
        old, new = self.case
        (folder / old).rename(folder / new)
        folder.rename(folder.with_name(folder.name.swapcase()))

    def middle(self, folder: Path) -> Path:
        """The frame in the middle, or the video."""
        name = self.image.format(self.numbers[len(self.numbers) // 2]) if self.image else ""
        return folder / self.place / name


def _redraw_video(file: Path, change: Callable[[Any], Any]) -> None:
    capture, frames = cv2.VideoCapture(str(file)), []
    while (read := capture.read())[0]:
        frames.append(change(read[1]))
    code = cv2.VideoWriter.fourcc(*("MJPG" if file.suffix == ".avi" else "mp4v"))
    out = cv2.VideoWriter(str(file), code, 25.0, frames[0].shape[1::-1])
    for frame in frames:
        out.write(frame)
    out.release()


def scale(factor: float) -> Callable[[Any], Any]:
    """Makes frames larger or smaller."""
    return lambda frame: cv2.resize(frame, None, fx=factor, fy=factor)


def shorter(content: dict[str, Any]) -> None:
    """An official sequence of 3DPW without its last frame."""
    for key in ("poses", "trans", "jointPositions", "poses2d", "campose_valid"):
        content[key] = [array[:-1] for array in content[key]]
    content["cam_poses"] = content["cam_poses"][:-1]


def pw3d(root: Path) -> Path:
    folder = tiny_3dpw.write(root, COUNTS, frames=6)
    content = tiny_3dpw.load(folder, "train", "train_walk_00")
    shorter(content)
    tiny_3dpw.rewrite(folder, "train", "train_walk_00", content)
    (folder / "imageFiles/train_walk_00/image_00005.jpg").unlink()
    return folder


def pw3d_packed(form: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        change = {"train_walk_00": shorter}
        folder = tiny_3dpw_packed.pack(
            root, COUNTS, form, change=lambda name, content: change.get(name, tiny_mpi.unchanged)(content)
        )
        (folder / "imageFiles/train_walk_00/image_00005.jpg").unlink()
        return folder

    return write


def emdb(root: Path) -> Path:
    folder = tiny_emdb.write(root)

    def last(content: dict[str, Any]) -> None:
        frames = content["n_frames"] = content["n_frames"] - 1
        content |= {key: content[key][:frames] for key in ("good_frames_mask", "kp2d")}
        content["camera"]["extrinsics"] = content["camera"]["extrinsics"][:frames]
        content["smpl"] |= {key: content["smpl"][key][:frames] for key in ("poses_root", "poses_body", "trans")}

    tiny_emdb.change(tiny_emdb.annotation(folder, tiny_emdb.CLIMB), last)
    (tiny_emdb.images(folder, tiny_emdb.CLIMB) / "00005.jpg").unlink()
    return folder


def penn(root: Path) -> Path:
    folder = tiny_penn_action.write(root)

    def last(content: dict[str, Any]) -> None:
        content |= {key: content[key][:-1] for key in ("x", "y", "visibility")} | {"nframes": 3}

    tiny_penn_action.change_mat(folder, "0001", last)
    (folder / "frames/0001/000004.jpg").unlink()
    return folder


def penn_packed(root: Path) -> Path:
    folder = tiny_penn_action.write(root, packed=True)
    tiny_penn_action.change_npz(folder, lambda c: c["seq_frame_names"]["0001"].pop())
    (folder / "frames/0001/000004.jpg").unlink()
    return folder


def mpi_test(packed: bool) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        return tiny_mpi.test_set(root / "mpi_inf_3dhp/mpi_inf_3dhp_test_set", packed=packed).parent

    return write


def dynacam(root: Path) -> Path:
    folder = tiny_dynacam.write(root)
    sequence = tiny_dynacam.images(folder, tiny_dynacam.PANORAMA)[0].parent
    sequence.rename(sequence.with_name("a"))  # a name that is known here
    annots = tiny_dynacam.load(folder, tiny_dynacam.PANORAMA)
    for held in (annots, annots["sequence_dict"]):
        held["a"] = held.pop(sequence.name)
    tiny_dynacam.save(folder, tiny_dynacam.PANORAMA, annots)
    return folder


WALK, TS1 = "imageFiles/train_walk_01", "mpi_inf_3dhp_test_set/TS1"
CLIP, VIDEO = "s_01_act_03_subact_01_ca_01", "S1_Seq1_video_0"
LAYOUTS = {
    "3dpw, release": Layout(
        "3dpw", pw3d, WALK, "image_{:05d}.jpg", range(6), "imageFiles/train_walk_00",
        ("sequenceFiles/train", "sequenceFiles/Train"),
    ),
    "3dpw, annots.npz": Layout(
        "3dpw", pw3d_packed("annots"), WALK, "image_{:05d}.jpg", range(6), "imageFiles/train_walk_00",
        ("annots.npz", "Annots.NPZ"),
    ),
    "3dpw, vibe_db": Layout(
        "3dpw", pw3d_packed("vibe"), WALK, "image_{:05d}.jpg", range(6), "imageFiles/train_walk_00",
        ("vibe_db", "VIBE_DB"),
    ),
    "penn-action, labels": Layout(
        "penn-action", penn, "frames/0003", "{:06d}.jpg", range(1, 5), "frames/0001", ("labels", "Labels"),
    ),
    "penn-action, packed": Layout(
        "penn-action", penn_packed, "frames/0003", "{:06d}.jpg", range(1, 5), "frames/0001",
        ("annots_train.npz", "Annots_Train.npz"),
    ),
    "mpi-inf-3dhp, videos": Layout(
        "mpi-inf-3dhp", tiny_mpi.official, "S1/Seq1/imageSequence/video_0.avi",
        case=("S1/Seq1/imageSequence", "S1/Seq1/ImageSequence"),
    ),
    "mpi-inf-3dhp, images": Layout(
        "mpi-inf-3dhp", lambda root: tiny_mpi.official(root, extracted=True), "S1/Seq1/imageFrames/video_0",
        "frame_{:06d}.jpg", range(1, 9), case=("S1/Seq1/annot.mat", "S1/Seq1/Annot.MAT"),
    ),
    "mpi-inf-3dhp, packed": Layout(
        "mpi-inf-3dhp", tiny_mpi.packed, f"video_frames/{VIDEO}", f"{VIDEO}_F{{:06d}}.jpg", range(8),
        "video_frames/S1_Seq1_video_2", ("annots_video.npz", "Annots_Video.npz"),
    ),
    "mpi-inf-3dhp, test set": Layout(
        "mpi-inf-3dhp", mpi_test(False), f"{TS1}/imageSequence", "img_{:06d}.jpg", range(1, 9),
        case=(f"{TS1}/annot_data.mat", f"{TS1}/Annot_Data.mat"),
    ),
    "mpi-inf-3dhp, packed test set": Layout(
        "mpi-inf-3dhp", mpi_test(True), f"{TS1}/imageSequence", "img_{:06d}.jpg", range(1, 9), case=(TS1, TS1.lower()),
    ),
    "h36m, release": Layout(
        "h36m", lambda root: tiny_human36m.write(root, "official"), "S1/Videos/Discussion.54138969.mp4",
        case=("S1/MyPoseFeatures", "S1/myposefeatures"),
    ),
    "h36m, re-packaged": Layout(
        "h36m", lambda root: tiny_human36m.write(root, "repackaged"), f"images/{CLIP}", f"{CLIP}_{{:06d}}.jpg",
        range(1, 5), f"images/{CLIP[:-1]}2", ("annotations", "Annotations"),
    ),
    "h36m, packed": Layout(
        "h36m", lambda root: tiny_human36m.write(root, "packed"), "images", "S1_Discussion_0_{}.jpg", range(4),
        case=("annots_smplkps.npz", "Annots_SMPLkps.npz"),
    ),
    "dynacam": Layout(
        "dynacam", dynacam, "video_frames/panorama_train/a", "{:06d}.jpg", range(4),
        case=("annotations", "Annotations"),
    ),
    "bedlam": Layout(
        "bedlam", tiny_bedlam.write, f"{tiny_bedlam.ORBIT}/mp4/seq_000000.mp4",
        other=f"{tiny_bedlam.ORBIT}/mp4/seq_000001.mp4", case=("smpl_ground_truth", "SMPL_ground_truth"),
    ),
    "bedlam2": Layout(
        "bedlam2", tiny_bedlam2.write, f"{tiny_bedlam2.DOLLY}/mp4/seq_000000.mp4",
        other=f"{tiny_bedlam2.DOLLY}/mp4/seq_000001.mp4", case=("motions_npz_training", "Motions_NPZ_training"),
    ),
    "bedlam, images": Layout(
        "bedlam", tiny_bedlam.write_stills, f"{tiny_bedlam.ORBIT}_6fps/png/seq_000000", "seq_000000_{:04d}.png",
        range(0, 11, 5), case=("all_npz_12_smpl_training", "All_NPZ_12_smpl_training"),
    ),
    "mupots": Layout(
        "mupots", tiny_mupots.write, "TS2", "img_{:06d}.jpg", range(6), case=("TS2/annot.mat", "TS2/Annot.MAT"),
    ),
    "rich": Layout(
        "rich", tiny_rich.write, f"data/images/test/{tiny_rich.BURPEE}/cam_00", "{:05d}_00.jpeg", range(46, 52),
        case=("scan_calibration/ParkingLot2", "scan_calibration/parkinglot2"),
    ),
    "rich, raw": Layout(
        "rich", lambda root: tiny_rich.write(root, raw=True), f"test/{tiny_rich.BURPEE}/cam_01", "{:05d}_01.jpeg",
        range(46, 52), case=("test_body", "Test_Body"),
    ),
    "emdb": Layout(
        "emdb", emdb, "P6/49_outdoor_big_stairs_down/images", "{:05d}.jpg", range(6), "P1/14_outdoor_climb/images",
        ("P0/09_outdoor_walk", "P0/09_Outdoor_Walk"),
    ),
}  # fmt: skip
