"""Scores of predicted videos: an exact result is without error, and each kind of error shows where it belongs."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from example_result import example_result
from perfect_result import of_sequence

from trace_data.adapters.search import read_one, sequences_below
from trace_data.assets.bodies import load_bodies
from trace_data.errors import AssetError, ConfigError
from trace_data.geometry import matrix_from_axis_angle
from trace_data.results.check import LAYOUTS, check_result
from trace_data.results.file import write_result
from trace_data.results.result import Result
from trace_data.results.world_placement import in_frame, placed
from trace_data.schema.body import GENDERS
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.evaluate import evaluate_result, evaluate_results
from trace_train.evaluation.measures import MEASURES
from trace_train.evaluation.pooling import POOLED
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.tracks import STANDS_STILL
from trace_train.evaluation.video_score import ResultScores, joined, score_result
from trace_train.evaluation.video_truth import (
    JointLabels,
    VideoTruth,
    truth_of_record,
    truth_of_result,
    truth_of_shards,
)

example = cache(example_result)
NO_ERROR = ("mpjpe", "pa_mpjpe", "pve", "error_2d", "acceleration", "w_mpjpe", "wa_mpjpe", "rte", "root_orientation",
            "ate", "ate_rigid", "ate_start", "mpjpe_with_misses")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def layers(packs: Path) -> dict[str, BodyLayer]:
    return body_layers(packs, GENDERS)


def scored(result: Result, layers: dict[str, BodyLayer], truth: Result | None = None) -> ResultScores:
    return score_result(result, truth_of_result(truth or example(), "truth"), layers, name="a.trace.npz")


def without(result: Result, rows: np.ndarray) -> Result:
    kept = np.setdiff1d(np.arange(len(result.score)), rows)
    return replace(result, **{n: getattr(result, n)[kept] for n, s in LAYOUTS.items() if "N" in s.shape})


@pytest.mark.parametrize("irregular", [False, True])
def test_the_truth_is_without_error(irregular: bool, layers: dict[str, BodyLayer]) -> None:
    result = example(irregular=irregular)
    found = scored(result, layers, result)
    assert (found.frames, found.people, found.matched) == (90, len(result.score), len(result.score))
    assert (found.identities, found.annotated_identities) == (3, 3)
    assert sum(found.states.values()) == len(result.score) and found.states["predicted"] == 6
    row = found.rows[MODEL]
    for name in NO_ERROR:
        assert getattr(row, name) == pytest.approx(0, abs=0.05), name
    for name in ("recall", "precision", "path_ratio", "world_coverage", "mota", "idf1", "hota", "detection_accuracy",
                 "association_accuracy"):  # fmt: skip
        assert getattr(row, name) == pytest.approx(1, abs=1e-4), name
    assert row.id_switches == 0
    still = found.rows[STANDS_STILL]
    assert still.w_mpjpe is not None and still.w_mpjpe > 50 and still.mota is None
    text = json.dumps(found.to_json(), allow_nan=False)
    assert all(measure.key in text for measure in MEASURES)
    assert found.counts.hota == row.hota and (found.counts + found.counts).mota == row.mota


def test_another_world_of_the_same_people_scores_the_same(layers: dict[str, BodyLayer]) -> None:
    """The axes of the world are free: only motion in it counts."""
    result = example()
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = matrix_from_axis_angle(np.array([0.4, 2.0, -0.3])), (3, 1, -2)
    rest = (result.joints[:, 0] - result.translation).astype(np.float64)
    root, translation = in_frame(turn, result.pose[:, 0], result.translation, rest)
    moved = replace(
        result,
        pose=np.concatenate([root[:, None], result.pose[:, 1:]], axis=1).astype(np.float32),
        translation=translation.astype(np.float32),
        joints=(result.joints @ turn[:3, :3].T + turn[:3, 3]).astype(np.float32),
        camera_from_world=result.camera_from_world @ np.linalg.inv(turn),
    )
    check_result(moved)
    row = scored(moved, layers).rows[MODEL]
    for name in NO_ERROR:
        assert getattr(row, name) == pytest.approx(0, abs=0.05), name


def test_swapped_identities_show_in_the_tracking_measures_alone(layers: dict[str, BodyLayer]) -> None:
    """Persons 1 and 2 swap identities at a third of the video."""
    result = example()
    late = (result.row_frame >= 30) & (result.row_person < 2)
    person = np.where(late, 1 - result.row_person, result.row_person).astype(np.int32)
    order = np.lexsort((result.row_frame, person))
    swapped = {n: getattr(result, n)[order] for n, s in LAYOUTS.items() if "N" in s.shape} | {
        "row_person": person[order]
    }
    # each body keeps its own shape: identities are what is swapped
    same = replace(result, betas=np.repeat(result.betas[:1], 3, 0))
    row = scored(placed_again(replace(same, **swapped)), layers, placed_again(same)).rows[MODEL]
    assert row.id_switches == 2 and row.idf1 is not None and 0.5 < row.idf1 < 0.9
    assert row.mpjpe == pytest.approx(0, abs=0.05) and row.recall == 1
    assert row.detection_accuracy == pytest.approx(1) and row.association_accuracy is not None
    assert row.association_accuracy < 0.8


def placed_again(result: Result) -> Result:
    """Bodies of changed shapes at the places of the old ones."""
    from example_result import free_joints

    pose = np.concatenate([result.root_in_camera[:, None], result.pose[:, 1:]], axis=1)
    joints, rest = free_joints(pose, result.betas[result.row_person])
    made = placed(
        pose_in_camera=pose,
        hips_in_camera=result.hips_in_camera,
        joints=joints,
        rest_pelvis=rest,
        camera_from_world=result.camera_from_world[result.row_frame],
        intrinsics=np.broadcast_to(result.intrinsics, (len(pose), 3, 3)),
    )
    return replace(result, **{n: getattr(made, n).astype(np.float32) for n in made.__dataclass_fields__})


def test_misses_and_false_alarms_are_counted(layers: dict[str, BodyLayer]) -> None:
    result = example()
    missed = result.rows_of(0)[10:30]
    found = scored(without(result, missed), layers)
    row, people = found.rows[MODEL], len(result.score)
    assert found.people - found.matched == 20
    assert row.recall == pytest.approx(1 - 20 / people) and row.precision == 1
    assert row.mota == pytest.approx(1 - 20 / people) and row.mpjpe_with_misses == pytest.approx(
        150 * 20 / people, abs=0.1
    )
    assert row.world_coverage == pytest.approx(1 - 20 / people)
    more = scored(result, layers, without(result, missed))
    assert more.rows[MODEL].precision == pytest.approx(1 - 20 / people) and more.rows[MODEL].recall == 1


def test_a_camera_that_is_believed_to_stand_still_costs_world_but_no_pose(layers: dict[str, BodyLayer]) -> None:
    result = example()
    still = replace(
        result,
        camera_from_world=np.tile(np.eye(4), (90, 1, 1)),
        pose=np.concatenate([result.root_in_camera[:, None], result.pose[:, 1:]], axis=1),
        translation=result.translation_in_camera,
        joints=(
            np.einsum("nij,nkj->nki", result.camera_from_world[result.row_frame, :3, :3], result.joints)
            + result.camera_from_world[result.row_frame, None, :3, 3]
        ).astype(np.float32),
    )
    check_result(still)
    row = scored(still, layers).rows[MODEL]
    assert row.mpjpe == pytest.approx(0, abs=0.05) and row.idf1 == 1
    assert row.w_mpjpe is not None and row.w_mpjpe > 100 and row.rte is not None and row.rte > 0.05


def test_a_sequence_of_shards_is_scored(shards: Path, packs: Path, tmp_path: Path) -> None:
    """3DPW of the sample world: a result that repeats the annotation, with the neutral body's shape for everyone."""
    reader = ShardReader(shards)
    row, entry = next((r, e) for r, e in enumerate(reader.index.sequences) if e.dataset == "3dpw" and e.world_valid)
    truth = truth_of_shards(reader, entry.name)
    annotated = reader.annotations(ClipRef(sequence=row, start=0, stride=1, length=entry.frames))
    assert truth.name == entry.key and len(truth.frame) <= annotated.present.sum()
    file = tmp_path / "a.trace.npz"
    write_result(file, of_sequence(truth))
    found = evaluate_result(file, against=shards, packs=packs, sequence=entry.key)
    row_ = found.rows[MODEL]
    assert found.frames == entry.frames and found.people == found.matched > 0 and found.synthetic
    assert row_.mpjpe is not None and row_.mpjpe < 40, "the neutral body with a gendered one's betas"
    assert row_.idf1 == 1 and row_.hota is not None and row_.hota > 0.8
    assert evaluate_result(file, against=file, packs=packs).rows[MODEL].mpjpe == pytest.approx(0, abs=0.05)
    with pytest.raises(ConfigError, match="sequences could be meant") as caught:
        truth_of_shards(reader, None)
    assert "--sequence" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="no sequence"):
        truth_of_shards(reader, entry.name[:-1] + "x")


