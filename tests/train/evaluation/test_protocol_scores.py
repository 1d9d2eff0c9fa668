"""The same prediction under every protocol: exact ones are without error, and rules change what they say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_result import example_result, free_joints
from oracle import Oracle
from shard_damage import reseal
from torch import Tensor

from trace_data.errors import ConfigError
from trace_data.results.check import LAYOUTS
from trace_data.results.file import write_result
from trace_data.results.result import SEEN, Result
from trace_data.schema.body import GENDERS
from trace_data.schema.keypoints import ALL_44
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.config import load_config
from trace_train.evaluate import evaluate_results, exact_result
from trace_train.evaluation.bodies import compare_bodies
from trace_train.evaluation.candidates import BONES, compared_joints
from trace_train.evaluation.ground_truth import pose_people
from trace_train.evaluation.pooling import BY_PROTOCOL, MEAN, POOLED, pool
from trace_train.evaluation.protocol import heading, in_words
from trace_train.evaluation.result import EvalReport, basis_of
from trace_train.evaluation.score import score
from trace_train.evaluation.sums import MODEL, Sums
from trace_train.evaluation.tracks import STANDS_STILL
from trace_train.evaluation.video_labels import LabelledPeople, labelled_people, measure_labels
from trace_train.evaluation.video_score import ResultScores, enlarged, score_result
from trace_train.evaluation.video_truth import JointLabels, VideoTruth, truth_of_result, truth_of_shards
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.metrics.tracking import TrackingCounts
from trace_train.protocols.loading import load_protocol, protocols
from trace_train.protocols.protocol import BodyRules, DataRules, LabelledRules, Protocol, TrackingRules
from trace_train.weights.folder import InferenceSwitches


@cache
def example(**settings: Any) -> Result:
    """The example result, all of whose people are in view."""
    result = example_result(**settings)
    return replace(result, state=np.full_like(result.state, SEEN))


SHARES_AND_METRES = {"rte", "ate", "ape", "mota", "idf1", "hota", "pck"}
"""Other measures are mm and their derivatives."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def layers(packs: Path) -> dict[str, BodyLayer]:
    return body_layers(packs, GENDERS)


def of_any_data(name: str, **changes: Any) -> Protocol:
    return load_protocol(name).model_copy(update={"data": DataRules(), **changes})


def scored(
    result: Result, layers: dict[str, BodyLayer], rules: Protocol, truth: Result | None = None, name: str = "a"
) -> ResultScores:
    return score_result(result, truth_of_result(truth or result, "truth"), layers, protocol=rules, name=name)


def without(result: Result, rows: np.ndarray) -> Result:
    kept = np.setdiff1d(np.arange(len(result.score)), rows)
    return replace(result, **{n: getattr(result, n)[kept] for n, s in LAYOUTS.items() if "N" in s.shape})


# --- predicted videos ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", protocols())
def test_the_truth_is_without_error_under_every_protocol(name: str, layers: dict[str, BodyLayer]) -> None:
    result = example(people=2, frames=40)
    found = scored(result, layers, of_any_data(name))
    row, measures = found.rows[MODEL], load_protocol(name).measures
    for key in set(measures) - {"jitter", "foot_sliding"}:
        if (value := getattr(row, key)) is not None:
            good = 1 if key in ("mota", "idf1", "hota") else 0
            within = 1e-3 if key in SHARES_AND_METRES else 0.05
            # boxes that are made larger on one side alone overlap by no more than their share
            assert value == pytest.approx(good, abs=0.4 if key == "hota" and name.startswith("mupots") else within), key
    assert row.recall == 1 and row.precision == 1
    if measures:
        assert {key for key in ("mpjpe", "w_mpjpe", "ate_start", "error_2d") if getattr(row, key) is not None} <= {
            *measures
        }
    assert found.protocol_name == name and found.rules["bodies"]["joints"] in (
        "lsp-14",
        *found.rules["bodies"].values(),
    )
    assert name in found.protocol and json.dumps(found.to_json(), allow_nan=False)


