"""Evaluation of a network that is right, or wrong by a known amount, on shards that say more or less of people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from oracle import Oracle
from shard_damage import relabel, reseal
from small_network import SMALL, small
from torch import Tensor

from trace_data.errors import CheckpointError, ConfigError
from trace_data.schema.body import GENDERS
from trace_data.schema.keypoints import ALL_44, MPI_INF_28
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.config import Config, load_config
from trace_train.evaluation.measures import Scores
from trace_train.evaluation.result import EvalReport
from trace_train.evaluation.score import score
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.tracks import STANDS_STILL
from trace_train.network.flow import DisFlow
from trace_train.network.temporal import StreamState
from trace_train.streaming.stream import TrainStream
from trace_train.training.initialise import start_from_means
from trace_train.training.loss_module import batch_targets

ERRORS = ("mpjpe", "pa_mpjpe", "pve", "acceleration", "w_mpjpe", "wa_mpjpe", "rte", "ate", "ate_rigid", "ate_start",
          "root_orientation")  # fmt: skip
SPLIT = "train"
"""With the most people; nothing is trained here."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def layers(packs: Path) -> dict[str, BodyLayer]:
    """The neutral body for everyone, so that a prediction can be exact."""
    return dict.fromkeys(GENDERS, body_layers(packs)["neutral"])


def config(*more: str) -> Config:
    return load_config("debug", ["network.input_size=64", *more])


def scored(oracle: Oracle, layers: dict[str, BodyLayer], shards: Path, *more: str, split: str = SPLIT) -> EvalReport:
    return score(oracle, layers, ShardReader(shards), config(*more), split=split)  # type: ignore[arg-type]


def changed(shards: Path, folder: Path, change: Callable[[h5py.File], None]) -> Path:
    """A copy of shards with another content."""
    shutil.copytree(shards, folder)
    for file in folder.glob("*.h5"):
        with h5py.File(file, "r+") as shard:
            change(shard)
            reseal(shard)
    return folder


def straighten(shard: h5py.File) -> None:
    """Straight hands: the network has no numbers for them."""
    pose = shard["people/pose"][:]
    pose[:, 22:] = 0
    shard["people/pose"][:] = pose


