"""The preview shows what the shards and the training batches hold, where they say it is."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_3dpw

from trace_cli.main import run
from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError, OutputError
from trace_data.schema.clip import PERSON_MASKS, ClipAnnotations, ClipRef
from trace_data.schema.keypoints import ALL_44
from trace_data.shards.entries import SequenceEntry, ShardIndex
from trace_data.shards.reader import ShardReader
from trace_train.config import Config, load_config
from trace_train.preview.bodies import BodyPainter, blended
from trace_train.preview.choose import Wanted, allocate, choose_clips
from trace_train.preview.clips import PreviewClip, augmented_clips, plain_clip
from trace_train.preview.page import page_clip, page_text
from trace_train.preview.plan import plan_of
from trace_train.preview.preview import fitted, preview
from trace_train.preview.sheet import COLUMNS, TILE_WIDTH
from trace_train.streaming.pixels import finish
from trace_train.streaming.stream import TrainStream

TORSO = [ALL_44.index(name) for name in ("Pelvis_SMPL", "Spine_SMPL", "Thorax_SMPL", "L_Knee", "R_Knee", "L_Elbow")]


STRONG = [f"data.{name}_probability=0.5" for name in ("flip", "color_jitter", "occlusion")]


def payload(page: Path | str) -> dict[str, Any]:
    """The values that the page's script draws."""
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def picture(address: str) -> np.ndarray:
    data = base64.b64decode(address.partition("base64,")[2])
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def small() -> Config:
    """Small pictures, of which everything that can be done to them is done to some."""
    stages = "stages=[{share: 0.5, clips: 8, frames: 1}, {share: 0.5, clips: 3, frames: 4}]"
    return load_config("debug", ["steps=40", "network.input_size=96", "data.crop_probability=1.0", stages, *STRONG])


@pytest.fixture(scope="module")
def reader(shards: Path) -> ShardReader:
    return ShardReader(shards)


@pytest.fixture(scope="module")
def clip(reader: ShardReader) -> PreviewClip:
    """Two people, four frames."""
    row = next(row for row, entry in enumerate(reader.index.sequences) if len(entry.people) == 2)
    return plain_clip(reader, ClipRef(sequence=row, start=1, stride=2, length=4), 640)


def index_of(sizes: dict[tuple[str, str], list[int]]) -> ShardIndex:
    """An index with sequences of so many frames."""
    common: dict[str, Any] = {
        "shard": 0, "first_frame": 0, "people": ("0",), "first_person": 0, "fps": 30.0, "width": 64, "height": 64,
        "moving": True, "world_valid": False, "world_reason": "", "synthetic": False, "usable": ((),), "provenance": {},
    }  # fmt: skip
    sequences = [
        SequenceEntry(
            **{**common, "dataset": d, "split": s, "name": f"{d}{s}{i}", "frames": f, "frame_id_runs": ((0, 1, f),)}
        )
        for (d, s), frames in sizes.items()
        for i, f in enumerate(frames)
    ]
    return ShardIndex(folder=Path("shards"), shards=(), sequences=tuple(sequences), bad=(), settings={})


