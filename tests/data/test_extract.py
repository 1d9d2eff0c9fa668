"""Frames of videos as images: the right ones, under the right names, again only where they are not there."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import clips_of_videos
import cv2
import numpy as np
import pytest
import tiny_3dpw
import tiny_mpi

from trace_cli.main import run
from trace_data.adapters import _registered, find_sequences, read_record, register_adapter
from trace_data.errors import ConfigError, DatasetLayoutError, OutputError
from trace_data.extract import extract_frames
from trace_data.frames.video import contents
from trace_data.progress import Progress
from trace_data.verify.datasets import verify_datasets

ADAPTER = str(Path(clips_of_videos.__file__))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    clips_of_videos.write(tmp_path / "clips", "xy")
    register_adapter("clips_of_videos")
    yield tmp_path
    _registered.clear()


def images(folder: Path) -> dict[str, int]:
    """Each file below a folder and the frame it shows."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): clips_of_videos.number_of(file) for file in files}


def test_each_annotated_frame_becomes_its_own_image(root: Path) -> None:
    report = extract_frames("clips", root)
    assert (report.ok, report.videos, report.written, report.kept) == (True, 2, 20, 0)
    assert report.out == root / "clips" / "frames"
    expected = {
        f"{v}-{h}/{n:06d}.jpg": n
        for v in "xy"
        for h in "ab"
        for n in range(0 + 10 * (h == "b"), 20 - 10 * (h == "a"), 2)
    }
    assert images(report.out) == expected
    assert extract_frames("clips", root, out=root / "other", every=2, limit=1, jobs=2).written == 3
    assert images(root / "other") == {f"x-a/{n:06d}.jpg": n for n in (0, 4, 8)}


def test_an_adapter_may_say_what_they_are_called(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips_of_videos, "named", "pictures")
    report = extract_frames("clips", root)
    assert report.out == root / "clips" and report.written == 20
    found = images(root / "clips" / "pictures")
    assert found == {f"{v}/img_{n + 1}.jpg": n for v in "xy" for n in range(0, 20, 2)}
    monkeypatch.setattr(clips_of_videos, "named", "../outside")
    report = extract_frames("clips", root)
    assert not report.ok and "expected a path inside the dataset's folder" in report.problems[0].what


def test_what_is_there_stays(root: Path) -> None:
    class Told(Progress):
        done = skipped = 0

        def advance(self, amount: int = 1, detail: str = "") -> None:
            self.done += amount

        def skip(self, amount: int) -> None:
            self.skipped += amount

    out = extract_frames("clips", root).out
    kept, lost = out / "x-a" / "000002.jpg", out / "x-a" / "000004.jpg"
    kept.write_bytes(b"mine")
    lost.unlink()
    (out / "x-a" / "000006.jpg.partial").touch()
    told = Told()
    report = extract_frames("clips", root, progress=told)
    assert (report.written, report.kept) == (1, 19) == (told.done, told.skipped)
    assert kept.read_bytes() == b"mine" and clips_of_videos.number_of(lost) == 4
    small = extract_frames("clips", root, again=True, quality=20)
    assert small.written == 20 and clips_of_videos.number_of(kept) == 2


def test_a_broken_video_does_not_stop_the_others(root: Path) -> None:
    video = root / "clips" / "x.avi"
    clips_of_videos.write(root / "short", "x", frames=13)
    (root / "short" / "x.avi").replace(video)
    report = extract_frames("clips", root)
    assert not report.ok and report.written == 17
    assert "the video ends after 13 frames, frame 14 is asked for" in report.problems[0].what
    video.write_bytes(b"no video")
    report = extract_frames("clips", root)
    assert report.problems[0].count == 2 and "no video" in report.problems[0].what
    assert report.kept == 10 and report.written == 0, "the other video is done"


KILLED = """
import os, signal
import trace_data.extract as extract
from trace_data.adapters import register_adapter
from pathlib import Path

save, count = extract._save, 0
def killing(data, target):
    global count
    count += 1
    if count == 8:
        target.with_name(target.name + ".partial").write_bytes(data[:50])
        os.kill(os.getpid(), signal.SIGKILL)
    save(data, target)
extract._save = killing
extract.extract_frames(register_adapter({adapter!r}), Path({root!r}))
"""