SAID_OF = {
    "PA-MPJPE is": "pa_mpjpe",
    "W-MPJPE:": "w_mpjpe",
    "RTE:": "rte",
    "ATE:": "ate",
    "3DPCK": "pck",
    "2D error": "error_2d",
    "of the acceleration error": "acceleration",
    "Derivatives": "acceleration acceleration_per_frame jitter",
    "MOTA, IDF1": "mota",
}


@pytest.mark.parametrize("name", protocols())
def test_words_are_about_the_measures_of_the_protocol(name: str, layers: dict[str, BodyLayer]) -> None:
    rules = load_protocol(name)
    said = scored(example(people=1, frames=10), layers, of_any_data(name)).protocol
    of_network = in_words(
        rules, every=1, threshold=0.2, temporal=True, flow="none", stored=False, fitted=False,
        switches=InferenceSwitches(), chunk=8,
    )  # fmt: skip
    for word, keys in SAID_OF.items():
        defined = rules.defines(*keys.split()) and (word != "of the acceleration error" or rules.time.trimmed > 0)
        for text in (said, of_network):
            assert (word in "\n".join(line for line in text.splitlines() if line not in heading(rules))) == defined, (
                word
            )
    assert ("stands still" in of_network) == rules.defines("w_mpjpe", "rte", "ate")


def test_a_protocol_of_other_data_is_refused(layers: dict[str, BodyLayer]) -> None:
    with pytest.raises(ConfigError, match="emdb test emdb2") as caught:
        scored(example(people=1, frames=10), layers, load_protocol("emdb2-wham"))
    assert caught.value.where == "truth" and "base: emdb2-wham" in str(caught.value.hint)


def test_boxes_are_enlarged_about_their_centres() -> None:
    boxes = np.array([[10.0, 20, 40, 100]])
    assert enlarged(boxes, (1.1, 1.18)).tolist() == [pytest.approx([8, 11, 44, 118])]


def test_lost_frames_are_filled_where_the_protocol_says_so(layers: dict[str, BodyLayer]) -> None:
    """DynaCam's rule: a person who is never found costs 2 m, one who is lost for a while stays where they were."""
    result = example(people=2, frames=40)
    nobody = scored(without(result, result.rows_of(0)), layers, of_any_data("dynacam"), result).rows[MODEL]
    assert nobody.ate == pytest.approx((2 + 0) / 2, abs=0.01) and nobody.ape == pytest.approx(2, abs=0.05)
    lost = result.rows_of(0)[10:30]
    some = scored(without(result, lost), layers, of_any_data("dynacam"), result).rows[MODEL]
    plain = scored(without(result, lost), layers, of_any_data("trace-5d"), result).rows[MODEL]
    assert some.ate is not None and plain.ate is not None and some.ate > 0.02 > 0.001 > plain.ate


def with_labels_alone(result: Result, person: int) -> VideoTruth:
    """The truth, of which one person has labelled joints and no body."""
    truth = truth_of_result(result, "truth")
    rows = np.flatnonzero(truth.person == result.person[person])
    kept = np.setdiff1d(np.arange(len(truth.frame)), rows)
    joints, _ = free_joints(truth.pose[rows], truth.betas[rows])
    place = result.joints[result.rows_of(person), 0] - joints[:, 0]
    labels = np.concatenate([joints + place[:, None], np.ones((len(rows), 44, 1))], axis=-1)
    of_bodies = ("frame", "person", "gender", "pose", "betas", "translation", "in_world", "hidden")
    return replace(
        truth,
        **{name: getattr(truth, name)[kept] for name in of_bodies},
        others=JointLabels(
            frame=truth.frame[rows],
            person=truth.person[rows],
            points=np.zeros((len(rows), 44, 3), np.float32),
            joints=labels.astype(np.float32),
        ),
    )


