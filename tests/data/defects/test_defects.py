"""Known defects are data: every file can be read, and what it names is taken out of a record and said."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import tiny_3dpw

from trace_data.adapters import ADAPTERS, read_record
from trace_data.adapters.threedpw import find
from trace_data.defects import Defect, _defect, known_defects, without_defects
from trace_data.errors import ConfigError
from trace_data.geometry import project, transform
from trace_data.schema.record import SequenceRecord


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> SequenceRecord:
    root = tmp_path_factory.mktemp("datasets")
    tiny_3dpw.write(root, {"train": 1}, frames=8)
    return read_record(find(root, "train")[0])


def defect(effect: str, frames: tuple[int, int] | None = (2, 4), sequence: str = "train_*") -> Defect:
    return Defect(sequences=(sequence,), frames=frames, effect=effect, reason="wrong", source="a test")  # type: ignore[arg-type]


def test_every_file_is_of_a_dataset_and_can_be_read() -> None:
    files = [file for file in resources.files("trace_data.defects").iterdir() if file.name.endswith(".yaml")]
    assert files and {Path(file.name).stem for file in files} <= set(ADAPTERS)
    for file in files:
        for entry in known_defects(Path(file.name).stem):
            assert entry.reason and entry.source and entry.sequences


def test_each_effect_takes_out_what_it_names(record: SequenceRecord) -> None:
    wrong = np.isin(np.arange(8), [2, 3, 4])
    assert without_defects(record, [defect("body", sequence="other")]) is record

    cut = without_defects(record, [defect("frames")])
    assert cut.frame_ids.tolist() == [0, 1, 5, 6, 7] and len(cut.frames) == 5
    np.testing.assert_array_equal(cut.people[0].body.pose, record.people[0].body.pose[~wrong])  # type: ignore[union-attr]
    np.testing.assert_array_equal(cut.camera.camera_from_world, record.camera.camera_from_world[~wrong])  # type: ignore[index]

    body = without_defects(record, [defect("body")])
    np.testing.assert_array_equal(body.people[0].body_valid, record.people[0].body_valid & ~wrong)
    assert body.people[0].joints3d is record.people[0].joints3d

    joints = without_defects(record, [defect("joints3d")]).people[1].joints3d
    assert joints is not None and (joints.points[wrong] == 0).all() and (joints.points[~wrong, :, 3] == 1).all()

    everyone = without_defects(record, [defect("everyone", frames=None)])
    assert not everyone.everyone_annotated.any() and everyone.frames == record.frames
    assert everyone.provenance["defects"] == "wrong (8 frames: everyone)"
    both = without_defects(record, [defect("frames"), defect("everyone")])
    assert both.provenance["defects"] == "wrong (3 frames: frames)", "the second finds nothing left"


def test_a_shift_moves_all_places_and_what_is_seen_of_them(record: SequenceRecord) -> None:
    move = (0.1, -0.05, 0.3)
    shift = replace(defect("shift"), shift=move)
    wrong = np.isin(np.arange(8), [2, 3, 4])
    for before, after in zip(record.people, without_defects(record, [shift]).people):
        assert before.body and after.body and before.joints3d and after.joints3d
        assert before.body.translation is not None and after.body.translation is not None
        np.testing.assert_allclose(after.body.translation - before.body.translation, np.outer(wrong, move), atol=1e-12)
        np.testing.assert_array_equal(after.body.pose, before.body.pose)
        moved = after.joints3d.to_44()
        np.testing.assert_allclose(moved[wrong][..., :3], before.joints3d.to_44()[wrong][..., :3] + np.where(
            moved[wrong][..., 3:] > 0, move, 0.0))  # fmt: skip
        assert before.keypoints2d and after.keypoints2d
        points = after.keypoints2d.to_44()
        np.testing.assert_array_equal(points[~wrong], before.keypoints2d.to_44()[~wrong])
        intrinsics, extrinsics = record.camera.per_frame(8)
        pixels = project(intrinsics, transform(extrinsics, moved[..., :3]))
        seen = wrong[:, None] & (points[..., 2] > 0)
        assert seen.sum() == 3 * 11
        np.testing.assert_allclose(points[seen][:, :2], pixels[seen], atol=1e-9)
    bare = replace(record, people=(replace(record.people[0], joints3d=None, body=None),))
    assert without_defects(bare, [shift]).people[0].keypoints2d is None, "nothing says how far it is away"
    with pytest.raises(ConfigError, match="belong together"):
        _defect({"sequences": ["a"], "effect": "shift", "reason": "r", "source": "s"}, "a file")


def test_3dpw_is_read_without_its_defects_unless_asked(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 1}, frames=4)
    name = find(tmp_path, "train")[0].name
    (folder / "imageFiles" / name).rename(folder / "imageFiles" / "downtown_bus_00")
    tiny_3dpw.rewrite(
        folder, "train", "downtown_bus_00", tiny_3dpw.load(folder, "train", name) | {"sequence": "downtown_bus_00"}
    )
    ref = find(tmp_path, "train")[0]
    assert not read_record(ref).everyone_annotated.any()
    assert read_record(ref, defects=False).everyone_annotated.all()
    dancing = next(entry for entry in known_defects("3dpw") if "courtyard_dancing_01" in entry.sequences)
    assert (dancing.effect, dancing.frames) == ("body", (91, 134))


def test_what_single_readers_found_names_its_source() -> None:
    (mirrored,) = [entry for entry in known_defects("mpi-inf-3dhp") if entry.frames == (3759, 5852)]
    assert mirrored.sequences == ("S4_Seq2_video_*",) and "single source" in mirrored.source
    assert {"0979", "1021", "1024", "1032", "1516"} == {
        name for entry in known_defects("penn-action") for name in entry.sequences
    }
