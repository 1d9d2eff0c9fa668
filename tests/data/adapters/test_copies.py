"""What copying and moving folders about leaves behind: files of macOS, names in other letter cases, lost subjects."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_human36m
import tiny_penn_action
from broken_layouts import LAYOUTS
from found_at_depth import said
from videos import edited

from trace_data.adapters import find_sequences, read_record
from trace_data.adapters.penn_action import find
from trace_data.verify.datasets import verify_datasets


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_that_macos_puts_beside_others_are_not_there(name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    folder = layout.write(tmp_path)
    before = said(layout.dataset, tmp_path, "content")
    for file in [file for file in tmp_path.rglob("*") if not file.name.startswith("._")]:
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7Mac OS X")
    assert folder.exists() and said(layout.dataset, tmp_path, "content") == before


def test_a_clip_of_packed_human36m_in_two_letter_cases_is_one(tmp_path: Path) -> None:
    folder = tiny_human36m.write(tmp_path, "packed")
    whole = [(ref.name, ref.frames) for ref in find_sequences("h36m", tmp_path, "train")]
    image = folder / "images/S1_Discussion_0_2.jpg"
    image.rename(image.with_name("s1_discussion_0_2.JPG"))
    refs = find_sequences("h36m", tmp_path, "train")
    assert [(ref.name, ref.frames) for ref in refs] == whole
    assert Path(str(read_record(refs[0]).frames[2])).name == "s1_discussion_0_2.JPG"


def test_an_image_in_two_letter_cases_counts_once(tmp_path: Path) -> None:
    folder = tiny_penn_action.write(tmp_path)
    shutil.copy(folder / "frames/0001/000002.jpg", folder / "frames/0001/000002.JPG")
    assert find(tmp_path, "train")[0].frames == 4 and len(read_record(find(tmp_path, "train")[0]).frames) == 4
    assert verify_datasets(["penn-action"], tmp_path, depth="content").ok


@pytest.mark.parametrize("layout", ["repackaged", "packed"])
def test_a_subject_without_any_images_is_an_error(layout: tiny_human36m.Layout, tmp_path: Path) -> None:
    folder = tiny_human36m.write(tmp_path, layout)
    assert not [what for severity, what in said("h36m", tmp_path, "layout") if severity == "error"]
    for place in (folder / "images").glob("s_09*" if layout == "repackaged" else "S9_*"):
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert any(
        s == "error" and "S9, of whom there are no images" in what for s, what in said("h36m", tmp_path, "layout")
    )


def test_a_subject_without_any_videos_is_an_error_beside_others_of_its_split(tmp_path: Path) -> None:
    folder = tiny_human36m.write(tmp_path, "official")
    assert not [what for severity, what in said("h36m", tmp_path, "layout") if severity == "error"]
    (folder / "SYNTHETIC.txt").unlink()  # so that it counts as the release, of which there are S1 and S9
    told = said("h36m", tmp_path, "layout")
    named = {subject for subject in (1, 5, 6, 7, 8, 9, 11) if ("error", subject) in _subjects(told)}
    assert named == {5, 6, 7, 8, 11}
    shutil.rmtree(folder / "S9")
    assert ("error", 9) not in _subjects(said("h36m", tmp_path, "layout")), "a whole split may be left out"


def _subjects(told: list[tuple[str, str]]) -> list[tuple[str, int]]:
    return [(severity, n) for severity, what in told for n in range(12) if f"S{n} has no video" in what]


def test_a_video_whose_edit_list_hides_frames_is_said(tmp_path: Path) -> None:
    folder = tiny_human36m.write(tmp_path, "official")
    assert not [what for _, what in said("h36m", tmp_path, "content") if "edit list" in what]
    video = next((folder / "S1/Videos").glob("*.mp4"))
    held = video.read_bytes()
    scale = int.from_bytes(held[held.index(b"mdhd") + 16 :][:4], "big")
    video.write_bytes(edited(held, 2 * scale // 50, 0))
    told = [what for severity, what in said("h36m", tmp_path, "content") if severity == "warning"]
    assert any(video.name in what and "hides the first 2 frames" in what for what in told)


def test_a_packed_test_subject_without_a_folder_is_an_error(tmp_path: Path) -> None:
    folder = LAYOUTS["mpi-inf-3dhp, packed test set"].write(tmp_path)
    shutil.rmtree(folder / "mpi_inf_3dhp_test_set/TS5")
    told = said("mpi-inf-3dhp", tmp_path, "layout")
    assert any(severity == "error" and "TS5, of whom there are no images" in what for severity, what in told)


def test_images_in_gaps_of_the_annotation_are_not_said_to_come_last(tmp_path: Path) -> None:
    layout = LAYOUTS["penn-action, packed"]
    folder = layout.write(tmp_path)
    tiny_penn_action.change_npz(folder, lambda c: c["seq_frame_names"]["0003"].pop(1))

    def hints() -> list[str]:
        problems = verify_datasets(["penn-action"], tmp_path, depth="content").datasets[0].problems
        return [problem.hint for problem in problems if "annotated frames" in problem.what]

    assert len(hints()) == 1 and "without annotation" in hints()[0]
    tiny_penn_action.change_npz(folder, lambda c: c["seq_frame_names"]["0003"].__setitem__(slice(None), ["000001.jpg"]))
    assert "after the last" in hints()[0]


def test_findings_of_packed_3dpw_name_the_array(tmp_path: Path) -> None:
    layout = LAYOUTS["3dpw, annots.npz"]
    file = layout.write(tmp_path) / "annots.npz"
    content = {key: value.item() for key, value in np.load(file, allow_pickle=True).items()}
    content["kp3d"]["train_walk_00.pkl"][0][0, 0, 0] = np.nan
    np.savez(file, **{key: np.array(value, object) for key, value in content.items()})
    assert any("kp3d: train_walk_00.pkl[0] has 1 NaN" in what for _, what in said("3dpw", tmp_path, "content"))