@pytest.mark.parametrize("name", ["trace-5d", "mupots", "mupots-matched"])
def test_people_with_labels_alone_are_found_followed_and_scored(name: str, layers: dict[str, BodyLayer]) -> None:
    result = example(people=2, frames=40)
    truth = with_labels_alone(result, 1)
    truth = replace(truth, everyone=np.zeros(40, bool)) if name != "trace-5d" else truth
    rules = of_any_data(name)
    row = score_result(result, truth, layers, protocol=rules).rows[MODEL]
    assert row.recall == 1 and row.joints_mpjpe == pytest.approx(0, abs=0.05) and row.pck == 1
    assert row.mota == row.idf1 == 1 and row.id_switches == 0
    lost = result.rows_of(1)[:10]
    found = score_result(without(result, lost), truth, layers, protocol=rules)
    share = 1 - 10 / len(result.rows_of(1))
    assert found.rows[MODEL].pck == pytest.approx(share if name == "mupots" else 1)
    assert found.rows[MODEL].mota == pytest.approx(1 - 10 / len(result.score))
    assert found.people - found.matched == 10 and found.annotated_identities == 2


def test_four_3dpck_by_hand() -> None:
    """One person whose right forearm and hand are off by 141 mm, one who is missed, and one missed without factor."""
    target = torch.zeros(3, 44, 3)
    rules = load_protocol("mupots")
    assert rules.labelled.joints is not None
    for number, (parent, child) in enumerate(BONES):
        target[:, child] = target[:, parent] + 0.1 * torch.eye(3)[number % 3]
    elbow = BONES[2], [ALL_44.index(name) for name in ("R_Elbow", "R_Wrist")]
    predicted = 2 * target[:1]  # of a body twice as large, brought to the same bones
    bone = target[0, elbow[0][1]] - target[0, elbow[0][0]]
    predicted[0, elbow[1]] += 2 * (bone.roll(1) - bone)
    people = LabelledPeople(
        frame=torch.zeros(3, dtype=torch.long),
        person=torch.arange(3),
        points=torch.zeros(3, 44, 2),
        labelled=torch.zeros(3, 44) > 0,
        joints=target,
        scored=torch.tensor([name in rules.labelled.joints for name in ALL_44]).expand(3, 44),
        universal=torch.tensor([1.2, 0.9, torch.nan]),
        box=torch.zeros(3, 4),
    )
    sums, found = Sums(), torch.zeros(1, dtype=torch.long)
    measure_labels(sums, predicted, people, (found, found), rules)
    scores = sums.scores()
    # 100 mm to the side of 100 mm ahead: 141 mm, and 170 mm where the person is 1.2 times as large
    assert scores.joints_mpjpe == pytest.approx(2 * 100 * 2**0.5 / 13)
    assert scores.pck_matched == 1 and scores.pck == pytest.approx(13 / 39)
    assert scores.pck_universal_matched == pytest.approx(11 / 13) and scores.pck_universal == pytest.approx(11 / 26)
    left_out = Sums()
    measure_labels(left_out, predicted, people, (found, found), load_protocol("mupots-matched"))
    assert left_out.scores().pck == 1 and left_out.scores().pck_universal == pytest.approx(11 / 13)
    plain = Sums()
    measure_labels(plain, predicted, people, (found, found), load_protocol())
    assert plain.scores().pck_universal is None, "of bones of the same lengths alone"


# --- several videos --------------------------------------------------------------------------------------------


def test_videos_are_pooled_by_counts_and_by_means(layers: dict[str, BodyLayer]) -> None:
    """A long video without a fault and a short one with misses: their counts and their scores average otherwise."""
    long, short = example(people=2, frames=60), example(people=1, frames=20)
    hurt = without(short, short.rows_of(0)[5:15])
    rules = of_any_data("trace-5d")
    one, other = scored(long, layers, rules, name="one"), scored(hurt, layers, rules, short, name="other")
    both = pool([one, other])
    people = one.people + other.people
    pooled, mean = both.rows[POOLED], both.rows[MEAN]
    assert pooled.mota == pytest.approx(1 - 10 / people) and mean.mota == pytest.approx((1 + 0.5) / 2)
    assert pooled.recall == pytest.approx(1 - 10 / people) and mean.recall == pytest.approx(0.75)
    assert pooled.idf1 == pytest.approx(2 * (people - 10) / (2 * (people - 10) + 10))
    assert pooled.mpjpe_with_misses == pytest.approx(150 * 10 / people, abs=0.1)
    assert both.rows[BY_PROTOCOL] == pooled
    hota = TrackingCounts.__add__(one.counts, other.counts).hota
    assert pooled.hota == pytest.approx(hota) and mean.hota != pytest.approx(hota, abs=1e-3)
    json.dumps(both.to_json(), allow_nan=False)


