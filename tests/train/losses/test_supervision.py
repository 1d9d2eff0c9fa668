"""People read beside their centres, and SMPLify's pose prior with its file."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_amass
import torch
from small_network import SMALL

from trace_data.errors import AssetError, ConfigError, UnsafePickleError
from trace_data.motions.pose_prior import fit_pose_prior
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.build import body_layers, build_network
from trace_train.config import load_config
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.losses.prior import LIKELY, pose_prior
from trace_train.network.flow import NoFlow
from trace_train.streaming.stream import TrainStream
from trace_train.training.loss_module import LossModule, annotated_tracks, batch_targets, jitter
from trace_train.weights.pose_prior import FULL, USED, read_pose_prior

REFS = [ClipRef(sequence=s, start=7 * s, stride=1, length=3) for s in range(4)]


def mixture(seed: int = 0) -> dict[str, Any]:
    """Two Gaussians over 69 numbers, as the release has eight."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(0, 0.3, (2, FULL, FULL)) + np.eye(FULL)
    return {
        "means": rng.normal(0, 0.2, (2, FULL)),
        "covars": roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(FULL),
        "weights": np.array([0.25, 0.75]),
    }


def write(file: Path, content: Any) -> Path:
    file.write_bytes(pickle.dumps(content, protocol=2))
    return file


# --- the prior ---------------------------------------------------------------------------------------------------


def test_energy_is_that_of_the_likeliest_gaussian(tmp_path: Path) -> None:
    content = mixture()
    prior = read_pose_prior(write(tmp_path / "gmm_08.pkl", content))
    poses = np.random.default_rng(1).normal(0, 0.5, (5, USED))
    roots = np.sqrt([np.linalg.det(c) for c in content["covars"]])
    expected = []
    for pose in poses:
        energies = []
        for mean, covariance, weight, root in zip(content["means"], content["covars"], content["weights"], roots):
            off, precision = pose - mean[:USED], np.linalg.inv(covariance)[:USED, :USED]
            scaled = weight / ((2 * math.pi) ** (FULL / 2) * root / roots.min())
            energies.append(0.5 * off @ precision @ off - math.log(scaled))
        expected.append(min(energies))
    np.testing.assert_allclose(prior.energy(torch.from_numpy(poses).float()), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"means": None}, "means"),
        ({"covars": np.zeros((2, 3, 3))}, "covars has shape"),
        ({"weights": np.array([0.5, -0.5])}, "not positive"),
        ({"covars": -np.tile(np.eye(FULL), (2, 1, 1))}, "not positive"),
    ],
)
def test_another_file_is_no_prior(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    content = {key: value for key, value in {**mixture(), **change}.items() if value is not None}
    with pytest.raises(AssetError, match=said):
        read_pose_prior(write(tmp_path / "other.pkl", content))
    with pytest.raises(AssetError):
        read_pose_prior(tmp_path / "missing.pkl")


def test_a_fitted_prior_knows_poses_like_those_it_was_fitted_to(tmp_path: Path) -> None:
    """Somebody walks, with noise; a knee bent to the front is less likely than all new
    steps of the same walk, which cost nothing, and limbs turned at random do."""
    rng = np.random.default_rng(0)
    pose, trans = tiny_amass.walking(60.0, 30.0)
    pose[:, 3:] += rng.normal(0, 0.1, (len(pose), 63))
    tiny_amass.write(tmp_path, "walk", tiny_amass.content(pose, trans, 30.0))
    fit_pose_prior([tmp_path], tmp_path / "prior.pkl", gaussians=2, every=0.1)
    prior = read_pose_prior(tmp_path / "prior.pkl")
    walking = tiny_amass.walking(7.77, 30.0)[0][:, 3:] + rng.normal(0, 0.1, (234, 63))
    broken = walking.copy()
    broken[:, 3 * (4 - 1)] -= 2.5
    energy, unlikely = (prior.energy(torch.from_numpy(poses).float()) for poses in (walking, broken))
    assert energy.max() < unlikely.min() and energy.max() / 100 < LIKELY
    twisted = rng.normal(0, 0.8, (234, 63))
    poses = torch.from_numpy(np.stack([walking, twisted])).float().unflatten(-1, (21, 3))
    rotations = matrix_from_axis_angle(poses)
    everyone = torch.ones(2, 234, dtype=torch.bool)
    good, bad = (pose_prior(rotations[kind], prior, everyone[kind]) for kind in (0, 1))
    assert good.mean() == 0 < bad.mean()


def test_a_prior_that_runs_code_runs_nothing(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    with pytest.raises(UnsafePickleError):
        read_pose_prior(write(tmp_path / "gmm_08.pkl", {**mixture(), "more": Harm()}))
    assert not (tmp_path / "ran").exists()


def test_a_weight_asks_for_a_file_and_only_a_weight_reads_it(tmp_path: Path, shards: Path, packs: Path) -> None:
    for asked in ("loss.pose_prior=1.6", "stages=[{loss: {pose_prior: 1.6}}]"):
        with pytest.raises(ConfigError, match=r"supervision\.pose_prior_file"):
            load_config("debug", [asked])
    nowhere = f"supervision.pose_prior_file={tmp_path / 'missing.pkl'}"
    layer = body_layers(packs)["neutral"]
    config = load_config("debug", [*SMALL, "stages=[{clips: 2, frames: 1}]", nowhere])
    network = build_network(config.network)
    assert LossModule(network, layer, config, NoFlow(2)).prior is None
    used = load_config("debug", [*SMALL, nowhere, "loss.pose_prior=1.6"])
    with pytest.raises(AssetError):
        LossModule(network, layer, used, NoFlow(2))
    content = mixture()
    content["covars"] *= 1e-4  # so narrow that no pose is likely
    file = write(tmp_path / "gmm_08.pkl", content)
    alone = [
        "loss.pose_prior=1.6",
        *(f"loss.{name}=0" for name in type(config.loss).model_fields if name != "pose_prior"),
    ]
    used = load_config("debug", [*SMALL, f"supervision.pose_prior_file={file}", *alone])
    batch = next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))
    report = LossModule(network, layer, used, NoFlow(2)).train()(batch)
    report.total.backward()
    reached = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"temp_smplpose_regressor", "param_head"} <= reached
    assert not {"temp_globalrot_regressor", "temp_smplshape_regressor", "temp_trans_regressor"} & reached