def test_a_dataset_says_what_its_shards_say(shards: Path, sample: Path, packs: Path, tmp_path: Path) -> None:
    reader, bodies = ShardReader(shards), load_bodies(packs)
    refs = sequences_below(sample / "datasets")
    assert {ref.key for ref in refs} == {entry.key for entry in reader.index.sequences}
    dataset = partial(read_one, sample / "datasets", refs)
    for entry in reader.index.sequences:
        ours, theirs = truth_of_record(dataset(entry.key), bodies), truth_of_shards(reader, entry.key)
        assert ours.entry == replace(entry, shard=0, first_frame=0, first_person=0)
        for part, other, kind in ((ours, theirs, VideoTruth), (ours.others, theirs.others, JointLabels)):
            for field in fields(kind):
                value, expected = getattr(part, field.name), getattr(other, field.name)
                if field.name in ("entry", "others"):
                    continue
                if field.name == "person":  # shards number people over all sequences
                    expected = expected - entry.first_person
                if field.name in ("intrinsics", "camera_from_world"):  # which shards keep as float32
                    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-6)
                else:
                    np.testing.assert_array_equal(value, expected, err_msg=field.name)
    shutil.copytree(sample / "datasets" / "3DPW", tmp_path / "3DPW")
    shutil.rmtree(next((tmp_path / "3DPW" / "sequenceFiles").glob("train*")))  # only some splits were downloaded
    assert {ref.split for ref in sequences_below(tmp_path)} == {ref.split for ref in refs} - {"train"}
    file = tmp_path / "a.trace.npz"
    write_result(file, replace(of_sequence(ours), about={"packs": str(packs)}))
    assert evaluate_result(file, against=dataset, sequence=entry.key).rows[MODEL].idf1 == 1
    write_result(file, replace(of_sequence(ours), about={"packs": str(tmp_path / "gone")}))
    with pytest.raises(ConfigError) as caught:
        evaluate_result(file, against=dataset, sequence=entry.key)
    assert "--packs" in str(caught.value.hint)