def test_published_means_take_hota_of_the_videos_and_mota_of_the_counts(layers: dict[str, BodyLayer]) -> None:
    long, short = example(people=2, frames=60), example(people=1, frames=20)
    rules = of_any_data("trace-5d", tracking=TrackingRules(mean="published"))
    one, other = scored(long, layers, rules), scored(without(short, short.rows_of(0)[5:15]), layers, rules, short)
    row, pooled, mean = (pool([one, other]).rows[key] for key in (BY_PROTOCOL, POOLED, MEAN))
    assert (row.mota, row.idf1, row.id_switches) == (pooled.mota, pooled.idf1, pooled.id_switches)
    assert row.hota == mean.hota and row.mpjpe == pooled.mpjpe
    with pytest.raises(ConfigError, match="protocol"):
        pool([one, scored(short, layers, of_any_data("emdb1"))])


def test_results_find_their_truths_by_name(packs: Path, tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    files = [tmp_path / f"{name}.trace.npz" for name in ("a", "b")]
    for number, file in enumerate(files, start=1):
        write_result(file, example(people=number, frames=20))
        shutil.copy(file, tmp_path / "truth" / ("a.truth.npz" if number == 1 else "b.trace.npz"))
    found = evaluate_results(files, against=[tmp_path / "truth"], packs=packs)
    assert [len(one.rows) for one in found.videos] == [2, 2] and found.rows[POOLED].idf1 == 1
    assert [one.annotated_identities for one in found.videos] == [1, 2]
    shutil.copy(tmp_path / "truth" / "a.truth.npz", tmp_path)
    assert exact_result(tmp_path, files[0]) == tmp_path / "a.truth.npz", "no result is compared with itself"
    assert exact_result(tmp_path, files[1]) is None
    with pytest.raises(ConfigError, match="3 of --against") as caught:
        evaluate_results(files, against=files + files[:1], packs=packs)
    assert caught.value.where == "--against"


# --- bodies ----------------------------------------------------------------------------------------------------


def test_joints_roots_and_surfaces_by_the_rules(packs: Path) -> None:
    """Female and male people against neutral predictions, computed again from meshes and regressors."""
    layers = {name: layer.double() for name, layer in body_layers(packs, GENDERS).items()}
    draw = np.random.default_rng(3)
    count = 6

    def random(*shape: int) -> Tensor:
        return torch.from_numpy(draw.normal(0, 0.4, shape))

    gender = torch.tensor([GENDERS.index(name) for name in ("female", "male", "neutral", "male", "female", "male")])
    rotations, betas = matrix_from_axis_angle(random(count, 24, 3)), random(count, 10)
    camera = torch.eye(4).double().repeat(count, 1, 1)
    camera[:, :3, :3] = matrix_from_axis_angle(random(count, 3))
    target, _, _ = pose_people(
        frame=torch.arange(count), person=torch.zeros(count, dtype=torch.long), gender=gender, rotations=rotations,
        betas=betas, translation=random(count, 3), in_world=torch.ones(count) > 0, camera_from_world=camera,
        to_2d=lambda points: points[..., :2], layers=layers,
    )  # fmt: skip
    ours, shapes = matrix_from_axis_angle(random(count, 24, 3)), random(count, 10)
    for joints in ("lsp-14", "smpl-24", "smpl-24-regressed", "smpl-24-neutral"):
        for root in ("hips", "h36m-pelvis") if joints == "lsp-14" else ("hips",):
            for surface in ("root", "origin"):
                rules = BodyRules.model_validate({"joints": joints, "root": root, "surface": surface})
                values = compare_bodies(ours, shapes, target, layers, rules)
                for k in range(count):
                    a = one_body(layers, "neutral", ours[k], shapes[k], rules)
                    in_camera = rotations[k].clone()
                    in_camera[0] = camera[k, :3, :3] @ in_camera[0]
                    b = one_body(layers, GENDERS[int(gender[k])], in_camera, betas[k], rules)
                    torch.testing.assert_close(values["predicted"][k], a[0], rtol=0, atol=1e-7)
                    torch.testing.assert_close(values["annotated"][k], b[0], rtol=0, atol=1e-7)
                    expected = (a[1] - b[1]).norm(dim=-1).mean()
                    torch.testing.assert_close(values["pve"][k], expected, rtol=0, atol=1e-7)


def one_body(
    layers: dict[str, BodyLayer], gender: str, rotations: Tensor, betas: Tensor, rules: BodyRules
) -> tuple[Tensor, Tensor]:
    """Joints relative to the root, and the mesh relative to the root or in SMPL's origin."""
    layer = layers[gender]
    body = layer(rotations[None], betas[None], vertices=True)
    mesh = body.vertices[0] + body.root[0]  # in SMPL's own origin
    every = {
        "lsp-14": body.joints_h36m[0] + body.root[0],
        "smpl-24": body.joints[0, :24] + body.root[0],
        "smpl-24-regressed": layer.regressor @ mesh,
        "smpl-24-neutral": layers["neutral"].regressor @ mesh,
    }[rules.joints]
    hips = [2, 3] if rules.joints == "lsp-14" else [1, 2]
    root = every[14] if rules.root == "h36m-pelvis" else every[hips].mean(0)
    return every[: 14 if rules.joints == "lsp-14" else 24] - root, mesh - (root if rules.surface == "root" else 0)


def test_bones_take_the_annotated_lengths() -> None:
    draw = torch.Generator().manual_seed(1)
    predicted, target = torch.randn(3, 44, 3, generator=draw), torch.randn(3, 44, 3, generator=draw)
    rules = LabelledRules(root="pelvis", bones="annotated")
    pelvis = ALL_44.index("Pelvis")
    found = compared_joints(rules, predicted, target)
    assert torch.equal(found[:, pelvis], torch.zeros(3, 3).double())
    for parent, child in BONES:
        bone, was = found[:, child] - found[:, parent], predicted[:, child] - predicted[:, parent]
        length = (target[:, child] - target[:, parent]).norm(dim=-1).double()
        torch.testing.assert_close(bone.norm(dim=-1), length, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(bone / length[:, None], was.double() / was.double().norm(dim=-1, keepdim=True))
    assert torch.equal(compared_joints(LabelledRules(), predicted, target), predicted)


# --- networks --------------------------------------------------------------------------------------------------


def evaluated(oracle: Oracle, layers: dict[str, BodyLayer], shards: Path, rules: Protocol) -> EvalReport:
    config = load_config("debug", ["network.input_size=64"])
    return score(oracle, layers, ShardReader(shards), config, split="train", protocol=rules)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def neutral(packs: Path) -> dict[str, BodyLayer]:
    return dict.fromkeys(GENDERS, body_layers(packs)["neutral"])


@pytest.fixture(scope="module")
def exact(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards whose bodies the network can predict exactly: straight hands."""

    def straighten(shard: Any) -> None:
        pose = shard["people/pose"][:]
        pose[:, 22:] = 0
        shard["people/pose"][:] = pose

    return changed(shards, tmp_path_factory.mktemp("exact") / "shards", straighten)


def changed(shards: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    import h5py

    shutil.copytree(shards, folder)
    for file in folder.glob("*.h5"):
        with h5py.File(file, "r+") as shard:
            change(shard)
            reseal(shard)
    return folder


@pytest.mark.parametrize("name", ["3dpw-14", "trace-published", "emdb2-gvhmr", "dynacam"])
def test_a_network_that_is_right_has_no_error(name: str, exact: Path, neutral: dict[str, BodyLayer]) -> None:
    report = evaluated(Oracle(ShardReader(exact), neutral, "train"), neutral, exact, of_any_data(name))
    row = report.rows[MODEL]
    for key in set(load_protocol(name).measures) - {"jitter", "foot_sliding"}:
        assert getattr(row, key) == pytest.approx(0, abs=0.05), key
    assert set(report.rows) == {MODEL, STANDS_STILL}, "constant bodies belong to the default"
    assert report.protocol_name == name and f"Protocol: {name}" in report.protocol
    values = json.loads(json.dumps(report.to_json()))
    assert basis_of(values) != basis_of(values | {"protocol_name": "trace-5d"})


def test_dynacam_charges_who_is_not_found(exact: Path, neutral: dict[str, BodyLayer]) -> None:
    def spoil(sequence: int, person: int, frame: int, place: Tensor, world: Tensor) -> tuple[Tensor, Tensor] | None:
        return None if person == 0 else (place, world)

    reader = ShardReader(exact)
    report = evaluated(Oracle(reader, neutral, "train", spoil=spoil), neutral, exact, of_any_data("dynacam"))
    entries = [entry for entry in reader.index.sequences if entry.split == "train"]
    tracks = sum(len(entry.people) for entry in entries)
    assert report.rows[MODEL].ate == pytest.approx(2 * len(entries) / tracks, abs=1e-3)
    assert report.rows[MODEL].ape == pytest.approx(4 * len(entries) / tracks, abs=1e-2)


def only_joints(shard: Any) -> None:
    """Take the bodies away."""
    for mask in ("masks/body_pose", "masks/world"):
        shard[mask][:] = 0 * shard[mask][:]


def test_joints_of_the_missed_are_wrong_ones_and_sequences_weigh_the_same(
    exact: Path, layers: dict[str, BodyLayer], tmp_path: Path
) -> None:
    def spoil(sequence: int, person: int, frame: int, place: Tensor, world: Tensor) -> tuple[Tensor, Tensor] | None:
        return None if sequence == rows[0] and person == 0 else (place, world)

    folder, reader = changed(exact, tmp_path / "joints", only_joints), ShardReader(exact)
    rows = [row for row, entry in enumerate(reader.index.sequences) if entry.split == "train"]
    oracle = Oracle(reader, layers, "train", spoil=spoil)
    every, matched = (
        evaluated(oracle, layers, folder, of_any_data(name)).rows[MODEL] for name in ("mupots", "mupots-matched")
    )
    assert matched.pck == 1 and matched.joints_mpjpe is not None and matched.joints_mpjpe < 40
    first = reader.index.sequences[rows[0]]
    found = evaluated(oracle, layers, folder, of_any_data("mupots")).sequence_scores
    share = next(one for one in found if one.name == first.name)
    assert share.scores.pck == pytest.approx(share.matched / share.people)
    assert every.pck == pytest.approx((share.matched / share.people + len(rows) - 1) / len(rows))
    assert every.auc is not None and matched.auc is not None and every.auc < matched.auc


def test_each_person_has_a_universal_skeleton_of_their_own(
    exact: Path, layers: dict[str, BodyLayer], tmp_path: Path
) -> None:
    """The first of everybody in a sequence is shrunk to nothing, so all joints are right; another is a giant."""
    reader = ShardReader(changed(exact, tmp_path / "joints", only_joints))
    said = [
        {"universal": ", ".join(f"{name} {1e3 if number else 1e-6:.6f}" for number, name in enumerate(entry.people))}
        for entry in reader.index.sequences
    ]
    entries = tuple(
        replace(entry, provenance=provenance) for entry, provenance in zip(reader.index.sequences, said, strict=True)
    )
    reader.index = replace(reader.index, sequences=entries)

    rules, oracle = of_any_data("mupots"), Oracle(ShardReader(exact), layers, "train")
    config = load_config("debug", ["network.input_size=64"])
    report = score(oracle, layers, reader, config, split="train", protocol=rules)  # type: ignore[arg-type]
    people = {entry.name: len(entry.people) for entry in entries}
    assert {people[one.name] > 1 for one in report.sequence_scores} == {False, True}
    for one in report.sequence_scores:
        share = one.scores.pck_universal
        assert one.scores.pck == 1 and share == one.scores.pck_universal_matched
        assert share == 1 if people[one.name] == 1 else share is not None and 0 < share < 1, one.name
    for entry in entries:
        truth = truth_of_shards(reader, entry.key)
        labelled = labelled_people(truth, np.arange(entry.frames), rules)
        expected = torch.tensor([1e-6 if person == entry.first_person else 1e3 for person in labelled.person.tolist()])
        torch.testing.assert_close(labelled.universal, expected.double())