# --- beside the centre -------------------------------------------------------------------------------------------


def test_jitter_is_a_matter_of_the_clip_alone() -> None:
    cell = torch.zeros(4, 3, 3, 2, dtype=torch.long)
    drawn = jitter(REFS, cell, 1)
    assert torch.equal(jitter(REFS[::-1], cell, 1), drawn.flip(0)), "another order, or another process"
    assert torch.equal(jitter(REFS[1:2], cell[:1, :2], 1), drawn[1:2, :2]), "fewer people beside"
    many = jitter(REFS, torch.zeros(4, 50, 3, 2, dtype=torch.long), 1)
    assert set(many.unique().tolist()) == {-1, 0, 1} and abs(float(many.float().mean())) < 0.1
    assert not torch.equal(many[0], many[1])


def test_people_are_read_beside_their_centres_within_the_map(shards: Path, packs: Path) -> None:
    config = load_config("debug", [*SMALL, "stages=[{clips: 2, frames: 2}]"])
    torch.manual_seed(0)
    network = build_network(config.network)
    batch = next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))
    targets = batch_targets(network, batch)
    with torch.no_grad():
        maps = network(batch.images)
    plain = annotated_tracks(network, maps, targets)
    offset = jitter(batch.refs, targets.cell, 2)
    moved = annotated_tracks(network, maps, targets, offset)
    expected = (targets.cell + offset).clamp(0, network.map_size - 1).flatten(0, 1)
    assert torch.equal(moved.zyx[..., 1:], expected) and not torch.equal(moved.zyx, plain.zyx)
    assert torch.equal(moved.mask, plain.mask)
    far = annotated_tracks(network, maps, targets, 100 * torch.ones_like(offset))
    assert bool((far.zyx[..., 1:] == network.map_size - 1).all())
    layer = body_layers(packs)["neutral"]
    values = []
    for most in (0, 2, 2):
        own = load_config("debug", [*SMALL, f"supervision.center_jitter={most}"])
        report = LossModule(network, layer, own, NoFlow(2)).eval()(batch)
        values.append(report.values["camera"].item())
    assert values[1] == values[2] != values[0]
