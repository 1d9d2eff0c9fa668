"""Human3.6M folders that are broken in the ways that happen: each is found at its depth, and named."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_human36m as tiny

from trace_data.sample_world.human36m import Layout
from trace_data.verify.datasets import DEPTHS, Depth, verify_datasets

VIDEO = "S1/Videos/Discussion.54138969.mp4"
FLAT, WORLD = "S1/MyPoseFeatures/D2_Positions", "S1/MyPoseFeatures/D3_Positions"
CLIP = "s_01_act_03_subact_01_ca_01"
JOINTS = "annotations/Human36M_subject1_joint_3d.json"
CAMERA = "annotations/Human36M_subject1_camera.json"
BODIES = "annotations/Human36M_subject1_SMPL_NeuralAnnot.json"
NPZ = "annots_smplkps.npz"
SIDES = [0, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, *range(11, 17), 25, 26, 27, 20, 21, 22, 23, 24, 17, 18, 19, 28, 29, 30, 31]
"""The 32 joints with left and right exchanged."""
BOMB = (
    "<!DOCTYPE m [<!ENTITY a0 '"
    + "1 " * 500
    + "'>"
    + "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 30}'>" for n in range(1, 6))
    + "]><m><w0>[&a5;]</w0></m>"
)
"""XML of 2 kB that would be 24 GB."""
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    layouts: tuple[Layout, ...] = ("official", "repackaged", "packed")
    return {layout: tiny.write(tmp_path_factory.mktemp(layout), layout) for layout in layouts}


def cut(name: str, share: float = 0.5) -> Change:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(share * len(data))])

    return change


def exchange(one: str, other: str) -> Change:
    def change(folder: Path) -> None:
        held = (folder / one).read_bytes()
        (folder / one).write_bytes((folder / other).read_bytes())
        (folder / other).write_bytes(held)

    return change


def circle(name: str) -> Change:
    def change(folder: Path) -> None:
        target = folder / name
        target.rename(target.with_name("away"))
        target.symlink_to(target)

    return change


def cdf(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda folder: tiny.change_cdf(folder / name, change)


def text(name: str, change: Callable[[Any], Any]) -> Change:
    return lambda folder: tiny.change_json(folder / name, change)


def entries(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the entries of the packed annotation that belong to S1's first camera."""

    def chosen(held: dict[str, Any]) -> None:
        change({name: entry for name, entry in held.items() if name.startswith("S1_") and "_0_" in name})

    return lambda folder: tiny.change_npz(folder / NPZ, "annots", chosen)


def set_nan(points: Any) -> Any:
    points[2, 3] = np.nan
    return points


def stale(folder: Path) -> None:
    """Cameras that have been moved since."""
    file = folder / "metadata.xml"
    head, rest = file.read_text().split("<w0>[")
    numbers, tail = rest.split("]", 1)
    w0 = np.array(numbers.split(), float)
    w0[:264].reshape(4, 11, 6)[..., 3:] += 300
    file.write_text(f"{head}<w0>[{' '.join(map(repr, w0.tolist()))}]{tail}")


def stale_json(cameras: Any) -> None:
    cameras["1"], cameras["2"] = cameras["2"], cameras["1"]


def scaled_json(joints: Any) -> None:
    for frame, rows in joints["3"]["1"].items():
        joints["3"]["1"][frame] = (np.array(rows) / 1000).tolist()


def left_first(joints: Any) -> None:
    for rows in joints["3"]["1"].values():
        rows[1:7] = [*rows[4:7], *rows[1:4]]


def renumber(folder: Path) -> None:
    """Images counted from 0."""
    for number in range(tiny.FRAMES):
        file = folder / f"images/{CLIP}/{CLIP}_{number + 1:06d}.jpg"
        file.rename(file.with_name(f"{CLIP}_{number:06d}.jpg"))


def shift_keys(held: dict[str, Any]) -> None:
    held["S1_Discussion_0_4.jpg"] = held.pop("S1_Discussion_0_0.jpg")