def test_clips_are_spread_evenly_and_do_not_overlap() -> None:
    assert allocate([5, 1, 9], 9) == [4, 1, 4] and allocate([1, 1], 9) == [1, 1] and allocate([3, 3], 0) == [0, 0]
    index = index_of({("a", "train"): [100] * 50, ("b", "train"): [100] * 2, ("b", "val"): [7]})
    refs = choose_clips(index, Wanted(clips=12, frames=10))
    assert refs == choose_clips(index, Wanted(clips=12, frames=10))
    groups = [(index.sequences[r.sequence].dataset, index.sequences[r.sequence].split) for r in refs]
    assert {g: groups.count(g) for g in groups} == {("a", "train"): 6, ("b", "train"): 5, ("b", "val"): 1}
    assert [r.sequence for r in refs[:6]] == [4, 12, 20, 29, 37, 45], "from the middle of equal parts"
    assert refs[-1].length == 7, "a short sequence is shown whole"
    for stride, frames in ((1, 10), (3, 4), (9, 11)):
        for ref in choose_clips(index, Wanted(clips=60, frames=frames, stride=stride)):
            assert ref.start >= 0 and ref.start + (ref.length - 1) * stride < index.sequences[ref.sequence].frames
    only = choose_clips(index, Wanted(clips=9, frames=10, sequences=("btrain1", "b/val/bval0")))
    spans = [(r.start, r.start + r.length) for r in only if r.sequence == 51]
    assert len(spans) == 8 and all(a[1] <= b[0] for a, b in pairwise(spans))
    assert spans[0][0] == 0 and spans[-1][1] == 100
    assert [r.sequence for r in choose_clips(index, Wanted(sequences=("b*1", "*/val/*")))] == [
        51,
        51,
        51,
        51,
        51,
        51,
        52,
    ]
    with pytest.raises(ConfigError, match="no sequence is called 'btrain9', did you mean 'btrain"):
        choose_clips(index, Wanted(sequences=("btrain9",)))
    with pytest.raises(ConfigError, match="no such sequence of split test"):
        choose_clips(index, Wanted(splits=("test",)))


def test_joints_lie_where_the_annotation_says(reader: ShardReader, clip: PreviewClip) -> None:
    known = reader.annotations(clip.ref)
    assert clip.images.shape == (4, 144, 144, 3), "stored at this size and not enlarged"
    shown = page_clip(clip, [None] * 4)
    assert shown["ids"] == known.frame_ids.tolist() and shown["synthetic"] is True
    for p, person in enumerate(shown["people"]):
        for t in range(4):
            confident = known.kp2d[p, t, :, 2] > 0
            drawn = [point for point in person["joints"][t] if point is not None]
            assert len(drawn) == confident.sum() > 5
            np.testing.assert_allclose(drawn, known.kp2d[p, t, confident, :2], atol=0.051)
            assert person["masks"][t] == [int(known.masks[name][p, t]) for name in PERSON_MASKS]


def test_frames_that_are_not_square_lose_their_bars_and_nothing_else(tmp_path: Path) -> None:
    tiny_3dpw.write(tmp_path, {"train": 1}, frames=3, size=(96, 64), people=2)
    build_shards(["3dpw"], tmp_path, tmp_path / "shards", splits=["train"])
    reader, ref = ShardReader(tmp_path / "shards"), ClipRef(sequence=0, start=0, stride=1, length=3)
    clip, known = plain_clip(reader, ref, 640), reader.annotations(ref)
    stored = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) for data in reader.encoded(ref)]
    np.testing.assert_array_equal(clip.images, np.stack(stored))
    np.testing.assert_allclose(clip.joints(), known.kp2d, atol=1e-4)
    half = plain_clip(reader, ref, 48)
    assert half.images.shape == (3, 32, 48, 3)
    seen = known.kp2d[..., 2] > 0
    np.testing.assert_allclose(half.joints()[seen][:, :2], (known.kp2d[seen][:, :2] + 0.5) / 2 - 0.5, atol=1e-3)
    room = 3000.0
    smaller = fitted(clip, room)  # noise: it takes more
    factor = smaller.images.shape[2] / 96
    assert smaller.images.shape[2] < 90
    total = sum(len(cv2.imencode(".jpg", i, [cv2.IMWRITE_JPEG_QUALITY, 82])[1]) for i in smaller.images)
    assert total < 2 * room, "headers and tables of so small pictures aside"
    np.testing.assert_allclose(smaller.joints()[seen][:, 0], (known.kp2d[seen][:, 0] + 0.5) * factor - 0.5, atol=0.4)
    assert fitted(clip, 1e9) is clip
    assert page_clip(clip, [None] * 3)["plan"] is None, "3DPW's moving camera gives no world"