def test_several_results_have_packs_and_truths_of_their_own(
    shards: Path, sample: Path, packs: Path, tmp_path: Path
) -> None:
    reader, datasets, others = ShardReader(shards), sample / "datasets", tmp_path / "packs"
    dataset = partial(read_one, datasets, sequences_below(datasets))
    shutil.copytree(packs, others)
    files: list[Path] = []
    for entry in reader.index.sequences[:2]:
        files.append(tmp_path / f"{entry.name}.trace.npz")
        result = of_sequence(truth_of_shards(reader, entry.key))
        write_result(files[-1], replace(result, about={"packs": str([packs, others][len(files) - 1])}))
    found = evaluate_results(files, against=[dataset])
    assert [one.rows[MODEL].idf1 for one in found.videos] == [1, 1]
    mixed = evaluate_results(files, against=[dataset, shards])
    assert mixed.rows[POOLED].mpjpe == pytest.approx(found.rows[POOLED].mpjpe, abs=0.01)
    with pytest.raises(ConfigError, match="emdb"):
        evaluate_results(files, against=[dataset], protocol="emdb1")
    for kind in (".pth", ".json"):
        shutil.copy(packs / f"SMPL_FEMALE{kind}", others / f"SMPL_NEUTRAL{kind}")
    with pytest.raises(AssetError, match="another body model"):
        evaluate_results(files, against=[dataset])
    assert evaluate_results(files, against=[dataset], packs=packs).rows == found.rows
    with pytest.raises(ConfigError) as caught:
        evaluate_results(files, against=[dataset], packs=[packs])
    assert caught.value.where == "--packs"


def test_frames_are_joined_by_id_or_by_time() -> None:
    result = example()
    truth = truth_of_result(result, "truth")
    half = replace(truth, frame_id=truth.frame_id * 2 + 7, time=truth.time + 5)
    with pytest.raises(ConfigError, match="of the 90 annotated frames") as caught:
        joined(result, half, "frame", "a")
    assert "--join time" in str(caught.value.hint) and caught.value.where == "a"
    ours, theirs = joined(result, half, "time", "a")
    np.testing.assert_array_equal(ours, np.arange(90))
    np.testing.assert_array_equal(theirs, np.arange(90))
    every_second = replace(result, time=result.time[::2], frame_id=result.frame_id[::2])
    for join in ("frame", "time"):
        ours, theirs = joined(every_second, truth, join, "a")  # type: ignore[arg-type]
        np.testing.assert_array_equal(truth.frame_id[theirs], every_second.frame_id[ours])
        assert len(ours) == 45


def test_pictures_of_another_size_are_refused(layers: dict[str, BodyLayer]) -> None:
    other = replace(example(), image_size=np.array([320, 180], np.int32))
    with pytest.raises(ConfigError, match="320 x 180"):
        scored(other, layers)


def test_nobody_has_scores_too(layers: dict[str, BodyLayer]) -> None:
    result = example()
    nobody = without(result, np.arange(len(result.score)))
    row = scored(nobody, layers).rows[MODEL]
    assert (row.recall, row.mota, row.mpjpe, row.mpjpe_with_misses) == (0, 0, None, 150)
    row = scored(result, layers, nobody).rows[MODEL]
    assert (row.mota, row.recall, row.precision) == (None, None, 0)
