"""What is built, in which parts, of which size, and what the index says of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_3dpw

from trace_cli.main import run
from trace_data.adapters.base import DatasetRoots
from trace_data.adapters.threedpw import find, read
from trace_data.builder.build import build_shards
from trace_data.builder.plan import BuildPart, Selection, part_of, plan_shards
from trace_data.errors import ConfigError, DatasetLayoutError, OutputError, ShardError
from trace_data.progress import Progress, size_in_words
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.thinning import thinned
from trace_data.shards.entries import usual_step
from trace_data.shards.index import load_index
from trace_data.shards.levels import Storage
from trace_data.shards.reader import ShardReader
from trace_data.shards.sampling.sampler import clip_table

COUNTS = {"train": 5, "val": 2, "test": 1}
SMALL = 100_000  # bytes a shard: two of the tiny sequences


def hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir()) if file.is_file()
    }


def build(root: Path, out: Path, **options: Any) -> Any:
    return build_shards(["3dpw"], root, out, **{"shard_bytes": SMALL, **options})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(folder, COUNTS, frames=12)
    return folder


def names(report: Any) -> list[str]:
    return [entry.name for entry in report.index.sequences]


@pytest.mark.parametrize(
    ("sequences", "limit", "found"),
    [
        (["train_walk_03"], None, ["train_walk_03"]),
        (["3dpw/val/val_walk_01"], None, ["val_walk_01"]),
        (["train_walk_0[12]", "*/test/*"], None, ["train_walk_01", "train_walk_02", "test_walk_00"]),
        (["*walk*"], 1, ["train_walk_00", "val_walk_00", "test_walk_00"]),
    ],
)
def test_some_sequences(root: Path, tmp_path: Path, sequences: list[str], limit: int | None, found: list[str]) -> None:
    report = build(root, tmp_path / "out", sequences=sequences, limit=limit)
    assert names(report) == found


def test_an_unknown_sequence_names_its_nearest(root: Path, tmp_path: Path) -> None:
    for wrong in ("trian_walk_03", "val_walk_09*"):
        with pytest.raises(ConfigError, match=f"no sequence is called '{wrong[:8]}") as caught:
            build(root, tmp_path / "out", sequences=["train_walk_00", wrong])
        assert "did you mean" in caught.value.message and "8 sequences" in str(caught.value.hint)
    assert not (tmp_path / "out").exists(), "nothing is begun"
    for wrong_number in ({"every": 0}, {"limit": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            build(root, tmp_path / "out", **wrong_number)


@pytest.mark.parametrize("every", [1, 3, 5, 50])
def test_thinning_keeps_speeds_in_metres_a_second(root: Path, every: int) -> None:
    record = read(find(root, "train")[1])
    thin = thinned(record, every)
    assert len(thin.frames) == -(-12 // every) and thin.frames == record.frames[::every]
    assert not [finding for finding in check_record(thin) if finding.severity == "error"]

    def speeds(one: Any) -> np.ndarray:
        """Of joint 0 of the first person between its first frame and each other one, m/s."""
        place = one.people[0].joints3d.points[:, 0, :3]
        seconds = (one.frame_ids - one.frame_ids[0]) / one.fps
        return np.linalg.norm(place[1:] - place[0], axis=1) / seconds[1:]

    np.testing.assert_allclose(speeds(thin), speeds(record)[every - 1 :: every], rtol=1e-12)
    if len(thin.frames) > 1:
        assert usual_step(thin.frame_ids) == every
        person = thin.people[1]
        np.testing.assert_array_equal(person.body.pose[1], record.people[1].body.pose[every])
        np.testing.assert_array_equal(person.keypoints2d.points[1], record.people[1].keypoints2d.points[every])
        np.testing.assert_array_equal(thin.camera.camera_from_world[1], record.camera.camera_from_world[every])
        assert thin.camera.intrinsics.shape == (1, 3, 3)


def test_every_third_frame_makes_clips_three_ids_apart(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "out", every=3, splits=["train"])
    reader = ShardReader(tmp_path / "out")
    table = clip_table(reader.index, length=2, strides=[1], split="train")
    assert len(table) == 5 * 3
    clip = reader.annotations(table.clip(1))
    assert clip.frame_ids.tolist() == [3, 6] and reader.index.sequences[0].fps == 30
    files = sorted((root / "3DPW" / "imageFiles" / "train_walk_00").iterdir())
    assert reader.encoded(ClipRef(sequence=0, start=1, stride=2, length=2)) == [files[i].read_bytes() for i in (3, 9)]


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_parts_cover_the_plan_once_and_weigh_alike(root: Path, of: int) -> None:
    plans = plan_shards(["3dpw"], root, Selection(), storage=Storage(), shard_bytes=1)
    parts = [part_of(plans, BuildPart(number=number + 1, of=of)) for number in range(of)]
    assert sorted(number for part in parts for number in part) == list(range(8))
    weights = [sum(plans[number].guess for number in part) for part in parts]
    assert max(weights) - min(weights) <= max(plan.guess for plan in plans)


def test_parts_in_any_order_and_finish_equal_the_undivided_build(root: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "parts"
    build(root, whole)
    for number in (3, 1, 3):
        report = build(root, out, part=BuildPart(number=number, of=3))
        assert report.part is not None and report.built + report.kept > 0
    with pytest.raises(ShardError, match="no finished shards"):
        load_index(out)
    missing = part_of(
        plan_shards(["3dpw"], root, Selection(), storage=Storage(), shard_bytes=SMALL), BuildPart(number=2, of=3)
    )
    with pytest.raises(ShardError, match=rf"{len(missing)} of 5 shards are missing .*3dpw-") as caught:
        build(root, out, finish=True)
    assert "--part 2/3 in place of --finish" in str(caught.value.hint) and "1/3" not in str(caught.value.hint)
    with pytest.raises(ShardError, match="5 of 5 shards are missing") as caught:
        build(root, tmp_path / "nothing", finish=True)
    assert caught.value.hint == "the same command without --finish builds whatever is missing and writes the index"
    build(root, out, part=BuildPart(number=2, of=3))
    with pytest.raises(OutputError, match=r"other settings: --every 1, now 2"):
        build(root, out, part=BuildPart(number=2, of=3), every=2)
    build(root, out, finish=True, jobs=2)
    assert hashes(out) == hashes(whole)
    damaged = out / "3dpw-train-00001.h5"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(ShardError, match=r"1 of 5 shards .* 3dpw-train-00001"):
        build(root, out, finish=True)
    assert build(root, out, part=BuildPart(number=8, of=8)).index.shards == ()
    build(root, out)
    assert hashes(out) == hashes(whole)


def test_a_part_with_a_bad_sequence_is_finished_and_exits_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    folder = tiny_3dpw.write(tmp_path, {"train": 3, "val": 1, "test": 1}, frames=4)
    (folder / "imageFiles" / "train_walk_01" / "image_00002.jpg").write_bytes(b"\xff\xd8\xff cut")
    words = ["build-shards", "3dpw", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--shard-size", "1"]
    words += ["--jobs", "1"]  # no worker processes, which take seconds
    assert [run([*words, "--part", part]) for part in ("1/2", "2/2")] == [3, 0]
    capsys.readouterr()
    assert run([*words, "--finish"]) == 3
    shown = capsys.readouterr().out
    assert "3dpw/train/train_walk_01" in shown and "image_00002.jpg: the JPEG ends too early" in shown
    assert "run the same command again" in shown


def change(content: dict[str, Any]) -> dict[str, Any]:
    content["trans"][1][3, 2] = np.nan
    return content


def objects(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"betas": [np.array([{"a": 1}, None], dtype=object)] * 2}


class Calls:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change, ["trans[1]", "1 NaN or infinite values, first at [3, 2]"]),
        (objects, ["betas[0]"]),
        (lambda content: content | {"genders": Calls()}, ["print"]),
    ],
    ids=["nan", "objects", "call"],
)
def test_spoilt_annotations_are_recorded_as_bad(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], dict[str, Any]], words: list[str], capsys: Any
) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 2}, frames=4)
    tiny_3dpw.rewrite(folder, "train", "train_walk_00", spoil(tiny_3dpw.load(folder, "train", "train_walk_00")))
    report = build(tmp_path, tmp_path / "out", splits=["train"])
    assert [bad.key for bad in report.bad] == ["3dpw/train/train_walk_00"] and names(report) == ["train_walk_01"]
    assert all(word in report.bad[0].reason for word in ["train_walk_00.pkl", *words]), report.bad[0].reason
    assert json.loads((tmp_path / "out" / "index.json").read_text())["bad"][0]["reason"] == report.bad[0].reason
    assert "run" not in capsys.readouterr().out.split(), "nothing in the pickle ran"


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.total = self.done = self.skipped = self.bytes = 0

    def begin(self, title: str, total: int, unit: str = "items") -> None:
        self.total = total

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.done += amount

    def skip(self, amount: int) -> None:
        self.skipped += amount

    def wrote(self, amount: int) -> None:
        self.bytes += amount

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("jobs", [1, 2])
def test_datasets_in_folders_of_their_own_leave_no_local_path_in_the_index(tmp_path: Path, jobs: int) -> None:
    folder = tiny_3dpw.write(tmp_path / "away", {"train": 2}, frames=6)
    (folder / "imageFiles" / "train_walk_01" / "image_00004.jpg").write_bytes(b"\xff\xd8\xff cut")
    (tmp_path / "root").mkdir()
    roots = DatasetRoots(root=tmp_path / "root", own={"3dpw": folder})
    report = build_shards(["3dpw"], roots, tmp_path / "out", splits=["train"], jobs=jobs)
    assert report.built == 1 and [bad.key for bad in report.bad] == ["3dpw/train/train_walk_01"]
    assert "image_00004.jpg" in report.bad[0].reason and str(tmp_path) not in (tmp_path / "out/index.json").read_text()
    with pytest.raises(DatasetLayoutError) as caught:
        build_shards(["3dpw"], tmp_path / "root", tmp_path / "other", splits=["train"])
    assert caught.value.where == str(tmp_path / "root")


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_reaches_its_end_and_counts_what_this_run_did(root: Path, tmp_path: Path, jobs: int) -> None:
    first, again = Told(), Told()
    build(root, tmp_path / "out", part=BuildPart(number=1, of=2), jobs=jobs, progress=first)
    report = build(root, tmp_path / "out", jobs=jobs, progress=again)
    assert first.done == first.total and first.skipped == 0
    assert again.done + again.skipped == again.total == 8 * 12 and again.skipped == first.done
    assert again.done == report.frames > 0
    images = sum(file.stat().st_size for file in (root / "3DPW" / "imageFiles").rglob("*.jpg"))
    assert first.bytes + again.bytes == images
    assert again.lines[0].startswith("needs about ") and "resumes after any interruption" in again.lines[0]
    assert f" of 5 shards there already · {jobs} worker" in again.lines[0] and "8 sequences" in again.lines[0]


def test_one_shard_has_the_same_bytes_by_one_and_by_several_cores(root: Path, tmp_path: Path) -> None:
    storage = Storage(heights=(24, 40), raised=False)
    for jobs in (1, 2, 5):
        report = build(root, tmp_path / str(jobs), splits=["train"], storage=storage, shard_bytes=1 << 30, jobs=jobs)
        assert len(report.index.shards) == 1 and report.frames == 60
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2") == hashes(tmp_path / "5")


def test_bad_sequences_do_not_leave_the_bar_short(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 3}, frames=6)
    (folder / "imageFiles" / "train_walk_01" / "image_00004.jpg").write_bytes(b"\xff\xd8\xff cut")
    (folder / "sequenceFiles" / "train" / "train_walk_02.pkl").write_bytes(b"\x80\x02}")
    told = Told()
    build(tmp_path, tmp_path / "out", splits=["train"], progress=told)
    assert (told.done, told.skipped, told.total) == (6 + 4, 2 + 6, 18)


@pytest.mark.parametrize(
    ("storage", "every"),
    [
        (Storage(), 1),
        (Storage(heights=(120,), raised=False), 1),
        (Storage(heights=(60, 120, 240), raised=False), 2),
        (Storage(heights=(60, 120), raised=True), 1),
        (Storage(heights=(), raised=False), 3),
    ],
    ids=["default", "one", "levels", "raised", "original"],
)
def test_the_room_asked_for_is_the_room_taken(tmp_path: Path, storage: Storage, every: int) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 6}, frames=9, size=(480, 360))
    rng = np.random.default_rng(0)
    for number, file in enumerate(sorted(folder.rglob("*.jpg"))):  # from bland to busy pictures
        noise = rng.normal(0, 4 + number // 9, (360, 480, 3))
        cv2.imwrite(str(file), (cv2.imread(str(file)) + noise).clip(0, 255), [cv2.IMWRITE_JPEG_QUALITY, 95])
    told = Told()
    report = build(tmp_path, tmp_path / "out", splits=["train"], storage=storage, every=every, progress=told)
    amount, unit = told.lines[0].split()[2:4]
    asked = float(amount) * {"MB": 1e6, "KB,": 1e3, "MB,": 1e6}[unit]
    assert abs(asked / report.bytes - 1) < 0.3


def test_another_tool_or_encoder_does_not_mix_in(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    build(root, out, splits=["val"])
    before = hashes(out)
    other = {"tool": "trace-5d 9.9", "encoder": "opencv 9, libjpeg-turbo 9"}
    for key, value in other.items():
        found = json.loads((out / ".build" / "settings.json").read_text())[key]
        (out / ".build" / "settings.json").write_text(
            (out / ".build" / "settings.json").read_text().replace(found, value)
        )
        with pytest.raises(OutputError, match=f"begun with {value}, this is {found[:9]}") as caught:
            build(root, out, splits=["val"])
        assert "--force" in str(caught.value.hint) and hashes(out) == before
        report = build(root, out, splits=["val"], force=True)
        assert report.kept == 0 and hashes(out) == before


def test_the_index_says_where_everything_comes_from(sample: Path, shards: Path) -> None:
    index = load_index(shards)
    assert index.datasets["3dpw"]["release"] == ("synthetic sample world",)
    assert index.datasets["3dpw"]["layout"] == ("official (sequenceFiles)",)
    assert index.datasets["3dpw"]["adapter"] == ("threedpw 1",) and index.datasets["3dpw"]["defects"] == ()
    assert index.provenance["tool"].startswith("trace-5d ") and "libjpeg" in index.provenance["encoder"]
    assert set(index.settings["body_models"]) == {"SMPL_FEMALE.pth", "SMPL_MALE.pth", "SMPL_NEUTRAL.pth"}
    assert index.settings["every"] == 1 and index.settings["heights"] == [720]
    rows = sum(entry.rows for entry in index.shards)
    assert 0 < sum(index.enlarged_crops.values()) <= rows and index.enlarged_crops["2+"] > 0
    assert sum(entry.sequences for entry in index.shards) == len(index.sequences)


def test_shards_of_an_earlier_plan_do_not_stay(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 4}, frames=6)
    out = tmp_path / "out"
    assert build(tmp_path, out, splits=["train"], shard_bytes=1).built == 4
    (out / "h36m-train-00003.h5").write_bytes(b"not of this build")
    (folder / "sequenceFiles" / "train" / "train_walk_03.pkl").unlink()
    report = build(tmp_path, out, splits=["train"], shard_bytes=1)
    assert (report.kept, report.built) == (3, 0)
    assert sorted(file.name for file in out.glob("*.h5")) == [
        *(f"3dpw-train-{number:05d}.h5" for number in range(3)),
        "h36m-train-00003.h5",
    ]


def test_options_that_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    for words, said in (
        (["--part", "3/2"], "'3/2' is not a part"),
        (["--part", "1/2", "--finish"], "exclude each other"),
        (["--part", "1/2", "--force"], "empty the folder first"),
        (["--ray-address", "head:6379"], "belongs to --engine ray"),
        (["--frames", "original", "--height", "288"], "exclude each other"),
    ):
        assert run(["build-shards", "--root", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (61.4e6, "61 MB"), (3.14e9, "3.1 GB"), (9.97e9, "10 GB"), (4.12e11, "412 GB")],
)
def test_sizes_read_well(count: float, words: str) -> None:
    assert size_in_words(count) == words