def test_a_killed_run_leaves_whole_images_and_goes_on(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED.format(adapter=ADAPTER, root=str(root))], check=False)
    assert done.returncode == -signal.SIGKILL
    out = root / "clips" / "frames"
    left = [file for file in out.rglob("*.jpg") if file.is_file()]
    assert len(left) == 7
    report = extract_frames("clips", root)
    assert (report.written, report.kept) == (13, 7)
    assert not list(out.rglob("*.partial")) and len(images(out)) == 20


def test_a_full_disk_is_said_and_leaves_no_half_image(root: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limit[1]))
    try:
        with pytest.raises(OutputError, match=r"x-a/000000\.jpg: cannot be written: File too large"):
            extract_frames("clips", root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not [file for file in (root / "clips" / "frames").rglob("*") if file.is_file()]


def test_what_has_no_videos_is_said(root: Path, tmp_path: Path) -> None:
    tiny_3dpw.write(tmp_path, {"train": 2, "val": 1, "test": 1}, frames=3)
    report = extract_frames("3dpw", tmp_path, limit=1)
    assert report.ok and (report.written, report.without_video) == (0, 3)
    with pytest.raises(DatasetLayoutError, match="no sequences"):
        extract_frames("clips", root, splits=("val",))
    with pytest.raises(ConfigError, match="every 0"):
        extract_frames("clips", root, every=0)


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["extract-frames", "--adapter", ADAPTER, "--root", str(root)]
    _registered.clear()
    assert run([*command, "--every", "2", "--json", "--jobs", "1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["written"], shown["ok"]) == (12, True)
    assert run([*command, "--only", "missing", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.startswith("8 frames of 2 videos written, 12 existed → ")
    os.truncate(root / "clips" / "y.avi", 300)
    assert run([*command, "--only", "all", "--jobs", "1"]) == 3
    assert "error: " in capsys.readouterr().out
    assert run(["extract-frames", "--root", str(root)]) == 2
    assert "give one dataset: NAME, or --adapter MODULE" in capsys.readouterr().err


def test_videos_are_verified_and_remembered_like_images(root: Path) -> None:
    state = root / "state.jsonl"
    report = verify_datasets(["clips"], root, depth="content", state=state)
    assert report.ok and report.datasets[0].kept == 0
    # this adapter says that it reads nothing but videos
    assert verify_datasets(["clips"], root, depth="content", state=state).datasets[0].kept == 4
    clips_of_videos.write(root / "short", "x", frames=13)
    (root / "short" / "x.avi").replace(root / "clips" / "x.avi")
    dataset = verify_datasets(["clips"], root, depth="content", state=state).datasets[0]
    assert dataset.kept == 2 and [p.what for p in dataset.problems if p.severity == "error"] == [
        f"the video ends after 13 frames, frame 14 is asked for ({root / 'clips' / 'x.avi'})"
    ]


def test_mpi_inf_3dhp_reads_what_was_extracted(tmp_path: Path) -> None:
    """The same frames under the same numbers, within what JPEG loses."""
    folder = tiny_mpi.official(tmp_path, recordings=((1, 1),), cameras=(0, 1))
    before = find_sequences("mpi-inf-3dhp", tmp_path, "train")
    videos = {
        ref.key: [content.pixels for content in contents(read_record(ref).frames) if not isinstance(content, Path)]
        for ref in before
    }
    assert extract_frames("mpi-inf-3dhp", tmp_path).ok
    shutil.rmtree(folder / "S1" / "Seq1" / "imageSequence")
    after = find_sequences("mpi-inf-3dhp", tmp_path, "train")
    assert [ref.key for ref in after] == list(videos) and all("extracted images" in ref.layout for ref in after)
    for ref in after:
        record = read_record(ref)
        assert len(record.frames) == len(videos[ref.key]) == tiny_mpi.FRAMES and record.frame_ids[0] == 0
        for file, pixels in zip(record.frames, videos[ref.key]):
            image = cv2.imread(str(file))
            assert image is not None and np.abs(image.astype(int) - pixels).mean() < 4