def test_annotations_of_a_clip_are_read_once(reader: ShardReader, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = ClipRef(sequence=0, start=1, stride=2, length=3)
    expected = reader.annotations(ref).frame_ids
    asked: list[ClipRef] = []

    def annotations(self: ShardReader, ref: ClipRef) -> ClipAnnotations:
        asked.append(ref)
        return read(self, ref)

    read = ShardReader.annotations
    monkeypatch.setattr(ShardReader, "annotations", annotations)
    assert plain_clip(reader, ref, 96).frame_ids.tolist() == expected.tolist()
    assert asked == [ref]


def test_bodies_cover_their_joints(reader: ShardReader, clip: PreviewClip, packs: Path) -> None:
    painter = BodyPainter(packs, reader.index)
    overlays, meshes, known = painter.overlays(clip), painter.vertices(clip), reader.annotations(clip.ref)
    assert not painter.others and set(meshes) == {(p, t) for p in (0, 1) for t in range(4)}
    for t, overlay in enumerate(overlays):
        assert overlay is not None and overlay.shape == (144, 144, 4)
        for p in (0, 1):
            joints = known.kp3d[p, t, TORSO, :3] @ known.camera_from_world[t, :3, :3].T
            joints += known.camera_from_world[t, :3, 3]
            pixels = joints @ known.intrinsics[t].T
            x, y = np.round(pixels[:, :2] / pixels[:, 2:]).astype(int).T
            inside = (x >= 0) & (y >= 0) & (x < 144) & (y < 144)
            assert inside.sum() >= 4 and (overlay[y[inside], x[inside], 3] > 150).all()
        share = (overlay[..., 3] > 0).mean()
        assert 0.03 < share < 0.6
        # where nothing lies over it the frame stays, and where something does it changes
        mixed = blended(clip.images[t], overlay)
        bare = overlay[..., 3] == 0
        np.testing.assert_array_equal(mixed[bare], clip.images[t][bare])
        assert np.abs(mixed[~bare].astype(int) - clip.images[t][~bare]).mean() > 5


def test_the_page_shows_the_frames_that_training_gets(reader: ShardReader, tmp_path: Path, packs: Path) -> None:
    config = small()
    report = preview(
        Path(reader.store.where), packs=packs, wanted=Wanted(clips=5), page=tmp_path / "a.html", augmented=config
    )
    planned = list(TrainStream(reader, config).batches(20, 22))  # the second stage has the longer clips
    batches = [finish(batch) for batch in planned]
    assert any((a.images != b.images).any() for a, b in zip(planned, batches)), "colours and objects come last"
    expected = [(batch, row) for batch in batches for row in range(3)][:5]
    content = payload(tmp_path / "a.html")
    assert report.augmented and len(report.clips) == len(content["clips"]) == 5
    moved = 0
    for shown, (batch, row) in zip(content["clips"], expected):
        entry = reader.index.sequences[batch.refs[row].sequence]
        assert (shown["name"], shown["size"], len(shown["images"])) == (entry.name, [96, 96], 4)
        for t, address in enumerate(shown["images"]):
            np.testing.assert_array_equal(picture(address)[..., 2::-1], batch.images[row, t].numpy())
            crop = batch.crop_from_frame[row, t].numpy()
            for p, person in enumerate(shown["people"]):
                if person["joints"][t] is None:
                    continue
                points = batch.kp2d[row, p, t].numpy()
                placed = points[:, :2] @ crop[:2, :2].T + crop[:2, 2]
                drawn = [i for i, point in enumerate(person["joints"][t]) if point is not None]
                assert drawn == np.flatnonzero(points[:, 2] > 0).tolist()
                np.testing.assert_allclose([person["joints"][t][i] for i in drawn], placed[drawn], atol=0.06)
                moved += int(np.abs(placed[drawn] - points[drawn, :2]).max() > 5)
    assert moved > 5, "crops move joints, so agreement says something"
    named = reader.index.sequences[expected[2][0].refs[2].sequence].name
    clips = list(augmented_clips(TrainStream(reader, config), Wanted(clips=2, sequences=(named,))))
    assert [c.entry.name for c in clips] == [named] * 2
    held_out = next(entry.name for entry in reader.index.sequences if entry.split == "val")
    with pytest.raises(ConfigError, match="no such sequence of split train"):
        list(augmented_clips(TrainStream(reader, config), Wanted(sequences=(held_out,))))


def test_seen_from_above_everything_lies_as_the_camera_sees_it(reader: ShardReader) -> None:
    sides = 0
    for row, entry in enumerate(reader.index.sequences):
        clip = plain_clip(reader, ClipRef(sequence=row, start=0, stride=1, length=entry.frames), 144)
        plan, known = plan_of(clip), reader.annotations(clip.ref)
        assert plan is not None and np.allclose(plan.camera[0], 0) and np.allclose(plan.view[0], (0, 1))
        cameras = known.camera_from_world.astype(float)
        centres = np.linalg.inv(cameras)[:, :3, 3]
        for p in range(len(clip.people)):
            seen = known.masks["world"][p] & (known.kp3d[p, :, 0, 3] > 0)
            away = plan.people[p][seen] - plan.camera[seen]
            ahead = (away * plan.view[seen]).sum(1)
            aside = away[:, 0] * plan.view[seen, 1] - away[:, 1] * plan.view[seen, 0]
            pelvis = known.kp3d[p, seen, 0, :3]
            local = np.einsum("tij,tj->ti", cameras[seen, :3, :3], pelvis) + cameras[seen, :3, 3]
            assert (ahead > 0.5).all()
            clear = np.abs(local[:, 0]) > 0.3
            assert (np.sign(aside[clear]) == np.sign(local[clear, 0])).all()
            sides += int(clear.sum())
            # metres: the sample world's ground is level in x and z
            level = np.linalg.norm((pelvis - centres[seen])[:, [0, 2]], axis=1)
            np.testing.assert_allclose(np.linalg.norm(away, axis=1), level, atol=1e-4)
    assert sides > 10


def test_the_page_stands_alone_and_survives_awkward_names(clip: PreviewClip) -> None:
    shown = page_clip(clip, [None] * 4) | {"name": "</script><!--DATA--><b>"}
    text = page_text(title="a <b> & c", notes=["n <i>"], clips=[shown])
    assert payload(text)["clips"][0]["name"] == "</script><!--DATA--><b>"
    assert "a &lt;b&gt; &amp; c" in text and "n &lt;i&gt;" in text and "synthetic data" in text
    outside = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", text)
    assert not re.search(r"https?://|@import|src=|<link|url\(", outside)
    assert "synthetic data" not in page_text(title="t", notes=[], clips=[shown | {"synthetic": False}])


@pytest.mark.parametrize("what", ["page", "sheet"])
def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("")
    place = {what: tmp_path / "file" / f"out.{'html' if what == 'page' else 'jpg'}"}
    with pytest.raises(OutputError, match="cannot be written"):
        preview(tmp_path / "no shards", packs=None, wanted=Wanted(clips=1, frames=1), **place)  # type: ignore[arg-type]


def test_the_command_writes_page_and_sheet(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    assert run(["preview", str(shards), "--clips", "3", "--clip-frames", "4", "--stride", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    content = payload(tmp_path / "preview.html")
    assert [clip["frame_ids"] for clip in report["clips"]] == [clip["ids"] for clip in content["clips"]]
    assert len(content["clips"]) == 3 and {clip["split"] for clip in content["clips"]} == {"train", "val", "test"}
    assert report["bodies"] is False and content["clips"][0]["bodies"] == [None] * 4
    assert "There are no body models, so only joints are drawn" in (tmp_path / "preview.html").read_text()
    (tmp_path / "preview.html").unlink()
    words = ["preview", "--shards", str(shards), "--packs", str(packs), "--clips", "2", "--clip-frames", "8"]
    assert run([*words, "--sheet", "sheet.jpg"]) == 0
    shown = capsys.readouterr().out
    assert "2 clips  (synthetic)" in shown and "sheet  sheet.jpg" in shown
    assert not (tmp_path / "preview.html").exists(), "a sheet alone"
    sheet = cv2.imread("sheet.jpg")
    assert sheet is not None and sheet.shape[1] == COLUMNS * (TILE_WIDTH + 6) + 6 and sheet.std() > 20


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--config", "debug"], "--config has no effect here: it needs --augmented"),
        (["--augmented", "--split", "val"], "--split has no effect here: with --augmented"),
        (["--page", "page.jpg"], "page.jpg is not the name of a page"),
    ],
)
def test_options_without_effect_are_refused(words: list[str], expected: str, capsys: Any) -> None:
    assert run(["preview", "nowhere", *words]) == 2
    assert expected in capsys.readouterr().err


def test_bad_wishes_leave_nothing_behind(shards: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["preview", str(shards), "--page", str(tmp_path / "p.html")]
    assert run([*words, "--sequences", "nobody"]) == 2
    assert run([*words, "--sheet", str(tmp_path / "s.gif")]) == 2
    assert run(["preview", str(tmp_path), "--page", str(tmp_path / "p.html")]) == 3
    assert "no finished shards" in capsys.readouterr().err
    assert run(["preview", str(tmp_path / "typo"), "--page", str(tmp_path / "p.html")]) == 3
    assert "there is no such folder" in capsys.readouterr().err
    assert run(["preview", "https://me:secret@host/shards?key=1", "--page", str(tmp_path / "p.html")]) == 2
    assert "https://host/shards is a URL" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


DRIVE = """<script>
const key = k => document.body.dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true}));
window.addEventListener("load", () => setTimeout(() => {
  key("ArrowRight"); key("ArrowRight"); key("ArrowLeft"); key("b"); choose(views[1]); key(" ");
  const [first, second] = views;
  document.title = [views.length, first.frame, layers.bodies, second.playing, first.words.textContent].join("|");
}, 300));
</script></body>"""


@pytest.mark.nightly  # real time in a browser: a busy machine may be too slow for it
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_page_runs_in_a_browser(shards: Path, packs: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    preview(shards, packs=packs, wanted=Wanted(clips=2, frames=3), page=page)
    page.write_text(page.read_text().replace("</body>", DRIVE))
    command = ["chromium", "--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    command += ["--window-size=1200,2000", "--virtual-time-budget=3000", f"file://{page}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "<title>2|1|false|true|frame 2 of 3 · id" in done.stdout


def test_bodies_follow_mirrored_crops(reader: ShardReader, packs: Path) -> None:
    """Where a mirrored body is drawn, its 2D joints, which were mirrored apart from it, lie on it."""
    painter = BodyPainter(packs, reader.index)
    on: dict[bool, list[bool]] = {True: [], False: []}
    for clip in augmented_clips(TrainStream(reader, small()), Wanted(clips=9)):
        mirrored = not np.array_equal(clip.batch.kp2d[0, : len(clip.people)], reader.annotations(clip.ref).kp2d)
        for t, overlay in enumerate(painter.overlays(clip)):
            assert overlay is not None
            joints = clip.joints()[clip.present[:, t], t].reshape(-1, 3)
            x, y = np.round(joints[joints[:, 2] > 0, :2]).astype(int).T
            inside = (x > 0) & (y > 0) & (x < 95) & (y < 95)
            on[mirrored] += (overlay[y[inside], x[inside], 3] > 60).tolist()
    for flags in on.values():
        assert len(flags) > 100 and np.mean(flags) > 0.93