@pytest.fixture(scope="module")
def exact(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards whose bodies the network can predict exactly."""
    return changed(shards, tmp_path_factory.mktemp("exact") / "shards", straighten)


# --- a network that is right -----------------------------------------------------------------------------------


def test_who_is_right_has_no_error(exact: Path, layers: dict[str, BodyLayer]) -> None:
    report = scored(Oracle(ShardReader(exact), layers, SPLIT), layers, exact)
    row = asdict(report.rows[MODEL])
    assert {name: row[name] for name in ERRORS if not row[name] < 0.01} == {}
    assert row["recall"] == row["precision"] == row["world_coverage"] == 1
    assert row["mpjpe_with_misses"] < 0.01 and abs(row["path_ratio"] - 1) < 1e-3
    assert row["joints_mpjpe"] is None and row["pck"] is None  # everyone has a body
    assert report.people == report.matched > 50 and report.synthetic
    still, constant = report.rows[STANDS_STILL], report.rows["mean pose"]
    assert still.wa_mpjpe and constant.w_mpjpe and constant.mpjpe and min(still.wa_mpjpe, constant.mpjpe) > 10
    assert still.mpjpe is None and report.datasets == {}
    assert sum(one.people for one in report.sequence_scores) == report.people
    assert EvalReport.from_json(json.loads(json.dumps(report.to_json()))).to_json() == report.to_json()


def test_single_frames_take_the_camera_for_the_world(exact: Path, layers: dict[str, BodyLayer]) -> None:
    report = scored(Oracle(ShardReader(exact), layers, SPLIT, temporal=False), layers, exact)
    row = asdict(report.rows[MODEL])
    assert row["mpjpe"] < 0.01 and row["acceleration"] < 0.05 and row["recall"] == 1
    assert row["ate_start"] > 0.005 and row["w_mpjpe"] > 5  # the sample world's cameras move
    assert "stands still" in report.protocol and "single frames" in report.protocol


def test_how_videos_are_cut_does_not_matter(exact: Path, layers: dict[str, BodyLayer]) -> None:
    drift = torch.tensor([0.03, 0.0, 0.01]).double()

    def spoil(sequence: int, person: int, frame: int, place: Tensor, world: Tensor) -> tuple[Tensor, Tensor] | None:
        return None if (sequence + person + frame) % 5 == 2 else (place, world + frame * drift)

    oracle = Oracle(ShardReader(exact), layers, SPLIT, spoil=spoil)
    whole, *cut = (
        scored(oracle, layers, exact, f"evaluation.videos={videos}", f"evaluation.chunk={chunk}")
        for videos, chunk in ((2, 100), (1, 3), (1, 8), (3, 3), (3, 8))
    )
    for other in cut:
        same(whole.rows[MODEL], other.rows[MODEL])
        for a, b in zip(whole.sequence_scores, other.sequence_scores, strict=True):
            assert (a.name, a.frames, a.people, a.matched) == (b.name, b.frames, b.people, b.matched)
            same(a.scores, b.scores)


def same(a: Scores, b: Scores) -> None:
    for field in fields(Scores):
        one, other = getattr(a, field.name), getattr(b, field.name)
        assert (one is None) == (other is None), field.name
        room = 0.02 if field.name == "jitter" else 2e-4  # a third difference of float32 places, times 2700
        assert one is None or one == pytest.approx(other, rel=2e-3, abs=room), field.name


@pytest.mark.slow
def test_a_real_network_remembers_across_chunks(shards: Path, packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, reader, network = body_layers(packs, GENDERS), ShardReader(shards), small()
    settings = load_config("debug", [*SMALL, "network.flow=dis", "evaluation.threshold=0"])
    batches = TrainStream(reader, settings).batches(0, 2)
    start_from_means(network, [batch_targets(network, batch) for batch in batches])  # bodies of a body's size

    def scores(videos: int, chunk: int) -> EvalReport:
        evaluation = settings.evaluation.model_copy(update={"videos": videos, "chunk": chunk})
        changed = settings.model_copy(update={"evaluation": evaluation})
        return score(network, layers, reader, changed, split="train", flow=DisFlow())

    one, other = scores(1, 3), scores(4, 8)
    assert one.matched == other.matched > 0
    same(one.rows[MODEL], other.rows[MODEL])
    assert one.rows[MODEL].w_mpjpe is not None and "Optical flow by DIS" in one.protocol
    monkeypatch.setattr(StreamState, "of", lambda state, videos: None)  # without its memory it jumps at every cut
    forgetful, steady = scores(1, 3).rows[MODEL].jitter, one.rows[MODEL].jitter
    assert forgetful is not None and steady is not None and forgetful > steady + 0.2


# --- a network that is wrong by so much ------------------------------------------------------------------------


def test_a_drift_in_the_world_is_found_and_nothing_else(exact: Path, layers: dict[str, BodyLayer]) -> None:
    drift = torch.tensor([0.0, 0.05, 0.0]).double()

    def spoil(sequence: int, person: int, frame: int, place: Tensor, world: Tensor) -> tuple[Tensor, Tensor]:
        return place, world + frame * drift

    report = scored(Oracle(ShardReader(exact), layers, SPLIT, spoil=spoil), layers, exact)
    row = asdict(report.rows[MODEL])
    assert row["mpjpe"] < 0.01 and row["acceleration"] < 0.05 and row["recall"] == 1
    frames = np.arange(8)
    assert row["ate_start"] == pytest.approx(0.05 * np.sqrt((frames**2).mean()), rel=1e-3)
    assert row["path_ratio"] > 1.1 and row["w_mpjpe"] > row["wa_mpjpe"] > 5


def test_who_is_missed_is_left_out_and_counted(exact: Path, layers: dict[str, BodyLayer]) -> None:
    def spoil(sequence: int, person: int, frame: int, place: Tensor, world: Tensor) -> tuple[Tensor, Tensor] | None:
        return None if person == 0 and frame in (3, 4) else (place, world)

    reader = ShardReader(exact)
    report = scored(Oracle(reader, layers, SPLIT, spoil=spoil), layers, exact)
    row = asdict(report.rows[MODEL])
    missed = 2 * sum(entry.split == SPLIT for entry in reader.index.sequences)
    assert report.people - report.matched == missed
    assert row["recall"] == row["world_coverage"] == pytest.approx(1 - missed / report.people)
    assert row["precision"] == 1 and row["mpjpe_with_misses"] == pytest.approx(150 * missed / report.people, abs=0.01)
    assert {name: row[name] for name in ERRORS if not row[name] < 0.01} == {}  # across the gap too


def test_people_are_told_apart_by_where_they_are_seen(exact: Path, layers: dict[str, BodyLayer]) -> None:
    """Two people who change places in the list of detections from frame to frame stay the same two people."""
    oracle = Oracle(ShardReader(exact), layers, SPLIT)
    for number, people in enumerate(oracle.seen.values()):
        if number % 2:
            people.reverse()
    assert any(len(people) > 1 for people in oracle.seen.values())
    row = asdict(scored(oracle, layers, exact).rows[MODEL])
    assert {name: row[name] for name in ERRORS if not row[name] < 0.01} == {}


def test_nobody_found_is_no_score_and_no_recall(exact: Path, layers: dict[str, BodyLayer]) -> None:
    report = scored(Oracle(ShardReader(exact), layers, SPLIT, spoil=lambda *_: None), layers, exact)
    row = report.rows[MODEL]
    assert row.recall == 0 and row.world_coverage == 0 and row.precision is None and row.mpjpe is None
    assert row.mpjpe_with_misses == 150 and report.rows["mean pose"].mpjpe is None


@pytest.mark.parametrize("part", ["backbone", "temp_smplpose_regressor"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_predictions_that_are_not_finite_are_no_missed_people(
    part: str, value: float, shards: Path, packs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, settings = small(), load_config("debug", [*SMALL, "network.flow=dis", "evaluation.threshold=0"])
    with torch.no_grad():
        next(network.get_submodule(part).parameters())[0] = value
    with pytest.raises(CheckpointError, match="not finite"):
        score(network, body_layers(packs, GENDERS), ShardReader(shards), settings, split="val", flow=DisFlow())


# --- people of whom less is known ------------------------------------------------------------------------------


def set_masks(shard: h5py.File, value: int, *names: str, person: int | None = None) -> None:
    for name in names:
        mask = shard[name][:]
        mask[slice(None) if person is None else shard["people/person"][:] == person] = value
        shard[name][:] = mask


def test_false_alarms_are_counted_where_everyone_is_annotated(
    exact: Path, layers: dict[str, BodyLayer], tmp_path: Path
) -> None:
    oracle = Oracle(ShardReader(exact), layers, SPLIT, phantoms=1)
    report = scored(oracle, layers, exact)
    row = report.rows[MODEL]
    assert row.recall == 1 and row.precision == pytest.approx(report.people / (report.people + report.frames))
    unsure = changed(exact, tmp_path / "unsure", lambda s: set_masks(s, 0, "frame_masks/everyone_annotated"))
    row = scored(oracle, layers, unsure).rows[MODEL]
    assert row.recall == 1 and row.precision is None


def test_people_with_joints_and_no_body_are_scored_on_their_joints(
    exact: Path, layers: dict[str, BodyLayer], tmp_path: Path
) -> None:
    labelled = [ALL_44.index(name) for name in MPI_INF_28 if name in ALL_44]

    def only_joints(shard: h5py.File) -> None:
        set_masks(shard, 0, "masks/body_pose", "masks/world")
        points = shard["people/kp3d"][:]
        points[:, [i for i in range(44) if i not in labelled]] = 0
        shard["people/kp3d"][:] = points

    folder = changed(exact, tmp_path / "joints", only_joints)
    oracle = Oracle(ShardReader(exact), layers, SPLIT)
    report = scored(oracle, layers, folder)
    row = report.rows[MODEL]
    assert row.mpjpe is None and row.world_coverage is None and row.recall == row.precision == 1
    # the labels are of gendered bodies, the network's are neutral
    assert row.joints_mpjpe is not None and row.joints_mpjpe < 40
    assert row.joints_pa_mpjpe is not None and row.joints_pa_mpjpe < row.joints_mpjpe
    assert row.pck == 1 and row.auc is not None and 0.6 < row.auc < 1
    constant = report.rows["mean pose in the camera"]
    assert constant.joints_mpjpe is not None and constant.joints_mpjpe > 2 * row.joints_mpjpe
    assert set(report.rows) == {MODEL, "mean pose in the camera", STANDS_STILL}


def test_whoever_is_annotated_is_no_false_alarm(exact: Path, layers: dict[str, BodyLayer], tmp_path: Path) -> None:
    """People of whom only 2D joints are known are found and not scored; those out of the picture do not count."""

    def only_2d(shard: h5py.File) -> None:
        set_masks(shard, 0, "masks/body_pose", "masks/joints3d", "masks/world", person=0)

    oracle = Oracle(ShardReader(exact), layers, SPLIT)
    whole = scored(oracle, layers, exact)
    report = scored(oracle, layers, changed(exact, tmp_path / "flat", only_2d))
    row = report.rows[MODEL]
    assert row.precision == row.recall == 1 and report.people == whole.people
    assert row.mpjpe is not None and row.joints_mpjpe is None

    def out_of_it(shard: h5py.File) -> None:
        only_2d(shard)
        set_masks(shard, 0, "masks/center", person=0)

    report = scored(oracle, layers, changed(exact, tmp_path / "out", out_of_it))
    assert report.rows[MODEL].precision == report.rows[MODEL].recall == 1 and report.people < whole.people


def test_several_datasets_have_rows_of_their_own(
    several_shards: Path, layers: dict[str, BodyLayer], tmp_path: Path
) -> None:
    folder = changed(several_shards, tmp_path / "two", straighten)
    chosen, *others = sorted(file.name for file in folder.glob(f"*-{SPLIT}-*.h5"))
    assert others
    relabel(folder, chosen, dataset="h36m")
    reader = ShardReader(folder)
    report = scored(Oracle(reader, layers, SPLIT), layers, folder)
    assert set(report.datasets) == {"3dpw", "h36m"}
    parts = [report.datasets[name][MODEL].mpjpe for name in report.datasets]
    assert all(part is not None for part in parts)
    expected = sum(entry.dataset == "h36m" for entry in reader.index.sequences)
    assert [one.dataset for one in report.sequence_scores].count("h36m") == expected


def test_without_a_training_split_there_are_no_constant_bodies(
    exact: Path, layers: dict[str, BodyLayer], tmp_path: Path
) -> None:
    folder = tmp_path / "test-only"
    shutil.copytree(exact, folder)
    for file in sorted(folder.glob("*.h5")):
        relabel(folder, file.name, split="test")
    report = scored(Oracle(ShardReader(folder), layers, "test"), layers, folder, split="test")
    assert set(report.rows) == {MODEL, STANDS_STILL} and "no training split" in report.protocol
    with pytest.raises(ConfigError, match="no split 'val', they have test"):
        scored(Oracle(ShardReader(folder), layers, "test"), layers, folder, split="val")


def test_a_part_of_the_windows_is_scored_when_asked(exact: Path, layers: dict[str, BodyLayer]) -> None:
    reader = ShardReader(exact)
    oracle = Oracle(reader, layers, SPLIT)
    report = score(oracle, layers, reader, config(), split=SPLIT, every=3)  # type: ignore[arg-type]
    whole = scored(oracle, layers, exact)
    chosen = whole.sequence_scores[::3]  # windows are longer than these sequences
    assert [(one.name, one.people) for one in report.sequence_scores] == [(one.name, one.people) for one in chosen]
    assert report.sequences_sha256 != whole.sequences_sha256 and "one of 3 windows" in report.protocol
