"""The writer: rows in any order and chunks give the same result, and a killed run goes on or leaves nothing whole."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_result import example_result, free_joints
from small_disk import filled, mounted

from trace_data.errors import OutputError, ResultError
from trace_data.results import file as result_file
from trace_data.results.assembly import weighted_median
from trace_data.results.check import LAYOUTS
from trace_data.results.file import partial_of, read_result, write_result
from trace_data.results.result import SEEN, Result
from trace_data.results.writer import PART_FRAMES, ResultWriter, Rows

example = cache(example_result)


def rows_of(result: Result, which: np.ndarray) -> Rows:
    """Rows as a network gives them: the root in the camera, and shapes that differ from frame to frame."""
    pose = result.pose[which].copy()
    pose[:, 0] = result.root_in_camera[which]
    assert result.betas_row is not None
    return Rows(
        person=result.person[result.row_person[which]],
        frame=result.row_frame[which],
        state=result.state[which],
        score=result.score[which],
        pose=pose,
        hips_in_camera=result.hips_in_camera[which],
        betas=result.betas_row[which],
        box=result.box[which],
        extra={"own_place": result.hips_in_camera[which].astype(np.float64) + 1},
    )


def begin(path: Path, result: Result, *, lens: bool = True, force: bool = False) -> ResultWriter:
    return ResultWriter(
        path,
        about=result.about,
        image_size=(int(result.image_size[0]), int(result.image_size[1])),
        intrinsics=result.intrinsics[0] if lens else None,
        force=force,
    )


def add(writer: ResultWriter, result: Result, frames: range, *, late: int = 0, lens: bool = True) -> None:
    """Frames with their rows in random order; rows of every second frame come `late` frames later, or at the end."""
    draw = np.random.default_rng(5)
    waiting: list[tuple[int, np.ndarray]] = []
    for frame in frames:
        writer.add_frame(float(result.time[frame]), int(result.frame_id[frame]), None if lens else result.intrinsics[0])
        waiting.append((frame + late * (frame % 2), draw.permutation(result.rows_in(frame))))
        for _, rows in [pair for pair in waiting if pair[0] <= frame or frame == frames[-1]]:
            writer.add_rows(rows_of(result, rows))
            waiting = [pair for pair in waiting if pair[1] is not rows]
        if frame % 40 == 39:
            writer.commit(b"state after %d" % frame)


def finish(writer: ResultWriter, result: Result, **options: Any) -> Path:
    return writer.finish(
        camera_from_world=result.camera_from_world,
        camera_observed=result.camera_observed,
        body=free_joints,
        up=result.up,
        names={int(k): str(name) for k, name in zip(result.person, result.person_name)},
        **options,
    )


def own_shapes(result: Result) -> Result:
    """The example with the betas that its rows say, as the writer has to find them."""
    assert result.betas_row is not None
    rows, betas = result.betas_row, []
    for k in range(len(result.person)):
        mine = result.rows_of(k)[result.state[result.rows_of(k)] == SEEN]
        betas.append(weighted_median(rows[mine], result.score[mine]))
    return replace(result, betas=np.array(betas, np.float32).reshape(-1, 10))


def assert_agrees(found: Result, result: Result) -> None:
    expected = own_shapes(result)
    copied = set(LAYOUTS) - {"pose", "translation", "translation_in_camera", "joints", "joints_2d", "world_residual"}
    for name in copied:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    # the shapes of the rows differ a little from the true ones, and so do the places of the pelvis and the joints
    np.testing.assert_allclose(found.pose, expected.pose, atol=2e-6)
    np.testing.assert_allclose(found.translation, expected.translation, atol=0.01)
    np.testing.assert_allclose(found.joints, expected.joints, atol=0.02)
    assert np.abs(found.joints_2d - expected.joints_2d).max() < 3
    assert dict(found.about) == dict(expected.about)


@pytest.mark.parametrize("late", [0, 3, 1000])
def test_rows_in_any_order_give_the_sorted_result(late: int, tmp_path: Path) -> None:
    result, path = example(irregular=True), tmp_path / "o" / "zwei Wege.trace.npz"
    with begin(path, result) as writer:
        add(writer, result, range(90), late=late)
        assert not path.exists()
        assert finish(writer, result) == path
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert_agrees(read_result(path), result)


def test_joints_and_picture_are_those_of_the_one_shape(tmp_path: Path) -> None:
    """The world body, projected by the camera path, hits the saved 2D joints; hips stay where the network saw them."""
    result, path = example(), tmp_path / "a.trace.npz"
    with begin(path, result, lens=False) as writer:
        add(writer, result, range(90), lens=False)
        residual = np.arange(len(result.score), dtype=np.float32)
        finish(writer, result, world_residual=residual, keep_betas=False)
    found = read_result(path)
    assert found.betas_row is None and len(found.intrinsics) == 90
    np.testing.assert_array_equal(found.world_residual, residual)
    joints, rest = free_joints(found.pose, found.betas[found.row_person])
    world = joints - joints[:, :1] + (rest + found.translation)[:, None]
    camera = found.camera_from_world[found.row_frame]
    seen = np.einsum("nij,nkj->nki", camera[:, :3, :3], world) + camera[:, None, :3, 3]
    pixels = np.einsum("nij,nkj->nki", found.intrinsics[found.row_frame], seen / seen[..., 2:])[..., :2]
    assert np.abs(pixels - found.joints_2d).max() < 0.01
    np.testing.assert_allclose(found.joints, world[:, :24], atol=3e-6)


def test_the_fusion_reads_its_columns_in_the_order_of_the_result(tmp_path: Path) -> None:
    result = example()
    with begin(tmp_path / "a.trace.npz", result) as writer:
        add(writer, result, range(90), late=7)
        writer.commit()
        columns = writer.columns("person", "frame", "own_place", "root_in_camera", "score")
        np.testing.assert_array_equal(writer.times(), result.time)
    np.testing.assert_array_equal(columns["person"], result.person[result.row_person])
    np.testing.assert_array_equal(columns["frame"], result.row_frame)
    np.testing.assert_array_equal(columns["root_in_camera"], result.root_in_camera)
    np.testing.assert_array_equal(columns["score"], result.score)
    assert columns["own_place"].dtype == np.float64
    np.testing.assert_allclose(columns["own_place"], result.hips_in_camera + 1.0, atol=1e-6)


def test_a_later_row_replaces_the_earlier(tmp_path: Path) -> None:
    """An extrapolated row may turn out to be an interpolated one, in another part too."""
    result, path = example(), tmp_path / "a.trace.npz"
    rows = rows_of(result, result.rows_in(3))
    with begin(path, result) as writer:
        for frame in range(5):
            writer.add_frame(float(result.time[frame]), frame)
        writer.add_rows(replace(rows, score=rows.score * 0))
        writer.add_rows(replace(rows, score=rows.score * 0 + 0.5))
        writer.commit()
        writer.add_rows(rows)
        short = replace(result, camera_from_world=result.camera_from_world[:5], camera_observed=np.ones(5, bool))
        finish(writer, short)
    np.testing.assert_array_equal(read_result(path).score, rows.score)


@pytest.mark.parametrize("frames", [1, 45])
def test_a_video_without_people_has_a_result(frames: int, tmp_path: Path) -> None:
    path = tmp_path / "empty.trace.npz"
    result = example()
    with begin(path, result) as writer:
        for frame in range(frames):
            writer.add_frame(frame / 30, frame)
        writer.finish(
            camera_from_world=np.tile(np.eye(4), (frames, 1, 1)),
            camera_observed=np.zeros(frames, bool),
            body=free_joints,
        )
    found = read_result(path)
    assert len(found.time) == frames and len(found.person) == len(found.score) == 0


def test_an_interrupted_run_goes_on_after_its_last_part(tmp_path: Path) -> None:
    result, path = example(), tmp_path / "a.trace.npz"
    assert ResultWriter.resume(path) is None and not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), begin(path, result) as writer:
        add(writer, result, range(60))
        raise KeyboardInterrupt
    with pytest.raises(ResultError, match="interrupted"):
        read_result(path)
    (partial_of(path) / "part-000001.npz.partial").write_bytes(b"half")
    (partial_of(path) / "columns").mkdir()
    with pytest.raises(OutputError, match="unfinished"):
        begin(path, result)
    resumed = ResultWriter.resume(path)
    assert resumed is not None
    with resumed as writer:
        assert (writer.frames, writer.state, writer.about) == (40, b"state after 39", result.about)
        assert sorted(file.name for file in partial_of(path).iterdir()) == [
            "lock", "part-000000.npz", "reserve", "start.json", "state-000000.bin"
        ]  # fmt: skip
        add(writer, result, range(40, 90))
        finish(writer, result)
    assert_agrees(read_result(path), result)
    with pytest.raises(OutputError, match="exists"):
        begin(path, result)
    with begin(path, result, force=True) as writer:
        assert path.exists(), "until the new one is whole"
    begin(path, result, force=True).close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.trace.npz"
    with begin(path, example()):
        with pytest.raises(OutputError, match="another process"):
            ResultWriter.resume(path)
        with pytest.raises(OutputError, match="another process"):
            begin(path, example(), force=True)


def _write_slowly(path: Path, at: Any) -> None:
    result = example()
    with begin(path, result) as writer:
        for frame in range(90):
            writer.add_frame(float(result.time[frame]), frame)
            writer.add_rows(rows_of(result, result.rows_in(frame)))
            if frame % 9 == 8:
                writer.commit(bytes([frame]))
                at.value = frame
        finish(writer, result)
        at.value = 1000


@pytest.mark.parametrize("moment", [8, 44, 89])
def test_a_killed_run_leaves_nothing_that_looks_whole(moment: int, tmp_path: Path) -> None:
    result, path = example(), tmp_path / "a.trace.npz"
    context = multiprocessing.get_context("fork")
    at = context.Value("i", -1)
    child = context.Process(target=_write_slowly, args=(path, at))
    child.start()
    while at.value < moment and child.is_alive():
        pass
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    if path.exists():  # it was faster: then it is whole
        assert_agrees(read_result(path), result)
        return
    resumed = ResultWriter.resume(path)
    assert resumed is not None
    with resumed as writer:
        assert writer.frames > moment and writer.frames % 9 == 0 and writer.state == bytes([writer.frames - 1])
        add(writer, result, range(writer.frames, 90))
        finish(writer, result)
    assert_agrees(read_result(path), result)


@pytest.mark.parametrize("moment", ["part", "end"])
def test_a_full_disk_is_named_and_nothing_is_lost(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, path = example(), tmp_path / "a.trace.npz"

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with begin(path, result) as writer:
        add(writer, result, range(40))
        if moment == "end":
            add(writer, result, range(40, 90))
            writer.commit()
        else:
            add(writer, result, range(40, 60))
        with monkeypatch.context() as patched:
            patched.setattr(result_file.shutil, "copyfileobj", full)
            with pytest.raises(OutputError, match="space") as caught:
                finish(writer, result)
            assert caught.value.where == str(path)
        assert not path.exists() and not list(partial_of(path).glob("*.partial"))
        if moment == "part":
            add(writer, result, range(60, 90))
        finish(writer, result)
    assert_agrees(read_result(path), result)


def test_the_last_part_has_room_on_a_full_disk(tmp_path: Path) -> None:
    """Also before any part was written, and again before the result."""
    result = example()
    with mounted(tmp_path / "disk", "40m") as disk:
        path = disk / "a.trace.npz"
        with begin(path, result) as writer:
            taken = filled(disk)
            add(writer, result, range(30))
            with pytest.raises(OutputError, match="30 frames are kept") as caught:
                writer.commit(b"state after 29")
            assert caught.value.where == str(path) and "same command" in str(caught.value.hint)
        taken = filled(disk)
        with pytest.raises(OutputError, match="30 frames are kept"):
            ResultWriter.resume(path)
        taken.unlink()
        resumed = ResultWriter.resume(path)
        assert resumed is not None and (resumed.frames, resumed.state) == (30, b"state after 29")
        with resumed as writer:
            add(writer, result, range(30, 90))
            writer.commit(b"state after 89")
            (partial_of(path) / "reserve").unlink()
            taken = filled(disk)
            with pytest.raises(OutputError, match="90 frames are kept"):
                finish(writer, result)
            assert not path.exists() and writer.state == b"state after 89"
        taken.unlink()
        last = ResultWriter.resume(path)
        assert last is not None
        with last as writer:
            finish(writer, result)
        assert_agrees(read_result(path), result)
        filled(disk)
        with pytest.raises(OutputError, match="space"):
            begin(disk / "b.trace.npz", result)


def test_misuse_and_damage_are_named(tmp_path: Path) -> None:
    result, path = example(), tmp_path / "a.trace.npz"
    rows = rows_of(result, result.rows_in(0))
    with begin(path, result) as writer:
        with pytest.raises(ValueError, match="frames"):
            writer.add_rows(rows)
        writer.add_frame(0.0, 0)
        for change in ({"person": rows.person - 1}, {"frame": rows.frame + 1}, {"pose": rows.pose[:, :22]},
                       {"extra": {"own_place": np.zeros(1)}}, {"extra": {"pose": rows.pose}}):  # fmt: skip
            with pytest.raises(ValueError):
                writer.add_rows(replace(rows, **change))
        with pytest.raises(ResultError, match="pose of person 1 in frame 0"):
            writer.add_rows(replace(rows, pose=np.full_like(rows.pose, np.nan)))
        writer.add_rows(rows)
        with pytest.raises(ValueError, match="columns"):
            writer.add_rows(replace(rows, extra={}))
        writer.commit()
        turned = np.eye(4)[None] * [[[2.0]]]
        with pytest.raises(ResultError, match="rigid") as caught:
            writer.finish(camera_from_world=turned, camera_observed=np.ones(1, bool), body=free_joints)
        assert caught.value.where == str(path) and not path.exists()
    part = partial_of(path) / "part-000000.npz"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(ResultError, match="damaged") as caught:
        ResultWriter.resume(path)
    assert caught.value.where == str(part)
    with begin(path, result, force=True) as writer:
        assert writer.frames == 0
    (partial_of(path) / "start.json").write_text("{")
    with pytest.raises(ResultError):
        ResultWriter.resume(path)


def test_a_left_over_file_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "a.trace.npz"
    partial_of(path).write_bytes(b"of a killed write_result")
    with begin(path, example()):
        pass
    with begin(path, example(), force=True) as writer:
        add(writer, example(), range(90))
        finish(writer, example())
    write_result(path, example())


def peak_of(path: Path, frames: int) -> int:
    """Bytes that writing a video of so many frames takes at most."""
    three = example().rows_in(30)
    tracemalloc.start()
    try:
        with begin(path, example()) as writer:
            for first in range(0, frames, PART_FRAMES):
                some = np.arange(first, first + PART_FRAMES)
                for frame in some:
                    writer.add_frame(frame / 30, frame)
                assert writer.part_is_due
                writer.add_rows(replace(rows_of(example(), np.tile(three, PART_FRAMES)), frame=some.repeat(3)))
                writer.commit()
            writer.finish(
                camera_from_world=np.broadcast_to(np.eye(4), (frames, 4, 4)),
                camera_observed=np.ones(frames, bool),
                body=lambda pose, _: (np.zeros((len(pose), 44, 3)), np.zeros((len(pose), 3))),
            )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    """3 people × 1800 frames have 6 MB of rows; of those only identities and frame numbers are held all together."""
    peak_of(tmp_path / "warm.trace.npz", PART_FRAMES)
    few = peak_of(tmp_path / "a.trace.npz", 2 * PART_FRAMES)
    many = peak_of(tmp_path / "b.trace.npz", 1800)
    assert many < few + 1_000_000
    assert len(read_result(tmp_path / "b.trace.npz").score) == 5400


def test_the_weighted_median_halves_the_weight() -> None:
    values = np.array([[3.0, 1], [1, 1], [2, 9], [50, 2]], np.float32)
    np.testing.assert_array_equal(weighted_median(values, np.ones(4)), [2, 1])
    np.testing.assert_array_equal(weighted_median(values, np.array([0.1, 0.1, 0.1, 0.9])), [50, 2])
    np.testing.assert_array_equal(weighted_median(values, np.array([0, 0, 1.0, 0])), [2, 9])