class Evil:
    """What a pickle of ill will holds."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo run > owned",)


def each(key: str, change: Callable[[Any], Any]) -> Change:
    """Change one value of every entry."""

    def apply(held: dict[str, Any]) -> None:
        for entry in held.values():
            entry[key] = change(entry[key])

    return entries(apply)


def exchange_entries(held: dict[str, Any]) -> None:
    first, last = held["S1_Discussion_0_0.jpg"], held["S1_Discussion_0_3.jpg"]
    first["kp2d"], last["kp2d"] = last["kp2d"] + 9, first["kp2d"] + 9


OFFICIAL: dict[str, tuple[Depth, Change, str]] = {
    "a video is missing": ("layout", lambda f: (f / VIDEO).unlink(), "S1/Discussion.54138969: joints without a video"),
    "joints are missing": (
        "layout",
        lambda f: [file.unlink() for file in (f / "S1/MyPoseFeatures").glob("D3*/*")],
        f"{VIDEO}: no 3D joints",
    ),
    "a link in a circle": ("layout", circle("S1/Videos"), "Videos: layout: a symbolic link that leads back to itself"),
    "a folder that is a file": (
        "layout",
        lambda f: ((f / "S1/Videos").rename(f / "S1/away"), (f / "S1/Videos").write_text("")),
        "Videos: layout: is a file, expected a folder",
    ),
    "a link in a circle for a video": ("content", circle(VIDEO), "a symbolic link that leads back to itself"),
    "a video that is cut": ("content", cut(VIDEO), "Discussion.54138969.mp4"),
    "an empty video": ("content", cut(VIDEO, 0), "0 bytes that are no video"),
    "a web page for a video": (
        "content",
        lambda f: (f / VIDEO).write_text("<html>log in</html>"),
        "19 bytes that are no video",
    ),
    "joints that are cut": ("content", cut(f"{WORLD}/Discussion.cdf"), "not readable as a CDF file"),
    "an empty file of joints": ("content", cut(f"{WORLD}/Discussion.cdf", 0), "not readable as a CDF file"),
    "a web page for joints": (
        "content",
        lambda f: (f / WORLD / "Discussion.cdf").write_text("<html>log in</html>"),
        "not readable as a CDF file",
    ),
    "joints of 17": (
        "content",
        cdf(f"{WORLD}/Discussion.cdf", lambda p: p[:, :17]),
        "has shape .*4, 51.*, expected nx96",
    ),
    "NaN": ("content", cdf(f"{WORLD}/Discussion.cdf", set_nan), r"Pose has 3 NaN .* first at \[2, 9\]"),
    "a frame less in 2D": (
        "content",
        cdf(f"{FLAT}/Discussion.54138969.cdf", lambda p: p[1:]),
        "holds 3 frames, D3_Positions has 4",
    ),
    "a frame more than the video": (
        "content",
        lambda f: [tiny.change_cdf(file, lambda p: p[[0, 0, 1, 2, 3]]) for file in (f / "S1").rglob("*.cdf")],
        "the video ends after 4 frames, frame 4 is asked for",
    ),
    "metres for millimetres": (
        "content",
        cdf(f"{WORLD}/Discussion.cdf", lambda p: p / 1000),
        "of one person lie 0.00",
    ),
    "micrometres": (
        "content",
        cdf(f"{WORLD}/Discussion.cdf", lambda p: p * 1000),
        "millimetres taken for metres|m from|m apart",
    ),
    "2D of the other camera": (
        "geometry",
        exchange(f"{FLAT}/Discussion.54138969.cdf", f"{FLAT}/Discussion.55011271.cdf"),
        "3D joints meet the 2D joints at",
    ),
    "left and right": (
        "geometry",
        cdf(f"{FLAT}/Discussion.54138969.cdf", lambda p: p[:, SIDES]),
        "left and right are exchanged for S1",
    ),
    "left and right in 2D and 3D": (
        "geometry",
        lambda f: [tiny.change_cdf(file, lambda p: p[:, SIDES]) for file in (f / "S1").rglob("*.cdf")],
        "knees bend and toes point backwards",
    ),
    "a stale calibration": ("geometry", stale, "3D joints meet the 2D joints at"),
    "no calibration and no 2D": (
        "content",
        lambda f: ((f / "metadata.xml").unlink(), (f / FLAT / "Discussion.54138969.cdf").unlink()),
        "the camera is unknown without 2D joints",
    ),
    "a calibration that is cut": ("layout", cut("metadata.xml"), "is no readable XML"),
    "a calibration of one camera": (
        "layout",
        lambda f: (f / "metadata.xml").write_text("<metadata><w0>[1 2 3]</w0></metadata>"),
        r"w0 has shape \(3,\), expected 300",
    ),
    "a calibration that swells": (
        "layout",
        lambda f: (f / "metadata.xml").write_text(BOMB),
        "is no readable XML",
    ),
    "words in a calibration": (
        "layout",
        lambda f: (f / "metadata.xml").write_text("<metadata><w0>[1 two]</w0></metadata>"),
        "w0 holds could not convert",
    ),
}
REPACKAGED: dict[str, tuple[Depth, Change, str]] = {
    "an image is missing": (
        "content",
        lambda f: (f / f"images/{CLIP}/{CLIP}_000003.jpg").unlink(),
        f"4 frames are annotated, 1 have no image, first {CLIP}_000003.jpg",
    ),
    "no images": (
        "layout",
        lambda f: [file.unlink() for file in (f / f"images/{CLIP}").iterdir()],
        f"images/{CLIP}: no images",
    ),
    "an image is cut": ("content", cut(f"images/{CLIP}/{CLIP}_000002.jpg"), f"{CLIP}_000002.jpg"),
    "images counted from 0": ("content", renumber, f"1 have no image, first {CLIP}_000004.jpg"),
    "no joints": (
        "layout",
        lambda f: (f / JOINTS).unlink(),
        "subject1_joint_3d.json: missing: there are no annotations",
    ),
    "no cameras": ("layout", lambda f: (f / CAMERA).unlink(), "subject1_camera.json: missing: its cameras are unknown"),
    "joints that are cut": ("content", cut(JOINTS), "as JSON"),
    "a list for an object": ("content", lambda f: (f / JOINTS).write_text("[]"), "holds a list, expected an object"),
    "an action is missing": ("content", text(JOINTS, lambda c: c.pop("3")), r"has no frames under \[3\]\[1\]"),
    "a frame of 16 joints": (
        "content",
        text(JOINTS, lambda c: c["3"]["1"]["2"].pop()),
        r"\[3\]\[1\] is no array of numbers",
    ),
    "a gap in the annotation": (
        "content",
        text(JOINTS, lambda c: c["3"]["1"].pop("2")),
        "frame 2 is not annotated but those around it are",
    ),
    "NaN": (
        "content",
        text(JOINTS, lambda c: c["3"]["1"]["2"][5].__setitem__(1, np.nan)),
        r"\[3\]\[1\] has 1 NaN .* first at \[2, 5, 1\]",
    ),
    "a body without shape": ("content", text(BODIES, lambda c: c["3"]["1"]["2"].pop("shape")), "malformed: KeyError"),
    "metres for millimetres": ("content", text(JOINTS, scaled_json), "of one person lie 0.00"),
    "the left leg first": ("geometry", text(JOINTS, left_first), "left and right are exchanged for S1"),
    "cameras exchanged": (
        "content",
        text(CAMERA, stale_json),
        "from the boxes of the data file, expected .*; through camera 2 they fit",
    ),
    "a focal length of another calibration": (
        "content",
        text(CAMERA, lambda c: [camera.update(f=[1.03 * f for f in camera["f"]]) for camera in c.values()]),
        r"boxes of the data file lie .* closer than the joints project",
    ),
    "images of another size than the data file says": (
        "content",
        text(CAMERA.replace("camera", "data"), lambda c: [i.update(width=1000, height=1002) for i in c["images"]]),
        "the frames have 96x96 px, .* says 1000x1002",
    ),
    "a camera is missing": ("content", text(CAMERA, lambda c: c.pop("1")), "camera 1 is missing"),
    "a camera lacks its focal length": ("content", text(CAMERA, lambda c: c["1"].pop("f")), "camera 1 lacks f"),
    "a body elsewhere": (
        "geometry",
        text(BODIES, lambda c: [frame.update(trans=[1, 0, 0]) for frame in c["3"]["1"].values()]),
        "the body model's joints are .* mm from the annotated ones",
    ),
    "a link in a circle": ("layout", circle(f"images/{CLIP}"), f"{CLIP}: a symbolic link that leads back to itself"),
    "clips exchanged": (
        "layout",
        lambda f: (
            (f / f"images/{CLIP}").rename(f / "away"),
            (f / f"images/{CLIP[:-1]}2").rename(f / f"images/{CLIP}"),
            (f / "away").rename(f / f"images/{CLIP[:-1]}2"),
        ),
        f"images/{CLIP}: no images",
    ),
}
PACKED: dict[str, tuple[Depth, Change, str]] = {
    "an image is missing": (
        "content",
        lambda f: (f / "images/S1_Discussion_0_2.jpg").unlink(),
        "4 frames are annotated, 1 have no image, first S1_Discussion_0_2.jpg",
    ),
    "no images": ("layout", lambda f: [file.unlink() for file in (f / "images").iterdir()], "images: no images"),
    "an image is cut": ("content", cut("images/S1_Discussion_0_1.jpg"), "S1_Discussion_0_1.jpg"),
    "no annotation": ("layout", lambda f: (f / NPZ).unlink(), "none of the known layouts"),
    "an annotation that is cut": ("content", cut(NPZ), "annots_smplkps.npz"),
    "another key": (
        "content",
        lambda f: np.savez(f / NPZ, annotations=np.array({}, object)),
        "has no annots, found annotations",
    ),
    "an object of ill will": (
        "content",
        lambda f: np.savez(f / NPZ, annots=np.array({"S1_Discussion_0_0.jpg": Evil()}, object)),
        "system",
    ),
    "frame numbers off by one": (
        "content",
        lambda f: tiny.change_npz(f / NPZ, "annots", shift_keys),
        "1 have no image, first S1_Discussion_0_4.jpg",
    ),
    "a key is missing": (
        "content",
        entries(lambda h: h["S1_Discussion_0_2.jpg"].pop("kp2d")),
        "0_2.jpg: kp2d is missing",
    ),
    "NaN": ("content", each("kp3d_mono", lambda v: v * np.nan), "S1_Discussion_0_0.jpg: kp3d_mono has 96 NaN"),
    "poses of one candidate": ("content", each("poses", lambda v: v[:1]), r"poses has shape \(1, 66\), expected 3xn"),
    "joints of 17": ("content", each("kp2d", lambda v: v[:17]), "kp2d holds 34 numbers, expected 32x2"),
    "millimetres for metres": ("content", each("kp3d_mono", lambda v: v * 1000), "m from the origin|m apart"),
    "2D of another frame": ("content", entries(exchange_entries), "no camera sees the 3D joints at the 2D joints"),
    "left and right": ("content", each("kp2d", lambda v: v[SIDES]), "no camera sees the 3D joints at the 2D joints"),
    "a body of another pose": ("geometry", each("poses", lambda v: v + 1.0), "the body model's joints are .* mm"),
    "shapes of others": (
        "content",
        lambda f: np.savez(f / "smpl_neutral_betas.npz", neutral_betas=np.array({"S5": np.zeros(10)}, object)),
        "has no betas of S1, found S5",
    ),
    "a link in a circle": ("layout", circle("images"), "images: a symbolic link that leads back to itself"),
}
CASES = {
    f"{layout}: {name}": (layout, *case)
    for layout, cases in (("official", OFFICIAL), ("repackaged", REPACKAGED), ("packed", PACKED))
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", CASES)
def test_each_defect_is_found_at_its_depth_and_named(
    worlds: dict[str, Path], packs: Path, tmp_path: Path, case: str
) -> None:
    layout, depth, change, expected = CASES[case]
    folder = tiny.copy(worlds[layout], tmp_path)
    change(folder)
    for shallower in DEPTHS[: DEPTHS.index(depth)]:
        assert verify_datasets(["h36m"], tmp_path, depth=shallower, packs=packs).ok, shallower
    report = verify_datasets(["h36m"], tmp_path, depth=depth, packs=packs)
    assert not report.ok
    said = [example for p in report.datasets[0].problems if p.severity == "error" for example in p.examples]
    assert any(re.search(expected, line) for line in said), "\n".join(said)
    assert not list(Path.cwd().glob("owned")) and not list(tmp_path.rglob("owned"))
    json.dumps(report.to_json())
